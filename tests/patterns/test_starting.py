"""The ways in which launchers start their servers, each brought up and taken down for real."""

# launchers are data: a step per line reads best

from __future__ import annotations

import json

import pytest

from tests.patterns.conftest import page
from tests.patterns.sources import INSTALL, START, URL_EVENT, js, menu, script, serve, set_url, shell, step

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_path_venv_env_and_port(app):
    one = app({
        "pinokio.js": menu("app/env"),
        "app/requirements.txt": "",
        "install.js": js(script(
            shell(["uv pip install -r requirements.txt", "", "touch marker"], venv="env", venv_python="3", path="app"))),
        "start.js": js(script(
            serve("python ../server.py {{port}}", path="app", venv="env",
                  env={"DEMO_PORT": "{{port}}", "DEMO_ON": True, "DEMO_LIST": ["a", "b"]}),
            set_url(), daemon=True)),
    })  # fmt: skip
    result = one.up()
    told = json.loads(page(result["url"]))
    assert told["prefix"] == str(one.program.home / "api" / one.name / "app/env")
    assert told["cwd"] == str(one.folder / "app")
    port = result["url"].rpartition(":")[2].strip("/")
    assert told["env"] == {"DEMO_PORT": port, "DEMO_ON": "true", "DEMO_LIST": "a:b"}
    assert one.read("app/marker") == ""
    one.down()


def test_shell_start_and_enter_as_scripts_of_2023_do_it(app):
    one = app({
        "pinokio.js": menu("env"),
        "install.json": script(
            step("shell.start"),
            step("shell.enter", {"message": "mkdir env", "on": [{"event": None, "return": True}]}),
            step("shell.enter", {"message": ["cd env", "pwd > ../entered"], "on": [{"event": None, "return": True}]}),
            step("input", {"title": "Install complete", "description": "Go back to the dashboard"}),
            step("browser.open", {"uri": "/?selected=demo"})),
        "start.json": script(
            step("shell.start", {"path": ".", "env": {"DEMO_OLD": "1"}}),
            step("shell.enter", {"message": "python3 server.py {{port}}",
                                 "on": [{"event": "/(http:\\/\\/[0-9.:]+)/", "return": "{{event.matches[0][1]}}"}]}),
            step("local.set", {"url": "{{input}}"}),
            step("browser.open", {"uri": "{{local.url}}", "target": "_blank"}),
            step("process.wait")),
        "pinokio.js ": "",
    })  # fmt: skip
    (one.folder / "pinokio.js").write_text(
        menu("env").replace('"install.js"', '"install.json"').replace('"start.js"', '"start.json"')
    )
    result = one.up()
    told = json.loads(page(result["url"]))
    assert told["env"] == {"DEMO_OLD": "1"}
    assert one.read("entered").strip().endswith("/env")
    one.down()


def test_three_braces_and_self_from_a_json_file(app):
    one = app({
        "pinokio.js": menu("session.json"),
        "install.js": js(INSTALL),
        "start.js": js(script(
            step("shell.start"),
            step("shell.enter", {"message": "python3 server.py {{port}}",
                                 "on": [{"event": "/(http:\\/\\/[0-9.:]+)/", "return": "{{{event.matches[0][1]}}}"}]}),
            step("self.set", {"session.json": {"url": "{{input}}"}}),
            step("browser.open", {"uri": "{{self.session.url}}", "target": "_blank"}),
            daemon=True)),
    })  # fmt: skip
    (one.folder / "session.json").write_text("{}")
    result = one()
    assert json.loads(one.read("session.json"))["url"] in result["url"]


def test_waiting_for_a_server_with_process_wait(app):
    one = app({
        "pinokio.js": menu("installed"), "install.js": js(INSTALL),
        "start.js": js(script(
            step("local.set", {"port": "{{port}}"}),
            step("shell.start", {"id": "server"}),
            step("shell.enter", {"id": "server", "message": "sleep 0.4; python3 server.py {{local.port}} > log.txt 2>&1 &",
                                 "on": [{"event": None, "return": True}]}),
            step("process.wait", {"uri": "http://127.0.0.1:{{local.port}}", "interval": 0.1}),
            set_url("http://127.0.0.1:{{local.port}}"), daemon=True)),
    })  # fmt: skip
    one()


