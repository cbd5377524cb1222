"""`exec`: a command without terminal, conda or venv (spec 7.5)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any

from orchestrator.engine.call import Call, method
from orchestrator.engine.disk import disk
from orchestrator.engine.errors import ScriptError
from orchestrator.engine.methods.parameters import given, number, optional_mapping, optional_text
from orchestrator.engine.values import UNDEFINED, to_text, truthy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.engine.run import Run

_FOLLOWERS: set[asyncio.Task[None]] = set()  # kept from being collected while they wait
_LIMIT = 64 * 1024 * 1024  # bytes of output kept of each stream


@method("exec")
async def execute(call: Call) -> Any:
    """Run `message` with a plain shell; a non-zero exit status is an `error`, which ends the script.

    `cwd` or `path` is relative to the script's folder, `timeout` counts milliseconds as in Node.
    """
    params = call.mapping()
    message = optional_text(call, params, "message")
    if not message:
        return UNDEFINED
    if "\0" in message:
        raise ScriptError("`message` holds a NUL character, which no command can hold")
    folder = given(params, "cwd") or given(params, "path")
    cwd = call.path("cwd", folder) if folder is not None else call.cwd
    shell = params.get("shell") if isinstance(params.get("shell"), str) else "/bin/sh"
    extra = {
        key: to_text(value) for key, value in optional_mapping(call, params, "env").items() if value is not UNDEFINED
    }
    timeout = number(call, params, "timeout")
    env = {**await call.engine.shell_environment(call.run), **extra}
    with disk("run a command in", cwd):
        process = await _start(str(shell), message, cwd=cwd, env=env)
    outputs, late = await _finish(process, timeout / 1000 if timeout else None)
    _follow(call.run, process.pid)
    stdout, stderr = (data.decode("utf-8", "replace") for data in outputs)
    for text in (stdout, stderr):
        if text:
            call.run.output(text.replace("\r\n", "\n").replace("\n", "\r\n"))
    return {"stdout": stdout, "error": _error(message, process.returncode, stderr, late=late), "stderr": stderr}


async def _start(shell: str, message: str, *, cwd: str, env: Mapping[str, str]) -> asyncio.subprocess.Process:
    """Start a command in a process group of its own; one that is stopped while it starts is killed with its group."""
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            shell,
            "-c",
            message,
            cwd=cwd,
            env=env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            limit=1 << 20,
        )
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        with contextlib.suppress(OSError):
            _kill(await starting)
        raise


async def _finish(
    process: asyncio.subprocess.Process, timeout: float | None
) -> tuple[list[bytes], bool]:  # the step's own
    """Collect both streams until the command is over; tell whether it ran out of time."""
    reading = asyncio.gather(_read(process.stdout), _read(process.stderr), process.wait())
    try:
        stdout, stderr, _ = await asyncio.wait_for(asyncio.shield(reading), timeout)
    except (asyncio.TimeoutError, TimeoutError):
        _kill(process)
        try:
            stdout, stderr, _ = await asyncio.wait_for(reading, 2)
        except (asyncio.TimeoutError, TimeoutError):  # something outside the group holds the streams open
            stdout = stderr = b""
        return [stdout, stderr], True
    except asyncio.CancelledError:
        _kill(process)
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading
        raise
    return [stdout, stderr], False


async def _read(stream: asyncio.StreamReader | None) -> bytes:
    kept = bytearray()
    while stream is not None and (chunk := await stream.read(1 << 16)):
        kept += chunk[: max(0, _LIMIT - len(kept))]
    return bytes(kept)


def _kill(process: asyncio.subprocess.Process) -> None:
    """Kill the command with all that stayed in its session's process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _members(group: int) -> set[tuple[int, float]]:
    """Return the processes of a group with their start times, which tell them from later ones of the same number."""
    import psutil  # noqa: PLC0415  # start-up time

    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if os.getpgid(process.pid) == group:
                found.add((process.pid, process.create_time()))
    return found


def _follow(run: Run, group: int) -> None:
    """Kill what a command left in the background when the script is stopped, as the shells do."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return
    left = _members(group)

    async def end() -> None:
        await run.stopped.wait()
        if left & _members(group):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)

    task = asyncio.create_task(end())
    _FOLLOWERS.add(task)
    task.add_done_callback(_FOLLOWERS.discard)


def _error(message: str, status: int | None, stderr: str, *, late: bool) -> str | None:
    if not late and not truthy(status):
        return None
    how = "it ran out of time" if late else f"exit status {status}"
    last = stderr.strip().splitlines()[-1:] or [""]
    return f"Command failed: {message} ({how})" + (f": {last[0]}" if last[0] else "")
