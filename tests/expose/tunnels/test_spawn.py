"""Real processes: what they write, how they end, and that none outlives the daemon."""

# ruff: noqa: ASYNC110  # /proc never waits, and has no events

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
import time
from pathlib import Path

import pytest

from orchestrator.engine.errors import PinoctlError
from orchestrator.expose.tunnels import spawn
from orchestrator.expose.tunnels.provider import Start
from tests.expose.tunnels.lab import PATIENCE, words
from tests.expose.world import time_passes

ENV = {"PATH": os.environ["PATH"]}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False


async def gone(pid: int) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if not alive(pid):
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"process {pid} is still there")


async def start(script: str, **more) -> spawn.Running:
    return await spawn.spawn(Start(port=1, argv=("sh", "-c", script), env=ENV, **more))


async def test_lines_of_both_streams_without_colours():
    running = await start(r"printf '\033[32mone\033[0m\ntwo'; printf 'old\rthree\n' >&2; exit 3")
    lines = [line async for line in running.lines()]
    assert sorted(lines) == [("stderr", "three"), ("stdout", "one"), ("stdout", "two")]
    assert await running.wait() == 3
    await running.end()


async def test_very_long_lines_and_bytes_that_are_no_text():
    running = await start(r"head -c 300000 /dev/zero | tr '\0' x; echo; printf '\377\n'; echo end")
    lines = [line async for _, line in running.lines()]
    assert lines[-2:] == ["\ufffd", "end"]
    await running.end()


async def test_input_stays_open():
    running = await start("cat; echo closed")
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(running.wait(), 0.3)
    await running.end()
    assert not alive(running.pid)


async def test_the_end_of_a_whole_family():
    running = await start("sleep 1000 & echo $!; exec sleep 1000")
    child = int((await _first(running))[1])
    assert alive(child)
    await running.end()
    assert not alive(running.pid)
    await gone(child)


async def test_a_program_that_does_not_want_to_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(spawn, "GRACE", 0.2)
    running = await start("trap '' TERM; echo ready; while :; do sleep 0.05; done")
    assert await _first(running) == ("stdout", "ready")
    await running.end()
    assert await running.wait() == -signal.SIGKILL


async def _first(running: spawn.Running) -> tuple[str, str]:
    return await running.lines().__anext__()


async def test_no_such_program():
    running = await spawn.spawn(Start(port=1, argv=("/no/such/program",), env=ENV))
    lines = [line async for _, line in running.lines()]
    assert lines == ["cannot start `/no/such/program`: No such file or directory"]
    assert await running.wait() == 127
    await running.end()


async def test_files_are_ours_alone_and_once_is_once(tmp_path: Path):
    config, made = tmp_path / "gate" / "conf", tmp_path / "gate" / "made"
    plan = Start(
        port=1,
        argv=("cat", str(config), str(made)),
        env=ENV,
        files=((config, "text\n"),),
        once=((made, ("sh", "-c", f"echo x >> {made}")),),
    )
    for _ in range(2):
        running = await spawn.spawn(plan)
        assert [line async for _, line in running.lines()] == ["text", "x"]
        await running.end()
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert sorted(path.name for path in config.parent.iterdir()) == ["conf", "made"]


async def test_what_is_run_once_may_fail(tmp_path: Path):
    plan = Start(port=1, argv=("true",), env=ENV, once=((tmp_path / "key", ("sh", "-c", "echo no disk; exit 4")),))
    with pytest.raises(PinoctlError, match="status 4: no disk"):
        await spawn.spawn(plan)


async def test_run_ends_what_takes_too_long(tmp_path: Path):
    script = f"echo $$ > {tmp_path}/pid; touch {tmp_path}/begun; exec sleep 1000"
    running = asyncio.create_task(spawn.run(("sh", "-c", script), ENV, seconds=PATIENCE))
    while not (tmp_path / "begun").exists():
        await asyncio.sleep(0.02)
    while not running.done():  # it may be that nobody waits for its end yet
        time_passes(PATIENCE)
        await asyncio.sleep(0.02)
    with pytest.raises(PinoctlError, match=f"did not end within {PATIENCE:g} s"):
        await running
    await gone(int((tmp_path / "pid").read_text("utf-8")))


DAEMON = """
import asyncio, os
from orchestrator.expose.tunnels.provider import Start
from orchestrator.expose.tunnels.spawn import spawn
async def main():
    running = await spawn(Start(port=1, argv=("sleep", "1000"), env={"PATH": os.environ["PATH"]}))
    print(running.pid, flush=True)
    await asyncio.sleep(1000)
asyncio.run(main())
"""


async def test_a_killed_daemon_leaves_no_tunnel_behind():
    daemon = await asyncio.create_subprocess_exec(sys.executable, "-c", DAEMON, stdout=asyncio.subprocess.PIPE)
    assert daemon.stdout is not None
    pid = int(await daemon.stdout.readline())
    while words(pid)[0] != b"sleep":  # before that it is what becomes it
        await asyncio.sleep(0.02)
    daemon.kill()
    await daemon.wait()
    await gone(pid)
