"""Wrong types in every parameter of every method: never an exception of ours, never a hang, one clear error at most."""

# ruff: noqa: E501  # tables of scripts and JavaScript read best with one case on a line

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.engine import methods
from orchestrator.engine.answers import Answers
from orchestrator.engine.engine import Engine
from orchestrator.engine.errors import PinoctlError
from orchestrator.engine.events import Silent
from orchestrator.engine.hardware import HardwareProfile
from orchestrator.engine.home import Home

LONG = 60.0  # seconds that anything here may take on a busy machine
WRONG = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    1e300,
    2**70,
    "",
    " ",
    "text",
    "a\0b",
    "../../..",
    "\ud83d",
    "-x",
    "{{input}}",
    "{{",
    [],
    [None],
    [1],
    ["x", 2],
    [[]],
    {},
    {"": ""},
    {"a": 1},
    {"a": {"b": [1]}},
    {"event": 5},
    [{"event": "("}],
    [{"event": "/(/", "done": True}],
    [{"key": 5}],
    "function",
]

# parameters by method; what is not here is tried with all of OTHERS
PARAMETERS: dict[str, list[str]] = {
    "fs.write": ["path", "text", "json", "json2", "buffer"],
    "fs.append": ["path", "text", "json", "json2", "buffer"],
    "fs.read": ["path", "encoding"],
    "fs.copy": ["src", "dest", "options"],
    "fs.download": ["url", "uri", "dir", "path", "sha256", "checksum"],
    "fs.link": ["drive", "peers", "venv", "options"],
    "net": ["url", "method", "headers", "data", "params", "timeout", "auth", "baseURL", "responseType", "maxRedirects"],
    "exec": ["message", "cwd", "path", "env", "timeout", "shell"],
    "process.wait": ["sec", "min", "uri", "url", "interval", "on", "app", "message"],
    "input": ["title", "description", "form", "confirm"],
    "filepicker.open": ["type", "path", "multiple", "save", "title"],
    "log": ["raw", "text", "json", "json2"],
    "jump": ["index", "id", "params", "input"],
    "script.start": ["uri", "params", "branch", "hash", "pull"],
    "shell.run": [
        "message",
        "path",
        "env",
        "-env",
        "venv",
        "venv_python",
        "conda",
        "conda_python",
        "on",
        "chain",
        "input",
        "persistent",
        "sudo",
        "shell",
        "id",
        "cols",
        "rows",
        "terminal_id",
        "buffer",
        "build",
    ],
    "shell.start": ["id", "path", "env", "message", "on"],
    "shell.enter": ["id", "message", "on"],
    "shell.stop": ["id", "group"],
    "set": ["local", "global", "self", "json", "key"],
    "rm": ["local", "global", "self", "json", "key"],
    "load": ["a"],
    "json.get": ["a"],
    "local.import": ["a"],
    "gradio.predict": ["uri", "path", "params"],
    "hf.download": ["_", "path", "env"],
    "hf.upload": ["_", "path", "env"],
}
GOOD: dict[str, dict[str, Any]] = {
    "fs.write": {"path": "f", "text": "x"},
    "fs.append": {"path": "f", "text": "x"},
    "fs.read": {"path": "f"},
    "fs.copy": {"src": "f", "dest": "g"},
    "net": {"url": "http://127.0.0.1:1/"},
    "exec": {"message": "true"},
    "shell.run": {"message": "true"},
    "hf.download": {"_": ["a/b"]},
    "hf.upload": {"_": ["a/b"]},
    "fs.download": {"url": "text", "path": "f"},
    "jump": {"index": 1},
    "input": {"form": [{"key": "k"}]},
}
OTHERS = ["uri", "a"]
MAY_WAIT = {
    "jump",
    "goto",
    "process.wait",
    "shell.start",
    "shell.enter",
    "shell.write",
    "shell.run",
    "exec",
}  # for what was asked; they can be stopped


