"""WebSockets through the gate: raw bytes, and real clients and servers."""

from __future__ import annotations

import asyncio
import os

import pytest
import websockets
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

from tests.expose.gate.proxies import BEARER, PATIENCE, SOCKET, T, header, opened, soon, status


@pytest.fixture
async def world():
    async with opened() as world:
        yield world


@pytest.fixture
async def echo(world):
    """Serve a real WebSocket server behind the gate; returns its address before the gate."""

    async def handle(connection):
        async for message in connection:
            if message == "close":
                await connection.close(4321, "as asked")
                return
            await connection.send(message)

    options = {"max_size": None, "compression": "deflate", "open_timeout": PATIENCE}
    async with serve(handle, "127.0.0.1", 0, **options) as server:
        world.where = next(iter(server.sockets)).getsockname()[:2]
        yield f"ws://127.0.0.1:{world.gate.port}/"


def client(address, **options):
    options = {"max_size": None, "proxy": None, "open_timeout": PATIENCE, **options}
    return connect(address, additional_headers={"Authorization": f"Bearer {T}"}, **options)


async def test_bytes_are_passed_on_both_ways_until_each_has_ended(world):
    reader, writer = await world.connect()
    writer.write(b"GET /ws HTTP/1.1\r\nHost: h\r\n" + BEARER + SOCKET + b"\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert header(head, "connection") == ["Upgrade"]
    assert header(head, "upgrade") == ["websocket"]
    for message in (b"\x81\x01a", b"\x00\xff\r\n\r\n"):
        writer.write(message)
        assert await reader.readexactly(len(message) + 2) == b"<" + message + b">"
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), PATIENCE) == b"bye"
    writer.close()
    asked = world.app.heads[0].lower()
    assert b"\r\nconnection: upgrade\r\n" in asked
    assert b"\r\nupgrade: websocket\r\n" in asked
    assert b"\r\nsec-websocket-version: 13\r\n" in asked
    assert await soon(lambda: len(world.told) == 1)
    assert (world.told[0]["status"], world.told[0]["path"]) == (101, "/ws")


async def test_what_a_client_sends_at_once_arrives(world):
    reader, writer = await world.connect()
    writer.write(b"GET /ws HTTP/1.1\r\nHost: h\r\n" + BEARER + SOCKET + b"\r\nearly")
    await reader.readuntil(b"\r\n\r\n")
    assert await asyncio.wait_for(reader.readexactly(7), PATIENCE) == b"<early>"
    writer.close()


async def test_cookies_of_the_keeper_come_with_an_upgrade(world):
    world.keeper.cookies = ("a=1",)
    reader, writer = await world.connect()
    writer.write(b"GET /ws HTTP/1.1\r\nHost: h\r\n" + BEARER + SOCKET + b"\r\n")
    assert header(await reader.readuntil(b"\r\n\r\n"), "set-cookie") == ["a=1"]
    writer.close()


async def test_an_app_may_not_change_protocols_unasked(world):
    assert status(await world.get("/ws", "Upgrade: websocket")) == 502
    assert b"upgrade:" not in world.app.heads[0].lower()


async def test_an_upgrade_with_a_body_is_a_request_like_any_other(world):
    post = b"POST /x HTTP/1.1\r\nHost: h\r\nConnection: close, Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n"
    assert (await world.ask(post + BEARER + b"\r\nabc")).endswith(b"/x 3")
    assert not world.keeper.seen[0].upgrade
    assert b"upgrade" not in world.app.heads[0].lower()


