"""Forwarding reserved ports to servers on loopback, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import warnings
from pathlib import Path

import pytest

from orchestrator.agent import forward
from orchestrator.agent.forward import Forwarder, ForwardError, gateway_of, only_from
from orchestrator.expose.gate.wire import addresses, plain_address
from tests.agent.conftest import LONG, until

ROUTES = (
    "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
    "eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    "eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
)


async def echo(reader, writer):
    """Give back what comes, until the other side has sent everything; then say so and end."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.write(b"<end>")
    writer.close()


@contextlib.asynccontextmanager
async def app(handler=echo, host="127.0.0.1", port=0):
    server = await asyncio.start_server(handler, host, port, limit=1 << 20)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@contextlib.asynccontextmanager
async def forwarding(slots=1, target=None, allowed=None):
    forwarder = await Forwarder.listen([0] * slots, host="127.0.0.1", allowed=allowed)
    if target is not None:
        forwarder.set_target(0, target)
    try:
        yield forwarder
    finally:
        await forwarder.close()


async def ask(port, data=b"hello"):
    """Send, end sending, and read what comes until the end; b"" when the connection was cut off."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), LONG)
    except asyncio.TimeoutError:  # an OSError, too, in later Pythons
        raise
    except OSError:
        return b""
    writer.close()
    return answer


async def wait_readable(sock):
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sock, ready.set)
    await asyncio.wait_for(ready.wait(), LONG)
    loop.remove_reader(sock)


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not ipv6(), reason="this machine has no IPv6 loopback")


async def test_what_is_sent_comes_back_and_each_direction_ends_by_itself():
    async with app() as port, forwarding(target=("127.0.0.1", port)) as forwarder:
        reader, writer = await asyncio.open_connection("127.0.0.1", forwarder.ports[0])
        for message in (b"one", b"two"):
            writer.write(message)
            assert await reader.readexactly(3) == message
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), LONG) == b"<end>"  # sent after our side had ended
        writer.close()


async def test_a_server_that_ends_its_side_first_still_hears_the_rest():
    heard = asyncio.get_running_loop().create_future()

    async def ends_first(reader, writer):
        writer.write(b"that is all")
        writer.write_eof()
        heard.set_result(await reader.read())
        writer.close()

    async with app(ends_first) as port, forwarding(target=("127.0.0.1", port)) as forwarder:
        reader, writer = await asyncio.open_connection("127.0.0.1", forwarder.ports[0])
        assert await reader.read() == b"that is all"
        writer.write(b"and this is mine")
        writer.write_eof()
        assert await asyncio.wait_for(heard, LONG) == b"and this is mine"
        writer.close()


@pytest.mark.parametrize("written", ["127.0.0.1", "0.0.0.0", "localhost", "::", "::1"])
@pytest.mark.parametrize("bound", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)])
async def test_the_other_loopback_address_is_tried(written, bound):
    async with app(host=bound) as port, forwarding(target=(written, port)) as forwarder:
        assert await ask(forwarder.ports[0]) == b"hello<end>"


async def test_a_slot_without_target_or_with_a_dead_one_closes_at_once(monkeypatch):
    monkeypatch.setattr(forward, "CONNECT_SECONDS", 10 * LONG)  # not only when connecting is given up
    async with app() as dead:
        pass
    async with forwarding(slots=2) as forwarder:
        forwarder.set_target(1, ("127.0.0.1", dead))
        for port in forwarder.ports:
            assert await ask(port) == b""


async def test_a_target_may_change_and_running_connections_stay():
    async with app() as first, forwarding(target=("127.0.0.1", first)) as forwarder:
        reader, writer = await asyncio.open_connection("127.0.0.1", forwarder.ports[0])
        writer.write(b"a")
        assert await reader.readexactly(1) == b"a"
        forwarder.set_target(0, None)
        assert forwarder.target(0) is None
        assert await ask(forwarder.ports[0]) == b""
        writer.write(b"b")
        assert await reader.readexactly(1) == b"b"
        writer.close()
        with pytest.raises(IndexError, match="no slot 1"):
            forwarder.set_target(1, None)


async def test_refused_peers_reach_nothing():
    asked = []

    def refuse(peer):
        asked.append(peer)
        return False

    async with app() as port, forwarding(target=("127.0.0.1", port), allowed=refuse) as forwarder:
        assert await ask(forwarder.ports[0]) == b""
        assert asked == ["127.0.0.1"]


async def test_a_vanishing_server_ends_the_connection():
    async def drops(reader, writer):
        await reader.readexactly(1)
        writer.transport.abort()

    async with app(drops) as port, forwarding(target=("127.0.0.1", port)) as forwarder:
        reader, writer = await asyncio.open_connection("127.0.0.1", forwarder.ports[0])
        writer.write(b"x")
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), LONG) == b""
        writer.close()


async def test_an_answer_given_before_the_request_was_read_arrives():
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0)
        async with forwarding(target=listening.getsockname()) as forwarder:
            with socket.create_connection(("127.0.0.1", forwarder.ports[0])) as client:
                client.sendall(b"some")
                server, _ = await loop.sock_accept(listening)
                server.settimeout(0)
                await wait_readable(server)
                client.sendall(b"more")  # will be found, and written to a connection that is reset, ...
                server.sendall(b"too much")
                server.close()  # ... as this leaves something unread, before the answer is found
                client.settimeout(0)
                assert await asyncio.wait_for(loop.sock_recv(client, 100), LONG) == b"too much"


async def test_a_slow_reader_holds_the_sender_back():
    sent = 0

    async def floods(_reader, writer):
        nonlocal sent
        with contextlib.suppress(ConnectionError):
            while sent < 200 << 20:
                writer.write(bytes(1 << 16))
                await writer.drain()
                sent += 1 << 16
        writer.close()

    async with app(floods) as port, forwarding(target=("127.0.0.1", port)) as forwarder:
        with socket.create_connection(("127.0.0.1", forwarder.ports[0])):
            before = 0
            while not sent or sent != before:  # until nothing moves any more
                before = sent
                await asyncio.sleep(0.2)
        assert 0 < sent < 64 << 20


async def test_big_transfers_arrive_whole_in_both_directions_at_once():
    data = os.urandom(1 << 20) * 32

    async with app() as port, forwarding(target=("127.0.0.1", port)) as forwarder:
        reader, writer = await asyncio.open_connection("127.0.0.1", forwarder.ports[0], limit=1 << 20)

        async def send():
            writer.write(data)
            await writer.drain()
            writer.write_eof()

        sending = asyncio.create_task(send())
        back = await asyncio.wait_for(reader.read(), LONG)
        await sending
        assert back == data + b"<end>"
        writer.close()


@pytest.mark.slow
async def test_a_thousand_idle_connections():
    async with app() as port, forwarding(target=("127.0.0.1", port)) as forwarder:
        pairs = [await asyncio.open_connection("127.0.0.1", forwarder.ports[0]) for _ in range(1000)]
        for reader, writer in (pairs[0], pairs[500], pairs[-1]):
            writer.write(b"still here")
            assert await reader.readexactly(10) == b"still here"
        for _, writer in pairs:
            writer.close()


async def test_close_leaves_no_task_and_no_socket():
    gc.collect()  # what earlier tests left must not be closed in between
    before = open_files()
    tasks = asyncio.all_tasks()
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        with socket.create_server(("127.0.0.1", 0)) as silent:  # never accepts, never reads
            forwarder = await Forwarder.listen([0, 0], host="127.0.0.1")
            forwarder.set_target(0, ("127.0.0.1", silent.getsockname()[1]))
            clients = [socket.create_connection(("127.0.0.1", forwarder.ports[0])) for _ in range(5)]
            clients[0].sendall(bytes(1 << 16))
            await until(lambda: len(forwarder._ends) == 10)
            await forwarder.close()
            assert not forwarder._ends
            for client in clients:
                client.settimeout(LONG)
                with contextlib.suppress(ConnectionError):
                    assert client.recv(1) == b""
                client.close()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", forwarder.ports[0]))
        await forwarder.close()  # twice is fine
        gc.collect()
    assert asyncio.all_tasks() == tasks
    assert open_files() == before


async def test_a_finished_connection_is_forgotten():
    async with app() as port, forwarding(target=("127.0.0.1", port)) as forwarder:
        assert await ask(forwarder.ports[0]) == b"hello<end>"
        await until(lambda: not forwarder._ends)
        assert not forwarder._connecting


async def test_a_taken_port_is_said_and_nothing_stays_open():
    gc.collect()  # what earlier tests left must not be closed in between
    with socket.create_server(("127.0.0.1", 0)) as other:
        before, taken = open_files(), other.getsockname()[1]
        with pytest.raises(ForwardError, match=f"cannot listen on the reserved port {taken} "):
            await Forwarder.listen([0, taken], host="127.0.0.1")
        assert open_files() == before


async def test_slots_are_given_in_order_and_kept():
    async with forwarding(slots=4) as forwarder:
        main, first, second, third = forwarder.ports
        assert forwarder.assign(None, [("0.0.0.0", 8000)]) == {8000: first}
        assert forwarder.target(0) is None
        assert forwarder.assign(7860, [("127.0.0.1", 9000), ("::1", 7860), ("0.0.0.0", 8000)]) == {
            7860: main,
            8000: first,
            9000: second,
        }
        assert [forwarder.target(slot) for slot in range(4)] == [
            ("::1", 7860),
            ("0.0.0.0", 8000),
            ("127.0.0.1", 9000),
            None,
        ]
        # One that is gone keeps its slot for when it comes back.
        assert forwarder.assign(7860, [("127.0.0.1", 9000)]) == {7860: main, 9000: second}
        assert forwarder.target(1) is None
        assert forwarder.assign(7860, [("127.0.0.1", 9000), ("127.0.0.1", 9001)])[9001] == third
        assert forwarder.assign(7860, [("127.0.0.1", 8000), ("127.0.0.1", 9000)])[8000] == first
        # Only when there are too few does a new one take the place of one that is gone.
        assert forwarder.assign(7860, [("127.0.0.1", 9002), ("127.0.0.1", 9000)]) == {
            7860: main,
            9000: second,
            9002: first,
        }
        assert forwarder.assign(7860, [("h", 9003), ("h", 9000), ("h", 9002), ("h", 9004)]) == {
            7860: main,
            9000: second,
            9002: first,
            9003: third,
        }


async def test_our_own_ports_and_second_addresses_get_no_slot():
    async with forwarding(slots=3) as forwarder:
        pairs = [("0.0.0.0", forwarder.ports[0]), ("127.0.0.1", 8000), ("::1", 8000), ("127.0.0.1", 8001)]
        assert forwarder.assign(None, pairs) == {8000: forwarder.ports[1], 8001: forwarder.ports[2]}
        # What turns out to be the main server moves to the first slot, the others stay where they are.
        assert forwarder.assign(8000, pairs) == {8000: forwarder.ports[0], 8001: forwarder.ports[2]}


async def test_assigned_servers_are_reached():
    async with app() as main, app() as other, forwarding(slots=2) as forwarder:
        given = forwarder.assign(main, [("127.0.0.1", other)])
        assert await ask(given[main]) == b"hello<end>"
        assert await ask(given[other]) == b"hello<end>"
        assert forwarder.assign(None, []) == {}
        assert await ask(given[main]) == b""


def test_the_gateway_is_read_from_the_routes():
    assert gateway_of(ROUTES) == "172.17.0.1"
    assert gateway_of(ROUTES.splitlines()[0]) is None
    assert gateway_of("") is None
    assert gateway_of(ROUTES.replace("0003", "0001")) is None
    assert gateway_of(ROUTES.replace("010011AC", "nonsense")) is None
    second = "eth1\t00000000\tFE00A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
    assert gateway_of(ROUTES + second) == "172.17.0.1"
    assert gateway_of(ROUTES.replace("0003\t0\t0\t0", "0003\t0\t0\t200") + second) == "192.168.0.254"


def test_only_the_gateway_and_loopback_are_let_in():
    allowed = only_from("172.17.0.1")
    assert all(map(allowed, ("172.17.0.1", "127.0.0.1", "127.8.8.8", "::1")))
    assert not any(map(allowed, ("172.17.0.2", "10.0.0.1", "fe80::1", "", "nonsense")))
    assert not only_from(None)("172.17.0.1")


def test_addresses():
    assert addresses("127.0.0.1") == addresses("0.0.0.0") == addresses("LOCALHOST") == ("127.0.0.1", "::1")
    assert addresses("[::1]") == addresses("::") == ("::1", "127.0.0.1")
    assert addresses("127.0.0.53") == ("127.0.0.53", "::1")
    assert addresses("172.17.0.2") == ("172.17.0.2",)
    assert plain_address("::ffff:172.17.0.1") == "172.17.0.1"
    assert plain_address("fe80::1%eth0") == "fe80::1"
    assert plain_address("") == ""
