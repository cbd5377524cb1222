"""Clients that want to wear the gate out, and apps that are picky about who asks."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest
from aiohttp import web

from orchestrator.expose.gate.proxy import Patience
from tests.expose.gate.proxies import BEARER, GET, LAST, PATIENCE, SOCKET, App, header, opened, soon, status


@pytest.fixture
async def world():
    async with opened() as world:
        yield world


class Picky(App):
    """Refuses hosts that it does not know, as Vite's development server does."""

    def __init__(self, refusal=b"403 Forbidden"):
        super().__init__()
        self.refusal = refusal
        self.own = b""

    async def one(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        if b"\r\nhost: " + self.own + b"\r\n" in head and self.own:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        else:
            writer.write(b"HTTP/1.1 " + self.refusal + b"\r\nContent-Length: 2\r\n\r\nno")
        return True


@pytest.fixture
async def picky(world):
    app = Picky()
    async with await asyncio.start_server(app.serve, "127.0.0.1", 0) as server:
        world.where = server.sockets[0].getsockname()[:2]
        app.own = b"127.0.0.1:%d" % world.where[1]
        yield app


async def test_an_app_that_refuses_unknown_hosts_gets_its_own(world, picky):
    post = b"POST / HTTP/1.1\r\nHost: h\r\n" + BEARER + LAST + b"\r\n"
    assert status(await world.ask(post)) == 403  # what may change something is not asked twice
    assert len(picky.heads) == 1
    assert status(await world.get("/", "Origin: http://h")) == 200
    assert len(picky.heads) == 3
    assert b"\r\norigin: http://%b\r\n" % picky.own in picky.heads[-1]
    assert b"\r\nx-forwarded-host: h\r\n" in picky.heads[-1]
    assert status(await world.get("/")) == 200
    assert status(await world.ask(post)) == 200
    assert len(picky.heads) == 5


async def test_an_app_that_refuses_for_other_reasons_is_soon_believed(world, picky):
    picky.own = b""
    for _ in range(5):
        answer = await world.get("/")
        assert (status(answer), answer[-2:]) == (403, b"no")
    assert len(picky.heads) == 3 * 2 + 2


async def test_the_owner_may_say_that_an_app_wants_its_own_host():
    async with opened(local_host=lambda app: app == "demo") as world:
        host, port = world.where
        assert (await world.get("/")).endswith(b"/ 0")
        assert b"\r\nhost: %b:%d\r\n" % (host.encode(), port) in world.app.heads[0]


async def test_who_reads_no_answers_gets_no_more_of_them(world):
    """Requests sent without end, and their answers not taken, fill no memory."""
    world.keeper.decide = lambda seen: web_answer
    web_answer = type("Said", (), {"status": 401, "headers": (), "body": bytes(10_000)})()
    reader, writer = await world.connect()
    writer.transport.pause_reading()
    assert await soon(lambda: world.gate._wires)
    client = next(iter(world.gate._wires))
    for _ in range(50):
        writer.write((GET + b"\r\n") * 1000)
        await asyncio.sleep(0.005)
    assert client.sent < 20 << 20  # of 500 MB
    assert client.transport.get_write_buffer_size() < 1 << 20
    assert not reader.at_eof()
    writer.transport.abort()


async def test_who_never_reads_an_answer_is_cut_off():
    async with opened(patience=Patience(flush=0.1, linger=0.1)) as world:
        big = type("Said", (), {"status": 401, "headers": (), "body": bytes(20 << 20)})()
        world.keeper.decide = lambda seen: big
        for last in (LAST, b""):
            _, writer = await world.connect()
            writer.transport.pause_reading()
            writer.write(GET + last + b"\r\n")
            assert await soon(lambda: world.keeper is not None and not world.gate._tasks)
            writer.transport.abort()


async def test_typed_addresses_arrive_as_browsers_write_them(world):
    answer = await world.ask("GET /ü?ö=1 HTTP/1.1\r\nHost: h\r\n".encode() + BEARER + LAST + b"\r\n")
    assert answer.endswith(b"/%C3%BC 0")
    assert world.keeper.seen[0].target == "/%C3%BC?%C3%B6=1"


async def test_requests_sent_before_a_client_ended_its_side_are_all_answered(world):
    asked = (GET + BEARER + b"\r\n") * 3
    answer = await world.ask(asked, end=True)
    assert answer.count(b"HTTP/1.1 200") == 3


async def test_an_app_is_not_asked_again_for_a_client_that_is_gone(world):
    assert status(await world.get("/")) == 200  # whose connection is kept
    _, writer = await world.connect()
    writer.write(b"GET /late HTTP/1.1\r\nHost: h\r\n" + BEARER + b"\r\n")
    assert await soon(lambda: len(world.app.heads) == 2)
    linger = struct.pack("ii", 1, 0)  # which makes the end a reset
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()
    assert await soon(lambda: not world.gate._tasks)
    assert len(world.app.heads) == 2
    assert await soon(lambda: len(world.told) == 2)
    assert world.told[1]["status"] == 499


async def test_a_client_that_leaves_in_the_midst_of_a_body(world):
    for length in (b"Content-Length: 1000000\r\n\r\n" + bytes(1000), b"Transfer-Encoding: chunked\r\n\r\n3\r\nab"):
        _, writer = await world.connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\n" + BEARER + length)
        assert await soon(lambda: world.gate.activity("demo").open == 1)
        writer.transport.abort()
        assert await soon(lambda: world.gate.activity("demo").open == 0)
    assert await soon(lambda: not world.gate._tasks)


async def test_a_client_that_leaves_in_the_midst_of_a_download(world):
    reader, writer = await world.connect()
    writer.write(b"GET /down HTTP/1.1\r\nHost: h\r\n" + BEARER + b"\r\n")
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()
    assert await soon(lambda: not world.gate._tasks)
    assert world.gate.activity("demo").open == 0


async def test_an_app_that_dies_under_open_pages(world):
    sockets = []
    for _ in range(3):
        reader, writer = await world.connect()
        writer.write(b"GET /ws HTTP/1.1\r\nHost: h\r\n" + BEARER + SOCKET + b"\r\n")
        await reader.readuntil(b"\r\n\r\n")
        sockets.append((reader, writer))
    held = [wire for wire in world.gate._wires if not wire.lost]
    assert len(held) == 3
    world.server.close()
    for task in asyncio.all_tasks():
        if getattr(task.get_coro(), "__qualname__", "") == "App.serve":
            task.cancel()
    for reader, writer in sockets:
        assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
        writer.close()
    assert status(await world.get("/")) == 503
    assert world.lost_apps == ["demo"]


async def test_a_random_flood_of_bytes_breaks_nothing(world, caplog):
    import random  # noqa: PLC0415  # for this test only

    chance = random.Random(5)
    lines = b"GET / HTTP/1.1|Host: h|Content-Length: 5|Transfer-Encoding: chunked|5|POST /x HTTP/1.1|".split(b"|")
    words = [*(line + b"\r\n" for line in lines), BEARER, SOCKET, b"\n", b"\0", b"0\r\n\r\n", b"abcde", b"\xff\xfe"]
    for _ in range(150):
        soup = b"".join(chance.choices(words, k=chance.randint(1, 14)))
        answer = await world.ask(soup, end=True)
        assert not answer or answer.startswith(b"HTTP/1.1 ")
    assert "broke the gate" not in caplog.text
    assert await soon(lambda: not world.gate._tasks)
    assert header(await world.get("/"), "content-length") == ["3"]


async def test_bodies_of_requests_are_judged_by_length_alone(world):
    """What an app gets of a kept connection is what the keeper saw, one for one."""
    hidden = b"GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n"
    post = b"POST /a HTTP/1.1\r\nHost: h\r\n" + BEARER + b"Content-Length: %d\r\n\r\n" % len(hidden) + hidden
    answer = await world.ask(post + GET + BEARER + LAST + b"\r\n")
    assert answer.count(b"HTTP/1.1 200") == 2
    assert [seen.target for seen in world.keeper.seen] == ["/a", "/"]
    assert [head.split(b" ")[1] for head in world.app.heads] == [b"/a", b"/"]


async def test_an_aiohttp_app_hears_that_its_client_left(world):
    begun, left = asyncio.Event(), asyncio.Event()

    async def wait(_request):
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            left.set()
            raise

    app = web.Application()
    app.add_routes([web.get("/", wait)])
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    world.where = site._server.sockets[0].getsockname()[:2]
    _, writer = await world.connect()
    writer.write(GET + BEARER + b"\r\n")
    assert await soon(lambda: world.gate.activity("demo").open == 1)
    await asyncio.wait_for(begun.wait(), PATIENCE)
    writer.close()
    await asyncio.wait_for(left.wait(), PATIENCE)
    await runner.cleanup()
