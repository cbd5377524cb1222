"""The token front over real sockets, with a small HTTP server behind it that remembers every byte it was sent."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import re
import socket
import struct
from pathlib import Path

import pytest

from orchestrator.agent import front as front_module
from orchestrator.agent.admission import Admission
from orchestrator.agent.forward import ForwardError
from orchestrator.agent.front import Front, new_token
from tests.agent.fakes import FakeTime

T = "s3cret-token"
GET = b"GET / HTTP/1.1\r\nHost: h\r\n"
BEARER = f"Authorization: Bearer {T}\r\n".encode()
SOCKET = b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"

FIXED = {
    b"/silent": b"",
    b"/early": b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig",
    b"/cut": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
    b"/chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: x\r\n\r\n",
}


class App:
    """A server that keeps connections alive whatever it is told, as a careless one would."""

    def __init__(self):
        self.heads: list[bytes] = []
        self.raw = bytearray()  # everything ever received
        self.ended = 0  # connections that the other side ended
        self.size = 0

    async def serve(self, reader, writer):
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
        path = head.split(b" ")[1]
        special = {b"/ws": self.socket, b"/stream": self.stream, b"/down": self.down, b"/reset": self.reset}
        if path in special:
            await special[path](reader, writer)
            return False
        if path in FIXED:
            writer.write(FIXED[path])
            return False
        if path == b"/continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await self.body(reader, head)
        answer = b"%s %d" % (path, body)
        shown = b"" if head.startswith(b"HEAD") else answer
        writer.write(b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nConnection: keep-alive\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(answer), shown))
        await writer.drain()
        return True

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


class World:
    def __init__(self):
        self.app = App()
        self.time = FakeTime()
        self.state = "ready"
        self.target: tuple[str, int] | None = None
        self.front: Front
        self.server: asyncio.Server

    async def ask(self, *parts: bytes, end=False) -> bytes:
        """Send the parts one after the other and read until the front ends the connection."""
        reader, writer = await self.connect()
        for at, part in enumerate(parts):
            if at:
                await asyncio.sleep(0.02)
            writer.write(part)
        if end:
            writer.write_eof()
        try:
            return await asyncio.wait_for(reader.read(), 20)
        finally:
            writer.close()

    async def get(self, path="/", *headers: str, method="GET") -> bytes:
        lines = [f"{method} {path} HTTP/1.1", "Host: h", *headers, "", ""]
        return await self.ask("\r\n".join(lines).encode("latin-1"))

    async def connect(self):
        return await asyncio.open_connection("127.0.0.1", self.front.port, limit=1 << 20)


@pytest.fixture
async def make():
    worlds: list[World] = []

    async def made(token: str | None = T) -> World:
        world = World()
        world.server = await asyncio.start_server(world.app.serve, "127.0.0.1", 0)
        world.target = world.server.sockets[0].getsockname()[:2]
        world.front = await Front.listen(
            "127.0.0.1",
            0,
            token=token,
            target=lambda: world.target,
            state=lambda: world.state,
            clock=world.time.clock,
        )
        worlds.append(world)
        return world

    yield made
    for world in worlds:
        await world.front.close()
        world.server.close()


@pytest.fixture
async def world(make):
    return await make()


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def open_sockets() -> int:
    """Count this process's sockets."""
    return sum(link.readlink().name.startswith("socket:") for link in Path("/proc/self/fd").iterdir() if link.exists())


async def test_a_bearer_token_lets_through_and_stays_here(world):
    answer = await world.ask(GET + BEARER + b"Connection: keep-alive\r\nKeep-Alive: 5\r\nX-Mine: 1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\n/ 0")
    assert answer.lower().count(b"connection:") == 1
    assert b"\r\nConnection: close\r\n" in answer
    assert b"Keep-Alive" not in answer
    assert world.app.heads == [b"GET / HTTP/1.1\r\nHost: h\r\nX-Mine: 1\r\nConnection: close\r\n\r\n"]


async def test_a_cookie_lets_through_and_is_taken_out(world):
    assert status(await world.get("/", f"Cookie: a=1; pinoctl_token={T}; b=2", f"cookie: pinoctl_token={T}")) == 200
    assert b"\r\nCookie: a=1; b=2\r\n" in world.app.heads[0]
    assert T.encode() not in world.app.raw
    assert world.app.raw.lower().count(b"cookie") == 1


async def test_credentials_of_the_app_itself_stay(world):
    cookie = f"Cookie: pinoctl_token={T}"
    for own in ("Authorization: Basic eDp5", "Authorization: Bearer of-the-app"):
        assert status(await world.get("/?token=of-the-app", cookie, own)) == 200
        assert own.encode() in world.app.heads[-1]
        assert world.app.heads[-1].startswith(b"GET /?token=of-the-app HTTP/1.1\r\n")


