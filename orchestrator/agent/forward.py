"""Forwarding in a container: reserved ports on all addresses, each passed on to a server that an app has on loopback.

A published port reaches a container's own address, never its loopback, where apps listen as a rule; and it has to be
chosen before the app's own port is known. So a few reserved ports are listened on, and their targets come later.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import sys
from functools import partial
from typing import TYPE_CHECKING, cast

from orchestrator.engine.errors import PinoctlError
from orchestrator.expose.gate.wire import addresses, plain_address

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

V4 = "127.0.0.1"
BACKLOG = 1024
BUFFER = 1 << 20  # bytes that may wait for a slow reader before its writer is held back
CONNECT_SECONDS = 10.0
KEEPALIVE_SECONDS = 60  # a peer that vanished without a word is noticed after some minutes of these

_ROUTE_UP_GATEWAY = 0x1 | 0x2  # RTF_UP and RTF_GATEWAY of linux/route.h
_ROUTE_FIELDS = 8  # up to and including the mask


class ForwardError(PinoctlError):
    """A reserved port could not be listened on."""


def gateway_of(route_text: str) -> str | None:
    """Read the default gateway (IPv4, dotted) from the text of /proc/net/route; None without one.

    With several the one of the lowest metric counts, as for the kernel.
    """
    found: list[tuple[int, str]] = []
    for line in route_text.splitlines()[1:]:
        fields = line.split()
        if len(fields) < _ROUTE_FIELDS:
            continue
        with contextlib.suppress(ValueError, OverflowError):
            destination, gateway, flags, mask = (int(fields[at], 16) for at in (1, 2, 3, 7))
            if destination == mask == 0 and flags & _ROUTE_UP_GATEWAY == _ROUTE_UP_GATEWAY:
                # The kernel prints the address as a number in its own byte order.
                found.append((int(fields[6]), str(ipaddress.IPv4Address(gateway.to_bytes(4, sys.byteorder)))))
    return min(found)[1] if found else None


def only_from(gateway: str | None) -> Callable[[str], bool]:
    """Make a Forwarder's `allowed` that takes loopback and the gateway of the bridge network, and nobody else."""

    def allowed(peer: str) -> bool:
        try:
            return peer == gateway or ipaddress.ip_address(peer).is_loopback
        except ValueError:
            return False

    return allowed


def arrived(transport: asyncio.BaseTransport) -> bytes:
    """Read what has come in on a connection that broke: asyncio drops it as soon as writing fails.

    An app that answers without reading all of a request, and ends, breaks it so; its answer is here. To be called from
    `connection_lost`, when the socket is still open.
    """
    pieces = []
    with contextlib.suppress(OSError), transport.get_extra_info("socket").dup() as rest:
        rest.settimeout(0)
        while data := rest.recv(BUFFER):
            pieces.append(data)
    return b"".join(pieces)


class _End(asyncio.Protocol):
    """One end of a forwarded connection; what arrives goes to the other end, no faster than that takes it."""

    def __init__(self, opened: Callable[[_End], None], lost: Callable[[_End], None]) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: _End | None = None
        self.finished = False  # the peer has sent everything
        self._early = bytearray()
        self._opened = opened
        self._lost = lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=BUFFER)
        self.transport.pause_reading()
        _keep_alive(self.transport.get_extra_info("socket"))
        self._opened(self)

    def join(self, other: _End) -> None:
        """Begin to pass on what arrives here."""
        self.other = other
        if self._early:
            self._pass(bytes(self._early))
            self._early.clear()
        if self.finished:
            self._pass_end()
        elif self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            self._pass(data)
            return
        # Early releases of Python 3.10 and 3.11 read on although reading was paused as soon as the connection stood.
        self._early += data
        if self.transport is not None:
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        self.finished = True
        if self.other is not None:
            self._pass_end()
        return True  # this end may still be written to

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        other = self.other
        if other is not None and other.transport is not None and not (other.finished or other.transport.is_closing()):
            other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost(self)
        if exc is not None and not self.finished and self.transport is not None:
            self._pass(arrived(self.transport))
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()  # after what is still to be sent: it may be the answer that says why

    def abort(self) -> None:
        """End this connection without waiting for what has not been sent."""
        if self.transport is not None:
            self.transport.abort()

    def _pass(self, data: bytes) -> None:
        if self.other is not None and self.other.transport is not None and not self.other.transport.is_closing():
            self.other.transport.write(data)

    def _pass_end(self) -> None:
        other = self.other
        if other is None or other.transport is None or self.transport is None:
            return
        if other.finished:
            self.transport.close()
            other.transport.close()
        elif not other.transport.is_closing():
            with contextlib.suppress(OSError):  # reset a moment ago; its reader will be told
                other.transport.write_eof()


