"""Starting and ending the programs of tunnels: files first, a process group each, nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from orchestrator.engine.errors import PinoctlError
from orchestrator.expose.within import within

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from orchestrator.expose.tunnels.provider import Start

GRACE: Final = 3.0  # seconds that a program has to say goodbye to its server
LONGEST_LINE: Final = 1 << 16
ONCE_SECONDS: Final = 30.0
_COLOURS: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07]*(?:\x07|\x1b\\)")
_CHILD: Final = Path(__file__).with_name("child.py")


class Running(Protocol):
    """Stand for a program that runs."""

    @property
    def pid(self) -> int:
        """Its process id."""

    def lines(self) -> AsyncIterator[tuple[str, str]]:
        """Yield (stream, line) as they come, without colours; ends when the program does."""

    async def wait(self) -> int:
        """Wait for its end; returns the exit status, negative for a signal."""

    async def end(self) -> None:
        """End it and what it started; returns when it is gone."""


class Program:
    """Hold a real process, in a group of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._queue: asyncio.Queue[tuple[str, str] | None] = asyncio.Queue(maxsize=1000)
        streams = {"stdout": process.stdout, "stderr": process.stderr}
        self._readers = [asyncio.create_task(self._read(name, stream)) for name, stream in streams.items() if stream]

    @property
    def pid(self) -> int:
        """Tell the process id."""
        return self._process.pid

    async def lines(self) -> AsyncIterator[tuple[str, str]]:
        """Yield what it writes, line by line."""
        open_streams = len(self._readers)
        while open_streams:
            item = await self._queue.get()
            if item is None:
                open_streams -= 1
            else:
                yield item

    async def wait(self) -> int:
        """Wait for the process itself; what it started may still hold its output open."""
        return await self._process.wait()

    async def end(self) -> None:
        """Ask the group to end, kill it after a moment, and wait until the process is gone."""
        self._signal(signal.SIGTERM)
        try:
            await within(GRACE, self._process.wait())
        except asyncio.TimeoutError:
            pass
        finally:
            self._signal(signal.SIGKILL)
            await self._process.wait()
            for reader in self._readers:
                reader.cancel()
            await asyncio.gather(*self._readers, return_exceptions=True)
            if self._process.stdin is not None:
                self._process.stdin.close()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    async def _read(self, name: str, stream: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await stream.readline()
            except ValueError:  # longer than a line may be; what is buffered of it is gone
                continue
            if not line:
                break
            text = _COLOURS.sub("", line.decode("utf-8", "replace")).rstrip("\r\n")
            await self._queue.put((name, text.rpartition("\r")[2]))
        await self._queue.put(None)


async def spawn(start: Start) -> Running:
    """Write the files that a program needs, run what is to be run once, and start it; raises PinoctlError."""
    prepare(start)
    for path, argv in start.once:
        if not path.exists():
            try:
                await run(argv, start.env, seconds=ONCE_SECONDS)
            except PinoctlError:
                if not path.exists():  # else another tunnel was faster
                    raise
    try:
        process = await asyncio.create_subprocess_exec(
            *_become(start.argv),
            # Kept open and never written to: some programs take the end of their input for a goodbye.
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(start.env),
            start_new_session=True,
            limit=LONGEST_LINE,
        )
    except OSError as error:
        raise PinoctlError(f"cannot start `{start.argv[0]}`: {error.strerror or error}") from error
    return Program(process)


async def run(argv: Sequence[str], env: Mapping[str, str], *, seconds: float, cwd: Path | None = None) -> None:
    """Run a program to its end; raises PinoctlError with the end of what it wrote when it fails or takes too long."""
    try:
        process = await asyncio.create_subprocess_exec(
            *_become(argv),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
        )
    except OSError as error:
        raise PinoctlError(f"cannot start `{argv[0]}`: {error.strerror or error}") from error
    try:
        said, _ = await within(seconds, process.communicate())
    except asyncio.TimeoutError as error:
        raise PinoctlError(f"`{Path(argv[0]).name}` did not end within {seconds:g} s") from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode:
        last = said.decode("utf-8", "replace").strip()[-500:]
        raise PinoctlError(f"`{Path(argv[0]).name}` failed with status {process.returncode}: {last}")


def prepare(start: Start) -> None:
    """Write the files of a start for our eyes only."""
    for path, text in start.files:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        beside.replace(path)
    for path, _ in start.once:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)


def _become(argv: Sequence[str]) -> tuple[str, ...]:
    return (sys.executable, "-I", "-S", str(_CHILD), str(os.getpid()), *argv)