def test_three_servers_in_one_start(app):
    one = app({
        "pinokio.js": menu("installed"), "install.js": js(INSTALL),
        "start.js": js(script(
            serve("python3 server.py {{port}}"),
            step("local.set", {"backend": "{{input.event[0]}}"}),
            serve("node server.js {{port}}"),
            step("local.set", {"worker": "{{input.event[0]}}"}),
            serve("python3 server.py {{port}} colour", env={"DEMO_BACKEND": "{{local.backend}}", "DEMO_WORKER": "{{local.worker}}"}),
            set_url(), daemon=True)),
    })  # fmt: skip
    result = one.up()
    told = json.loads(page(result["url"]))
    assert json.loads(page(told["env"]["DEMO_BACKEND"]))["text"] == "hello"
    assert json.loads(page(told["env"]["DEMO_WORKER"]))["from"] == "node"
    assert len({result["url"], *told["env"].values()}) == 3
    assert len(one.status["ports"]) == 3
    one.down()


def test_a_port_asked_for_in_an_async_function(app):
    one = app({
        "pinokio.js": menu("installed"), "install.js": js(INSTALL),
        "start.js": """module.exports = async (kernel) => {
  const port = await kernel.port()
  return {
    daemon: true,
    run: [
      {method: "local.set", params: {first: "{{port}}"}},
      {method: "shell.run", params: {message: `python3 server.py ${port}`, env: {DEMO_PORT: port},
                                     on: [{event: "/http:\\\\/\\\\/[0-9.:]+/", done: true}]}},
      {method: "local.set", params: {url: `http://127.0.0.1:${port}`}},
    ],
  }
}""",
    })  # fmt: skip
    result = one.up()
    assert json.loads(page(result["url"]))["env"]["DEMO_PORT"] == result["url"].rpartition(":")[2].strip("/")
    one.down()


def test_run_is_a_function_and_the_script_a_class(app):
    one = app({
        "pinokio.js": menu("installed"),
        "install.js": """class Install {
  constructor() { this.name = "installed" }
  async run(kernel, info) { return [{method: "fs.write", params: {path: "{{self.name}}", text: `on ${kernel.platform}`}}] }
}
module.exports = Install""",
        "start.js": """module.exports = {
  daemon: true,
  run: async function (kernel, info) {
    if (!info.exists("installed")) throw new Error("not installed")
    return [
      {method: async (request, ondata, kernel) => { ondata({raw: "an inline function\\r\\n"}); return {word: "inline"} }},
      {method: "shell.run", params: {message: "python3 server.py {{port}} plain {{input.word}}", on: [{event: "/http:.+/", done: true}]}},
      {method: "local.set", params: {url: "{{input.event[0]}}"}},
    ]
  },
}""",
    })  # fmt: skip
    result = one.up()
    assert json.loads(page(result["url"]))["args"][2] == "inline"
    assert "an inline function" in one.err
    assert one.read("installed") == "on linux"
    one.down()


def test_a_launcher_in_a_folder_of_the_app(app):
    one = app(
        {
            "pinokio/pinokio.js": menu("installed"),
            "pinokio/install.js": js(INSTALL),
            "pinokio/start.js": js(script(serve("python3 server.py {{port}}", path=".."), set_url(), daemon=True)),
        }
    )
    result = one.up()
    assert json.loads(page(result["url"]))["cwd"] == str(one.folder)
    assert one.read("pinokio/installed") == "yes"
    assert (one.folder / "pinokio/ENVIRONMENT").exists(), "the variables are beside the launcher"
    assert not (one.folder / "ENVIRONMENT").exists()
    one.down()


