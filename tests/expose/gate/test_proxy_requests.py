"""What the gate makes of requests, well-formed and hostile, before they reach an app."""

from __future__ import annotations

import asyncio
import re
import socket

import pytest

from orchestrator.expose.gate.proxy import Gate, GateError, Patience
from tests.expose.gate.proxies import BEARER, GET, LAST, PATIENCE, SOCKET, World, header, opened, soon, status


@pytest.fixture
async def world():
    async with opened() as world:
        yield world


async def test_what_is_let_through_reaches_the_app_cleaned(world):
    answer = await world.ask(GET + BEARER + LAST + b"Keep-Alive: 5\r\nX-Mine: 1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\n/ 0")
    assert header(answer, "connection") == ["close"]
    assert not header(answer, "keep-alive")
    head = world.app.heads[0].lower()
    assert head.startswith(b"get / http/1.1\r\nhost: h\r\nx-mine: 1\r\n")
    assert b"connection" not in head
    assert b"keep-alive" not in head
    assert b"x-forwarded-for: 127.0.0.1\r\n" in head
    assert b"x-forwarded-host: h\r\n" in head
    assert b"x-forwarded-proto: http\r\n" in head


async def test_nothing_of_a_request_that_is_refused_reaches_the_app(world):
    assert status(await world.get("/", token=False)) == 401
    assert status(await world.get("/.pinoctl/nonce", token=False)) == 200
    assert status(await world.ask(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc")) == 401
    assert status(await world.ask(b"GET /ws HTTP/1.1\r\nHost: h\r\n" + SOCKET + LAST + b"\r\n")) == 401
    assert not world.app.raw
    assert world.app.connections == 0


async def test_connections_are_kept_on_both_sides(world):
    reader, writer = await world.connect()
    for path in (b"/a", b"/bb", b"/ccc"):
        writer.write(b"GET " + path + b" HTTP/1.1\r\nHost: h\r\n" + BEARER + b"\r\n")
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(len(path) + 2) == path + b" 0"
    writer.close()
    assert world.app.connections == 1
    assert len(world.app.heads) == 3


async def test_every_request_of_a_connection_is_judged_on_its_own(world):
    second = b"GET /second HTTP/1.1\r\nHost: h\r\n" + LAST + b"\r\n"
    first = GET + BEARER + b"\r\n"
    post = b"POST / HTTP/1.1\r\nHost: h\r\n" + BEARER
    chunks = post + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    cases = [(first + second,), (first, second), (post + b"Content-Length: 3\r\n\r\nabc" + second,), (chunks + second,)]
    for parts in cases:
        answer = await world.ask(*parts)
        assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"401"]
    # an upgrade that the app does not want is a request like any other
    answer = await world.ask(GET + BEARER + SOCKET + b"\r\n" + second)
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"401"]
    assert len(world.keeper.seen) == 10
    assert len(world.app.heads) == 5
    assert b"second" not in world.app.raw


async def test_many_pipelined_requests_are_answered_in_order(world):
    paths = [b"/n%d" % at for at in range(300)]
    asked = b"".join(b"GET " + path + b" HTTP/1.1\r\nHost: h\r\n" + BEARER + b"\r\n" for path in paths)
    answer = await world.ask(asked + GET + LAST + b"\r\n")
    assert re.findall(rb"\r\n\r\n(/n\d+) 0", answer) == paths
    assert answer.count(b"HTTP/1.1 401") == 1


async def test_the_body_of_a_refused_request_is_no_request(world):
    hidden = GET + BEARER + b"\r\n"
    answer = await world.ask(b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(hidden) + hidden)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert header(answer, "connection") == ["close"]
    assert not world.app.raw


async def test_empty_lines_before_a_request_are_passed_over(world):
    asked = GET + BEARER + b"\r\n"
    answer = await world.ask(b"\r", b"\n\r\n" + asked + b"\r\n" + asked, b"\r\n", GET + BEARER + LAST + b"\r\n")
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200"] * 3
    assert await world.ask(b"\r\n\r\n", end=True) == b""
    assert status(await world.ask(b"\n" + asked)) == 400


async def test_what_concerns_a_whole_server_reaches_the_app(world):
    answer = await world.ask(b"OPTIONS * HTTP/1.1\r\nHost: h\r\n" + BEARER + LAST + b"\r\n")
    assert (status(answer), world.keeper.seen[0].target) == (200, "*")
    assert world.app.heads[0].startswith(b"OPTIONS * HTTP/1.1\r\n")


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
    assert not world.keeper.seen


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
        b"CONNECT / HTTP/1.1",
        b"GET * HTTP/1.1",
        b"GET /a b HTTP/1.1",
        b"GET http://user@h/ HTTP/1.1",
        b"GET http://other/ HTTP/1.1",
        b"GET ftp://h/ HTTP/1.1",
        b"G\x00T / HTTP/1.1",
        b"\x16\x03\x01 / HTTP/1.1",
        b"",
        b"PRI * HTTP/2.0",
    ],
)
async def test_first_lines_that_are_none_are_refused(world, line):
    assert status(await world.ask(line + b"\r\nHost: h\r\n" + BEARER + b"\r\n")) == 400
    assert not world.app.raw
    assert not world.keeper.seen


