"""What a probe says of real servers."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from orchestrator.expose.tunnels.probing import Reply, get, verdict
from orchestrator.expose.tunnels.provider import PROBE_HEADERS

Serve = Callable[..., Awaitable[str]]
SECONDS = 60.0


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    runners: list[web.AppRunner] = []

    async def one(answer: Callable[[web.Request], Awaitable[web.StreamResponse]], **more) -> str:
        app = web.Application()
        app.router.add_get("/{path:.*}", answer)
        runners.append(web.AppRunner(app, shutdown_timeout=0.05))
        await runners[-1].setup()
        await web.TCPSite(runners[-1], "127.0.0.1", 0, **more).start()
        port = runners[-1].addresses[0][1]
        return f"{'https' if more else 'http'}://127.0.0.1:{port}/.pinoctl/nonce"

    yield one
    for runner in runners:
        await runner.cleanup()


async def test_the_gate_is_known_by_its_nonce(serve: Serve):
    seen: list[dict[str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(dict(request.headers))
        return web.Response(text="abc\n")

    reply = await get(await serve(answer), PROBE_HEADERS, SECONDS)
    assert reply == Reply(200, "abc\n")
    assert verdict(reply, "abc") == ""
    assert verdict(reply, "abcd") == "something else answers there"
    assert seen[0]["ngrok-skip-browser-warning"] == "1"
    assert seen[0]["Bypass-Tunnel-Reminder"] == "1"


async def test_redirects_are_not_followed(serve: Serve):
    async def answer(_request: web.Request) -> web.Response:
        raise web.HTTPFound("https://login.example.org")

    assert verdict(await get(await serve(answer), {}, SECONDS), "abc") == "it answers 302"


async def test_endless_answers_end(serve: Serve):
    async def answer(request: web.Request) -> web.StreamResponse:
        endless = web.StreamResponse()
        await endless.prepare(request)
        while True:
            await endless.write(b"x" * 65536)
            await asyncio.sleep(0)

    assert verdict(await get(await serve(answer), {}, SECONDS), "abc") == "something else answers there"


async def test_silence(serve: Serve):
    async def answer(_request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    assert verdict(await get(await serve(answer), {}, 0.2), "abc") == "no answer within 0.2 s"


async def test_nobody_there():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        assert (await get(url, {}, SECONDS)).problem == "cannot connect: Connection refused"


async def test_a_name_that_is_none():
    assert (await get("http://no-such-host.invalid/", {}, SECONDS)).problem == "its name cannot be resolved"


@pytest.mark.parametrize("url", ["", "no url", "http://", "http://[", "ftp://127.0.0.1/"])
async def test_no_url(url: str):
    assert (await get(url, {}, SECONDS)).problem


async def test_a_certificate_of_nobody(serve: Serve, tmp_path: Path):
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "1",
    ]
    files = ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "cert"), "-subj", "/CN=127.0.0.1"]
    await asyncio.to_thread(subprocess.run, [*made, *files], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text="abc")

    url = await serve(answer, ssl_context=context)
    assert (await get(url, {}, SECONDS)).problem == "its certificate is refused"
    assert await get(url, {}, SECONDS, verify=False) == Reply(200, "abc")
