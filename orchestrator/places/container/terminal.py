"""A command in a container on the user's own terminal, or between pipes; the exit status is the command's."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import struct
import sys
import termios
import tty
from typing import TYPE_CHECKING, Any, Final

from orchestrator.places.container.docker import Docker, DockerError, told
from orchestrator.places.container.streams import ahead, status_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PIECE: Final = 65536
HEADER: Final = 8


def execute(docker: Docker, container: str, command: Sequence[str], *, folder: str, environment: dict[str, str]) -> int:
    """Run a command in a container, joined to this process's terminal or pipes, and return its exit status."""
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    with told("the command cannot be run in the container"):
        made = docker.api.exec_create(
            container, list(command), stdin=True, stdout=True, stderr=True, tty=terminal, workdir=folder,
            environment=environment,
        )  # fmt: skip
        reply = docker.api.exec_start(made["Id"], socket=True, tty=terminal)
    channel = getattr(reply, "_sock", reply)
    try:
        if terminal:
            with _raw(sys.stdin.fileno()), _sized(docker, made["Id"]):
                _join(channel, ahead(reply), framed=False)
        else:
            _join(channel, ahead(reply), framed=True)
    finally:
        reply.close()
    with told():
        status = status_of(docker, made["Id"])
    if status is None:
        raise DockerError(
            "the connection to the container broke before the command ended", hint="it may be at work there still"
        )
    return status


@contextlib.contextmanager
def _raw(descriptor: int) -> Iterator[None]:
    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _sized(docker: Docker, command: str) -> Iterator[None]:
    def resize(*_: Any) -> None:
        columns, lines = shutil.get_terminal_size()
        with contextlib.suppress(Exception):  # a command that has just ended has no size
            docker.api.exec_resize(command, height=lines, width=columns)

    before = signal.signal(signal.SIGWINCH, resize)
    try:
        resize()
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


def _join(channel: Any, first: bytes, *, framed: bool) -> None:
    """Pass bytes both ways until the command has ended, `first` what it said already; our input's end is passed on."""
    stdin, buffer, reading = sys.stdin.fileno(), bytearray(first), True
    while True:
        if framed:
            _frames(buffer)
        else:
            _put(1, bytes(buffer))
            buffer.clear()
        ready, _, _ = select.select([channel, *([stdin] if reading else [])], [], [])
        if stdin in ready:
            piece = os.read(stdin, PIECE)
            if piece:
                channel.sendall(piece)
            else:
                reading = False
                with contextlib.suppress(OSError):
                    channel.shutdown(1)
        if channel in ready:
            piece = channel.recv(PIECE)
            if not piece:
                return
            buffer += piece


def _frames(buffer: bytearray) -> None:
    while len(buffer) >= HEADER:
        kind, length = struct.unpack(">B3xI", buffer[:HEADER])
        if len(buffer) < HEADER + length:
            return
        _put(kind, bytes(buffer[HEADER : HEADER + length]))
        del buffer[: HEADER + length]


def _put(kind: int, data: bytes) -> None:
    stream = sys.stderr.buffer if kind == 2 else sys.stdout.buffer  # noqa: PLR2004  # Docker's number of stderr
    stream.write(data)
    stream.flush()
