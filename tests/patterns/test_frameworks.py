"""Real frameworks from the package registries, each in a launcher as people write them."""

# launchers are data: a step per line reads best

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from tests.patterns.sources import js, menu, script, serve, set_url, shell

pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(420)]

UV = ["uv pip install -r requirements.txt"]


@dataclass(frozen=True)
class Framework:
    """Say how one framework is installed and started, and what its page contains."""

    files: dict[str, object]
    install: list[str]
    start: str
    says: str
    event: str = "/http:\\/\\/\\S+/"
    venv: bool = True
    env: dict[str, str] = field(default_factory=dict)
    url: str = "{{input.event[0]}}"


def node(packages, **scripts):
    return {"name": "demo", "version": "1.0.0", "private": True, "scripts": scripts, "dependencies": packages}


FRAMEWORKS = {
    "fastapi": Framework(
        {"requirements.txt": "fastapi\nuvicorn\n",
         "main.py": "from fastapi import FastAPI\napp = FastAPI()\n@app.get('/')\ndef root():\n    return {'framework': 'fastapi'}\n"},
        UV, "uvicorn main:app --port {{port}}", "fastapi"),
    "flask": Framework(
        {"requirements.txt": "flask\n", "app.py": "from flask import Flask\napp = Flask(__name__)\n@app.get('/')\ndef root():\n    return '<b>flask</b>'\n"},
        UV, "flask run --port {{port}}", "flask", event="/(http:\\/\\/[0-9.:]+)/"),
    "streamlit": Framework(
        {"requirements.txt": "streamlit\n", "app.py": "import streamlit as st\nst.title('demo')\n"},
        UV, "streamlit run app.py --server.headless true --server.port {{port}} --server.address 127.0.0.1", "treamlit"),
    "gradio": Framework(
        {"requirements.txt": "gradio\n",
         "app.py": "import gradio as gr\ngr.Interface(lambda text: text, 'text', 'text', title='gradio demo').launch()\n"},
        UV, "python app.py", "gradio demo", env={"GRADIO_SERVER_PORT": "{{port}}"}),
    "vite": Framework(
        {"package.json": node({"vite": "^6"}, dev="vite"), "index.html": "<h1>vite demo</h1>"},
        ["npm install"], "npm run dev -- --host 127.0.0.1 --port {{port}}", "vite demo", venv=False),
    "express": Framework(
        {"package.json": node({"express": "^4"}, start="node index.js"),
         "index.js": "const app = require('express')()\napp.get('/', (_, answer) => answer.send('<b>express demo</b>'))\n"
                     "const server = app.listen(process.env.PORT, '127.0.0.1', () => console.log(`Server running on port ${process.env.PORT}`))\n"},
        ["npm install"], "npm start", "express demo", venv=False, env={"PORT": "{{port}}"}, event="/Server running on port (\\d+)/",
        url="http://127.0.0.1:{{input.event[1]}}"),
    "next": Framework(
        {"package.json": node({"next": "15", "react": "19", "react-dom": "19"}, dev="next dev"),
         "pages/index.js": "export default function Home() { return <h1>next demo</h1> }"},
        ["npm install"], "npm run dev -- -H 127.0.0.1 -p {{port}}", "next demo", venv=False, env={"NEXT_TELEMETRY_DISABLED": "1"}),
}  # fmt: skip


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_framework_installs_starts_stops_and_starts_again(app, name):
    kind = FRAMEWORKS[name]
    venv = {"venv": "env", "venv_python": "3"} if kind.venv else {}
    one = app({
        "pinokio.js": menu("app/env" if kind.venv else "app/node_modules"),
        **{f"app/{path}": text for path, text in kind.files.items()},
        "install.js": js(script(shell(kind.install, path="app", **venv))),
        "start.js": js(script(serve(kind.start, event=kind.event, path="app", env=kind.env, **({"venv": "env"} if kind.venv else {})),
                              set_url(kind.url), daemon=True)),
    }, name=name)  # fmt: skip
    one(says=kind.says, timeout=400)
    one(says=kind.says, target=one.name)
    assert "install.js" not in one.err
