"""Forwarding in a container: apps bind 127.0.0.1, which no published port reaches; reserved ports lead there."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PIECE: Final = 1 << 18
BACKLOG: Final = 1024
MAIN: Final = 0
OTHER: Final = {"127.0.0.1": "::1", "::1": "127.0.0.1"}


class Forwarder:
    """Listen on reserved ports and pass what comes on to the servers assigned to them."""

    def __init__(self, ports: Sequence[int], allowed: Callable[[str], bool] | None) -> None:
        self._reserved = tuple(ports)
        self._allowed = allowed
        self._targets: dict[int, tuple[str, int]] = {}
        self._slots: dict[int, int] = {}  # app port → slot
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    async def listen(
        cls,
        ports: Sequence[int],
        *,
        host: str = "0.0.0.0",  # noqa: S104  # a container's own address
        allowed: Callable[[str], bool] | None = None,
    ) -> Forwarder:
        """Listen on every port of `ports`; `allowed` tells of a peer's address whether it may come in."""
        forwarder = cls(ports, allowed)
        try:
            for slot, port in enumerate(ports):
                forwarder._servers.append(
                    await asyncio.start_server(forwarder._accept(slot), host, port, limit=PIECE, backlog=BACKLOG)
                )
        except BaseException:
            await forwarder.close()
            raise
        return forwarder

    def set_target(self, slot: int, target: tuple[str, int] | None) -> None:
        """Say where a slot leads; connections that are open stay as they are."""
        if target is None:
            self._targets.pop(slot, None)
        else:
            self._targets[slot] = (loopback(target[0]), target[1])

    def assign(self, main: int | None, others: Sequence[tuple[str, int]]) -> dict[int, int]:
        """Give the app's main port the first slot, and its further servers the next ones in order of appearance.

        Returns app port → reserved port; servers for which no slot is left are not in it.
        """
        hosts = {port: host for host, port in reversed(others)}
        slots = {port: slot for port, slot in self._slots.items() if slot != MAIN and port in hosts and port != main}
        if main is not None:
            slots[main] = MAIN
        free = [slot for slot in range(1, len(self._reserved)) if slot not in slots.values()]
        for _host, port in others:
            if port not in slots and free:
                slots[port] = free.pop(0)
        self._slots = slots
        for slot in range(len(self._reserved)):
            self.set_target(slot, None)
        for port, slot in slots.items():
            self.set_target(slot, (hosts.get(port, "127.0.0.1"), port))
        return {port: self._reserved[slot] for port, slot in slots.items()}

    async def close(self) -> None:
        """Stop listening and cut every connection."""
        for server in self._servers:
            server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, slot: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._serve(slot, reader, writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return accept

    async def _serve(self, slot: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            peer = str((writer.get_extra_info("peername") or [""])[0])
            target = self._targets.get(slot)
            if target is None or (self._allowed is not None and not self._allowed(peer)):
                return
            opened = await connect(target)
            if opened is not None:
                await splice((reader, writer), opened)
        finally:
            cut(writer)


Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def loopback(host: str) -> str:
    """Return the address under which a server is reached from inside."""
    return {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # compared, nothing is bound


async def connect(target: tuple[str, int]) -> Pair | None:
    """Connect to a server, by the other loopback address where one refuses; None when nobody is there."""
    host, port = target
    for each in (host, OTHER.get(host)):
        if each is not None:
            with contextlib.suppress(OSError):
                return await asyncio.open_connection(each, port, limit=PIECE)
    return None


async def splice(one: Pair, other: Pair) -> None:
    """Pass bytes both ways until both sides are done; the end of one direction is passed on and the other goes on."""
    both = [asyncio.ensure_future(_pump(one[0], other[1])), asyncio.ensure_future(_pump(other[0], one[1]))]
    try:
        done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_EXCEPTION)
        if any(task.exception() is not None for task in done):
            return
    finally:
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)
        cut(other[1])


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(PIECE):
        writer.write(piece)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


def cut(writer: asyncio.StreamWriter) -> None:
    """Close a connection, whatever state it is in."""
    with contextlib.suppress(OSError, RuntimeError):
        writer.close()


def gateway_of(route: str) -> str | None:
    """Return the default gateway in the text of `/proc/net/route`, None without one."""
    for line in route.splitlines()[1:]:
        columns = line.split()
        if len(columns) > 2 and columns[1] == "00000000":  # noqa: PLR2004  # interface, destination, gateway
            with contextlib.suppress(ValueError, struct.error):
                return socket.inet_ntoa(struct.pack("<L", int(columns[2], 16)))
    return None
