"""Finding the Docker daemon: real sockets on which nobody, somebody slow, or something else answers."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.places.container.docker import DockerError, connect
from orchestrator.places.container.endpoint import (
    DEFAULT,
    DESKTOP,
    ROOTLESS,
    Endpoint,
    ask,
    containerd_store,
    endpoints,
    gpu_support,
    look,
    look_round,
    numbers,
    rootless,
)

USABLE = {"ServerVersion": "27.3.1", "OSType": "linux", "Driver": "overlay2"}


def http(body: bytes, status: str = "200 OK", headers: str = "Api-Version: 1.47\r\n") -> bytes:
    return f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


def telling(info: object, **more: str) -> bytes:
    return http(json.dumps(info).encode(), **more)


def answering(said: bytes) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(said)

    return serve


@pytest.fixture
def short() -> Iterator[Path]:
    """Give a folder with a short name: those of sockets have 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="endpoint-") as folder:
        yield Path(folder)


@contextlib.contextmanager
def listening(path: Path, serve: Callable[[socket.socket], None]) -> Iterator[Endpoint]:
    """Serve one connection after the other on a socket."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(path))
    server.listen()

    def accept() -> None:
        while True:
            connection = server.accept()[0]
            with connection, contextlib.suppress(OSError):
                if not path.exists():
                    return
                serve(connection)

    thread = threading.Thread(target=accept)
    thread.start()
    waker = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        yield Endpoint(f"unix://{path}", "a test")
    finally:
        moved = path.with_name("away")
        path.rename(moved)
        with waker:
            waker.connect(str(moved))
            thread.join(60)
        server.close()
    assert not thread.is_alive()


def context(home: Path, name: str, meta: dict[str, Any]) -> None:
    folder = home / ".docker" / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(json.dumps(meta))


def test_without_anything_said_the_usual_places_are_looked_at(tmp_path: Path) -> None:
    found = list(endpoints({"HOME": str(tmp_path), "XDG_RUNTIME_DIR": "/run/user/7"}))
    assert found == [
        Endpoint(DEFAULT, "the default socket"),
        Endpoint("unix:///run/user/7/docker.sock", ROOTLESS),
        Endpoint(f"unix://{tmp_path}/.docker/run/docker.sock", DESKTOP),
    ]


def test_what_the_user_says_is_looked_at_alone(tmp_path: Path) -> None:
    context(tmp_path, "far", {"Endpoints": {"docker": {"Host": "ssh://far"}}})
    (tmp_path / ".docker" / "config.json").write_text('{"currentContext": "far"}')
    home = {"HOME": str(tmp_path)}
    assert list(endpoints(home)) == [Endpoint("ssh://far", "the context `far`")]
    assert list(endpoints({**home, "DOCKER_HOST": "tcp://a:1"})) == [Endpoint("tcp://a:1", "DOCKER_HOST")]
    assert next(endpoints({**home, "DOCKER_CONTEXT": "default"})).url == DEFAULT
    elsewhere = {**home, "HOME": "/nowhere", "DOCKER_CONFIG": str(tmp_path / ".docker")}
    assert [each.url for each in endpoints(elsewhere)] == ["ssh://far"]


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"currentContext": ""}', "\udc80"])
def test_a_config_that_says_nothing_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert next(endpoints({"HOME": str(tmp_path)})).url == DEFAULT


@pytest.mark.parametrize("meta", [None, {}, {"Endpoints": None}, {"Endpoints": {"docker": {}}}])
def test_a_context_that_is_not_there_is_not_replaced_by_another_daemon(tmp_path: Path, meta: Any) -> None:
    if meta is not None:
        context(tmp_path, "gone", meta)
    found = look_round({"HOME": str(tmp_path), "DOCKER_CONTEXT": "gone"})
    assert found.kind == "broken"
    assert "`gone`" in found.problem
    assert "DOCKER_CONTEXT" in found.remedy


def test_a_context_leads_to_its_socket(short: Path) -> None:
    with listening(short / "s", answering(telling(USABLE))) as endpoint:
        context(short, "mine", {"Endpoints": {"docker": {"Host": endpoint.url}}})
        found = look_round({"HOME": str(short), "DOCKER_CONTEXT": "mine"})
    assert found.usable
    assert found.endpoint.source == "the context `mine`"


@pytest.mark.parametrize("url", ["/var/run/docker.sock", "npipe:////./pipe/docker", "unix://", "host:2375"])
def test_what_is_no_address(url: str) -> None:
    found = look_round({"DOCKER_HOST": url})
    assert (found.kind, found.usable) == ("broken", False)
    assert f"DOCKER_HOST says `{url}`" in found.problem
    assert "unix:///var/run/docker.sock" in found.remedy


@pytest.mark.parametrize("url", ["tcp://10.255.255.1:2375", "ssh://nobody@nowhere", "https://a:1"])
def test_daemons_elsewhere_are_not_asked(url: str) -> None:
    found = look_round({"DOCKER_HOST": url}, patience=0)
    assert found.usable
    assert not found.info


def test_a_usable_daemon(short: Path) -> None:
    with listening(short / "s", answering(telling(USABLE))) as endpoint:
        found = look(endpoint)
    assert (found.kind, found.info, found.api, found.problem) == ("usable", USABLE, "1.47", "")


def test_nothing_there(short: Path) -> None:
    for path in (short / "s", short / "no" / "s"):
        found = look(Endpoint(f"unix://{path}", "a test"))
        assert found.kind == "absent"
        assert f"`{path}` does not exist" in found.problem
        assert "--place host" in found.remedy
    (short / "file").write_text("")
    assert look(Endpoint(f"unix://{short}/file/s", "a test")).kind == "absent"


def test_a_socket_whose_daemon_died(short: Path) -> None:
    with listening(short / "s", answering(b"")):
        pass
    stale = short / "away"
    assert stale.is_socket()
    found = look(Endpoint(f"unix://{stale}", "a test"))
    assert found.kind == "stale"
    assert "systemctl start docker" in found.remedy
    assert "systemctl --user start docker" in look(Endpoint(f"unix://{stale}", ROOTLESS)).remedy
    assert "Docker Desktop" in look(Endpoint(f"unix://{stale}", DESKTOP)).remedy


def test_the_folder_that_a_missing_mount_leaves(short: Path) -> None:
    found = look(Endpoint(f"unix://{short}", "a test"))
    assert found.kind == "broken"
    assert "is no socket" in found.problem


def patiently(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def dripping(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        connection.sendall(b" ")
        time.sleep(0.02)


@pytest.mark.parametrize("serve", [patiently, dripping])
def test_a_daemon_that_hangs_is_not_waited_for(short: Path, serve: Callable[[socket.socket], None]) -> None:
    with listening(short / "s", serve) as endpoint:
        found = look(endpoint, patience=0.2)
    assert found.kind == "hung"  # all that comes of the slow one, 20 s later, is no JSON
    assert "within 0.2 s" in found.problem


def test_a_daemon_that_accepts_nobody(short: Path) -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        server.bind(str(short / "s"))
        server.listen(0)
        waiting = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        waiting.connect(str(short / "s"))
        assert look(Endpoint(f"unix://{short}/s", "a test"), patience=0.1).kind == "hung"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"", "without response"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH-2.0"),
        (http(b"<html>hello"), "200 to `/info`, and not in JSON"),
        (http(b"[]"), "not in JSON"),
        (http(b"\xff\xfe"), "not in JSON"),
        (telling({"message": "no such thing"}, status="404 Not Found"), "404 to `/info`: no such thing"),
        (telling({}, status="403 Forbidden"), "it answers 403 to `/info`"),
        (telling({"Version": "1"}), "it answers 200 to `/info`"),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"Server', "not in JSON"),
    ],
)
def test_something_else_that_answers(short: Path, said: bytes, why: str) -> None:
    with listening(short / "s", answering(said)) as endpoint:
        found = look(endpoint)
    assert found.kind == "broken"
    assert "is no Docker daemon" in found.problem
    assert why in found.problem
    assert "DOCKER_HOST" in found.remedy


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (telling({**USABLE, "ServerVersion": "19.03.15"}), "version 19.03.15, older than 20.10"),
        (telling({**USABLE, "OSType": "windows"}), "windows containers"),
        (telling({"ServerVersion": "4.3.1", "BuildahVersion": "1.28.2"}), "Podman 4.3.1"),
        (telling({"ServerVersion": "29.0.0"}, headers="Server: Libpod/29.0.0 (linux)\r\n"), "Podman 29.0.0"),
    ],
)
def test_daemons_that_cannot_be_used(short: Path, said: bytes, why: str) -> None:
    with listening(short / "s", answering(said)) as endpoint:
        found = look(endpoint)
        assert found.kind == "broken"
        assert why in found.problem
        assert found.remedy
        with pytest.raises(DockerError, match="Docker cannot be used") as caught:
            connect({"DOCKER_HOST": endpoint.url})
    assert caught.value.hint == found.remedy


@contextlib.contextmanager
def ordinary_user() -> Iterator[None]:
    """Be an ordinary user for a moment, where the tests are run by root: it may open everything."""
    if os.geteuid() != 0:
        yield
        return
    groups = os.getgroups()
    os.setgroups([])
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setgroups(groups)


def test_a_socket_that_one_may_not_open(short: Path) -> None:
    hidden = short / "hidden"
    hidden.mkdir()
    short.chmod(0o755)
    with listening(short / "s", answering(telling(USABLE))) as endpoint:
        (short / "s").chmod(0o666)
        with ordinary_user():
            assert look(endpoint).kind == "usable"
        (short / "s").chmod(0)
        with ordinary_user():
            found = look(endpoint)
        (short / "s").chmod(0o666)
    assert (found.kind, found.problem) == ("denied", f"you may not open `{short}/s`")
    assert "usermod -aG docker" in found.remedy
    hidden.chmod(0)
    with ordinary_user():
        assert look_round({"DOCKER_HOST": f"unix://{hidden}/docker.sock"}).kind == "denied"
    hidden.chmod(0o700)


@pytest.fixture
def elsewhere(short: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Give variables with which every usual place is in one folder."""
    monkeypatch.setattr("orchestrator.places.container.endpoint.DEFAULT", f"unix://{short}/default")
    (short / ".docker" / "run").mkdir(parents=True)
    return {"HOME": str(short), "XDG_RUNTIME_DIR": str(short)}


