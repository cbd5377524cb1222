"""Who is cut when many come at once, and who never is."""

from __future__ import annotations

import asyncio
import os
import resource

import pytest

from orchestrator.expose.gate.contract import Answer
from orchestrator.expose.gate.proxy import Patience
from tests.expose.gate.proxies import BEARER, GET, PATIENCE, SOCKET, opened, soon, status
from tests.expose.world import time_passes

ALL = 1000
LONG = 600.0  # seconds that so many may take, however slow the machine
FILES = 5000  # each visitor here takes four: theirs, two of the gate's, and the app's


async def ask(pair, path=b"/"):
    """Ask once more on a connection; returns the answer's head, nothing when it was cut."""
    reader, writer = pair
    writer.write(b"GET %b HTTP/1.1\r\nHost: h\r\n" % path + BEARER + b"\r\n")
    try:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
        await reader.readexactly(len(path) + 2)
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""
    return head


async def cut(pair) -> bool:
    """Tell whether the gate has ended a connection, or does so now."""
    try:
        return await asyncio.wait_for(pair[0].read(1), PATIENCE) == b""
    except ConnectionError:
        return True


def hang_up(*pairs):
    for _, writer in pairs:
        writer.transport.abort()


@pytest.mark.timeout(LONG)
async def test_a_thousand_come_back_at_once_after_a_restart(monkeypatch):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES:
        pytest.skip(f"only {hard} files may be open here")
    monkeypatch.setattr("orchestrator.expose.gate.wire.CONNECT_SECONDS", LONG)
    async with opened(patience=Patience(head=LONG, idle=LONG, grace=LONG)) as world:
        pairs = await asyncio.gather(*(world.connect() for _ in range(ALL)))  # nobody has said a word yet
        for _, writer in pairs:
            writer.write(b"GET /ws HTTP/1.1\r\nHost: h\r\n" + BEARER + SOCKET + b"\r\n")
        heads = await asyncio.gather(*(reader.readuntil(b"\r\n\r\n") for reader, _ in pairs), return_exceptions=True)
        assert sum(isinstance(head, bytes) and head.startswith(b"HTTP/1.1 101 ") for head in heads) == ALL
        for _, writer in pairs:
            writer.write(b"x")
        said = await asyncio.gather(*(reader.readexactly(3) for reader, _ in pairs))
        assert said == [b"<x>"] * ALL
        assert not world.gate.crowd._strangers
        hang_up(*pairs)


async def test_two_hundred_downloads_at_once_are_whole():
    half = bytes(range(256)) * 1024
    head = b"HTTP/1.1 200 OK\r\n"
    async with opened() as world:
        world.app.fixed[b"/long"] = head + b"Content-Length: %d\r\n\r\n" % (len(half) * 2) + half * 2
        chunk = b"%x\r\n%b\r\n" % (len(half), half)
        world.app.fixed[b"/chunks"] = head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 2 + b"0\r\n\r\n"
        got = await asyncio.gather(*(world.get(("/long", "/chunks")[at % 2]) for at in range(200)))
        bodies = [answer.partition(b"\r\n\r\n")[2] for answer in got]
        assert bodies == [half * 2, chunk * 2 + b"0\r\n\r\n"] * 100


async def test_who_was_let_in_is_never_one_of_the_strangers():
    async with opened(patience=Patience(waiting=5, grace=0)) as world:
        inside = []
        for _ in range(20):
            inside.append(await world.connect())
            assert status(await ask(inside[-1])) == 200
        assert [status(await ask(pair)) for pair in inside] == [200] * 20
        outside = [await world.connect() for _ in range(7)]
        assert await cut(outside[0])
        assert await cut(outside[1])
        assert [status(await ask(pair)) for pair in inside] == [200] * 20
        assert status(await ask(outside[2])) == 200
        hang_up(*inside, *outside)


async def test_who_is_no_longer_let_in_is_a_stranger_again():
    async with opened(patience=Patience(waiting=5, grace=0)) as world:
        pairs = [await world.connect()]
        assert status(await ask(pairs[0])) == 200
        reader, writer = pairs[0]
        writer.write(GET + b"\r\n")  # without the token that it had before
        assert status(await reader.readuntil(b"\r\n\r\n")) == 401
        await reader.readexactly(3)
        pairs += [await world.connect() for _ in range(5)]
        assert await cut(pairs[0])
        hang_up(*pairs)


async def test_a_stranger_that_takes_no_answers_makes_room_although_it_goes_on_asking():
    async with opened(patience=Patience(waiting=5, grace=0)) as world:
        world.keeper.decide = lambda seen: Answer(401, (), bytes(1 << 20))
        deaf = await world.connect()
        deaf[1].transport.pause_reading()
        deaf[1].write((GET + b"\r\n") * 1000)
        assert await soon(lambda: any(wire.full and wire.held for wire in world.gate._wires))
        pairs = [await world.connect() for _ in range(5)]
        assert await soon(lambda: len(world.gate._wires) == 5)
        assert all(not wire.held for wire in world.gate._wires)
        hang_up(deaf, *pairs)


async def test_strangers_have_a_moment_for_their_request():
    async with opened(patience=Patience(waiting=5, grace=PATIENCE)) as world:
        pairs = [await world.connect() for _ in range(50)]
        assert await soon(lambda: len(world.gate.crowd._strangers) == 50)
        assert status(await ask(pairs[0])) == 200
        time_passes(PATIENCE)
        assert await soon(lambda: len(world.gate.crowd._strangers) == 5), "without anybody else who comes"
        assert await cut(pairs[1])
        assert [status(await ask(pair)) for pair in [pairs[0], *pairs[-5:]]] == [200] * 6
        hang_up(*pairs)


async def test_when_files_run_short_those_who_only_wait_make_room():
    further = [os.dup(0) for _ in range(60)]
    for one in further:
        os.close(one)
    async with opened(patience=Patience(files=max(further))) as world:
        sockets = [await world.connect() for _ in range(5)]
        for reader, writer in sockets:
            writer.write(b"GET /ws HTTP/1.1\r\nHost: h\r\n" + BEARER + SOCKET + b"\r\n")
            await reader.readuntil(b"\r\n\r\n")
        resting = [await world.connect() for _ in range(5)]
        assert [status(await ask(pair)) for pair in resting] == [200] * 5
        strangers = []
        for _ in range(40):
            strangers.append(await world.connect())
            assert await soon(lambda: len(world.gate._tasks) == len(world.gate._wires))
        assert await cut(strangers[0])
        assert [status(await ask(pair)) for pair in resting] == [200] * 5, "strangers went first"
        for reader, writer in sockets:
            writer.write(b"x")
            assert await reader.readexactly(3) == b"<x>"
        newest = await world.connect()
        assert status(await ask(newest)) == 200
        hang_up(*sockets, *resting, *strangers, newest)