class Tried:
    """An engine that runs one step after the other."""

    def __init__(self, engine: Engine, app: Path) -> None:
        self.engine = engine
        self.path = app / "main.js"

    async def step(self, method: str, params: Any) -> str | None:
        """Run one step; return its error."""
        text = json.dumps([{"method": method, "params": params}, {"method": "log"}]).replace('"function"', "() => 1")
        self.path.write_text(f"module.exports = {{ run: {text} }}", "utf-8")
        running = asyncio.ensure_future(self.engine.start(str(self.path)))
        done, _ = await asyncio.wait({running}, timeout=0.5 if method in MAY_WAIT else LONG)
        if not done:
            assert method in MAY_WAIT, f"{method} {params!r} waits"
            await asyncio.wait_for(self.engine.stop(str(self.path)), LONG)  # or it is just ending by itself
        try:
            result = await asyncio.wait_for(running, LONG)
        except PinoctlError as error:
            return str(error)
        assert result.status in {"end", "error", "stopped"}
        if result.error is not None:
            check(method, params, result.error)
        return result.error


def check(method: str, params: Any, error: str) -> None:
    assert "internal error" not in error, (method, params, error)
    assert "Traceback" not in error, (method, params, error)
    assert error.strip(), (method, params)
    assert not re.search(r"object at 0x|Undefined|NoneType|<class", error), (method, params, error)
    assert "\n" not in error.strip() or len(error) < 2000, (method, params, error)


async def make(folder: Path) -> Tried:
    home = Home(folder / "home")
    environ = {**os.environ, "HF_HUB_OFFLINE": "1"}
    engine = await Engine.open(home, sink=Silent(), answers=Answers(), profile=HardwareProfile(), environ=environ)
    app = home.app("app")
    app.mkdir(parents=True, exist_ok=True)
    return Tried(engine, app)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("parameters")


@pytest.fixture
async def tried(folder: Path) -> AsyncIterator[Tried]:
    made = await make(folder)
    yield made
    await made.engine.close()


def cases(method: str) -> list[Any]:
    """All wrong values as params, and every third (the table, shifted) or so for each parameter; hypothesis draws from all."""
    base = GOOD.get(method, {})
    found = [*WRONG]
    for shift, name in enumerate(PARAMETERS.get(method, OTHERS)):
        found += [{**base, name: value} for value in WRONG[(shift + len(method)) % 3 :: 3]]
    if method == "script.restart":  # without a script it would restart itself for ever
        return [params for params in found if isinstance(params, dict) and params.get("uri") is not None]
    return found


SLOW = {
    "shell.run",
    "shell.start",
    "hf.download",
    "hf.upload",
    "exec",
    "shell.enter",
    "shell.write",
    "process.wait",
    "gradio.predict",
}


@pytest.mark.parametrize("method", sorted(set(methods.load_all()) - SLOW))
async def test_wrong_types(tried: Tried, method: str) -> None:
    for params in cases(method):
        await tried.step(method, params)


@pytest.mark.slow
@pytest.mark.parametrize("method", sorted(SLOW))
async def test_wrong_types_of_what_starts_processes(tried: Tried, method: str) -> None:
    for params in cases(method):
        await tried.step(method, params)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(WRONG),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
DRAWN = [
    "shell.run",
    "fs.write",
    "fs.copy",
    "fs.link",
    "net",
    "input",
    "set",
    "json.set",
    "local.set",
    "jump",
    "env.set",
    "log",
    "notify",
    "fs.download",
]


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    steps=st.lists(
        st.sampled_from(DRAWN).flatmap(
            lambda method: st.tuples(
                st.just(method), st.dictionaries(st.sampled_from(PARAMETERS.get(method, OTHERS)), VALUES, max_size=4)
            )
        ),
        min_size=3,
        max_size=8,
    )
)
def test_any_values(folder: Path, steps: list[tuple[str, Any]]) -> None:
    async def try_all() -> None:
        made = await make(folder)
        try:
            for method, params in steps:
                if not dangerous(method, params):
                    await made.step(method, params)
        finally:
            await made.engine.close()

    asyncio.run(try_all())


def dangerous(method: str, params: dict[str, Any]) -> bool:
    """Commands that were drawn are not run on the machine that tests; only those of the table are."""
    message = params.get("message", "true")
    return method == "shell.run" and message not in ("true", "", None, "text", [], {})