class Forwarder:
    """The reserved ports of a container (slots 0, 1, ...) and the servers that they lead to; made by `listen`."""

    def __init__(self, allowed: Callable[[str], bool] | None) -> None:
        self._allowed = allowed
        self._servers: list[asyncio.Server] = []
        self._targets: list[tuple[str, int] | None] = []
        self._keeps: dict[int, int] = {}  # app's port -> slot, also of servers that are gone, in order of appearance
        self._ends: set[_End] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._closed = False
        self.ports: tuple[int, ...] = ()

    @classmethod
    async def listen(
        cls,
        ports: Sequence[int],
        *,
        host: str = "0.0.0.0",  # noqa: S104  # what is published is reached by the container's own address
        allowed: Callable[[str], bool] | None = None,
    ) -> Forwarder:
        """Listen on the reserved ports (0 takes a free one; `.ports` says which), all without a target so far.

        `allowed` is asked about each peer's address (as `plain_address` writes it); None lets everyone in. Raises
        ForwardError when a port is taken; nothing stays open then.
        """
        forwarder = cls(allowed)
        loop = asyncio.get_running_loop()
        try:
            for slot, port in enumerate(ports):
                forwarder._targets.append(None)
                opened = partial(forwarder._accept, slot)
                factory = partial(_End, opened, forwarder._ends.discard)
                server = await loop.create_server(factory, host, port, backlog=BACKLOG)
                forwarder._servers.append(server)
                forwarder.ports += (int(server.sockets[0].getsockname()[1]),)
        except OSError as error:
            await forwarder.close()
            raise ForwardError(
                f"cannot listen on the reserved port {port} of `{host}`: {error.strerror or error}",
                hint="End what listens there, or reserve other ports",
            ) from error
        return forwarder

    def set_target(self, slot: int, target: tuple[str, int] | None) -> None:
        """Lead new connections of this slot to (host, port), or close them at once (None); raises IndexError."""
        if not 0 <= slot < len(self._targets):
            raise IndexError(f"there is no slot {slot}, only {len(self._targets)} ports are reserved")
        self._targets[slot] = target

    def target(self, slot: int) -> tuple[str, int] | None:
        """Say where new connections of this slot go; raises IndexError."""
        return self._targets[slot]

    def assign(self, main: int | None, others: Sequence[tuple[str, int]]) -> dict[int, int]:
        """Give slot 0 to the app's main port and the next ones to its other servers; returns app port -> reserved port.

        `others` is everything that listens now, (host, port); it may name the main port (which tells its host) and our
        own ports, which are passed over. A port keeps its slot as long as there are slots for all, also while nobody
        listens there; when there are too few, those longest known go first, and the newest get none.
        """
        hosts: dict[int, str] = {}
        for host, port in others:
            if port not in self.ports:
                hosts.setdefault(port, host)
        if main is not None:
            hosts.setdefault(main, V4)
            self._keeps.pop(main, None)
        further = [port for port in hosts if port != main]
        for port in further:
            if port not in self._keeps and (slot := self._free_slot(hosts)) is not None:
                self._keeps[port] = slot
        slots = {port: self._keeps[port] for port in further if port in self._keeps}
        if main is not None and self.ports:
            slots = {main: 0, **slots}
        targets = {slot: (hosts[port], port) for port, slot in slots.items()}
        self._targets = [targets.get(slot) for slot in range(len(self._targets))]
        return {port: self.ports[slot] for port, slot in slots.items()}

    def _free_slot(self, listening: dict[int, str]) -> int | None:
        taken = set(self._keeps.values())
        for slot in range(1, len(self.ports)):
            if slot not in taken:
                return slot
        for port in self._keeps:
            if port not in listening:
                return self._keeps.pop(port)
        return None

    def _accept(self, slot: int, client: _End) -> None:
        self._ends.add(client)
        target = self._targets[slot]
        peer = client.transport.get_extra_info("peername") if client.transport is not None else None
        welcome = self._allowed is None or (peer is not None and self._allowed(plain_address(str(peer[0]))))
        if target is None or not welcome or self._closed:
            client.abort()
            return
        task = asyncio.get_running_loop().create_task(self._connect(client, target))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, client: _End, target: tuple[str, int]) -> None:
        loop = asyncio.get_running_loop()
        factory = partial(_End, self._ends.add, self._ends.discard)
        for host in addresses(target[0]):
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                _, server = await asyncio.wait_for(loop.create_connection(factory, host, target[1]), CONNECT_SECONDS)
                break
        else:
            client.abort()
            return
        if client not in self._ends:  # it left while we were connecting
            server.abort()
            return
        client.join(server)
        server.join(client)

    async def close(self) -> None:
        """Stop listening and end every connection; when this returns, no task and no socket is left."""
        self._closed = True
        for server in self._servers:
            server.close()
        connecting = list(self._connecting)
        for task in connecting:
            task.cancel()
        await asyncio.gather(*connecting, return_exceptions=True)
        while self._ends:
            for end in list(self._ends):
                end.abort()
            await asyncio.sleep(0)  # transports close their sockets in the loop's next round
        for server in self._servers:
            await server.wait_closed()
        self._servers.clear()


def _keep_alive(sock: socket.socket) -> None:
    with contextlib.suppress(OSError, AttributeError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_SECONDS)
