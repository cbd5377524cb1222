"""The commands on a real launcher under a real agent, as a user runs them."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.commands.conftest import served

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_an_app_from_its_folder_to_its_url_and_back(pinoctl, launcher):
    folder = launcher("whole")
    first = pinoctl("up", folder)
    assert first.status == 0, first.err
    assert first.out.count("\n") == 1, "stdout is the URL alone"
    assert served(folder, first.last)
    lines = first.err.splitlines()
    assert f"`whole` is linked to `{folder}`" in lines
    assert "install.js step 1 of 3: log" in lines
    assert "install.js step 2 of 3: shell.run" in lines
    assert "start.js step 2 of 2: local.set" in lines
    assert "one\rtwo" in first.err, "raw output keeps its carriage returns"
    assert "serving normal" in first.err, "the menu item's own arguments are used"

    again = pinoctl("up", "WHOLE", "--json")
    assert again.json == {
        "app": "whole", "state": "ready", "url": first.last, "place": "host", "failed": None, "failed_children": [],
        "share_url": None, "share_link": None, "share_problem": None, "local_link": None, "tunnel": None,
        "log": str(pinoctl.home / "logs/whole/terminal.log"),
    }  # fmt: skip
    assert "step" not in again.err, "a ready app is left alone"

    assert pinoctl("open", "whole").out == first.out
    assert pinoctl("open", "whole", "--json").json == {
        "app": "whole",
        "state": "ready",
        "url": first.last,
        "place": "host",
        "share_url": None,
        "share_link": None,
        "share_problem": None,
        "local_link": None,
        "tunnel": None,
    }

    status = pinoctl.live("whole")
    assert (status["state"], status["url"], status["path"]) == ("ready", first.last, str(pinoctl.home / "api/whole"))
    assert status["running"] == ["whole/start.js"]
    assert f"http://127.0.0.1:{status['ports'][0]['port']}" == first.last
    assert any(
        line.startswith("whole ") and " ready " in line and first.last in line
        for line in pinoctl("ps").out.splitlines()
    )

    menu = pinoctl("menu", "whole", "--json").json
    assert menu["stage"] == "running"
    assert menu["items"][0]["href"] == first.last

    down = pinoctl("down", "whole", "--json")
    assert down.json == [{"app": "whole", "stopped": True, "state": "stopped"}]
    assert not served(folder, first.last)
    assert pinoctl("status", "whole", "--json").json["state"] == "stopped"
    twice = pinoctl("down", "whole")
    assert (twice.status, twice.err) == (0, "`whole` was not running\n")
    closed = pinoctl("open", "whole")
    assert (closed.status, closed.out) == (1, "")
    assert "`whole` has no URL, because it is stopped" in closed.err
    assert "hint: start it with `pinoctl up whole`" in closed.err

    assert "running" not in pinoctl("env", "whole", "A=1").err
    quiet = pinoctl("restart", "whole", "-q")
    assert quiet.status == 0
    assert quiet.err == ""
    assert served(folder, quiet.last)

    assert "`pinoctl restart whole` makes it count" in pinoctl("env", "whole", "A=2").err
    gone = pinoctl("rm", "whole", "--yes")
    assert gone.status == 0
    assert (folder / "installed.txt").exists(), "a linked folder is only unlinked"
    assert not (pinoctl.home / "api/whole").is_symlink()
    assert not (pinoctl.home / "logs/whole").exists()
    assert not served(folder, quiet.last)
    assert pinoctl("status", "whole").status == 2


def test_scripts_logs_update_and_reset(pinoctl, launcher):
    folder = launcher("tools")
    assert pinoctl("up", folder, "-q").status == 0
    ran = pinoctl("run", "tools", "tool.js", "--args", '{"what": "this"}', "--json")
    assert ran.status == 0, ran.err
    assert {key: ran.json[key] for key in ("app", "script", "status", "daemon", "error")} == {
        "app": "tools", "script": "tool.js", "status": "end", "daemon": False, "error": None,
    }  # fmt: skip
    assert (folder / "tool.txt").read_text() == "this"
    assert "tool this" in ran.err

    broken = pinoctl("run", "tools", "broken.js")
    assert broken.status == 1
    assert "error: `broken.js` failed at step 2 (`no.such`)" in broken.err
    assert "`pinoctl logs tools` shows everything" in broken.err
    missing = pinoctl("run", "tools", "nothing.js")
    assert missing.status == 2
    assert "`tools` has no script `nothing.js`" in missing.err
    outside = pinoctl("run", "tools", "../whole/start.js")
    assert outside.status == 2

    logs = pinoctl("logs", "tools")
    assert "two\n" in logs.out
    assert "one" not in logs.out.split("\n"), "an overwritten line shows what stayed"
    assert "\x1b" not in logs.out
    assert "\r" not in logs.out
    assert len(pinoctl("logs", "tools", "--tail", "2").out.splitlines()) == 2
    assert b"\r" in pinoctl("logs", "tools", "--raw").out.encode() or "\x1b" in pinoctl("logs", "tools", "--raw").out
    events = [json.loads(line) for line in pinoctl("logs", "tools", "--events").out.splitlines()]
    assert {"agent.start", "step.start", "ready"} <= {event["kind"] for event in events}

    updated = pinoctl("update", "tools", "--json")
    assert updated.status == 0, updated.err
    assert updated.json["state"] == "ready", "what ran before runs again"
    assert (folder / "version.txt").read_text() == "2"

    refused = pinoctl("reset", "tools")
    assert refused.status == 2
    assert "Delete everything?" in refused.err
    assert (folder / "installed.txt").exists()
    assert pinoctl("reset", "tools", "--yes", "-q").status == 0
    assert not (folder / "installed.txt").exists()
    assert pinoctl("status", "tools", "--json").json["state"] == "not installed"
    anew = pinoctl("up", "tools")
    assert "install.js step 3 of 3: fs.write" in anew.err
    pinoctl("down", "tools")


def test_a_variant_and_arguments_of_ones_own(pinoctl, launcher):
    folder = launcher("variants")
    unknown = pinoctl("up", folder, "--script", "Start fast")
    assert unknown.status == 2
    assert "`variants` has no script or menu item `Start fast`" in unknown.err
    bare = pinoctl("up", folder, "--script", "fast.js", "--args", '{"mode": "bare"}')
    assert "serving bare" in bare.err, "a script's file can be named before the menu offers it"
    fast = pinoctl("up", folder, "--script", "Start fast", "--args", '{"extra": "more"}')
    assert fast.status == 0, fast.err
    assert "serving fast more on" in fast.err
    normal = pinoctl("up", "variants", "--script", "start.js")
    assert "serving normal" in normal.err
    assert "fast" not in normal.err
    extra = pinoctl("up", "variants", "--args", '{"mode": "mine"}')
    assert "serving mine" in extra.err
    none = pinoctl("up", "variants", "--script", "nothing.js")
    assert none.status == 2
    assert pinoctl("open", "variants").out == extra.out, "a mistake does not stop the app"
    pinoctl("down", "variants")


def test_a_failed_install_says_what_to_do_and_goes_on(pinoctl, launcher):
    folder = launcher(
        "failing",
        install_js="""module.exports = {run: [
      {method: "fs.write", params: {path: "first.txt", text: "at {{Date.now()}}"}},
      {method: "fs.copy", params: {src: "needed.txt", dest: "copied.txt"}},
      {method: "fs.write", params: {path: "installed.txt", text: "yes"}},
    ]}""",
    )
    failed = pinoctl("up", folder, "--json")
    assert failed.status == 1
    assert failed.json["state"].startswith("failed (step 2")
    assert failed.json["url"] is None
    assert failed.json["failed"]["method"] == "fs.copy"
    assert "error: install.js step 2 (`fs.copy`) failed: " in failed.err
    advice = failed.err.splitlines()[-1]
    assert "`pinoctl up failing` tries again from step 2" in advice
    assert "`pinoctl up failing --fresh`" in advice
    assert "`pinoctl logs failing`" in advice
    assert str(pinoctl.home / "logs/failing/terminal.log") in advice
    assert pinoctl("status", "failing", "--json").json["state"] == failed.json["state"]
    assert failed.json["state"] in pinoctl("status", "failing").out, "one app's state is shown whole"
    first = (folder / "first.txt").read_text()

    (folder / "needed.txt").write_text("")
    good = pinoctl("up", "failing")
    assert good.status == 0, good.err
    assert (folder / "first.txt").read_text() == first, "the first step is not done again"
    assert "step 1 of 3" not in good.err
    fresh = pinoctl("up", "failing", "--fresh")
    assert fresh.status == 0
    assert "install.js step 1 of 3" in fresh.err, "an app that is ready is installed anew"
    pinoctl("down", "failing")


def test_the_variables_of_an_app(pinoctl, launcher):
    folder = launcher("variables")
    (folder / "_ENVIRONMENT").write_text("# mine\nMODEL=small\nHF_TOKEN=hf_secret\n")
    pinoctl.home.joinpath("api").mkdir(exist_ok=True)
    pinoctl.home.joinpath("api/variables").symlink_to(folder)
    before = pinoctl("env", "variables").out.splitlines()
    assert "MODEL=small" in before
    assert "HF_TOKEN=***" in before
    assert not (folder / "ENVIRONMENT").exists(), "looking creates nothing"

    changed = pinoctl("env", "Variables", "MODEL=large one", "API_KEY=k3y", "EMPTY=", "--unset", "HF_TOKEN", "--json")
    assert changed.status == 0, changed.err
    assert "k3y" not in changed.out + changed.err
    assert changed.json["app"] == "variables"
    values = changed.json["values"]
    assert (values["MODEL"], values["API_KEY"], values["EMPTY"], values["HF_TOKEN"]) == ("large one", "***", "", "")
    text = (folder / "ENVIRONMENT").read_text()
    assert text.startswith("# mine\nMODEL=large one\n"), "lines are changed where they are"
    assert (folder / "ENVIRONMENT").stat().st_mode & 0o777 == 0o600
    for wrong in ("NOTHING", "1A=x", "A B=x", "=x"):
        assert pinoctl("env", "variables", wrong).status == 2
    assert (folder / "ENVIRONMENT").read_text() == text


def test_a_shell_inside_the_app(pinoctl, launcher):
    folder = launcher("shelled")
    pinoctl.home.joinpath("api").mkdir(exist_ok=True)
    pinoctl.home.joinpath("api/shelled").symlink_to(folder)
    for place in ("env", "app/venv"):
        (folder / place / "bin").mkdir(parents=True)
        (folder / place / "pyvenv.cfg").write_text("")
        (folder / place / "bin/activate").write_text(f'VIRTUAL_ENV="{folder}/{place}"; export VIRTUAL_ENV')
    pinoctl("env", "shelled", "MODEL=small one")
    shown = pinoctl(
        "shell", "shelled", "--", "sh", "-c", 'echo "$MODEL|$VIRTUAL_ENV|$PINOKIO_SCRIPT_DEFAULT|$PWD"; exit 7'
    )
    assert shown.status == 7, shown.err
    assert shown.out == f"small one|{folder}/env|true|{folder}\n"
    assert "`--venv` takes `app/venv`" in shown.err
    other = pinoctl("shell", "shelled", "--venv", "app/venv", text='echo "$VIRTUAL_ENV"\n')
    assert other.out == f"{folder}/app/venv\n"
    assert pinoctl("shell", "shelled", "--venv", "nothing").status == 2
    assert pinoctl("shell", "shelled", "no-such-command").status == 127
    pinoctl("rm", "shelled", "-y")


def test_an_app_from_a_git_url_at_a_ref(pinoctl, launcher):
    folder = launcher("origin")
    git = ["git", "-C", folder, "-c", "user.name=x", "-c", "user.email=x@localhost"]
    for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "one"], ["tag", "v1"]):
        subprocess.run([*git, *command], check=True)
    (folder / "install.js").unlink()
    subprocess.run([*git, "commit", "-qam", "broken"], check=True)
    up = pinoctl("up", f"file://{folder}@v1", "--name", "Cloned", "--json")
    assert up.status == 0, up.err
    assert (up.json["app"], up.json["state"]) == ("Cloned", "ready")
    assert (pinoctl.home / "api/Cloned/installed.txt").exists()
    assert not (folder / "installed.txt").exists()
    status = pinoctl("status", f"file://{folder}", "--json").json
    assert status["app"] == "Cloned"
    assert status["origin"] == f"file://{folder}"
    assert status["ref"] == "v1"
    library = pinoctl.home / "library.sqlite"
    library.unlink()
    assert pinoctl("status", "cloned", "--json").json["origin"] == f"file://{folder}"
    assert pinoctl("rm", "cloned", "-y").status == 0
    assert not (pinoctl.home / "api/Cloned").exists()


def test_a_failed_update_changes_nothing(pinoctl, launcher):
    folder = launcher(
        "updated",
        update_js="""module.exports = {run: [
      {method: "fs.write", params: {path: "server.py", text: "broken"}},
      {method: "fs.copy", params: {src: "nothing.txt", dest: "x.txt"}},
    ]}""",
    )
    assert pinoctl("up", folder, "-q").status == 0
    before = (folder / "server.py").read_text()
    failed = pinoctl("update", "updated", "--json")
    assert failed.status == 1
    assert "update.js step 2 (`fs.copy`) failed" in failed.err
    assert "the version before is back" in failed.err
    assert (folder / "server.py").read_text() == before
    assert failed.json["state"] == "ready"
    assert served(folder, pinoctl("open", "updated").last)
    none = pinoctl("rm", "updated", "--yes")
    assert none.status == 0
