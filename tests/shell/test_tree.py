"""What a shell starts ends with its step, daemons with the run; nothing survives that, whatever it does to get away."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.shell.conftest import processes_with, until

ESCAPES = {
    "plain": "sleep {0} &",
    "nohup": "nohup sleep {0} >/dev/null 2>&1 &",
    "setsid": "setsid sleep {0} >/dev/null 2>&1 </dev/null &",
    "double fork": "( ( setsid sleep {0} >/dev/null 2>&1 </dev/null & ) & )",
    "empty environment": "env -i $(command -v setsid) $(command -v sleep) {0} >/dev/null 2>&1 </dev/null &",
    "disown": "sleep {0} & disown -a",
    "python daemon": "python3 -c 'import os,time\nif os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\n"
    'os.execvp("sleep",["sleep","{0}"])\'',
    "ignores signals": "(trap '' HUP INT TERM; exec sleep {0}) &",
}


def marker() -> str:
    marker.number = getattr(marker, "number", 0) + 1
    return f"{90000 + os.getpid() % 10000}.{marker.number:04d}"


DAEMONS = {"setsid", "double fork", "empty environment", "python daemon"}  # these have no living parent in the shell


async def started(world: Any, name: str, mark: str) -> Any:
    """Run one of ESCAPES in a step that ends when its `sleep` is where it stays; return the step's result."""
    step = asyncio.ensure_future(
        world.shell(ESCAPES[name].format(mark) + "\nuntil [ -e there ]; do sleep 0.05; done; echo started", id="S")
    )
    await until(lambda: world.events("shell.start"))
    shell = psutil.Process(world.events("shell.start")[-1]["pid"])
    parent = shell.ppid() if name in DAEMONS else shell.pid
    await until(lambda: any(is_sleep_below(parent, pid) for pid in processes_with(mark)))
    (world.cwd / "there").touch()
    return await step


def is_sleep_below(parent: int, pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        return process.name() == "sleep" and process.ppid() == parent
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("name", ESCAPES)
async def test_jobs_end_with_the_step_and_daemons_with_the_run(world: Any, name: str) -> None:
    mark = marker()
    assert "started" in (await started(world, name, mark))["stdout"]
    assert bool(processes_with(mark)) == (name in DAEMONS)
    assert world.shells.alive(world.run_.key) == (name in DAEMONS)
    assert "next" in (await world.shell("echo next"))["stdout"]
    assert bool(processes_with(mark)) == (name in DAEMONS)
    await world.shells.kill_group(world.run_.key)
    assert not processes_with(mark)
    assert not world.shells.alive(world.run_.key)


async def test_a_daemon_that_ends_by_itself_is_forgotten(world: Any) -> None:
    mark = marker()
    await started(world, "setsid", mark)
    assert world.shells.alive(world.run_.key)
    os.kill(*processes_with(mark), signal.SIGTERM)
    await until(lambda: not world.shells.alive(world.run_.key))


async def test_everything_dies_when_a_detached_shell_is_stopped(world: Any) -> None:
    marks = {name: marker() for name in ESCAPES}
    lines = "\n".join(ESCAPES[name].format(mark) for name, mark in marks.items())
    await world.shell(f"{lines}\necho up-$((1+1)); sleep 1000", on=[{"event": "/up-2/", "done": True}])
    await until(lambda: all(processes_with(mark) for mark in marks.values()))
    await world.shells.stop(world.shells.ids()[0])
    assert not any(processes_with(mark) for mark in marks.values())


ENGINE = """
import asyncio, os, sys
from orchestrator.engine.shell.session import Session, SessionSpec
from orchestrator.engine.shell.spawner import Spawner
async def main():
    async def hear(text): pass
    env = {"PATH": os.environ["PATH"], "PS1": "<<PINOKIO_SHELL>> "}
    spec = SessionSpec(["/bin/bash", "--noprofile", "--norc"], env, "/tmp")
    session = await Session.start(Spawner(), spec, hear)
    await session.ready.wait()
    session.type(sys.argv[1])
    await asyncio.sleep(1000)
asyncio.run(main())
"""


async def test_an_engine_killed_outright_leaves_nothing() -> None:
    marks = [marker() for _ in ESCAPES]
    lines = "\n".join(text.format(mark) for text, mark in zip(ESCAPES.values(), marks, strict=True))
    engine = subprocess.Popen([sys.executable, "-c", ENGINE, f"{lines}\nsleep {marks[0]}"])  # noqa: ASYNC220  # quick
    try:
        await until(lambda: all(set(processes_with(mark)) - {engine.pid} for mark in marks))
    finally:
        engine.send_signal(signal.SIGKILL)
        engine.wait()
    await until(lambda: not any(processes_with(mark) for mark in marks))


async def test_the_server_may_die_between_shells(world: Any) -> None:
    await world.shell("echo one-$((1+1)); sleep 1000", on=[{"event": "/one-2/", "done": True}])
    server = world.shells._spawner._server
    server.kill()
    server.wait()
    assert world.shells.alive(world.run_.key)
    assert "two" in (await world.shell("echo two"))["stdout"]


async def test_fifty_shells_leak_no_descriptor(world: Any) -> None:
    await world.shell("true")
    before = descriptors()
    await asyncio.gather(*(world.shell("true") for _ in range(10)))
    for _ in range(4):
        await asyncio.gather(*(world.shell("exit 1") for _ in range(10)))
    assert len(descriptors()) == len(before)
    await until(lambda: len(_children(world.shells._spawner._server.pid)) == 1)  # the one that waits for the next shell


def descriptors() -> list[Path]:
    return list(Path("/proc/self/fd").iterdir())


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


async def test_a_shell_inherits_no_descriptor_and_no_variable(world: Any) -> None:
    result = await world.shell("ls /proc/self/fd | tr '\\n' ,; env | cut -d= -f1 | sort | tr '\\n' ,", cols=400)
    assert "0,1,2,3," in result["stdout"]
    assert "0,1,2,3,4" not in result["stdout"]
    names = set(result["stdout"].split("0,1,2,3,")[1].split("\r\n")[0].split(","))
    assert names - {"", "<<PINOKIO_SHELL>>"} == {"PATH", "PS1", "HOME", "LANG", "TERM", "PWD", "SHLVL", "_"} | (
        {"OLDPWD"} & names
    )


async def test_signals_are_as_they_should_be(world: Any) -> None:
    result = await world.shell("grep -E '^Sig(Blk|Ign)' /proc/self/status")
    assert "SigBlk: 0000000000000000" in result["stdout"]
    ignored = int(result["stdout"].split("SigIgn:")[1].split()[0], 16)
    assert ignored & (1 << (signal.SIGPIPE - 1)) == 0
    assert ignored & (1 << (signal.SIGINT - 1)) == 0


async def test_cancelling_the_step_kills(world: Any) -> None:
    mark = marker()
    task = asyncio.ensure_future(world.shell(f"sleep {mark}"))
    await until(lambda: processes_with(mark))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not processes_with(mark))


async def test_stopping_while_it_prints(world: Any) -> None:
    task = asyncio.ensure_future(world.shell("yes", id="loud"))
    await until(lambda: "y\r\ny" in world.output)
    await world.shells.kill_group(world.run_.key)
    assert await task == ""
    assert not world.shells.ids()