async def test_bare_line_feeds_and_missing_hosts_are_refused(world):
    assert status(await world.ask(b"GET / HTTP/1.1\nHost: h\n\n")) == 400
    assert status(await world.ask(b"GET / HTTP/1.1\r\n" + BEARER + b"\r\n")) == 400
    assert status(await world.ask(b"GET / HTTP/1.1\r\nHost: a/b\r\n" + BEARER + b"\r\n")) == 400
    chunks = b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    assert status(await world.ask(b"POST / HTTP/1.0\r\n" + BEARER + chunks)) == 400
    assert not world.app.raw


async def test_clients_of_http_1_0(world):
    answer = await world.ask(b"GET /chunks HTTP/1.0\r\n" + BEARER + b"\r\n")
    assert answer.endswith(b"\r\n\r\nabcde")
    assert not header(answer, "transfer-encoding")
    assert header(answer, "connection") == ["close"]
    # without a Host the app gets its own
    host, port = world.where
    assert b"\r\nhost: %b:%d\r\n" % (host.encode(), port) in world.app.heads[0].lower()


async def test_absolute_addresses_become_paths(world):
    answer = await world.ask(b"GET http://h/a?b=1 HTTP/1.1\r\nHost: h\r\n" + BEARER + LAST + b"\r\n")
    assert status(answer) == 200
    assert world.keeper.seen[0].target == "/a?b=1"
    assert world.app.heads[0].startswith(b"GET /a?b=1 HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "chunks", [b"-3\r\nabc\r\n", b"3\nabc\r\n", b"\r\n", b"0x3\r\nabc\r\n", b"3\r\nabcd\r\n0\r\n\r\n"]
)
async def test_chunks_that_cannot_be_read_end_the_request(world, chunks):
    post = b"POST / HTTP/1.1\r\nHost: h\r\n" + BEARER + b"Transfer-Encoding: chunked\r\n\r\n"
    assert status(await world.ask(post + b"1\r\nx\r\n" + chunks)) == 400
    assert b"0\r\n\r\n" not in world.app.raw


async def test_chunks_are_written_anew(world):
    post = b"POST / HTTP/1.1\r\nHost: h\r\n" + BEARER + LAST + b"Transfer-Encoding: Chunked\r\n\r\n"
    big = b"%x;ext=1\r\n" % 100_000 + bytes(100_000) + b"\r\n"
    await world.ask(post, b"3;a=b\r\nab", b"c\r\n" + big + b"0\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n")
    body = bytes(world.app.raw).partition(b"\r\n\r\n")[2]
    data = bytearray()
    while body:
        size, _, body = body.partition(b"\r\n")
        data += body[: int(size, 16)]
        assert body[int(size, 16) :][:2] == b"\r\n"
        body = body[int(size, 16) + 2 :]
    assert data == b"abc" + bytes(100_000)
    assert b"1.2.3.4" not in world.app.raw  # trailers, which apps mix with the headers that the keeper has seen


async def test_the_same_length_twice_is_said_once(world):
    post = b"POST / HTTP/1.1\r\nHost: h\r\n" + BEARER + LAST
    assert b"/ 3" in await world.ask(post + b"Content-Length: 3\r\ncontent-length: 3\r\n\r\nabc")
    assert world.app.raw.lower().count(b"content-length") == 1


async def test_what_connection_names_is_not_passed_on_but_a_length_is(world):
    post = b"POST / HTTP/1.1\r\nHost: h\r\n" + BEARER + b"Connection: close, X-Hop, Content-Length\r\n"
    assert b"/ 3" in await world.ask(post + b"X-Hop: 1\r\nContent-Length: 3\r\n\r\nabc")
    assert b"x-hop" not in world.app.raw.lower()


async def test_claims_about_who_asks_do_not_reach_the_app(world):
    claims = ("X-Forwarded-For: 6.6.6.6", "X-Real-IP: 6.6.6.6", "Forwarded: for=6.6.6.6", "CF-Connecting-IP: 6.6.6.6")
    await world.get("/", *claims, "X-Forwarded-Host: evil", "X-Forwarded-Proto: https", "X-Original-URL: /admin")
    head = world.app.heads[0].lower()
    assert b"6.6.6.6" not in head
    assert b"evil" not in head
    assert b"https" not in head
    assert b"/admin" not in head
    assert world.keeper.seen[0].peer == "127.0.0.1"
    assert not world.keeper.seen[0].secure


