"""A gate over real sockets, with a keeper that knows one token, and a careless app behind it that remembers all."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct

from orchestrator.expose.gate.apps import Meter, State
from orchestrator.expose.gate.contract import Answer, Pass, Seen
from orchestrator.expose.gate.pool import Pool
from orchestrator.expose.gate.proxy import Gate

PATIENCE = 60.0
T = "s3cret-token"
BEARER = f"Authorization: Bearer {T}\r\n".encode()
GET = b"GET / HTTP/1.1\r\nHost: h\r\n"
LAST = b"Connection: close\r\n"
SOCKET = b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"

FIXED = {
    b"/silent": b"",
    b"/garbage": b"220 mail.example ESMTP\r\n\r\n",
    b"/half-head": b"HTTP/1.1 200 OK\r\nContent-Len",
    b"/early": b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig",
    b"/cut": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
    b"/cut-chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nhalf",
    b"/chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: x\r\n"
    b"Set-Cookie: a=b\r\n\r\n",
    b"/both": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"/old": b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nto the end",
    b"/204": b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
    b"/304": b"HTTP/1.1 304 Not Modified\r\nETag: x\r\nContent-Length: 5\r\n\r\n",
    b"/103": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
}


class App:
    """A server that keeps connections alive whatever it is told, as a careless one would."""

    def __init__(self):
        self.heads: list[bytes] = []
        self.raw = bytearray()  # everything ever received
        self.connections = 0
        self.ended = 0  # connections that the other side ended
        self.size = 0
        self.fixed = dict(FIXED)
        self.last_words = asyncio.Event()  # until which `/late` waits

    async def serve(self, reader, writer):
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            while await self.one(reader, writer):
                pass
        writer.close()

    async def take(self, reader, count):
        data = await reader.read(count)
        if not data:
            self.ended += 1
        elif len(self.raw) < 1 << 20:
            self.raw += data
        self.size += len(data)
        return data

    async def one(self, reader, writer):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = await self.take(reader, 1)
            if not byte:
                return False
            head += byte
        self.heads.append(head)
        path = head.split(b" ")[1].partition(b"?")[0]
        special = {b"/ws": self.socket, b"/stream": self.stream, b"/down": self.down, b"/reset": self.reset}
        if path in special:
            await special[path](reader, writer)
            return False
        if path in self.fixed:
            writer.write(self.fixed[path])
            return False
        if path == b"/continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await self.body(reader, head)
        if path == b"/late":
            await self.last_words.wait()
        answer = b"%s %d" % (path, body)
        shown = b"" if head.startswith(b"HEAD") else answer
        writer.write(b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nConnection: keep-alive\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(answer), shown))
        await writer.drain()
        return path != b"/last"

    async def down(self, _reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (100 << 20))
        for _ in range(100):
            writer.write(bytes(1 << 20))
            await writer.drain()

    async def reset(self, _reader, writer):
        """End in the middle of an answer that ends with the connection."""
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await asyncio.sleep(0.05)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def body(self, reader, head):
        if b"chunked" in head.lower():
            data = b""
            while not data.endswith(b"0\r\n\r\n"):
                piece = await self.take(reader, 1)
                if not piece:
                    break
                data += piece
            return len(data)
        length = re.search(rb"(?i)content-length: (\d+)", head)
        left = total = int(length[1]) if length else 0
        while left and (data := await self.take(reader, min(left, 1 << 18))):
            left -= len(data)
        return total - left

    async def stream(self, reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        await writer.drain()
        await self.take(reader, 1)

    async def socket(self, reader, writer):
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        while data := await self.take(reader, 1 << 16):
            writer.write(b"<" + data + b">")
            await writer.drain()
        writer.write(b"bye")


class Keeper:
    """Let those through who bear the token; `seen` is what it was asked."""

    def __init__(self):
        self.seen: list[Seen] = []
        self.cookies: tuple[str, ...] = ()

    def decide(self, seen):
        self.seen.append(seen)
        if seen.target == "/.pinoctl/nonce":
            return Answer(200, (("content-type", "text/plain"),), b"the nonce")
        kept = tuple(pair for pair in seen.headers if pair != ("authorization", f"Bearer {T}"))
        if len(kept) == len(seen.headers):
            return Answer(401, (("www-authenticate", "Bearer"),), b"no\n")
        if seen.target == "/.pinoctl/login":
            return Answer(200, (), b"got " + seen.body)
        return Pass(seen.app or "any", seen.target, kept, self.cookies)

    def lasts(self, passed):
        return True


class World:
    """A gate, its keeper, and the app behind it; also the gate's `Apps`."""

    def __init__(self):
        self.app = App()
        self.keeper = Keeper()
        self.now = 1000.0
        self.meter = Meter(lambda: self.now)
        self.word = State("ready")
        self.where: tuple[str, int] | None = None
        self.lost_apps: list[str] = []
        self.told: list[dict] = []
        self.gate: Gate
        self.server: asyncio.Server

    def target(self, app):
        return self.where

    def state(self, app):
        return self.word

    def lost(self, app):
        self.lost_apps.append(app)

    async def ask(self, *parts: bytes, end=False) -> bytes:
        """Send the parts one after the other and read until the gate ends the connection."""
        reader, writer = await self.connect()
        for at, part in enumerate(parts):
            if at:
                await asyncio.sleep(0.02)
            writer.write(part)
        if end:
            writer.write_eof()
        try:
            return await asyncio.wait_for(reader.read(), PATIENCE)
        finally:
            writer.close()

    async def get(self, path="/", *headers: str, method="GET", token=True) -> bytes:
        """Send one request, the last of its connection, and return the answer."""
        bearer = [f"Authorization: Bearer {T}"] if token else []
        lines = [f"{method} {path} HTTP/1.1", "Host: h", "Connection: close", *bearer, *headers, "", ""]
        return await self.ask("\r\n".join(lines).encode("latin-1"))

    async def connect(self):
        return await asyncio.open_connection("127.0.0.1", self.gate.port, limit=1 << 20)


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def header(answer: bytes, name: str) -> list[str]:
    """List the values of a header of an answer."""
    head = answer.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
    return [value.strip() for key, _, value in (line.partition(":") for line in head) if key.lower() == name]


async def soon(condition) -> bool:
    """Wait until something holds; tell whether it ever did."""
    loop = asyncio.get_running_loop()
    end = loop.time() + PATIENCE
    while loop.time() < end:
        if condition():
            return True
        await asyncio.sleep(0.01)
    return False


@contextlib.asynccontextmanager
async def opened(**options):
    """Open a gate before an `App`; the options go to `Gate.listen`."""
    world = World()
    world.server = await asyncio.start_server(world.app.serve, "127.0.0.1", 0)
    world.where = world.server.sockets[0].getsockname()[:2]
    options = {"keeper": world.keeper, "app": "demo", "apps": world, "audit": world.told.append, **options}
    world.gate = await Gate.listen("127.0.0.1", 0, meter=world.meter, **options)
    world.gate.pool = Pool(PATIENCE)  # how soon the next request comes is not what these tests are about
    try:
        yield world
    finally:
        await world.gate.close()
        world.server.close()