async def test_a_token_in_the_address_becomes_a_cookie(world):
    answer = await world.get(f"/a/b?x=1&token={T}&y=%20")
    assert status(answer) == 303
    assert b"\r\nLocation: /a/b?x=1&y=%20\r\n" in answer
    assert f"\r\nSet-Cookie: pinoctl_token={T}; HttpOnly; SameSite=Lax; Path=/\r\n".encode() in answer
    assert not world.app.heads
    https = await world.get(f"/?token={T}", "X-Forwarded-Proto: https")
    assert b"; Path=/; Secure\r\n" in https
    assert b"\r\nLocation: /\r\n" in https
    assert b"Secure" not in await world.get(f"/?token={T}", "X-Forwarded-Proto: http")


@pytest.mark.parametrize("path", ["//evil.example", "/\\evil.example", "///\\/evil.example", "http://h//evil.example"])
async def test_the_way_back_stays_on_this_server(world, path):
    answer = await world.get(f"{path}?token={T}")
    assert b"\r\nLocation: /evil.example\r\n" in answer


async def test_other_methods_and_upgrades_use_the_token_of_the_address_at_once(world):
    assert status(await world.get(f"/post?token={T}&a=1", method="POST")) == 200
    assert world.app.heads[0].startswith(b"POST /post?a=1 HTTP/1.1\r\n")
    assert T.encode() not in world.app.raw


@pytest.mark.parametrize("token", ["a b+c", "ü;,=&%", '"quoted"'])
async def test_tokens_of_any_signs(make, token):
    world = await make(token)
    encoded = "".join(f"%{byte:02x}" for byte in token.encode())
    answer = await world.get(f"/?token={encoded}")
    assert status(answer) == 303
    cookie = re.search(rb"Set-Cookie: (pinoctl_token=[^;]*)", answer)[1].decode()
    assert status(await world.get("/", f"Cookie: {cookie}")) == 200
    assert status(await world.get("/", f"Cookie: {cookie}x")) == 401


async def test_without_a_token_nobody_gets_in(world):
    page = await world.get("/", "Accept: text/html,*/*")
    assert status(page) == 401
    assert b'<form method="get">' in page
    assert b'name="token"' in page
    plain = await world.get("/", "Accept: */*")
    assert status(plain) == 401
    assert b"<form" not in plain
    for header in ("Authorization: Bearer x", f"Authorization: Basic {T}", "Cookie: pinoctl_token=", f"Cookie: x={T}"):
        assert status(await world.get("/", header)) == 401
    for query in ("?token=", f"?token={T}x", f"?Token={T}", f"?x={T}"):
        assert status(await world.get(f"/{query}")) == 401
    assert status(await world.ask(b"GET /ws HTTP/1.1\r\nHost: h\r\n" + SOCKET + b"\r\n")) == 401
    assert not world.app.raw


async def test_head_requests_get_no_body(world):
    assert (await world.get("/", method="HEAD")).endswith(b"\r\n\r\n")
    answer = await world.get("/x", f"Authorization: Bearer {T}", method="HEAD")
    assert b"Content-Length: 4\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


async def test_no_token_is_open_and_an_empty_one_is_refused(make):
    world = await make(None)
    assert status(await world.get("/?token=x", "Authorization: Bearer y", "Cookie: pinoctl_token=z")) == 200
    head = world.app.heads[0]
    assert head.startswith(b"GET /?token=x HTTP/1.1")
    assert b"Bearer y" in head
    assert b"pinoctl_token=z" in head
    with pytest.raises(ValueError, match="an empty token would let everyone in"):
        await make("")


