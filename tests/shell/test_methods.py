"""`shell.start`, `shell.enter`, `shell.write`, `shell.stop`, conda and the `hf` methods."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from orchestrator.engine.errors import ScriptError
from orchestrator.engine.methods import hf as _hf  # noqa: F401  # registers the methods
from orchestrator.engine.values import UNDEFINED

AT_PROMPT = [{"event": None, "return": True}]


async def test_a_session_of_old(world: Any) -> None:
    assert await world.call("shell.start", {"path": "sub", "env": {"A": "1"}}) == str(world.cwd)
    assert await world.call("shell.enter", {"message": "X=5; cd /tmp; sleep 0.1", "on": AT_PROMPT}) is True
    assert await world.call("shell.enter", {"message": ["echo a", "echo x=$X $PWD $A"], "on": AT_PROMPT}) is True
    assert "x=5 /tmp 1\r\n" in world.output
    assert (world.cwd / "sub").is_dir()
    await world.call("shell.stop")
    assert not world.shells.ids()
    with pytest.raises(ScriptError, match="does not exist"):
        await world.call("shell.enter", {"message": "x"})


async def test_enter_waits_for_a_pattern(world: Any) -> None:
    await world.call("shell.start", {"id": "S1", "message": "echo started"})
    found = await world.call(
        "shell.enter",
        {
            "id": "S1",
            "message": "sleep 0.1; echo val-$((20+2)); sleep 50",
            "on": [{"event": r"/val-\d/", "return": "yes"}],
        },
    )
    assert found == "yes"
    await world.call("shell.write", {"id": "S1", "message": "typed only"})
    with pytest.raises(ScriptError):
        await world.call("shell.write")


async def test_enter_fails_when_the_shell_ends(world: Any) -> None:
    await world.call("shell.start", {"id": "S1"})
    with pytest.raises(ScriptError, match="ended"):
        await world.call("shell.enter", {"id": "S1", "message": "exit", "on": [{"event": "/never-ever/", "return": 1}]})


async def test_start_waits_for_its_own_handler(world: Any) -> None:
    assert (
        await world.call(
            "shell.start",
            {"id": "S2", "message": "sleep 0.2; echo up-$((1+1)); sleep 50", "on": [{"event": "/up-2/", "done": True}]},
        )
        == "S2"
    )
    assert "up-2" in world.output
    await world.call("shell.stop", {"group": world.run_.key})
    assert world.events("shell.end")[0]["how"] == "stopped"


async def test_paths_are_made_and_blanks_survive(world: Any) -> None:
    result = await world.shell("python --version && pwd", path="sub dir", venv="my env")
    assert (world.cwd / "sub dir" / "my env" / "bin" / "python").exists()
    assert f"{world.cwd}/sub dir\r\n" in result["stdout"]
    again = await world.shell("echo $VIRTUAL_ENV", path="sub dir", venv="my env")
    assert f"{world.cwd}/sub dir/my env\r\n" in again["stdout"].replace("\r\n\r\n", "\r\n")


async def test_conda_is_installed_only_when_named(world: Any) -> None:
    world.engine.tools.conda.install = world.conda.install
    await world.shell("true")
    await world.shell("true", conda={"skip": True})
    assert world.conda.installs == 0
    assert [asked[2] for asked in world.asked] == [True, False]
    await world.shell("true", conda={"skip": True, "name": "x"})
    assert world.conda.installs == 0
    await world.shell("true", conda={"name": "x"})
    assert world.conda.installs == 1
    assert "conda activate x && true" in world.output.replace("\r", "").replace(" \n", "")


async def test_the_guard_blanks_the_message(world: Any) -> None:
    world.conda.there = True
    result = await world.shell("conda install -y python=3.12")
    assert result["stdout"] == ""
    assert "base environment" in world.output
    assert not world.events("shell.start")


async def test_wrong_parameters(world: Any) -> None:
    for params in (
        {"env": "A=1"},
        {"-env": "A"},
        {"path": 7},
        {"on": "x"},
        {"on": ["x"]},
        {"shell": 3},
        {"cols": "wide"},
        {"cols": -1},
        {"message": True},
        {"conda": {}},
        {"shell": "no-such-shell"},
    ):
        with pytest.raises(ScriptError):
            await world.call("shell.run", {"message": "true", **params})
    with pytest.raises(ScriptError):
        await world.call("shell.run", "text")
    assert not world.shells.ids()


async def test_the_newest_shell_of_an_id_counts(world: Any) -> None:
    await world.call("shell.start", {"id": "S"})
    await world.call("shell.start", {"id": "S"})
    await world.call("shell.enter", {"id": "S", "message": "echo hi", "on": AT_PROMPT})
    assert await world.shells.stop("S")
    assert not await world.shells.stop("S")


@pytest.fixture
def hf_tool(world: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "hf").write_text('#!/bin/sh\nfor word; do echo "[$word]"; done\n')
    (tools / "hf").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")


@pytest.mark.usefixtures("hf_tool")
async def test_hf(world: Any) -> None:
    (world.cwd / "models").mkdir()
    (world.cwd / "models" / "listed").touch()
    result = await world.call("hf.download", {"_": ["a/b", "x y"], "local-dir": "out", "path": "models", "quiet": True})
    assert "[download]\r\n[a/b]\r\n[x]\r\n[y]\r\n[--local-dir]\r\n[out]\r\n[--quiet]\r\nlisted" in result["stdout"]
    result = await world.call("hf.upload", {"_": ["a/b", "x y"], "private": True})
    assert "[upload]\r\n[a/b]\r\n[x y]\r\n[--private]" in result["stdout"]
    with pytest.raises(ScriptError):
        await world.call("hf.download", {"path": "x"})


async def test_hf_login(world: Any) -> None:
    world.engine.base_env = {}
    assert await world.call("hf.login") == {"status": "unauthenticated"}
    assert "HF_TOKEN" in world.events("warning")[0]["text"]
    world.engine.base_env = {"HF_TOKEN": "x"}
    assert await world.call("hf.login") == {"status": "authenticated"}
    assert (await world.call("hf.logout"))["status"] == "unauthenticated"


async def test_undefined_params(world: Any) -> None:
    assert (await world.call("shell.run", UNDEFINED))["event"] is UNDEFINED
    await asyncio.sleep(0)
