"""The ways in which launchers install: variants, sub-scripts, questions, settings, shared models."""

# launchers are data: a step per line reads best

from __future__ import annotations

import http.server
import json
import threading

import pytest

from tests.patterns.conftest import page
from tests.patterns.sources import INSTALL, START, js, menu, script, serve, set_url, shell, step

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PASS = {"venv": "{{args && args.venv ? args.venv : null}}", "path": "{{args && args.path ? args.path : '.'}}"}


def test_a_sub_script_of_variants_of_which_the_first_that_fits_runs(app):
    def variant(name, when=None):
        run = shell(
            [
                f"echo {name} {{{{args.extra ? 'extra' : ''}}}} >> torch.txt",
                "{{args.extra ? 'echo more >> torch.txt' : ''}}",
            ],
            **PASS,
        )
        return {**({"when": when} if when else {}), **run, "next": None}

    one = app({
        "pinokio.js": menu("app/env"),
        "app/readme.txt": "",
        "install.js": js(script(
            shell("mkdir -p app && git --version", when="{{gpu !== 'nothing'}}"),
            step("script.start", {"uri": "torch.js", "params": {"venv": "env", "path": "app", "extra": True}}),
            shell(["uv pip list", "python -c 'import sys; open(\"prefix\", \"w\").write(sys.prefix)'"], venv="env", path="app"))),
        "torch.js": js(script(
            variant("windows", "{{platform === 'win32'}}"),
            variant("mac", "{{platform === 'darwin' && arch === 'arm64'}}"),
            variant("amd", "{{platform === 'linux' && gpu === 'no such maker'}}"),
            variant("linux", "{{platform === 'linux'}}"),
            variant("cpu"))),
        "start.js": js(script(serve("python ../server.py {{port}}", path="app", venv="env"), set_url(), daemon=True)),
    })  # fmt: skip
    one()
    assert one.read("app/torch.txt") == "linux extra\nmore\n"
    assert one.read("app/prefix").endswith("/app/env")


def test_a_sub_script_that_fails_does_not_stop_its_caller(app):
    one = app({
        "pinokio.js": menu("installed"),
        "install.js": js(script(
            step("script.start", {"uri": "scripts/models.js"}),
            step("log", {"text": "and on: {{input}}"}), *INSTALL["run"])),
        "scripts/models.js": js(script(step("fs.read", {"path": "nothing.txt"}), step("fs.write", {"path": "never", "text": "x"}))),
        "start.js": js(START),
    })  # fmt: skip
    result = one()
    assert [path.rpartition("/")[2] for path in map(str, result["failed_children"])] == ["models.js"]
    assert "completed with failed sub-script" in one.err
    assert not (one.folder / "scripts/never").exists()


def test_scripts_in_a_folder_with_paths_of_their_own(app):
    one = app({
        "pinokio.js": menu("app/installed").replace('"install.js"', '"scripts/install.js"').replace('"start.js"', '"scripts/start.js"'),
        "scripts/install.js": js(script(
            step("fs.make", {"path": "../app"}),
            step("fs.copy", {"src": "config", "dest": "../app/config", "options": {"recursive": True}}),
            step("script.start", {"uri": "more/last.js"}))),
        "scripts/config/settings.json": {"a": 1},
        "scripts/more/last.js": js(script(step("fs.write", {"path": "../../app/installed", "text": "{{cwd}}"}))),
        "scripts/start.js": js(script(serve("python3 server.py {{port}}", path=".."), set_url(), daemon=True)),
    })  # fmt: skip
    one()
    assert one.read("app/installed").endswith("/scripts/more")
    assert json.loads(one.read("app/config/settings.json")) == {"a": 1}


