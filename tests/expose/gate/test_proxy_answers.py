"""What the gate makes of an app's answers, careless, cut off or hostile ones included."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
from pathlib import Path

import pytest

from tests.expose.gate.proxies import BEARER, GET, LAST, PATIENCE, SOCKET, header, opened, soon, status


@pytest.fixture
async def world():
    async with opened() as world:
        yield world


async def test_answers_of_all_shapes(world):
    chunks = await world.get("/chunks")
    assert chunks.endswith(b"\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nt: x\r\n\r\n")  # trailers too, but for cookies
    assert header(chunks, "transfer-encoding") == ["chunked"]
    both = await world.get("/both")
    assert both.endswith(b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    assert not header(both, "content-length")
    assert (await world.get("/old")).endswith(b"\r\n\r\na\r\nto the end\r\n0\r\n\r\n")
    assert (await world.get("/continue")).count(b"HTTP/1.1 ") == 2
    early = await world.get("/103")
    assert early.startswith(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n")
    empty = await world.get("/204")
    assert status(empty) == 204
    assert not header(empty, "content-length")
    unchanged = await world.get("/304")
    assert status(unchanged) == 304
    assert header(unchanged, "etag") == ["x"]


async def test_bodiless_answers_do_not_end_a_connection(world):
    asked = [b"HEAD /x", b"GET /204", b"GET /304", b"HEAD /chunks", b"GET /y"]
    requests = b"".join(line + b" HTTP/1.1\r\nHost: h\r\n" + BEARER + b"\r\n" for line in asked)
    answer = await world.ask(requests.removesuffix(b"\r\n") + LAST + b"\r\n")
    assert answer.count(b"HTTP/1.1 ") == 5
    assert answer.endswith(b"\r\n\r\n/y 0")
    assert b"/x 0" not in answer
    assert b"abc" not in answer


async def test_interim_answers_are_not_for_clients_of_http_1_0(world):
    answer = await world.ask(b"GET /103 HTTP/1.0\r\n" + BEARER + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("path", ["/silent", "/garbage", "/half-head"])
async def test_answers_that_are_none_are_said_to_be(world, path):
    answer = await world.get(path)
    assert status(answer) == 502
    assert b"`demo` gave no answer that can be read" in answer
    page = await world.get(path, "Accept: text/html")
    assert header(page, "content-type") == ["text/html; charset=utf-8"]
    assert b"pinoctl logs demo" in page
    assert world.lost_apps == []


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length : 4\r\n",
        b"HTTP/1.1 200 OK\r\nno header at all\r\n",
        b"HTTP/1.1 200 OK\r\n X: folded\r\n",
        b"HTTP/1.1 20 OK\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 3_000_000 + b"\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n",
    ],
)
async def test_hostile_heads_are_not_passed_on(world, head):
    world.app.fixed[b"/hostile"] = head + b"\r\nabcd"
    answer = await world.get("/hostile")
    assert status(answer) == 502
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"X-A : b", [b"x-a: b"]),
        (b"X-A\t :\tb\r\n more", [b"x-a: b more"]),
        (b"X (A): b", []),
        (b"X (A): b\r\n more: of it\r\nX-B: c", [b"x-b: c"]),
        (b": b\nX-B: c", [b"x-b: c"]),
        (b"X-B: c : d", [b"x-b: c : d"]),
        ("X-ä: b".encode(), []),
    ],
)
async def test_headers_written_carelessly_are_put_right_or_left_out(world, line, told):
    world.app.fixed[b"/odd"] = b"HTTP/1.1 200 OK\r\n" + line + b"\r\nContent-Length : 2\r\n\r\nokay"
    answer = await world.get("/odd")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert (status(answer), body, header(answer, "content-length")) == (200, b"ok", ["2"])
    assert [each for each in head.split(b"\r\n") if each.startswith(b"x")] == told


async def test_more_than_an_app_announced_does_not_become_the_next_answer(world):
    world.app.fixed[b"/more"] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nX: evil\r\n\r\n"
    requests = b"GET /more HTTP/1.1\r\nHost: h\r\n" + BEARER + b"\r\n" + GET + BEARER + LAST + b"\r\n"
    answer = await world.ask(requests)
    assert answer.endswith(b"/ 0")
    assert b"evil" not in answer


@pytest.mark.parametrize("path", ["/cut", "/cut-chunks", "/reset"])
async def test_an_answer_that_is_cut_off_does_not_look_complete(world, path):
    reader, writer = await world.connect()
    writer.write(b"GET %b HTTP/1.1\r\nHost: h\r\n" % path.encode() + BEARER + b"\r\n")
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(), PATIENCE)
    writer.close()


async def test_a_kept_connection_that_the_app_ended_is_no_error(world):
    for _ in range(3):
        assert (await world.get("/last")).endswith(b"/last 0")
    assert world.app.connections == 3


async def test_a_request_that_changes_something_is_never_sent_twice(world):
    world.app.fixed[b"/once"] = b""
    assert status(await world.get("/")) == 200
    assert status(await world.get("/once", method="POST")) == 502
    assert sum(head.startswith(b"POST /once") for head in world.app.heads) == 1


async def test_an_app_that_ends_kept_connections_as_they_are_used_is_asked_again(world):
    """It reads the second request of a connection and says nothing."""
    served: list[int] = []

    async def serve(reader, writer):
        for number in range(2):
            head = await reader.readuntil(b"\r\n\r\n")
            served.append(number)
            if number == 0:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert head
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        world.where = server.sockets[0].getsockname()[:2]
        for _ in range(3):
            assert (await world.get("/")).endswith(b"ok")
    assert served == [0, 1, 0, 1, 0]


async def test_an_early_answer_arrives_although_the_upload_goes_on(world):
    post = b"POST /early HTTP/1.1\r\nHost: h\r\n" + BEARER + b"Content-Length: 1000000\r\n\r\n"
    answer = await world.ask(post + bytes(300_000))
    assert status(answer) == 413
    assert answer.endswith(b"big")
    assert header(answer, "connection") == ["close"]


async def test_expecting_clients_hear_what_the_app_says_before_they_send(world):
    expect = BEARER + LAST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    reader, writer = await world.connect()
    writer.write(b"POST /continue HTTP/1.1\r\nHost: h\r\n" + expect)
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"abc")
    assert (await reader.read()).endswith(b"/continue 3")
    writer.close()
    assert status(await world.ask(b"POST /early HTTP/1.1\r\nHost: h\r\n" + expect)) == 413
    refused = await world.ask(b"POST / HTTP/1.1\r\nHost: h\r\n" + expect.replace(BEARER, b""))
    assert refused.startswith(b"HTTP/1.1 401 ")


async def test_a_client_that_ended_its_side_still_gets_the_answer(world):
    post = b"POST / HTTP/1.1\r\nHost: h\r\n" + BEARER
    assert b"/ 3" in await world.ask(post + b"Content-Length: 3\r\n\r\nabc", end=True)
    assert b"/ 2" in await world.ask(post + b"Content-Length: 3\r\n\r\nab", end=True)
    assert b"/ 6" in await world.ask(post + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n", end=True)


async def test_events_come_at_once_and_the_app_hears_that_nobody_listens(world):
    reader, writer = await world.connect()
    writer.write(b"GET /stream HTTP/1.1\r\nHost: h\r\n" + BEARER + b"\r\n")
    answer = await asyncio.wait_for(reader.readuntil(b"data: 1\n\n"), PATIENCE)
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert world.app.ended == 0
    assert world.gate.activity("demo").open == 1
    writer.close()
    assert await soon(lambda: world.app.ended == 1)
    assert await soon(lambda: world.gate.activity("demo").open == 0)


async def test_large_bodies_both_ways_wait_for_slow_readers(world):
    reader, writer = await world.connect()
    writer.write(b"GET /down HTTP/1.1\r\nHost: h\r\n" + BEARER + LAST + b"\r\n")
    await reader.readuntil(b"\r\n\r\n")
    client = next(iter(world.gate._wires))
    await asyncio.sleep(0.2)  # in which the app sends as much as anybody takes
    assert client.sent < 20 << 20
    size = 0
    while data := await asyncio.wait_for(reader.read(1 << 20), PATIENCE):
        size += len(data)
    assert size == 100 << 20
    writer.close()

    reader, writer = await world.connect()
    writer.write(b"POST / HTTP/1.1\r\nHost: h\r\n" + BEARER + LAST + b"Content-Length: %d\r\n\r\n" % (100 << 20))
    for _ in range(100):
        writer.write(bytes(1 << 20))
        await writer.drain()
    assert (await asyncio.wait_for(reader.read(), PATIENCE)).endswith(b"/ %d" % (100 << 20))
    writer.close()


async def test_an_upload_waits_for_a_slow_app(world):
    taken = asyncio.Event()

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        await taken.wait()
        await reader.readexactly(30 << 20)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        world.where = server.sockets[0].getsockname()[:2]
        reader, writer = await world.connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\n" + BEARER + LAST + b"Content-Length: %d\r\n\r\n" % (30 << 20))
        writer.write(bytes(30 << 20))
        await asyncio.sleep(0.2)
        assert next(iter(world.gate._wires)).arrived < 20 << 20
        taken.set()
        assert (await asyncio.wait_for(reader.read(), PATIENCE)).endswith(b"ok")
        writer.close()


async def test_use_is_counted(world):
    activity = world.gate.activity("demo")
    assert activity.last is None
    await world.get("/", token=False)
    assert activity.last is None
    await world.get("/")
    assert (activity.last_request, activity.open) == (1000.0, 0)
    reader, writer = await world.connect()
    writer.write(b"GET /ws HTTP/1.1\r\nHost: h\r\n" + BEARER + SOCKET + b"\r\n")
    await reader.readuntil(b"\r\n\r\n")
    world.now = 2000.0
    assert (activity.open, activity.upgraded, activity.last) == (1, 1, 1000.0)
    writer.write(b"x")
    await reader.readexactly(3)
    assert (activity.last_request, activity.last_byte) == (1000.0, 2000.0)
    writer.close()
    assert await soon(lambda: activity.open == activity.upgraded == 0)


@pytest.mark.parametrize(
    ("frame", "counts"),
    [
        (b"\x81\x85\0\0\0\0hello", True),
        (b"\x89\x80\0\0\0\0", False),  # a ping of the protocol
        (b"\x81\x81\0\0\0\x003", False),  # and one of Engine.IO
    ],
)
async def test_what_somebody_says_on_a_websocket_is_use_and_a_sign_of_life_is_not(world, frame, counts):
    activity = world.gate.activity("demo")
    reader, writer = await world.connect()
    writer.write(b"GET /ws HTTP/1.1\r\nHost: h\r\n" + BEARER + SOCKET + b"\r\n")
    await reader.readuntil(b"\r\n\r\n")
    world.now = 2000.0
    writer.write(frame)
    await reader.readexactly(len(frame) + 2)
    assert (activity.last_request, activity.last_byte) == (2000.0 if counts else 1000.0, 2000.0)
    writer.close()


async def test_what_a_page_does_by_itself_is_no_use(world):
    await world.get("/gradio_api/heartbeat/abc")
    assert world.gate.activity("demo").last is None
    assert world.app.heads, "it reaches the app all the same"


def open_sockets() -> int:
    """Count this process's sockets."""
    return sum(link.readlink().name.startswith("socket:") for link in Path("/proc/self/fd").iterdir() if link.exists())


