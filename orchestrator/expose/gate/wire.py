"""One TCP connection as the gate uses it: read at the pace of its taker, written at the pace of its peer, cut cleanly.

A protocol of its own instead of asyncio's streams, which copy every byte twice more and drop what had arrived when a
connection breaks.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, cast

from orchestrator.expose.gate.passage import Counted, FramingError

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.expose.gate.passage import Passage

V4, V6 = "127.0.0.1", "::1"
BUFFER = 256 << 10  # bytes that may wait for a slow reader before its writer is held back
CONNECT_SECONDS = 10.0
KEEPALIVE_SECONDS = 60  # a peer that vanished without a word is noticed after some minutes of these


def addresses(host: str) -> tuple[str, ...]:
    """Say where a server that listens on this address is reached from the same machine, best first.

    Loopback and "all addresses" get the other family's loopback as a second try: `localhost` means one or the other.
    """
    plain = host.strip("[]").lower()
    if plain in {"", "*", "0.0.0.0", "localhost", V4}:  # noqa: S104  # compared with, not bound to
        return (V4, V6)
    if plain in {"::", V6}:
        return (V6, V4)
    return (plain, V6) if plain.startswith("127.") else (plain,)


def plain_address(address: str) -> str:
    """Strip what a socket puts round an address: the zone of IPv6, and IPv6 round an IPv4 address."""
    bare = address.partition("%")[0]
    try:
        parsed = ipaddress.ip_address(bare)
    except ValueError:
        return bare
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


class Wire(asyncio.Protocol):
    """One connection; what arrives waits here, up to BUFFER bytes, until `receive` or `pass_on` takes it."""

    def __init__(
        self, opened: Callable[[Wire], None] | None = None, lost: Callable[[Wire], None] | None = None
    ) -> None:
        self.transport: asyncio.Transport | None = None
        self.peer = ""  # the other end's address
        self.number = -1  # of its file in this process
        self.ended = False  # nothing more will arrive
        self.lost = False  # neither way is open any more
        self.broken = False  # it ended by a reset, so what arrived may not be all
        self.sent = 0  # bytes
        self.arrived = 0  # bytes
        self.on_end: Callable[[], None] | None = None  # called once when the peer has ended its side
        self.on_bytes: Callable[[bytes], None] | None = None  # called for whatever arrives
        self.on_lost: Callable[[], None] | None = None  # called once when the connection is gone
        self.said_all = False  # our own side is ended
        self.gave_up = False  # nobody waits for more, whether it comes or not
        self._opened, self._closed = opened, lost
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._paused = False
        self._full = False
        self._source: Wire | None = None  # whose bytes are passed on to us
        self._sink: Wire | None = None  # to whom ours are
        self._passage: Passage = Counted(0)  # which of them
        self._passed: asyncio.Future[None] | None = None
        self._arrival: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None

    @property
    def held(self) -> int:
        """Bytes that have arrived and are not taken."""
        return self._held

    @property
    def full(self) -> bool:
        """Whether so much waits to be sent that no more should be written."""
        return self._full

    @property
    def held_back(self) -> bool:
        """Whether the peer must wait with sending, as what it has sent is not taken yet."""
        return self._paused

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin (asyncio calls this)."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=BUFFER)
        name = transport.get_extra_info("peername")
        self.peer = plain_address(str(name[0])) if name else ""
        sock = transport.get_extra_info("socket")
        self.number = -1 if sock is None else sock.fileno()
        _keep_alive(sock)
        if self._opened is not None:
            self._opened(self)

    def data_received(self, data: bytes) -> None:
        """Take what arrives (asyncio calls this)."""
        self.arrived += len(data)
        if self.on_bytes is not None:
            self.on_bytes(data)
        if self._sink is not None:
            data = self._pass(self._sink, data)
            if not data:
                return
        self._hold(data)

    def eof_received(self) -> bool:
        """Learn that the peer sends no more (asyncio calls this)."""
        self._end()
        # It may still be written to, but for TLS, which ends both ways at once.
        return self.transport is None or self.transport.get_extra_info("sslcontext") is None

    def connection_lost(self, exc: Exception | None) -> None:
        """Learn that the connection is gone (asyncio calls this)."""
        if not self.ended and exc is not None:
            self.broken = True
            rest = self._rest()
            if rest:
                self.data_received(rest)
        self.lost = True
        self._end()
        self._release()
        if self._source is not None:
            self._source._finish(ConnectionResetError())  # noqa: SLF001  # of the same class
        if self.on_lost is not None:
            self.on_lost()
        if self._closed is not None:
            self._closed(self)

    def pause_writing(self) -> None:
        """Learn that too much waits to be sent (asyncio calls this)."""
        self._full = True
        if self._source is not None:
            self._source._pause()  # noqa: SLF001  # of the same class

    def resume_writing(self) -> None:
        """Learn that there is room again (asyncio calls this)."""
        self._release()
        if self._source is not None:
            self._source._resume()  # noqa: SLF001  # of the same class

    async def receive(self) -> bytes:
        """Take what has arrived, waiting for it if need be; b"" when nothing more comes, or after `give_up`."""
        if not await self.readable():
            return b""
        piece = self._pieces.popleft()
        self._held -= len(piece)
        if self._paused and self._held < BUFFER:
            self._resume()
        return piece

    async def readable(self) -> bool:
        """Wait until something has arrived; False when nothing more comes."""
        while not self._pieces:
            if self.ended or self.gave_up:
                return False
            self._arrival = asyncio.get_running_loop().create_future()
            try:
                await self._arrival
            finally:
                self._arrival = None
        return True

    def give_up(self) -> None:
        """Wait no longer for what may arrive."""
        self.gave_up = True
        self._wake()

    def unread(self, data: bytes) -> None:
        """Put back what was taken too much; the next to take gets it first."""
        if data:
            self._pieces.appendleft(data)
            self._held += len(data)

    async def pass_on(self, other: Wire, passage: Passage, *, first: bytes = b"") -> None:
        """Send `first` to another connection and then what arrives here, no faster than that takes it.

        That is what belongs to the passage, and not a byte more. Raises asyncio.IncompleteReadError when this end sends
        less, FramingError when nobody can tell how much, ConnectionResetError when the other one is gone.
        """
        pieces = [first]
        while self._pieces and not passage.ended:
            piece = self._pieces.popleft()
            self._held -= len(piece)
            mine, rest = passage.take(piece)
            self.unread(rest)
            pieces.append(mine)
        other.write(b"".join(pieces))
        if passage.ended:
            await other.drain()
            return
        if other.lost:
            raise ConnectionResetError
        if self.ended:
            if not passage.unbounded:
                raise asyncio.IncompleteReadError(b"", None)
            return
        self._passed = asyncio.get_running_loop().create_future()
        self._passage, self._sink, other._source = passage, other, self  # of the same class
        try:
            if other._full:  # of the same class
                self._pause()
            elif self._paused:
                self._resume()
            await self._passed
        finally:
            self._sink = other._source = self._passed = None  # of the same class
            if self._paused and self._held < BUFFER:
                self._resume()
        await other.drain()

    def write(self, data: bytes) -> None:
        """Send, now or when there is room; nothing happens when the connection is gone."""
        if data and self.transport is not None and not (self.said_all or self.transport.is_closing()):
            self.sent += len(data)
            self.transport.write(data)

    async def drain(self) -> None:
        """Wait until there is room for more; raises ConnectionResetError when the connection is gone."""
        if self._full and not self.lost:
            self._drained = self._drained or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._drained)
        if self.lost:
            raise ConnectionResetError

    async def flush(self) -> None:
        """Wait until everything is sent, or the connection is gone."""
        if self.transport is not None and not self.lost:
            self.transport.set_write_buffer_limits(high=0)
            with contextlib.suppress(ConnectionResetError):
                await self.drain()

    def write_eof(self) -> None:
        """End our side, after what is still to be sent; over TLS, which cannot do that, nothing happens."""
        if self.transport is not None and not self.transport.is_closing() and self.transport.can_write_eof():
            self.said_all = True
            with contextlib.suppress(OSError):  # reset a moment ago; its reader will be told
                self.transport.write_eof()

    def close(self) -> None:
        """End both sides, after what is still to be sent."""
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """End the connection without waiting for what has not been sent."""
        if self.transport is not None:
            self.transport.abort()

    def reset(self) -> None:
        """Cut the connection off so that what has been sent does not look complete."""
        if self.transport is None:
            return
        with contextlib.suppress(OSError, AttributeError):
            linger = struct.pack("ii", 1, 0)  # for no time: the peer sees a reset, not an end
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.transport.abort()

    def _hold(self, data: bytes) -> None:
        self._pieces.append(data)
        self._held += len(data)
        if self._held >= BUFFER and not self._paused:
            self._pause()
        self._wake()

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    def _pass(self, sink: Wire, data: bytes) -> bytes:
        """Pass on what belongs to the sink; returns what does not."""
        if self._passed is None or self._passed.done():
            return data
        try:
            mine, rest = self._passage.take(data)
        except FramingError as error:
            self._finish(error)
            return b""
        sink.write(mine)
        if self._passage.ended:
            self._finish(None)
        return rest

    def _finish(self, error: Exception | None) -> None:
        if self._passed is None or self._passed.done():
            return
        if error is None:
            self._passed.set_result(None)
        else:
            self._passed.set_exception(error)

    def _end(self) -> None:
        if self.ended:
            return
        self.ended = True
        self._wake()
        self._finish(None if self._passage.unbounded else asyncio.IncompleteReadError(b"", None))
        if self.on_end is not None:
            self.on_end()

    def _pause(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def _resume(self) -> None:
        self._paused = False
        if self.transport is not None and not (self.ended or self.transport.is_closing()):
            self.transport.resume_reading()

    def _release(self) -> None:
        self._full = False
        if self._drained is not None:
            if not self._drained.done():
                self._drained.set_result(None)
            self._drained = None

    def _rest(self) -> bytes:
        """Read what has come in on a connection that broke: asyncio drops it as soon as writing fails.

        An app that answers without reading all of a request, and ends, breaks it so; its answer is here.
        """
        pieces = []
        if self.transport is None or self.transport.get_extra_info("sslcontext") is not None:
            return b""
        with contextlib.suppress(OSError), self.transport.get_extra_info("socket").dup() as rest:
            rest.settimeout(0)
            while data := rest.recv(BUFFER):
                pieces.append(data)
        return b"".join(pieces)


async def connect(target: tuple[str, int]) -> Wire | None:
    """Connect to where a server of this machine listens; None when nobody answers there."""
    loop = asyncio.get_running_loop()
    for host in addresses(target[0]):
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            opening = loop.create_connection(Wire, host, target[1])
            _, wire = await asyncio.wait_for(opening, CONNECT_SECONDS)
            return wire
    return None


def _keep_alive(sock: socket.socket | None) -> None:
    with contextlib.suppress(OSError, AttributeError):
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_SECONDS)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_SECONDS // 4)