async def test_long_heads_are_refused(world):
    assert status(await world.ask(GET + b"X: " + b"a" * 70_000)) == 431
    assert status(await world.ask(GET + b"X: aaaaaaaaaaaaaaaaaaaaaaaa\r\n" * 3000)) == 431
    assert status(await world.ask(GET + BEARER + LAST + b"X: " + b"a" * 60_000 + b"\r\n\r\n")) == 200
    assert status(await world.ask(GET, end=True)) == 400
    assert await world.ask(b"", end=True) == b""


async def test_slow_heads_idle_connections_and_stalled_bodies_are_ended():
    async with opened(patience=Patience(head=0.1, body=0.1)) as world:
        assert status(await world.ask(GET, b"X: 1\r\n")) == 408
        post = b"POST / HTTP/1.1\r\nHost: h\r\n" + BEARER + b"Content-Length: 9\r\n\r\n"
        assert await world.ask(post + b"abc") == b""
        # who waits for an app to answer is never sent away, who then asks for nothing more is
        reader, writer = await world.connect()
        writer.write(b"POST /late HTTP/1.1\r\nHost: h\r\n" + BEARER + b"Content-Length: 3\r\n\r\nabc")
        assert await soon(lambda: world.app.raw.endswith(b"abc") and b"/late" in world.app.heads[-1])
        world.gate.patience = Patience(head=0.1, idle=0.3, body=0.1)
        await asyncio.sleep(0.5)
        world.app.last_words.set()
        assert (await asyncio.wait_for(reader.read(), PATIENCE)).endswith(b"/late 3")
        writer.close()
        assert await world.ask() == b""


async def test_strangers_that_only_wait_make_room_for_others():
    async with opened(patience=Patience(waiting=5, grace=0)) as world:
        reader, writer = await world.connect()
        writer.write(b"GET /stream HTTP/1.1\r\nHost: h\r\n" + BEARER + b"\r\n")
        await reader.readuntil(b"data: 1\n\n")
        waiting = [await world.connect() for _ in range(6)]
        assert await asyncio.wait_for(waiting[0][0].read(), PATIENCE) == b""
        assert status(await world.get("/")) == 200
        assert not reader.at_eof()
        for _, one in [*waiting, (reader, writer)]:
            one.close()


async def test_what_is_the_gates_own_never_reaches_the_app(world):
    for path in (
        "/.pinoctl/x",
        "/.pinoctl/",
        "//.pinoctl/x",
        "/%2epinoctl/x",
        "/.pinoctl%2fx",
        "/a/../.pinoctl/x",
        "/.pinoctl",
    ):
        assert status(await world.get(path)) == 404
    assert not world.app.raw
    assert status(await world.get("/pinoctl/x")) == 200


async def test_forms_of_the_gates_own_are_read_for_the_keeper(world):
    post = b"POST /.pinoctl/login HTTP/1.1\r\nHost: h\r\n" + BEARER + LAST
    assert (await world.ask(post + b"Content-Length: 3\r\n\r\n", b"abc")).endswith(b"got abc")
    chunks = b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    assert (await world.ask(post + chunks)).endswith(b"got abc")
    waits = await world.ask(post + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n", b"abc")
    assert waits.startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert waits.endswith(b"got abc")
    asked = len(world.keeper.seen)
    assert status(await world.ask(post + b"Content-Length: 20000\r\n\r\n")) == 413
    big = b"5000\r\n" + bytes(0x5000) + b"\r\n"
    assert status(await world.ask(post + b"Transfer-Encoding: chunked\r\n\r\n" + big)) == 413
    assert status(await world.ask(post + b"Content-Length: 3\r\n\r\nab", end=True)) == 400
    assert len(world.keeper.seen) == asked
    again = b"POST /.pinoctl/login HTTP/1.1\r\nHost: h\r\n" + BEARER + b"Content-Length: 3\r\n\r\nabc"
    assert (await world.ask(again + again + GET + LAST + b"\r\n")).count(b"got abc") == 2


async def test_a_taken_port_is_said(world):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(GateError, match=f"cannot listen on port {port} of `127.0.0.1`"):
            await Gate.listen("127.0.0.1", port, keeper=world.keeper, app="demo", apps=World())


async def test_what_is_told_for_the_log_holds_no_secret(world):
    await world.get("/a/b?token=secret", "Cookie: c=secret")
    await world.get("/.pinoctl/go/secret?x=secret", token=False)
    await world.ask(b"bad secret\r\n\r\n")
    await world.get("/a/../.pinoctl/go/secret", token=False)
    assert await soon(lambda: len(world.told) == 4)
    first, second, third, fourth = world.told
    assert (fourth["path"], fourth["status"]) == ("/.pinoctl/", 401)
    assert {**first, "ms": 0} == {
        "event": "request",
        "app": "demo",
        "method": "GET",
        "path": "/a/b",
        "status": 200,
        "bytes": first["bytes"],
        "ms": 0,
        "peer": "127.0.0.1",
    }
    assert first["bytes"] > len("/a/b 0")
    assert (second["path"], second["status"]) == ("/.pinoctl/go", 401)
    assert (third["path"], third["status"]) == ("", 400)
    assert "secret" not in repr(world.told)
