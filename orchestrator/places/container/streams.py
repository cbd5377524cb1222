"""An exec in a container as the agent's client sees it: like a socket, with the daemon's framing taken off."""

from __future__ import annotations

import select
import struct
import time
from typing import TYPE_CHECKING, Any, Final

from orchestrator.places.container.docker import told

if TYPE_CHECKING:
    from orchestrator.places.container.docker import Docker

HEADER: Final = 8
STDOUT: Final = 1
PIECE: Final = 262144


class ExecStream:
    """Read what a command in a container prints and write what it reads; `errors` collects its stderr."""

    def __init__(self, docker: Docker, container: str, command: list[str]) -> None:
        with told("a command cannot be run in the container"):
            self.id: str = docker.api.exec_create(container, command, stdin=True, stdout=True, stderr=True)["Id"]
            self._reply: Any = docker.api.exec_start(self.id, socket=True)
        self._socket: Any = getattr(self._reply, "_sock", self._reply)
        self._docker = docker
        self._raw = bytearray()
        self._timeout: float | None = None
        self.errors = bytearray()

    def fileno(self) -> int:
        """Return the descriptor, for `select`."""
        number: int = self._socket.fileno()
        return number

    def settimeout(self, timeout: float | None) -> None:
        """Limit how long one call may wait, in seconds."""
        self._timeout = timeout
        self._socket.settimeout(timeout)

    def sendall(self, data: bytes) -> None:
        """Write to the command's stdin."""
        self._socket.sendall(data)

    def recv(self, _size: int = PIECE) -> bytes:
        """Return what the command printed since the last call, b"" once it ended; waits for whole pieces."""
        until = None if self._timeout is None else time.monotonic() + self._timeout
        while True:
            found = self._frames()
            if found:
                return found
            if until is not None and not select.select([self._socket], [], [], max(0.0, until - time.monotonic()))[0]:
                raise TimeoutError("the command in the container says nothing")
            piece = self._socket.recv(PIECE)
            if not piece:
                return b""
            self._raw += piece

    def _frames(self) -> bytes:
        """Take every whole frame out of the buffer and return what they hold of stdout."""
        found = bytearray()
        raw = self._raw
        while len(raw) >= HEADER:
            kind, length = struct.unpack(">B3xI", raw[:HEADER])
            if len(raw) < HEADER + length:
                break
            (found if kind == STDOUT else self.errors).extend(raw[HEADER : HEADER + length])
            del raw[: HEADER + length]
        return bytes(found)

    def close(self) -> None:
        """Close the connection; the command gets the end of its input."""
        self._socket.close()
        close = getattr(self._reply, "close", None)
        if close is not None:
            close()