QUESTIONS = {
    "pinokio.js": menu("answers.json"),
    "install.js": js(script(
        step("modal", {"title": "Licence", "html": "<b>Be nice</b>"}),
        step("input", {"title": "Model", "form": [
            {"key": "size", "title": "Size", "type": "select", "items": ["small", {"text": "Large", "value": "large"}]},
            {"key": "token", "title": "Token", "type": "password", "required": True},
            {"key": "half", "type": "checkbox"}, {"key": "name", "default": "demo"}]}),
        step("local.set", {"model": "{{input}}"}),
        step("filepicker.open", {"title": "Where are your models?", "type": "folder"}),
        step("json.set", {"answers.json": {"model.size": "{{local.model.size}}", "model.name": "{{local.model.name}}", "half": "{{local.model.half}}",
                                           "folder": "{{input.paths[0]}}", "secret": "{{local.model.token.length}}"}}))),
    "start.js": js(START),
}  # fmt: skip


def test_questions_answered_beforehand(app, tmp_path):
    one = app(QUESTIONS)
    answers = {"size": "large", "token": "hf_sesame", "half": True, "filepicker": [str(tmp_path)]}
    one.up("--answers", json.dumps(answers))
    assert json.loads(one.read("answers.json")) == {
        "model": {"size": "large", "name": "demo"}, "half": True, "folder": str(tmp_path), "secret": 9,
    }  # fmt: skip
    everywhere = (
        one.err
        + (one.program.home / "logs" / one.name / "journal.jsonl").read_text()
        + one.run("logs", one.name, "--raw").out
    )
    assert "hf_sesame" not in everywhere
    one.down()


def test_questions_that_nobody_answers(app):
    one = app(QUESTIONS)
    failed = one.up(fails=True)
    assert failed["failed"]["step"] == 2
    assert "token" in json.dumps(failed["failed"]).lower()
    one.down()
    assert one.up("--answer", "token=x", "--answer", f"filepicker={one.folder}")["state"] == "ready"
    assert json.loads(one.read("answers.json"))["model"]["size"] == "small"
    one.down()


def test_settings_in_json_files_and_variables(app):
    one = app({
        "pinokio.js": menu("installed"),
        "_ENVIRONMENT": "# what it may be told\nDEMO_MODE=slow\nDEMO_PATH=./models\n",
        "install.js": js(script(
            step("json.set", {"app/config.json": {"server.host": "127.0.0.1", "server.ports": [1, 2], "list": [{"a": 1}]}}),
            step("json.rm", {"app/config.json": ["server.ports.0"]}),
            step("json.get", {"config": "app/config.json"}),
            step("env.set", {"DEMO_MODE": "fast", "DEMO_NEW": "{{local.config.server.host}}"}),
            step("fs.write", {"path": "app/.env", "text": "MODE={{envs.DEMO_MODE}}\nHOST={{env.DEMO_NEW}}\n"}),
            *INSTALL["run"])),
        "start.js": js(START),
    })  # fmt: skip
    result = one.up()
    assert json.loads(one.read("app/config.json")) == {
        "server": {"host": "127.0.0.1", "ports": [2]},
        "list": [{"a": 1}],
    }
    assert one.read("app/.env") == "MODE=fast\nHOST=127.0.0.1\n"
    told = json.loads(page(result["url"]))["env"]
    home = one.program.home / "api" / one.name
    assert told == {"DEMO_MODE": "fast", "DEMO_NEW": "127.0.0.1", "DEMO_PATH": str(home / "models")}
    assert "# what it may be told\nDEMO_MODE=fast\n" in one.read("ENVIRONMENT")
    one.down()


def test_variables_that_a_script_requires(app):
    one = app({
        "pinokio.js": menu("installed"), "install.js": js(INSTALL),
        "start.js": js(script(serve(), set_url(), daemon=True, pre=[
            {"env": "DEMO_KEY", "title": "Key", "description": "a key"}, {"env": "DEMO_WITH", "default": "out"}])),
    })  # fmt: skip
    failed = one.up(fails=True)
    assert "DEMO_KEY" in json.dumps(failed["failed"])
    one.down()
    result = one.up("--answer", "DEMO_KEY=mine", target=one.name)
    assert json.loads(page(result["url"]))["env"] == {"DEMO_KEY": "mine", "DEMO_WITH": "out"}
    one.down()
    assert one.up(target=one.name)["state"] == "ready", "the answer is kept"
    one.down()