async def test_only_the_first_request_of_a_connection_is_passed_on(world):
    """A second one, which somebody else may have sent through the same proxy, reaches nothing."""
    second = b"GET /second HTTP/1.1\r\nHost: h\r\n\r\n"
    assert (await world.ask(GET + BEARER + b"\r\n" + second)).count(b"HTTP/1.1 ") == 1
    assert (await world.ask(GET + BEARER + b"\r\n", second)).count(b"HTTP/1.1 ") == 1
    post = b"POST / HTTP/1.1\r\nHost: h\r\n" + BEARER
    assert b"/ 3" in await world.ask(post + b"Content-Length: 3\r\n\r\nabc" + second)
    assert b"/ 13" in await world.ask(post + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" + second)
    assert b"/ 0" in await world.ask(GET + BEARER + SOCKET + b"\r\n" + second)  # an upgrade that the app ignores
    assert b"/ 0" in await world.ask(GET + BEARER + SOCKET + b"\r\n", second)
    await asyncio.sleep(0.05)
    assert len(world.app.heads) == 6
    assert b"second" not in world.app.raw


@pytest.mark.parametrize(
    "bad",
    [
        b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        b"Content-Length: 3\r\nContent-Length: 4\r\n",
        b"Content-Length: 3, 4\r\n",
        b"Content-Length: +3\r\n",
        b"Content-Length: 0x3\r\n",
        b"Content-Length: -3\r\n",
        b"Content-Length:\r\n",
        b"Content-Length : 3\r\n",
        b"Content-Length: 3\r\n\tfolded: 1\r\n",
        b" Content-Length: 3\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: \x0bchunked\r\n",
        b"X: a\rb\r\n",
        b"X: a\nContent-Length: 3\r\n",
        b"X: a\0b\r\n",
        b"X a\r\n",
        b": a\r\n",
        b"X:" + b" " * 60000 + b"\x01\r\n",
        b"Host: other\r\n",
    ],
)
async def test_what_two_readers_could_read_differently_is_refused(world, bad):
    answer = await world.ask(b"POST / HTTP/1.1\r\nHost: h\r\n" + BEARER + bad + b"\r\nabc")
    assert status(answer) == 400
    assert not world.app.raw


@pytest.mark.parametrize(
    "line",
    [
        b"GET /",
        b"GET  / HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b"GET / HTTP/2.0",
        b"GET / http/1.1",
        b"GET relative HTTP/1.1",
        b"CONNECT h:80 HTTP/1.1",
        b"GET * HTTP/1.1",
        b"GET /a b HTTP/1.1",
        b"GET http://user@h/ HTTP/1.1",
        b"G\x00T / HTTP/1.1",
        b"\x16\x03\x01 / HTTP/1.1",
        b"",
        b"PRI * HTTP/2.0",
    ],
)
async def test_first_lines_that_are_none_are_refused(world, line):
    assert status(await world.ask(line + b"\r\nHost: h\r\n" + BEARER + b"\r\n")) == 400
    assert not world.app.raw


async def test_bare_line_feeds_and_missing_hosts_are_refused(world):
    assert status(await world.ask(b"GET / HTTP/1.1\nHost: h\n\n")) == 400
    assert status(await world.ask(b"GET / HTTP/1.1\r\n" + BEARER + b"\r\n")) == 400
    assert status(await world.ask(b"GET / HTTP/1.0\r\n" + BEARER + b"\r\n")) == 200
    assert (
        status(await world.ask(b"POST / HTTP/1.0\r\n" + BEARER + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")) == 400
    )


@pytest.mark.parametrize(
    "chunks", [b"-3\r\nabc\r\n", b"3\nabc\r\n", b"3 \r\nabcd\r\n0\r\n\r\n", b"\r\n", b"0x3\r\nabc\r\n"]
)
async def test_chunks_that_cannot_be_read_end_the_request(world, chunks):
    post = b"POST / HTTP/1.1\r\nHost: h\r\n" + BEARER + b"Transfer-Encoding: chunked\r\n\r\n"
    assert status(await world.ask(post + b"1\r\nx\r\n" + chunks)) == 400
    assert b"0\r\n\r\n" not in world.app.raw


async def test_chunks_are_written_anew(world):
    post = b"POST / HTTP/1.1\r\nHost: h\r\n" + BEARER + b"Transfer-Encoding: Chunked\r\n\r\n"
    big = b"%x;ext=1\r\n" % 100_000 + bytes(100_000) + b"\r\n"
    await world.ask(post, b"3 ;a=b\r\nab", b"c\r\n" + big + b"0\r\nTrailer: x\r\n\r\n")
    assert world.app.raw.endswith(b"\r\n\r\n3\r\nabc\r\n186a0\r\n" + bytes(100_000) + b"\r\n0\r\n\r\n")


async def test_the_same_length_twice_is_said_once(world):
    post = b"POST / HTTP/1.1\r\nHost: h\r\n" + BEARER
    assert b"/ 3" in await world.ask(post + b"Content-Length: 3\r\ncontent-length: 3\r\n\r\nabc")
    assert world.app.raw.lower().count(b"content-length") == 1


async def test_long_and_slow_heads(world, monkeypatch):
    assert status(await world.ask(GET + b"X: " + b"a" * 70_000)) == 431
    assert status(await world.ask(GET + b"X: aaaaaaaaaaaaaaaaaaaaaaaa\r\n" * 3000)) == 431
    assert status(await world.ask(GET + BEARER + b"X: " + b"a" * 60_000 + b"\r\n\r\n")) == 200
    monkeypatch.setattr(front_module, "HEAD_SECONDS", 0.1)
    assert status(await world.ask(GET, b"X: 1\r\n")) == 408
    assert status(await world.ask(GET, end=True)) == 400


async def test_while_there_is_no_app(world):
    auth = f"Authorization: Bearer {T}"
    world.target, world.state = None, "installing <b>"
    page = await world.get("/", auth, "Accept: text/html")
    assert status(page) == 503
    assert b"\r\nRetry-After: 2\r\n" in page
    assert b'http-equiv="refresh"' in page
    assert b"installing &lt;b&gt;" in page
    assert b"installing" not in await world.get("/", "Accept: text/html")  # not told to everyone
    with socket.create_server(("127.0.0.1", 0)) as gone:
        world.target = gone.getsockname()[:2]
    assert b"installing <b>" in await world.get("/", auth)


async def test_health_needs_no_token_and_tells_nothing(world):
    healthy = await world.get("/pinoctl/health")
    assert status(healthy) == 200
    assert healthy.endswith(b"\r\n\r\nok")
    world.state = "installing"
    answer = await world.get("/pinoctl/health?x")
    assert status(answer) == 503
    assert b"installing" not in answer
    assert (
        status(await world.get("/pinoctl/health/x")) == status(await world.get("/pinoctl/health", method="POST")) == 401
    )


async def test_guessing_is_slowed_down(world):
    for at in range(10):
        assert status(await world.get(f"/?token=guess{at}" if at % 2 else "/", "Authorization: Bearer x")) == 401
    refused = await world.get("/", f"Authorization: Bearer {T}")
    assert status(refused) == 429
    assert 0 < int(re.search(rb"Retry-After: (\d+)", refused)[1]) <= 61
    assert status(await world.get("/pinoctl/health")) == 200
    world.time.now += 61
    assert status(await world.get("/", f"Authorization: Bearer {T}")) == 200
    for _ in range(9):
        assert status(await world.get("/", "Authorization: Bearer x")) == 401
    world.time.now += 61
    assert status(await world.get("/", "Authorization: Bearer x")) == 401
    assert status(await world.get("/", f"Authorization: Bearer {T}")) == 200


async def test_an_old_cookie_and_no_token_at_all_are_no_guesses(world):
    for _ in range(15):
        assert status(await world.get("/", "Cookie: pinoctl_token=of-yesterday")) == 401
        assert status(await world.get("/")) == 401
    for at in range(9):
        assert status(await world.get("/", f"Cookie: pinoctl_token={at}")) == 401
    assert status(await world.get("/", f"Cookie: pinoctl_token={T}")) == 429


def test_addresses_are_counted_apart_and_not_without_limit(monkeypatch):
    monkeypatch.setattr("orchestrator.agent.admission.MOST_ADDRESSES", 5)
    admission = Admission(T, FakeTime().clock)
    for _ in range(10):
        admission._count("10.0.0.1", 1000.0, b"")
    assert admission.seconds_closed("::ffff:10.0.0.1") > 0
    assert admission.seconds_closed("10.0.0.2") == 0
    for _ in range(10):
        admission._count("2001:db8::/64", 1000.0, b"")
    assert admission.seconds_closed("2001:db8::1234%eth0") > 0
    assert admission.seconds_closed("2001:db8:0:1::1") == 0
    for at in range(20):
        admission._count(f"10.1.0.{at}", 1000.0, b"")
    assert len(admission._wrong) == 5


async def test_web_sockets_are_passed_on_both_ways(world):
    reader, writer = await world.connect()
    upgrade = b"GET /ws?token=%b HTTP/1.1\r\nHost: h\r\n" % T.encode()
    writer.write(upgrade.replace(b"/ws?", b"/ws?") + SOCKET + b"\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"Connection: Upgrade\r\n" in head
    for message in (b"\x81\x01a", b"\x00\xff\r\n\r\n"):
        writer.write(message)
        assert await reader.readexactly(len(message) + 2) == b"<" + message + b">"
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), 5) == b"bye"
    writer.close()
    assert world.app.heads[0] == b"GET /ws HTTP/1.1\r\nHost: h\r\n" + SOCKET + b"\r\n"


async def test_an_app_may_not_change_protocols_unasked(world):
    answer = await world.get("/ws", f"Authorization: Bearer {T}", "Upgrade: websocket")
    assert status(answer) == 502
    assert b"Upgrade: websocket" not in world.app.heads[0]


async def test_answers_of_all_shapes(world):
    auth = f"Authorization: Bearer {T}"
    assert (await world.get("/chunks", auth)).endswith(b"\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    assert status(await world.get("/silent", auth)) == 502
    assert (await world.get("/continue", auth)).count(b"HTTP/1.1 ") == 2


async def test_an_answer_that_is_cut_off_does_not_look_complete(world):
    auth = f"Authorization: Bearer {T}"
    cut = b""
    with contextlib.suppress(ConnectionResetError):
        cut = await world.get("/cut", auth)
    assert cut.endswith(b"half") or not cut
    reader, writer = await world.connect()
    writer.write(b"GET /reset HTTP/1.1\r\nHost: h\r\n" + BEARER + b"\r\n")
    await reader.readuntil(b"half")
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(), 5)
    writer.close()


async def test_an_early_answer_arrives_although_the_upload_goes_on(world):
    post = b"POST /early HTTP/1.1\r\nHost: h\r\n" + BEARER + b"Content-Length: 1000000\r\n\r\n"
    answer = await world.ask(post + bytes(300_000))
    assert status(answer) == 413
    assert answer.endswith(b"big")


async def test_a_client_that_ended_its_side_still_gets_the_answer(world):
    assert b"/ 3" in await world.ask(
        b"POST / HTTP/1.1\r\nHost: h\r\n" + BEARER + b"Content-Length: 3\r\n\r\nabc", end=True
    )
    assert b"/ 2" in await world.ask(
        b"POST / HTTP/1.1\r\nHost: h\r\n" + BEARER + b"Content-Length: 3\r\n\r\nab", end=True
    )


async def test_events_come_at_once_and_the_app_hears_that_nobody_listens(world):
    reader, writer = await world.connect()
    writer.write(b"GET /stream HTTP/1.1\r\nHost: h\r\n" + BEARER + b"\r\n")
    assert (await asyncio.wait_for(reader.readuntil(b"data: 1\n\n"), 5)).startswith(b"HTTP/1.1 200 OK")
    assert world.app.ended == 0
    writer.close()
    for _ in range(200):
        if world.app.ended:
            break
        await asyncio.sleep(0.01)
    assert world.app.ended == 1


async def test_a_hundred_megabytes_up(world):
    reader, writer = await world.connect()
    writer.write(b"POST / HTTP/1.1\r\nHost: h\r\n" + BEARER + b"Content-Length: %d\r\n\r\n" % (100 << 20))
    for _ in range(100):
        writer.write(bytes(1 << 20))
        await writer.drain()
    assert (await asyncio.wait_for(reader.read(), 30)).endswith(b"/ %d" % (100 << 20))
    writer.close()


async def test_a_hundred_megabytes_down(world):
    reader, writer = await world.connect()
    writer.write(b"GET /down HTTP/1.1\r\nHost: h\r\n" + BEARER + b"\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    size = 0
    while data := await asyncio.wait_for(reader.read(1 << 20), 10):
        size += len(data)
    assert size == 100 << 20
    assert b"Connection: close" in head
    writer.close()


async def test_close_leaves_no_task_and_no_socket(world):
    gc.collect()
    before = open_sockets()
    pairs = [await world.connect() for _ in range(4)]
    pairs[0][1].write(b"GET /stream HTTP/1.1\r\nHost: h\r\n" + BEARER + b"\r\n")
    pairs[1][1].write(b"GET /ws HTTP/1.1\r\nHost: h\r\n" + BEARER + SOCKET + b"\r\n")
    pairs[2][1].write(GET)
    for reader, _ in pairs[:2]:
        await reader.readuntil(b"\r\n\r\n")
    assert len(world.front._tasks) == 4
    port = world.front.port
    await world.front.close()
    assert not world.front._tasks
    for reader, writer in pairs:
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), 5)
        writer.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    await asyncio.sleep(0.05)
    gc.collect()
    assert open_sockets() == before - 1  # what it listened on


async def test_requests_leave_nothing_behind(world):
    for _ in range(5):
        assert status(await world.get("/", f"Authorization: Bearer {T}")) == 200
        assert status(await world.get("/")) == 401
    for _ in range(200):
        if not world.front._tasks:
            break
        await asyncio.sleep(0.01)
    assert not world.front._tasks
    assert world.app.ended == 5


async def test_a_taken_port_is_said():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ForwardError, match=f"cannot listen on port {port} of `127.0.0.1`"):
            await Front.listen("127.0.0.1", port, token=None, target=lambda: None, state=str)


def test_tokens_are_long_and_never_the_same():
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(re.fullmatch(r"[\w-]{32}", token) for token in tokens)
