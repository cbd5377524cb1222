"""Ports: which are free, and who has which; those looked for here are below those that the system gives by itself."""

from __future__ import annotations

import socket
import subprocess
import sys
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
    first = ports.next_free(31000)
    listen("127.0.0.1", first)
    second = ports.next_free(first)
    assert second > first
    assert ports.next_free(first, skip={second}) > second


def test_asking_does_not_take():
    assert ports.next_free(31000) == ports.next_free(31000)


def test_several_are_different_and_free():
    taken = ports.take(3, 31000)
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
    before = time.process_time()
    for _ in range(rounds):
        ports.is_free(42003)
    assert (time.process_time() - before) / rounds < 0.002


def test_two_engines_get_different_ports_until_one_lets_go(tmp_path, listen):
    one, other = ports.Claims(tmp_path / "claims"), ports.Claims(tmp_path / "claims")
    first = one.next_free(31500)
    assert one.next_free(31500) == first, "one engine gives the same port until something listens on it"
    second = other.next_free(31500)
    assert second > first
    listen("127.0.0.1", first)
    third = one.next_free(31500)
    assert third > second
    one.release()
    assert other.next_free(31500) == second
    assert other.take(2)[0] != first
    other.release()


def test_a_claim_ends_with_its_process(tmp_path):
    folder = tmp_path / "claims"
    code = """if True:
        import sys, pathlib
        from orchestrator.engine.ports import Claims
        claims = Claims(pathlib.Path(sys.argv[1]))
        print(claims.next_free(32000), flush=True)
        input()
    """
    child = subprocess.Popen(
        [sys.executable, "-c", code, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    taken = int(child.stdout.readline())
    assert ports.Claims(folder).next_free(32000) > taken
    child.kill()
    child.communicate()
    assert ports.Claims(folder).next_free(32000) == taken


@pytest.mark.parametrize("obstacle", ["file", "link"])
def test_without_a_folder_of_ones_own_nothing_is_claimed(tmp_path, obstacle):
    folder = tmp_path / "claims"
    if obstacle == "file":
        folder.write_text("")
    else:
        folder.symlink_to(tmp_path)
    assert ports.Claims(folder).next_free(32500) == ports.Claims(folder).next_free(32500)
    assert list(tmp_path.iterdir()) == [folder]