def test_the_first_usable_one_is_taken(short: Path, elsewhere: dict[str, str]) -> None:
    with listening(short / "docker.sock", answering(telling(USABLE))):
        found = look_round(elsewhere)
        assert (found.kind, found.endpoint.source) == ("usable", ROOTLESS)
        with listening(short / "default", answering(telling({**USABLE, "ServerVersion": "19.03"}))):
            assert look_round(elsewhere).endpoint.source == ROOTLESS


def test_the_most_telling_of_the_useless_is_shown(short: Path, elsewhere: dict[str, str]) -> None:
    found = look_round(elsewhere)
    assert (found.kind, found.endpoint.source) == ("absent", "the default socket")
    with listening(short / ".docker" / "run" / "docker.sock", answering(http(b"x"))):
        found = look_round(elsewhere)
    assert (found.kind, found.endpoint.source) == ("broken", DESKTOP)


def test_the_runtime_folder_of_another_user_says_nothing(short: Path, elsewhere: dict[str, str]) -> None:
    runtime = short / "runtime"
    runtime.mkdir(mode=0)
    short.chmod(0o755)
    with ordinary_user():
        found = look_round({**elsewhere, "XDG_RUNTIME_DIR": str(runtime)})
        assert look(Endpoint(f"unix://{runtime}/docker.sock", ROOTLESS)).kind == "absent"
    assert (found.kind, found.endpoint.source) == ("absent", "the default socket")
    runtime.chmod(0o700)


