"""The engine's side of the keepers: starts shells below them, hears of their end, has everything below killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.engine.errors import ScriptError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KEEPER = Path(__file__).with_name("keeper.py")
KILL_TIMEOUT = 10.0  # seconds; a keeper gives up after half of that


class Kept:
    """Be one shell under its keeper.

    `exited` becomes the shell's exit status (negative for a signal), `gone` is set when no process of it is left.
    """

    def __init__(self, control: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._control = control
        self._loop = loop
        self._rest = b""
        self._asked: list[asyncio.Future[bool]] = []
        self._started: asyncio.Future[int] = loop.create_future()
        self.exited: asyncio.Future[int] = loop.create_future()
        self.gone = asyncio.Event()
        self._kept = asyncio.Event()  # the shell is ended, and something of it lives on
        self.left: list[int] = []  # processes that could not be killed
        self.failure: str | None = None  # why the shell's program could not be executed
        loop.add_reader(control.fileno(), self._read)

    async def send(self, request: bytes) -> int:
        """Hand the keeper its request; return the shell's process id or raise ScriptError when it could not start."""
        await self._loop.sock_sendall(self._control, len(request).to_bytes(4, "big") + request)
        return await self._started

    async def others(self) -> bool:
        """Tell whether any process other than the shell itself lives under it."""
        if self.gone.is_set():
            return False
        answer: asyncio.Future[bool] = self._loop.create_future()
        self._asked.append(answer)
        self._send(b"q")
        return await answer

    async def end(self) -> None:
        """Kill the shell and all below it; daemons that it left behind live on under the keeper (see `gone`)."""
        if self.gone.is_set():
            return
        self._kept.clear()
        self._send(b"e")
        waits = [asyncio.ensure_future(self.gone.wait()), asyncio.ensure_future(self._kept.wait())]
        await asyncio.wait(waits, timeout=KILL_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def kill(self) -> None:
        """Kill the shell and everything that it started; return when nothing is left."""
        if not self.gone.is_set():
            self._send(b"k")
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.gone.wait(), KILL_TIMEOUT)
        self._close()

    def abandon(self) -> None:
        """Let go of the keeper, which kills everything below it; for when nobody can wait any more."""
        self._close()

    def _send(self, command: bytes) -> None:
        try:
            self._control.send(command)
        except OSError:
            self._close()

    def _read(self) -> None:
        try:
            data = self._control.recv(4096)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._close()
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._hear(line.decode("utf-8", "replace"))

    def _hear(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == "started" and not self._started.done():
            self._started.set_result(int(rest))
        elif word == "failed":
            self.failure = rest
        elif word == "exit" and not self.exited.done():
            self.exited.set_result(int(rest))
        elif word == "others" and self._asked:
            answer = self._asked.pop(0)
            if not answer.done():
                answer.set_result(rest == "1")
        elif word == "left":
            self.left = [int(pid) for pid in rest.split()]
        elif word == "kept":
            self._kept.set()
        elif word == "gone":
            self._close()

    def _close(self) -> None:
        """Take the keeper's silence for its end."""
        if self._control.fileno() >= 0:
            self._loop.remove_reader(self._control.fileno())
            self._control.close()
        if not self._started.done():
            self._started.set_exception(
                ScriptError("the shell could not start: its keeper ended", hint="check the memory of this host")
            )
            self._started.exception()  # somebody may have stopped waiting
        if not self.exited.done():
            self.exited.set_result(-9)
        for answer in self._asked:
            if not answer.done():
                answer.set_result(False)
        self._asked.clear()
        self.gone.set()


class Spawner:
    """Start shells, each below a keeper of its own; the server that forks keepers starts with the first need."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._server: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        """Start the server ahead of time, if it is not there."""
        if self._socket is not None:
            return
        ours, theirs = socket.socketpair()
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-I", "-S", "-X", "utf8", str(KEEPER), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        self._socket = ours

    async def spawn(
        self, argv: Sequence[str], *, env: Mapping[str, str], cwd: str, terminal: int, rc: bytes = b""
    ) -> tuple[Kept, int]:
        """Start a shell on a terminal; return it with its process id.

        `argv[0]` is an absolute path, `terminal` the slave side of a PTY (the caller closes it), `rc` what the shell
        can read from descriptor 9 (at most what a pipe holds, 64 KiB). Raises ScriptError when it cannot start.
        """
        ours, theirs = socket.socketpair()
        rc_read, rc_write = os.pipe()
        try:
            os.write(rc_write, rc)
            self._request([theirs.fileno(), terminal, rc_read])
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(rc_read)
            os.close(rc_write)
        ours.setblocking(False)  # noqa: FBT003  # the socket's own signature
        kept = Kept(ours)
        try:
            pid = await kept.send(json.dumps({"argv": list(argv), "env": dict(env), "cwd": cwd}).encode())
        except BaseException as error:
            kept.abandon()
            if isinstance(error, OSError):
                raise ScriptError(
                    f"the shell could not start: {error}", hint="check the memory of this host"
                ) from error
            raise
        return kept, pid

    def _request(self, descriptors: list[int]) -> None:
        for attempt in (1, 2):
            self.prepare()
            assert self._socket is not None  # noqa: S101  # prepare() made it
            try:
                socket.send_fds(self._socket, [b"s"], descriptors)
            except OSError:  # the server was killed: begin a new one; keepers do not depend on it
                self.close()
                if attempt == 2:  # noqa: PLR2004  # the second and last
                    raise
            else:
                return

    def close(self) -> None:
        """End the server; shells that live go on under their keepers."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._server is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._server.wait(2)
            self._server = None
