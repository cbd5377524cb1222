"""Bodies in chunks through the gate: as they come, whole, held back by slow readers, and cut where they are wrong."""

from __future__ import annotations

import asyncio

import pytest

from tests.expose.gate.proxies import BEARER, GET, LAST, PATIENCE, opened, soon, status

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\n" + BEARER + b"Transfer-Encoding: chunked\r\n"
MIB = 1 << 20
CHUNK = b"10000\r\n" + bytes(1 << 16) + b"\r\n"


@pytest.fixture
async def world():
    async with opened() as world:
        yield world


async def test_clients_of_http_1_0_get_what_is_in_the_chunks(world):
    world.app.fixed[b"/many"] = HEAD + (CHUNK + b"1;x\r\na\r\n") * 3 + b"0\r\nT: x\r\n\r\n"
    answer = await world.ask(b"GET /many HTTP/1.0\r\n" + BEARER + b"\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert body == (bytes(1 << 16) + b"a") * 3


async def test_events_in_chunks_come_one_by_one(world):
    said = asyncio.Queue()

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD)
        while event := await said.get():
            writer.write(event)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        world.where = server.sockets[0].getsockname()[:2]
        reader, writer = await world.connect()
        writer.write(GET + BEARER + b"\r\n")
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
        for number in range(20):
            event = b"9\r\ndata: %d\n\n\r\n" % (number % 10)
            for piece in (event, event[:1], event[1:5], event[5:]):
                said.put_nowait(piece)
                if piece in (event, event[5:]):
                    assert await asyncio.wait_for(reader.readexactly(len(event)), PATIENCE) == event
        said.put_nowait(b"")
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), PATIENCE)
        writer.close()


@pytest.mark.parametrize("wrong", [b"3\nabc\r\n", b"3\r\nabcd\r\n", b"zz\r\n", b"0\r\nA: b\r\n c\r\n\r\n"])
async def test_an_answer_framed_wrongly_does_not_look_complete(world, wrong):
    world.app.fixed[b"/wrong"] = HEAD + b"2\r\nok\r\n" + wrong + b"0\r\n\r\n"
    reader, writer = await world.connect()
    writer.write(b"GET /wrong HTTP/1.1\r\nHost: h\r\n" + BEARER + b"\r\n" + GET + BEARER + b"\r\n")
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(), PATIENCE)
    writer.close()
    assert len(world.app.heads) == 1


async def test_what_follows_an_answer_in_chunks_belongs_to_no_other(world):
    world.app.fixed[b"/more"] = HEAD + b"2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nX: evil\r\n\r\n"
    asked = b"GET /more HTTP/1.1\r\nHost: h\r\n" + BEARER + b"\r\n"
    answer = await world.ask(asked + asked + GET + BEARER + LAST + b"\r\n")
    assert answer.endswith(b"/ 0")
    assert answer.count(b"2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n") == 2
    assert b"evil" not in answer


async def test_what_follows_an_upload_in_chunks_is_the_next_request(world):
    hidden = b"GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n"
    body = b"\r\n%x;a=b\r\n%b\r\n0\r\nAuthorization: late\r\n\r\n" % (len(hidden), hidden)
    answer = await world.ask(POST + body + GET + BEARER + LAST + b"\r\n")
    assert answer.count(b"HTTP/1.1 200") == 2
    assert [seen.target for seen in world.keeper.seen] == ["/", "/"]
    assert [head.split(b" ")[1] for head in world.app.heads] == [b"/", b"/"]
    assert b"\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(hidden), hidden) in world.app.raw, "neither extensions nor trailers"
    assert b"late" not in world.app.raw


@pytest.mark.parametrize("wrong", [b"3\nabc\r\n", b"3\r\nabcd\r\n", b"-1\r\n", b"3;\x00\r\nabc\r\n"])
async def test_an_upload_framed_wrongly_is_refused(world, wrong):
    answer = await world.ask(POST + b"\r\n2\r\nok\r\n" + wrong + b"0\r\n\r\n" + GET + BEARER + b"\r\n")
    assert status(answer) == 400
    assert answer.count(b"HTTP/1.1 ") == 1
    assert await soon(lambda: world.app.ended == 1), "the app is not left with half of it"
    assert not world.app.raw.endswith(b"0\r\n\r\n")


async def test_chunks_wait_for_slow_readers(world):
    taken = asyncio.Event()

    async def serve(reader, writer):
        if (await reader.readuntil(b"\r\n\r\n")).startswith(b"POST"):
            await taken.wait()
            await reader.readexactly(len(CHUNK) * 480 + 5)
            writer.write(HEAD + b"0\r\n\r\n")
            return
        writer.write(HEAD)
        for _ in range(480):
            writer.write(CHUNK)
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        world.where = server.sockets[0].getsockname()[:2]
        reader, writer = await world.connect()
        writer.write(GET + BEARER + LAST + b"\r\n")
        await reader.readuntil(b"\r\n\r\n")
        client = next(iter(world.gate._wires))
        await asyncio.sleep(0.2)  # in which the app sends as much as anybody takes
        assert client.sent < 20 * MIB
        assert await asyncio.wait_for(reader.read(), PATIENCE) == CHUNK * 480 + b"0\r\n\r\n"
        writer.close()
        assert await soon(lambda: not world.gate._wires)

        reader, writer = await world.connect()
        writer.write(POST + LAST + b"\r\n" + CHUNK * 480 + b"0\r\n\r\n")
        await asyncio.sleep(0.2)
        assert next(iter(world.gate._wires)).arrived < 20 * MIB
        taken.set()
        assert (await asyncio.wait_for(reader.read(), PATIENCE)).endswith(b"\r\n\r\n0\r\n\r\n")
        writer.close()
