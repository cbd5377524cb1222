"""What users get wrong, and what commands need before they may touch anything; nothing here starts an agent."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import cli
from orchestrator.engine.errors import advice
from tests.commands.conftest import agents

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Return a home with two apps that were never started."""
    for name in ("ComfyUI", "comfy-tools"):
        (tmp_path / "home/api" / name).mkdir(parents=True)
    monkeypatch.setenv("PINOCTL_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def invoke(home, capfd):
    """Return a function that runs the command line in this process: (status, stdout, stderr)."""

    def run(*arguments):
        status = cli.invoke([str(argument) for argument in arguments])
        return (status, *capfd.readouterr())

    return run


def test_every_command_has_help_and_the_table_tells_the_truth():
    for name, (_, _, text) in cli.COMMANDS.items():
        result = CliRunner().invoke(cli.pinoctl, [name, "--help"])
        assert result.exit_code == 0, result.output
        assert "Usage: pinoctl" in result.output
        assert not text.endswith(".")
    listed = CliRunner().invoke(cli.pinoctl, ["--help"]).output
    assert all(f"  {name} " in listed for name in cli.COMMANDS)


def test_every_exit_status_is_explained():
    assert set(cli.EXIT_STATUS) == {0, 1, 2, 129, 130, 141, 143}


@pytest.mark.parametrize(("arguments", "said"), [
    (["upp", "x"], "no such command `upp`. Did you mean `up`?"),
    (["up"], "missing argument `APP`"),
    (["up", "x", "--timeout", "soon"], "`soon` is not a valid float range"),
    (["up", "x", "--timeout", "0"], "0.0 is not in the range"),
    (["up", "x", "--from-step", "0"], "0 is not in the range"),
    (["up", "x", "--fresh", "--from-step", "2"], "`--fresh` and `--from-step` exclude each other"),
    (["up", "x", "--args", "{"], "`--args` is not valid JSON"),
    (["up", "x", "--args", "[1]"], "`--args` must be a JSON object"),
    (["up", "x", "--answers", "[1]"], "`--answers` must be an object by key"),
    (["up", "x", "--answers", "nothing.json"], "the answers file `nothing.json` cannot be read"),
    (["up", "x", "--answer", "novalue"], "`--answer` needs KEY=VALUE"),
    (["up", "comfyui", "--name", "../x"], "cannot be the name of an app"),
    (["up", "./nothing"], "does not exist"),
    (["up", "-x"], "no such option"),
    (["up", "ftp://example.com/x"], "`ftp` is not a protocol"),
    (["up", "comfi-ui-workflow-zzz"], "is neither installed nor in the catalogue"),
    (["down"], "`down` needs an app or `--all`"),
    (["down", "comfyui", "--all"], "`--all` and an app exclude each other"),
    (["status", "a b"], "cannot be the name of an app"),
    (["status", "comfyu"], "`comfyu` is not installed"),
    (["logs", "comfyui", "--tail", "-1"], "-1 is not in the range"),
    (["env", "comfyui", "A-B=1"], "cannot be the name of a variable"),
    (["env", "comfyui", "A"], "`A` sets nothing"),
    (["shell", "comfyui", "--venv", "none"], "is no virtual environment"),
    (["rm", "comfyui"], "nobody can be asked here"),
    (["run", "comfyui"], "missing argument `SCRIPT`"),
    (["run", "comfyui", "x.js", "--args", "1"], "`--args` must be a JSON object"),
])  # fmt: skip
def test_bad_input_is_told_apart_and_ends_with_2(invoke, arguments, said):
    status, out, err = invoke(*arguments)
    assert said in err
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert "Traceback" not in err


def test_near_names_are_shown(invoke):
    assert "hint: did you mean `ComfyUI`" in invoke("status", "comfyu")[2]
    assert "hint: installed are `comfy-tools` or `ComfyUI`" in invoke("status", "zzz")[2]
    assert "hint: did you mean" in invoke("up", "comfyuii")[2]


def test_an_empty_home_says_what_to_do(invoke, tmp_path):
    assert invoke("status", "--home", tmp_path / "none") == (
        0, "", f"no app in `{tmp_path}/none`; `pinoctl up APP` installs and starts one\n")  # fmt: skip
    assert invoke("status", "--home", tmp_path / "none", "--json") == (0, "[]\n", "")
    assert invoke("status", "x", "--home", tmp_path / "none")[0] == 2


def test_status_of_apps_that_never_ran(invoke, home):
    status, out, _ = invoke("status")
    assert status == 0
    assert [line.split()[:3] for line in out.splitlines()[1:]] == [
        ["comfy-tools", "not", "installed"],
        ["ComfyUI", "not", "installed"],
    ]
    found = json.loads(invoke("status", "COMFYUI", "--json")[1])
    assert found["app"] == "ComfyUI"
    assert set(found) == {
        "app", "state", "phase", "step", "steps", "reason", "url", "place", "origin", "ref", "path", "log", "pid",
        "since",
        "running", "ports", "usage", "restarts", "questions", "failed_children",
        "share_url", "tunnel", "public", "warning",
    }  # fmt: skip
    assert (home / "library.sqlite").is_file()


def test_a_state_that_was_left_is_settled(invoke, home):
    folder = home / "logs/ComfyUI"
    folder.mkdir(parents=True)
    for word, shown in (
        ("ready", "stopped"),
        ("starting", "stopped"),
        ("installing", "failed (step 3 of 7, it was killed before it ended)"),
    ):
        (folder / "state.json").write_text(
            json.dumps({"word": word, "step": 3, "steps": 7, "url": "http://127.0.0.1:1"})
        )
        found = json.loads(invoke("status", "comfyui", "--json")[1])
        assert (found["state"], found["url"]) == (shown, None)
    (folder / "state.json").write_text("[{")
    assert invoke("status")[0] == 0


def test_an_app_by_its_folder_and_its_origin(invoke, home, tmp_path):
    (tmp_path / "mine").mkdir()
    (home / "api/Mine").symlink_to(tmp_path / "mine")
    assert json.loads(invoke("status", "./mine", "--json")[1])["app"] == "Mine"
    assert json.loads(invoke("status", tmp_path / "mine", "--json")[1])["app"] == "Mine"
    for command in (["init", "-q"], ["remote", "add", "origin", "https://user:secret@example.com/a/b.git"]):
        subprocess.run(["git", "-C", tmp_path / "mine", *command], check=True)
    found = json.loads(invoke("status", "https://example.com/a/b", "--json")[1])
    assert found["app"] == "Mine"
    assert "secret" not in json.dumps(found)


def test_nothing_runs_nothing_is_stopped(invoke):
    assert invoke("down", "comfyui") == (0, "", "`ComfyUI` was not running\n")
    assert json.loads(invoke("down", "--all", "--json")[1]) == [
        {"app": "comfy-tools", "stopped": False, "state": "not installed"},
        {"app": "ComfyUI", "stopped": False, "state": "not installed"},
    ]
    status, out, err = invoke("open", "comfyui")
    assert (status, out) == (1, "")
    assert "`ComfyUI` has no URL, because it is not installed" in err
    assert json.loads(invoke("open", "comfyui", "--json")[1])["url"] is None


def test_logs_of_an_app_that_printed_nothing(invoke):
    assert invoke("logs", "comfyui") == (0, "", "`ComfyUI` has printed nothing yet\n")


def test_removing_an_app_keeps_what_is_shared(invoke, home):
    for path in ("drive/models/x", "cache/uv/x", "logs/ComfyUI/journal.jsonl", "api/ComfyUI/deep/x"):
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_text("x")
    invoke("status")
    assert invoke("rm", "comfyui", "--yes")[0] == 0
    assert sorted(path.name for path in (home / "api").iterdir()) == ["comfy-tools"]
    assert (home / "drive/models/x").exists()
    assert (home / "cache/uv/x").exists()
    assert not (home / "logs/ComfyUI").exists()
    assert "ComfyUI" not in invoke("status")[1]


@pytest.mark.parametrize("home", ["/proc/pinoctl", "/dev/null/pinoctl"])
def test_a_home_that_cannot_be_written(tmp_path, capfd, home):
    (tmp_path / "app").mkdir()
    status = cli.invoke(["up", str(tmp_path / "app"), "--home", home])
    err = capfd.readouterr().err
    assert status in {1, 2}
    assert f"error: the Pinokio home `{home}` cannot be used" in err
    assert "hint: " in err
    assert cli.invoke(["status", "--home", home]) == 0


@pytest.fixture
def small_disk(tmp_path):
    """Return a folder on a file system of 256 KB; mounting takes root."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True, check=False
    ).returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    (folder / "fill").unlink(missing_ok=True)
    ended = cli.invoke(["down", "--all", "--home", str(folder / "home")])
    subprocess.run(["umount", "-l", folder], check=True)
    assert ended == 0
    assert agents(folder / "home") == []


def test_a_full_disk(small_disk, tmp_path, capfd):
    home = small_disk / "home"
    (home / "api/app").mkdir(parents=True)
    with (small_disk / "fill").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096):
            pass
    assert cli.invoke(["status", "--home", str(home)]) == 0
    assert "app  not installed" in capfd.readouterr().out
    assert cli.invoke(["env", "app", "A=1", "--home", str(home)]) == 1
    err = capfd.readouterr().err
    assert "no space left" in err.lower()
    assert "Traceback" not in err
    (tmp_path / "other").mkdir()
    assert cli.invoke(["up", str(tmp_path / "other"), "--home", str(home)]) in {1, 2}
    err = capfd.readouterr().err
    assert "not enough disk to install" in err or "no space left" in err.lower()
    assert "Traceback" not in err


def loaded(*arguments, home):
    """Return the modules that a command loads."""
    program = (
        "import sys; import cli\n"
        f"sys.stdout = open('/dev/null', 'w'); status = cli.invoke({list(arguments)!r})\n"
        "sys.stderr.write('\\n' + ' '.join(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True,
                         env={**os.environ, "PINOCTL_HOME": str(home)})  # fmt: skip
    return set(ran.stderr.splitlines()[-1].split())


def test_help_and_status_load_little(home):
    modules = loaded("--help", home=home)
    light = {
        "orchestrator.commands",
        "orchestrator.commands.output",
        "orchestrator.engine",
        "orchestrator.engine.errors",
    }
    assert {name for name in modules if name.startswith("orchestrator.")} <= light
    loaded("status", home=home)  # the first one puts the index in order
    modules = loaded("status", home=home)
    assert not modules & {
        "asyncio",
        "requests",
        "rich",
        "docker",
        "huggingface_hub",
        "tenacity",
        "yaml",
        "psutil",
        "ssl",
    }
    assert "orchestrator.engine.engine" not in modules


def test_advice_names_the_app():
    assert advice("`pinoctl logs APP` shows it, `pinoctl up APP --fresh` begins anew", "x") == (
        "`pinoctl logs x` shows it, `pinoctl up x --fresh` begins anew")  # fmt: skip
    assert advice("`pinoctl env APP KEY=VALUE`", r"a\1") == r"`pinoctl env a\1 KEY=VALUE`"
    assert advice(None, "x") is None


def test_click_errors_are_worded_as_ours():
    error = cli.usage_error(click.UsageError("Invalid value for 'X': 'y' is wrong."))
    assert str(error) == "invalid value for `X`: `y` is wrong"
    assert error.exit_status == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["people", "add", "anna", "--password-file"],
        ["up", "comfyui", "--answers"],
        ["plan", "comfyui", "--hardware"],
        ["catalog", "add"],
    ],
)
def test_a_file_that_is_no_text_is_bad_input(invoke, tmp_path, arguments):
    (tmp_path / "raw").write_bytes(b"\xff\xfe caf\xe9 \x00")
    status, out, err = invoke(*arguments, tmp_path / "raw")
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