def test_requires_and_modules_beside_the_script(app):
    one = app({
        "pinokio.js": 'const path = require("path")\nconst {installed} = require("./settings")\n' + menu("installed").replace('"installed"', "installed"),
        "settings.js": 'module.exports = {installed: "installed", word: "from a module"}',
        "tools/words.js": "module.exports = class { say(request) { return {word: request.params.word} } }",
        "install.js": js({**INSTALL, "requires": {"bundle": "ai"}}),
        "start.js": """const {word} = require("./settings")
module.exports = {requires: {bundle: "ai"}, daemon: true, run: [
  {uri: "tools/words.js", method: "say", params: {word}},
  {method: "shell.run", params: {message: ["python3 server.py {{port}} plain '{{input.word}}'"], on: [{event: "/http:\\\\/\\\\/\\\\S+/", done: true}]}},
  {method: "local.set", params: {url: "{{input.event[0]}}"}},
]}""",
    })  # fmt: skip
    result = one.up()
    assert json.loads(page(result["url"]))["args"][2] == "from a module"
    one.down()


def test_an_old_menu_that_never_changes(app):
    one = app({
        "pinokio.js": """module.exports = {menu: [
          {html: "<i class='fa-solid fa-plug'></i> Install", href: "install.json"},
          {html: "<i class='fa-solid fa-rocket'></i> Start", href: "index.json"},
        ]}""",
        "install.json": INSTALL,
        "index.json": script(serve(), step("browser.open", {"uri": "{{input.event[0]}}"}), step("process.wait")),
    })  # fmt: skip
    one.up()
    one.down()
    again = one.up()
    assert "install.json" not in one.err, "an installation that the record calls finished is not done again"
    assert "hello" in page(again["url"])
    one.down()


def test_a_start_script_with_a_query_and_params_in_the_menu(app):
    one = app({
        "pinokio.js": """module.exports = {menu: async (kernel, info) => {
          if (!info.exists("installed")) return [{default: true, text: "Install", href: "install.js?run=true&fullscreen=true"}]
          let local = info.local("start.js")
          if (info.running("start.js") && local.url) return [{default: true, text: "Open", href: local.url}]
          return [{text: "Start low", href: "start.js?mode=low", params: {vram: 4}},
                  {default: true, text: "Start high", href: "start.js?mode=high", params: {vram: 24, on: true}}]
        }}""",
        "install.js": js(INSTALL),
        "start.js": js(script(
            serve("python3 server.py {{port}} plain {{args.mode}} {{typeof args.vram}} {{args.vram}} {{args.on === 'true'}}"), set_url(), daemon=True)),
    })  # fmt: skip
    result = one.up()
    assert json.loads(page(result["url"]))["args"][2:] == ["high", "string", "24", "true"]
    one.down()
    low = one.up("--script", "Start low", target=one.name)
    assert json.loads(page(low["url"]))["args"][2:5] == ["low", "string", "4"]
    one.down()


def test_a_daemon_that_names_no_url(app):
    one = app({
        "pinokio.js": menu("installed"), "install.js": js(INSTALL),
        "start.js": js(script(shell("python3 server.py {{port}} silent", on=[{"event": "/up and about/", "done": True}]), daemon=True)),
    })  # fmt: skip
    one()


def test_a_script_without_daemon_that_holds_its_server(app):
    one = app({
        "pinokio.js": menu("installed"), "install.js": js(INSTALL),
        "start.js": js(script(shell("python3 server.py {{port}}"))),
    })  # fmt: skip
    one()


def test_servers_and_helpers_that_leave_their_terminal_die_with_the_app(app):
    one = app({
        "pinokio.js": menu("installed"), "install.js": js(INSTALL),
        "start.js": js(script(
            step("local.set", {"port": "{{port}}"}),
            shell("(setsid nohup python3 server.py {{local.port}} silent > log.txt 2>&1 &) ; sleep 0.1; echo started; sleep 1000",
                  on=[{"event": "/^started/m", "done": True}]),
            step("process.wait", {"url": "http://127.0.0.1:{{local.port}}", "interval": 0.1}),
            set_url("http://127.0.0.1:{{local.port}}"), daemon=True)),
    })  # fmt: skip
    one()