@pytest.mark.parametrize(
    ("version", "found"),
    [
        ("20.10.24+dfsg1", (20, 10, 24)),
        ("27.0.0-rc.1", (27, 0, 0)),
        ("24.0.7-0ubuntu2~22.04.1", (24, 0, 7)),
        ("20.10.24~ce", (20, 10)),
        ("dev", (999,)),
        ("", (999,)),
    ],
)
def test_versions(version: str, found: tuple[int, ...]) -> None:
    assert numbers(version) == found


def test_what_a_daemon_tells_of_itself() -> None:
    assert [gpu_support(info) for info in ({}, {"Runtimes": {"runc": {}}, "DiscoveredDevices": None})] == ["", ""]
    assert gpu_support({"Runtimes": {"nvidia": {}}}) == "runtime"
    assert gpu_support({"DiscoveredDevices": [{"Source": "cdi", "ID": "nvidia.com/gpu=0"}]}) == "cdi"
    assert containerd_store({"DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]})
    assert not containerd_store({"DriverStatus": [["Backing Filesystem", "extfs"]]})
    assert not containerd_store({"DriverStatus": None})
    assert rootless({"SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless"]})
    assert not rootless({"SecurityOptions": None})


@pytest.mark.docker
def test_the_daemon_of_this_machine() -> None:
    found = look_round()
    if not found.usable:
        pytest.skip(found.problem)
    path = found.endpoint.url.removeprefix("unix://")
    version = ask(path, "/version", 60)
    assert (version.status, version.api) == (200, found.api)
    assert version.body["ApiVersion"] == found.api
    assert version.body["Version"] == found.info["ServerVersion"]
    assert ask(path, "/nothing", 60).status == 404
