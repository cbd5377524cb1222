"""`shell.run` with real bash on a real terminal."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from orchestrator.engine.shell import shells
from orchestrator.engine.values import UNDEFINED
from tests.shell.conftest import LONG, until

NO_PATH = {"PATH": "/nowhere"}


async def test_runs_a_command(world: Any) -> None:
    result = await world.shell("echo hello", id="S")
    assert result["stdout"] == "<<PINOKIO_SHELL>> echo hello\r\nhello\r\n<<PINOKIO_SHELL>>"
    assert result["response"] == result["stdout"]
    assert result["id"] == "S"
    assert "error" not in result
    assert world.output.startswith("\r\n████\r\n██ Starting Shell S\r\n")
    assert "\x1b_" not in world.output
    assert world.events("shell.end") == [{"id": "S", "status": 0, "how": "prompt", "detached": False}]


async def test_array_runs_each_in_a_fresh_shell(world: Any) -> None:
    result = await world.shell(["X=1; cd /tmp", "", None, False, "echo x=[$X] $PWD"])
    assert f"x=[] {world.cwd}" in result["stdout"]
    assert len(world.events("shell.start")) == 2


async def test_array_stops_at_an_error(world: Any) -> None:
    result = await world.shell(["echo one", "echo error: two", "echo three"])
    assert result["error"] == ["error:"] * len(result["error"])
    assert "three" not in world.output


async def test_nothing_to_run(world: Any) -> None:
    assert await world.shell([]) is UNDEFINED
    assert "error" not in await world.shell("")
    assert "error" not in await world.call("shell.run")


async def test_exit_ends_the_step(world: Any) -> None:
    result = await world.shell("exit 3")
    assert "error" not in result
    assert world.events("shell.end")[0]["status"] == 3
    assert world.events("shell.end")[0]["how"] == "exit"


async def test_exec_and_errexit_end_the_step(world: Any) -> None:
    await world.shell("exec true")
    await world.shell("set -e\nfalse\necho not reached")
    assert [end["how"] for end in world.events("shell.end")] == ["exit", "exit"]
    assert [end["status"] for end in world.events("shell.end")] == [0, 1]


async def test_done_detaches_and_stop_kills(world: Any) -> None:
    result = await world.shell("echo up-$((40+2)); sleep 100", on=[{"event": r"/up-(\d+)/", "done": True}])
    assert result["event"].items[1] == "42"
    assert world.shells.alive(world.run_.key)
    assert not world.events("shell.end")
    await world.shells.kill_group(world.run_.key)
    assert not world.shells.alive(world.run_.key)
    assert world.events("shell.end")[0]["how"] == "stopped"


async def test_detached_shell_that_returns_to_its_prompt_is_killed(world: Any) -> None:
    await world.shell("echo up; sleep 0.2; (exit 7)", on=[{"event": r"/^up/m", "done": True}])
    await until(lambda: world.events("shell.end"))
    assert world.events("shell.end")[0] == {
        **world.events("shell.end")[0],
        "status": 7,
        "how": "prompt",
        "detached": True,
    }
    assert not world.shells.alive(world.run_.key)


async def test_kill_handler(world: Any) -> None:
    step = world.shell("echo ready-$((6*7)); sleep 1000", on=[{"event": r"/ready-(\d+)/", "kill": True}])
    result = await asyncio.wait_for(step, LONG)
    assert result["event"].items[1] == "42"
    assert not world.shells.alive(world.run_.key)


async def test_break_ends_at_once(world: Any) -> None:
    result = await asyncio.wait_for(world.shell("echo 'Err''or: bad'; sleep 1000"), LONG)
    assert result["error"]
    assert not world.shells.alive(world.run_.key)


async def test_invalid_pattern_ends_the_step_normally(world: Any) -> None:
    result = await world.shell("echo hi; sleep 50", on=[{"event": "plain text", "done": True}])
    assert result["stdout"] == ""
    assert "error" not in result
    assert world.events("warning")


async def test_a_command_that_the_host_lacks_is_told_of_once(world: Any) -> None:
    await world.shell("wget -q http://x/y || true", env=NO_PATH)
    await world.shell("wget -q http://x/y || curl z", env=NO_PATH)
    told = [data["text"] for data in world.events("warning")]
    assert [text.split(" is not on this host")[0] for text in told] == ["`wget`", "`curl`"]
    assert "install" in told[0]


async def test_a_command_of_the_environment_counts_as_there(world: Any) -> None:
    tool = world.cwd / "env/bin/wget"
    tool.parent.mkdir(parents=True)
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    (world.cwd / "env/bin/activate").write_text("")
    await world.shell("wget -q http://x/y || true", venv="env", env=NO_PATH)
    assert world.events("warning") == []


async def test_an_error_may_say_the_rest_of_it(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shells, "LAST_WORDS", LONG)  # it ends before, when the command is done
    result = await world.shell("echo 'er''ror: no model' | tr -d \"'\"; sleep 0.1; echo put it in mod''els")
    assert result["error"] == ["error:"]
    assert "put it in models" in world.run_.log.all_text()