@pytest.mark.parametrize("kinds", ["h2c", "websocket, h2c", "h2c, websocket", "websocket/13", "WebSocket2"])
async def test_only_websockets_come_through(world, kinds):
    ask = [f"Upgrade: {kinds}", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"]
    assert status(await world.get("/x", *ask)) == 200
    assert not world.keeper.seen[0].upgrade
    asked = world.app.heads[0].lower()
    assert b"upgrade" not in asked
    assert b"http2-settings" not in asked


async def test_the_name_of_websockets_is_written_in_any_case(world):
    reader, writer = await world.connect()
    writer.write(b"GET /ws HTTP/1.1\r\nHost: h\r\n" + BEARER + SOCKET.replace(b"websocket", b"WebSocket") + b"\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    writer.close()


async def test_the_keeper_is_told_of_upgrades(world):
    await world.ask(b"GET / HTTP/1.1\r\nHost: h\r\n" + SOCKET.replace(b"keep-alive", b"close") + b"\r\n")
    assert world.keeper.seen[0].upgrade


async def test_the_client_is_gone_and_so_is_the_apps_connection(world):
    _, writer = await world.connect()
    writer.write(b"GET /ws HTTP/1.1\r\nHost: h\r\n" + BEARER + SOCKET + b"\r\n")
    assert await soon(lambda: world.gate.activity("demo").upgraded)
    writer.transport.abort()
    assert await soon(lambda: world.app.ended == 1)
    assert await soon(lambda: not world.gate._tasks)


async def test_real_messages_compressed_and_large(echo):
    async with client(echo) as socket:
        assert "permessage-deflate" in socket.response.headers["Sec-WebSocket-Extensions"]
        for message in ("", "hällo", b"\x00\xff", os.urandom(3 << 20), "x" * (8 << 20)):
            await socket.send(message)
            assert await asyncio.wait_for(socket.recv(), PATIENCE) == message
        pong = await socket.ping(b"are you there")
        assert await asyncio.wait_for(pong, PATIENCE) >= 0


async def test_real_messages_without_compression_in_fragments(echo):
    async with client(echo, compression=None) as socket:
        await socket.send(["a", "b" * 100_000, "c"])
        assert await asyncio.wait_for(socket.recv(), PATIENCE) == "a" + "b" * 100_000 + "c"


async def test_close_codes_come_through_both_ways(world, echo):
    async with client(echo) as socket:
        await socket.send("close")
        with pytest.raises(websockets.ConnectionClosed):
            await asyncio.wait_for(socket.recv(), PATIENCE)
        assert (socket.close_code, socket.close_reason) == (4321, "as asked")
    closed: list[int] = []

    async def handle(connection):
        await connection.wait_closed()
        closed.append(connection.close_code)

    async with serve(handle, "127.0.0.1", 0, open_timeout=PATIENCE) as server:
        world.where = next(iter(server.sockets)).getsockname()[:2]
        async with client(echo) as socket:
            await socket.close(4000, "done")
        assert await soon(lambda: closed == [4000])


async def test_a_refused_upgrade_says_why(world, echo):
    with pytest.raises(websockets.InvalidStatus) as refused:
        await connect(echo, proxy=None, open_timeout=PATIENCE)
    assert refused.value.response.status_code == 401
    world.where = None
    with pytest.raises(websockets.InvalidStatus) as waiting:
        await client(echo)
    assert waiting.value.response.status_code == 503


async def test_a_slow_reader_holds_the_sender_back(world):
    """Between them no more waits than buffers hold."""
    sent = 0

    async def handle(connection):
        nonlocal sent
        for _ in range(60):
            await connection.send(bytes(1 << 20))
            sent += 1

    async with serve(handle, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        world.where = next(iter(server.sockets)).getsockname()[:2]
        reader, writer = await world.connect()
        key = b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n" + BEARER + SOCKET + key + b"\r\n")
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.3)
        assert sent < 40
        size = 0
        while size < 60 << 20:
            size += len(await asyncio.wait_for(reader.read(1 << 20), PATIENCE))
        writer.close()


async def test_many_at_once(echo):
    sockets = await asyncio.gather(*(client(echo).__aenter__() for _ in range(100)))
    await asyncio.gather(*(socket.send(str(at)) for at, socket in enumerate(sockets)))
    answers = await asyncio.gather(*(socket.recv() for socket in sockets))
    assert answers == [str(at) for at in range(100)]
    await asyncio.gather(*(socket.close() for socket in sockets))
