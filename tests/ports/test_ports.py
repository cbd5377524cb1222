from __future__ import annotations

import socket
import time

import pytest

from orchestrator.engine import ports
from orchestrator.engine.errors import PinoctlError


@pytest.fixture
def listen():
    sockets = []

    def on(address: str, port: int = 0) -> int:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        server = socket.socket(family)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        server.listen()
        sockets.append(server)
        return server.getsockname()[1]

    yield on
    for server in sockets:
        server.close()


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.9", "::1"])
def test_a_listener_on_one_address_takes_the_port(listen, address):
    try:
        port = listen(address)
    except OSError:
        pytest.skip(f"this machine has no {address}")
    assert not ports.is_free(port)


def test_a_port_is_free_again_when_its_server_is_gone_though_connections_wind_down():
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port)) as client:
        accepted, _ = server.accept()
        accepted.close()  # this side closes first and so keeps the port in TIME_WAIT
        client.recv(1)
    server.close()
    assert ports.is_free(port)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_what_is_no_port_is_not_free(port):
    assert not ports.is_free(port)


def test_the_next_one_leaves_out_what_is_taken_or_skipped(listen):
    first = ports.next_free(50000)
    listen("127.0.0.1", first)
    second = ports.next_free(first)
    assert second > first
    assert ports.next_free(first, skip={second}) > second


def test_asking_does_not_take():
    assert ports.next_free(50000) == ports.next_free(50000)


def test_several_are_different_and_free():
    taken = ports.take(3, 50000)
    assert len(set(taken)) == 3
    assert all(ports.is_free(port) for port in taken)
    assert taken == sorted(taken)


def test_an_exhausted_range_says_so(listen):
    port = listen("127.0.0.1")
    with pytest.raises(PinoctlError, match=f"no port from {port} to {port} is free"):
        ports.next_free(port, port)


def test_the_default_range_starts_where_the_desktop_does():
    assert ports.next_free() >= 42003


def test_asking_is_quick():
    rounds = 50
    start = time.perf_counter()
    for _ in range(rounds):
        ports.is_free(42003)
    assert (time.perf_counter() - start) / rounds < 0.002