def test_kill_on_an_event_and_a_handler_that_only_looks(app):
    one = app({
        "pinokio.js": menu("installed"), "install.js": js(INSTALL),
        "start.js": js(script(
            shell("echo warming; echo ready to go; sleep 1000; touch never",
                  on=[{"event": "/warm(ing)/"}, {"event": "/ready to (go)/", "kill": True}]),
            step("local.set", {"word": "{{input.event[1]}}"}),
            serve("python3 server.py {{port}} plain {{local.word}}"), set_url(), daemon=True)),
    })  # fmt: skip
    result = one.up()
    assert json.loads(page(result["url"]))["args"][2] == "go"
    assert not (one.folder / "never").exists()
    one.down()


def test_argv_messages_chains_and_commands_for_this_platform(app):
    one = app({
        "pinokio.js": menu("installed"), "install.js": js(INSTALL),
        "start.js": js(script(
            shell(["exit_status=7", "echo ${exit_status:-none} > first"], chain="&"),
            {**shell("touch second"), "when": "{{platform === 'win32'}}"},
            shell({"_": ["python3", "server.py", "{{port}}", "plain", "a b", "it's", "$HOME"], "flag": True, "name": "x"},
                  on=[{"event": URL_EVENT, "done": True}]),
            set_url(), daemon=True, cmds={"linux": "python3"})),
    })  # fmt: skip
    result = one.up()
    assert json.loads(page(result["url"]))["args"][2:] == ["a b", "it's", "$HOME", "--flag", "--name", "x"]
    assert one.read("first") == "7\n"
    assert not (one.folder / "second").exists()
    one.down()


def test_a_start_script_that_starts_another_and_uses_what_it_returns(app):
    one = app({
        "pinokio.js": menu("installed"), "install.js": js(INSTALL),
        "backend/start.js": js(script(serve("python3 ../server.py {{port}} plain {{args.word}}"), set_url(),
                                      step("script.return", {"url": "{{local.url}}"}), daemon=True)),
        "start.js": js(script(
            step("script.start", {"uri": "backend/start.js", "params": {"word": "child"}}),
            set_url("{{input.url}}"), daemon=True)),
    })  # fmt: skip
    result = one.up()
    assert json.loads(page(result["url"]))["args"][2] == "child"
    assert sorted(one.status["running"]) == [f"{one.name}/backend/start.js", f"{one.name}/start.js"]
    one.down()


@pytest.mark.parametrize("daemon", [True, False])
def test_a_start_script_that_only_starts_another(app, daemon):
    one = app({
        "pinokio.js": menu("installed"), "install.js": js(INSTALL),
        "launch.js": js(script(serve("python3 server.py {{port}} plain {{args.mode}}"), set_url(), daemon=True)),
        "start.js": js(script(step("script.start", {"uri": "launch.js", "params": {"mode": "thin"}}), daemon=daemon)),
    }, name=f"thin-{daemon}".lower())  # fmt: skip
    result = one.up()
    assert json.loads(page(result["url"]))["args"][2] == "thin"
    one.down()


def test_a_start_that_prints_an_error_fails_and_leaves_nothing(app):
    one = app({
        "pinokio.js": menu("installed"), "install.js": js(INSTALL),
        "start.js": js(script(
            serve("python3 server.py {{port}}"),
            shell("echo 'ModuleNotFoundError: No module named torch'; sleep 1000"), set_url("http://127.0.0.1:1"), daemon=True)),
    })  # fmt: skip
    failed = one.up(fails=True)
    assert (failed["failed"]["step"], failed["failed"]["method"]) == (2, "shell.run")
    assert "ModuleNotFoundError" in " ".join(failed["failed"]["lines"])
    one.down()


def test_an_app_is_a_plain_start_file(app):
    one = app({"pinokio.js": 'module.exports = {title: "bare"}', "start.js": js(START)})
    one()
