"""Updates, references, names, and apps that start each other."""

# launchers are data: a step per line reads best

from __future__ import annotations

import json

import pytest

from tests.patterns.conftest import git, page
from tests.patterns.sources import INSTALL, START, js, menu, script, serve, set_url, shell, step

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FILES = {"pinokio.js": menu("installed"), "install.js": js(INSTALL), "start.js": js(START)}


def cloned(app, forge, files, name, **keywords):
    """Publish a launcher and bring it up from its URL; the app's folder is then the clone."""
    one = app(files, name=name)
    one.url = forge(one.folder, name)
    one.source, one.folder = one.folder, one.program.home / "api" / name
    one.up(target=one.url, **forge.env, **keywords)
    return one


def test_an_update_by_git_pull(app, forge):
    update = js(script(shell("git pull"), {**shell("git pull", path="app"), "when": "{{exists('app/.git')}}"}))
    one = cloned(
        app, forge, {**FILES, "update.js": update, "version": "1", ".gitignore": "installed\nENVIRONMENT\n"}, "pulls"
    )
    (one.source / "version").write_text("2")
    forge(one.source, "pulls")
    ran = one.run("update", "pulls", "--json", **forge.env)
    assert ran.status == 0, ran.err
    assert ran.json["state"] == "ready", "it ran before, so it runs again"
    assert "hello" in page(ran.json["url"])
    assert one.read("version") == "2"
    assert one.read("installed") == "yes"
    one.down()


@pytest.mark.parametrize("running", [True, False])
def test_an_update_that_fails_changes_nothing(app, forge, running):
    update = js(script(shell("git pull"), shell("echo half > half; rm installed; echo 'error: no space left'")))
    name = f"rolls-back-{running}".lower()
    one = cloned(
        app, forge, {**FILES, "update.js": update, "version": "1", ".gitignore": "installed\nENVIRONMENT\nhalf\n"}, name
    )
    if not running:
        one.down()
    (one.source / "version").write_text("2")
    forge(one.source, name)
    ran = one.run("update", name, "--json", **forge.env)
    assert ran.status == 1, ran.err
    assert (one.read("version"), one.read("installed")) == ("1", "yes")
    assert not (one.folder / "half").exists()
    assert git("status", "--porcelain", cwd=one.folder) == ""
    state = one.state
    assert state == ("ready" if running else "stopped"), "as it was before"
    if not running:
        assert one.up(target=name)["state"] == "ready"
    one.down()


def test_a_git_url_with_a_reference(app, forge):
    one = app({**FILES, "version": "1"}, name="tagged")
    url = forge(one.folder, "tagged", tag="v1")
    (one.folder / "version").write_text("2")
    forge(one.folder, "tagged")
    home = one.program.home / "api"
    one.up("--name", "first", target=f"{url}@v1", **forge.env)
    one.up("--name", "second", target=f"{url}@main", **forge.env)
    assert (home / "first/version").read_text() == "1"
    assert (home / "second/version").read_text() == "2"
    first, second = (one.run("open", name).last for name in ("first", "second"))
    assert first != second
    assert "hello" in page(first)
    for name in ("first", "second"):
        assert one.run("down", name).status == 0
    one.gone()


def test_a_folder_with_blanks(app):
    one = app({
        "pinokio.js": menu("my app/env"),
        "my app/readme": "",
        "install.js": js(script(shell(["uv pip list", "pwd > where"], venv="env", venv_python="3", path="my app"))),
        "start.js": js(script(serve("python '../server.py' {{port}}", path="my app", venv="env"), set_url(), daemon=True)),
    }, name="a folder with blanks")  # fmt: skip
    one.name = "blanks"
    result = one.up("--name", "blanks")
    assert json.loads(page(result["url"]))["prefix"].endswith("/my app/env")
    assert one.read("my app/where").endswith("/my app\n")
    one.down()


def test_starting_another_app_by_its_git_url(app, forge):
    helper = app(
        {
            **FILES,
            "start.js": js(
                script(
                    serve("python3 server.py {{port}} plain {{args.word}}"),
                    set_url(),
                    step("script.return", {"url": "{{local.url}}"}),
                    daemon=True,
                )
            ),
        },
        name="helper",
    )
    url = forge(helper.folder, "helper")
    one = app({
        "pinokio.js": menu("installed"), "install.js": js(INSTALL),
        "start.js": js(script(
            step("script.start", {"uri": f"{url}/start.js", "params": {"word": "helped"}}),
            serve("python3 server.py {{port}}", env={"DEMO_HELPER": "{{input.url}}"}), set_url(), daemon=True)),
    })  # fmt: skip
    result = one.up(**forge.env)
    told = json.loads(page(result["url"]))
    assert json.loads(page(told["env"]["DEMO_HELPER"]))["args"][2] == "helped"
    assert (one.program.home / "api/forge_test_helper_git/start.js").is_file()
    one.down()


def test_up_down_and_up_again_are_quick_and_the_same(app):
    one = app(FILES)
    first = one()
    second = one(target=one.name)
    assert "install.js" not in one.err
    assert {key: first[key] for key in ("app", "state", "place", "failed")} == {
        key: second[key] for key in ("app", "state", "place", "failed")
    }
    assert one.run("reset", one.name, "--yes").status == 2, "this launcher has no reset script"


def test_apps_that_start_at_the_same_time_get_different_ports(app):
    slow = js(script(serve("sleep 0.5; python3 server.py {{port}} plain {{name}}"), set_url(), daemon=True))
    several = [app({**FILES, "start.js": slow}, name=f"at-once-{number}") for number in range(3)]
    commands = [one.start("up", one.folder) for one in several]
    assert [command.wait(timeout=300) for command in commands] == [0, 0, 0]
    urls = [one.run("open", one.name).last for one in several]
    assert len(set(urls)) == 3
    for one, url in zip(several, urls, strict=True):
        assert one.name in json.loads(page(url))["args"][2]
        one.down()
