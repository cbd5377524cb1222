"""An exec in a container as the agent's client sees it: like a socket, with the daemon's framing taken off."""

from __future__ import annotations

import contextlib
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
PAUSES: Final = (0.0, 0.01, 0.05, 0.2, 0.5, 1.0, 3.0, 5.0)  # seconds before each look whether a command has ended


def ahead(reply: Any) -> bytes:
    """Return what a command said before we listened: docker-py leaves it where it read the head of the answer."""
    channel = getattr(reply, "_sock", reply)
    response = getattr(reply, "_response", None)
    if response is None:
        return b""
    timeout = channel.gettimeout()
    channel.settimeout(0.0)
    try:
        with contextlib.suppress(OSError, AttributeError):  # nothing is there over TLS, or it is no plain connection
            return bytes(response.raw._fp.fp.peek())  # noqa: SLF001  # docker-py takes the socket from there as well
    finally:
        channel.settimeout(timeout)
    return b""


def status_of(docker: Docker, command: str) -> int | None:
    """Return the exit status of a command whose output has ended, None where it goes on without us."""
    for pause in PAUSES:  # its status is known a moment later
        time.sleep(pause)
        about = docker.api.exec_inspect(command)
        if not about["Running"] and about["ExitCode"] is not None:
            return int(about["ExitCode"])
    return None


def run(docker: Docker, container: str, command: list[str], **how: Any) -> tuple[int | None, bytes, bytes]:
    """Run a command in a container to its end; return its exit status, what it printed, and its errors."""
    stream = ExecStream(docker, container, command, **how)
    try:
        stream.settimeout(None)
        with told("a command in the container cannot be heard"):
            printed = b"".join(iter(stream.recv, b""))
            return status_of(docker, stream.id), printed, bytes(stream.errors)
    finally:
        stream.close()


class ExecStream:
    """Read what a command in a container prints and write what it reads; `errors` collects its stderr."""

    def __init__(self, docker: Docker, container: str, command: list[str], **how: Any) -> None:
        with told("a command cannot be run in the container"):
            made = docker.api.exec_create(container, command, stdin=True, stdout=True, stderr=True, **how)
            self.id: str = made["Id"]
            self._reply: Any = docker.api.exec_start(self.id, socket=True)
        self._socket: Any = getattr(self._reply, "_sock", self._reply)
        self._docker = docker
        self._raw = bytearray(ahead(self._reply))
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