def test_two_apps_share_their_models(app, forge):
    link = js(script(step("fs.link", {"drive": {"checkpoints": "app/models/checkpoints", "vae": ["app/models/vae"]},
                                      "peers": ["https://forge.test/one-shares.git", "https://forge.test/other-shares.git"]})))  # fmt: skip
    files = {"pinokio.js": menu("installed"), "link.js": link, "start.js": js(START),
             "install.js": js(script(step("script.start", {"uri": "link.js"}), *INSTALL["run"]))}  # fmt: skip
    one = app(
        {**files, "app/models/checkpoints/big.bin": "weights", "app/models/checkpoints/same.txt": "one"},
        name="one-shares",
    )
    other = app({**files, "app/models/checkpoints/same.txt": "other", "app/models/vae/v.bin": "v"}, name="other-shares")
    for each in (one, other):
        forge(each.folder, each.name)
        each.up(**forge.env)
    assert other.read("app/models/checkpoints/big.bin") == "weights"
    assert other.read("app/models/checkpoints/same.txt") == "one", "what the drive has stays"
    assert one.read("app/models/vae/v.bin") == "v"
    assert (one.folder / "app/models/checkpoints").is_symlink()
    for each in (one, other):
        each.down()


@pytest.fixture
def files():
    class Files(http.server.BaseHTTPRequestHandler):
        def do_GET(self):  # the name that the base class asks for
            body = b"weights" * 1000
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815  # the name that the base class asks for

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_downloads_and_requests(app, files):
    one = app({
        "pinokio.js": menu("installed"),
        "install.js": js(script(
            step("fs.download", {"uri": f"{files}/model.bin?download=true", "dir": "models"}),
            step("fs.download", {"url": [f"{files}/a.bin", f"{files}/b.bin"], "dir": "models/more"}),
            step("fs.download", {"uri": f"{files}/x", "path": "models/named.bin"}),
            step("net", {"url": f"{files}/text", "method": "get"}),
            step("fs.write", {"path": "length", "text": "{{'' + input.length}}"}),
            *INSTALL["run"])),
        "start.js": js(START),
    })  # fmt: skip
    one()
    assert sorted(path.name for path in (one.folder / "models").rglob("*.bin")) == [
        "a.bin",
        "b.bin",
        "model.bin",
        "named.bin",
    ]
    assert one.read("length") == "7000"
    assert not list(one.folder.rglob("*.part*"))


def test_loops_jumps_and_inline_functions(app):
    one = app({
        "pinokio.js": menu("installed"),
        "install.js": """module.exports = {run: [
  {method: "local.set", params: {count: "{{(local.count || 0) + 1}}"}},
  {method: "fs.append", params: {path: "rounds", text: "{{local.count}} "}},
  {method: "jump", params: {id: "{{local.count < 3 ? 'again' : 'out'}}", params: {word: "jumped"}}},
  {id: "never", method: "fs.write", params: {path: "never", text: "x"}},
  {id: "again", method: "goto", params: {index: 0}},
  {id: "out", method: async (request, ondata, kernel) => ({path: request.cwd, word: request.input.word, ports: (await kernel.ports(2)).length})},
  {method: "json.set", params: {"installed.json": {got: "was {{input.word}} {{input.ports}}"}}},
  {method: "fs.write", params: {path: "installed", text: "yes"}},
]}""",
        "start.js": js(START),
    })  # fmt: skip
    one()
    assert one.read("rounds").split() == ["1", "2", "3"]
    assert json.loads(one.read("installed.json")) == {"got": "was jumped 2"}
    assert not (one.folder / "never").exists()


def test_an_installation_without_conda_and_one_step_that_mentions_it(app):
    one = app({
        "pinokio.js": menu("installed"),
        "install.js": js(script(
            shell("echo plain > first", conda={"skip": True}),
            {**shell("conda install -y nothing"), "when": "{{platform === 'darwin'}}"},
            shell("which python3 > second; python3 -c 'print(1)' >> second"), *INSTALL["run"])),
        "start.js": js(START),
    })  # fmt: skip
    one()
    assert one.read("second").endswith("\n1\n")
    assert not (one.program.home / "bin/miniforge").exists(), "nobody asked for conda"