async def test_close_leaves_no_task_and_no_socket(world):
    gc.collect()
    before = open_sockets()
    tasks = asyncio.all_tasks()
    pairs = [await world.connect() for _ in range(5)]
    pairs[0][1].write(b"GET /stream HTTP/1.1\r\nHost: h\r\n" + BEARER + b"\r\n")
    pairs[1][1].write(b"GET /ws HTTP/1.1\r\nHost: h\r\n" + BEARER + SOCKET + b"\r\n")
    pairs[2][1].write(GET)
    pairs[3][1].write(b"POST / HTTP/1.1\r\nHost: h\r\n" + BEARER + b"Content-Length: 9\r\n\r\n")
    for reader, _ in pairs[:2]:
        await reader.readuntil(b"\r\n\r\n")
    assert await soon(lambda: len(world.gate._tasks) == 5)
    port = world.gate.port
    await world.gate.close()
    assert world.gate.port == 0
    for reader, writer in pairs:
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), PATIENCE)
        writer.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    assert await soon(lambda: asyncio.all_tasks() <= tasks)
    gc.collect()
    assert await soon(lambda: open_sockets() == before - 1)  # what it listened on


async def test_close_ends_who_cannot_be_cancelled(world):
    fresh = world.gate.pool.fresh

    async def deaf(target):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return await fresh(target)

    world.gate.pool.fresh = deaf
    reader, writer = await world.connect()
    writer.write(b"GET /stream HTTP/1.1\r\nHost: h\r\n" + BEARER + b"\r\n")
    assert await soon(lambda: world.keeper.seen)
    await asyncio.wait_for(world.gate.close(), PATIENCE)
    assert await reader.read() == b""
    writer.close()


async def test_a_keeper_that_breaks_lets_nothing_through(world, caplog):
    world.keeper.decide = lambda seen: 1 / 0
    assert await world.get("/") == b""
    assert not world.app.raw
    assert "ZeroDivisionError" in caplog.text
