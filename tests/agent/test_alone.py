"""The gate of an image that runs by itself, with a real server behind it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import socket

import pytest

from orchestrator.agent.alone import open_gate, proxies_of
from orchestrator.engine.errors import BadInputError, PinoctlError
from orchestrator.engine.home import Home
from orchestrator.expose.gate.audit import Audit, read

TOKEN = "a-token-that-nobody-guesses"  # a test's


def free_port():
    """Return a port that nobody has, from below those that the system gives to whoever asks for any."""
    while True:
        port = random.randrange(20000, 30000)
        with socket.socket() as server, contextlib.suppress(OSError):
            server.bind(("127.0.0.1", port))
            return port


async def ask(port, path="/", **headers):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: app.example",
        "Connection: close",
        *(f"{k}: {v}" for k, v in headers.items()),
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    answer = (await reader.read()).decode()
    writer.close()
    return answer


class App:
    """A server that says which path it was asked for."""

    def __init__(self):
        self.word = "ready"
        self.server = None

    async def __aenter__(self):
        async def serve(reader, writer):
            head = await reader.readuntil(b"\r\n\r\n")
            body = head.split(b" ")[1] + (b" with a token" if TOKEN.encode() in head else b"")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
            writer.close()

        self.server = await asyncio.start_server(serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_):
        self.server.close()

    def target(self):
        return self.server.sockets[0].getsockname() if self.word == "ready" else None

    async def gate(self, **options):
        port = free_port()
        given = {"token": TOKEN, "public": False, **options}
        token = await open_gate("app", port, target=self.target, state=lambda: self.word, host="127.0.0.1", **given)
        return port, token


async def test_nothing_but_the_token_opens_it():
    async with App() as app:
        port, token = await app.gate()
        assert token == TOKEN
        for refused in (
            await ask(port),
            await ask(port, f"/?token={TOKEN}x"),
            await ask(port, Authorization="Bearer x"),
        ):
            assert refused.startswith("HTTP/1.1 401 ")
        assert (await ask(port, "/page", Authorization=f"Bearer {TOKEN}")).endswith("/page")
        entered = await ask(port, f"/page?token={TOKEN}", Accept="text/html")
        assert entered.startswith("HTTP/1.1 303 ")
        cookie = re.search(r"set-cookie: ([^;]+)", entered)[1]
        assert (await ask(port, "/page", Cookie=cookie)).endswith("/page")


async def test_a_session_outlives_the_container_as_long_as_the_token_stays():
    async with App() as app:
        first, _ = await app.gate()
        cookie = re.search(r"set-cookie: ([^;]+)", await ask(first, f"/?token={TOKEN}", Accept="text/html"))[1]
        second, _ = await app.gate()
        assert (await ask(second, "/still", Cookie=cookie)).endswith("/still")
        other, _ = await app.gate(token=None)
        assert (await ask(other, "/still", Cookie=cookie)).startswith("HTTP/1.1 401 ")


async def test_without_a_token_one_is_made_and_public_is_open():
    async with App() as app:
        port, token = await app.gate(token=None)
        assert len(token) >= 22, "128 bits at least"
        assert (await ask(port, "/x", Authorization=f"Bearer {token}")).endswith("/x")
        port, token = await app.gate(public=True)
        assert token is None
        assert (await ask(port, "/x")).endswith("/x")


async def test_while_the_app_is_not_there_a_page_waits_for_it():
    async with App() as app:
        app.word = "starting"
        port, _ = await app.gate()
        waiting = await ask(port, "/", Authorization=f"Bearer {TOKEN}")
        assert waiting.startswith("HTTP/1.1 503 ")
        assert "starting" in waiting
        assert (await ask(port, "/.pinoctl/health")).endswith("ok")


async def test_a_port_that_is_taken_and_an_empty_token_are_said():
    async with App() as app:
        port, _ = await app.gate()
        with pytest.raises(PinoctlError, match=f"cannot listen on port {port}"):
            await open_gate("app", port, token=TOKEN, public=False, target=app.target, state=str, host="127.0.0.1")
        for short in ("", "hunter2"):
            with pytest.raises(BadInputError, match="can be guessed"):
                await app.gate(token=short)


@pytest.mark.parametrize(
    ("environ", "peer"),
    [
        ({"PINOCTL_PLATFORM": "container"}, "127.0.0.1"),
        ({"PINOCTL_PLATFORM": "container", "PINOCTL_PUBLIC_URL": "https://gpu.example.org"}, "127.0.0.1"),
        ({"PINOCTL_PLATFORM": "container", "PINOCTL_TRUSTED_PROXY": "127.0.0.0/8"}, "6.6.6.6"),
        ({"PINOCTL_PLATFORM": "runpod", "RUNPOD_POD_ID": "abc123"}, "6.6.6.6"),
    ],
)
async def test_who_came_is_written_down_by_an_address_that_nobody_can_make_up(tmp_path, environ, peer):
    audit = Audit(tmp_path / "gate.jsonl")
    async with App() as app:
        port, _ = await app.gate(audit=audit, proxies=proxies_of(Home(tmp_path), environ))
        said = {"X-Forwarded-For": "6.6.6.6"}
        assert (await ask(port, Authorization="Bearer wrong", **said)).startswith("HTTP/1.1 401 ")
        assert (await ask(port, f"/?token={TOKEN}", Accept="text/html", **said)).startswith("HTTP/1.1 303 ")
    events = [(each["event"], each["app"], each["peer"], each["way"]) for each in read(tmp_path / "gate.jsonl")]
    assert events == [("refused", "app", peer, "wrong token"), ("entered", "app", peer, "token")]
    assert TOKEN not in (tmp_path / "gate.jsonl").read_text()
