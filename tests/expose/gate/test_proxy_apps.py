"""Real servers behind the gate, asked by real clients."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gzip
import hashlib
import http.server
import io
import os
import shutil
import ssl
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from orchestrator.expose.gate.trust import LOOPBACK, Trust
from tests.expose.gate.proxies import PATIENCE, T, opened, soon

BEARER = {"Authorization": f"Bearer {T}"}
GO = web.AppKey("go", asyncio.Event)
BIG = os.urandom(1 << 20) * 8


@pytest.fixture
async def world():
    async with opened() as world:
        yield world


@contextlib.asynccontextmanager
async def behind(world, app):
    """Put an aiohttp app behind the gate."""
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    world.where = site._server.sockets[0].getsockname()[:2]
    try:
        yield
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def asking(world, **options):
    base = f"http://127.0.0.1:{world.gate.port}"
    async with aiohttp.ClientSession(base, headers=BEARER, **options) as session:
        yield session


async def digest(request):
    total = hashlib.sha256()
    async for piece in request.content.iter_any():
        total.update(piece)
    return web.Response(text=total.hexdigest())


async def count(request):
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await answer.prepare(request)
    for number in range(3):
        await answer.write(b"data: %d\n\n" % number)
        await request.app[GO].wait()
        request.app[GO].clear()
    return answer


async def test_an_app_of_a_framework(world, tmp_path):
    big = tmp_path / "big.bin"
    big.write_bytes(BIG)
    app = web.Application(client_max_size=1 << 30)
    app[GO] = asyncio.Event()

    async def headers(request):
        return web.json_response([request.host, request.scheme, request.remote, *request.cookies.items()])

    async def away(request):
        raise web.HTTPFound(f"http://127.0.0.1:{world.where[1]}/file", headers={"Set-Cookie": "s=1; Domain=localhost"})

    async def zipped(request):
        return web.Response(body=gzip.compress(b"hello" * 100), headers={"Content-Encoding": "gzip"})

    async def file(request):
        return web.FileResponse(big)

    app.add_routes(
        [
            web.get("/headers", headers),
            web.get("/away", away),
            web.get("/zipped", zipped),
            web.post("/digest", digest),
            web.get("/count", count),
            web.get("/file", file),
        ]
    )
    async with behind(world, app), asking(world, auto_decompress=False) as session:
        host = f"127.0.0.1:{world.gate.port}"
        async with session.get("/headers", cookies={"a": "b c"}) as answer:
            assert await answer.json() == [host, "http", "127.0.0.1", ["a", "b c"]]
        async with session.get("/away", allow_redirects=False) as answer:
            assert answer.headers["Location"] == f"http://{host}/file"
            assert answer.headers["Set-Cookie"] == "s=1"
        async with session.get("/zipped") as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            assert gzip.decompress(await answer.read()) == b"hello" * 100
        async with session.get("/file") as answer:
            assert await answer.read() == BIG
        async with session.get("/file", headers={"Range": "bytes=5-9"}) as answer:
            assert (answer.status, answer.headers["Content-Range"]) == (206, f"bytes 5-9/{len(BIG)}")
            assert await answer.read() == BIG[5:10]
        async with session.head("/file") as answer:
            assert answer.headers["Content-Length"] == str(len(BIG))
            etag = answer.headers["ETag"]
        async with session.get("/file", headers={"If-None-Match": etag}) as answer:
            assert answer.status == 304
        expected = hashlib.sha256(BIG).hexdigest()

        async def pieces():
            for at in range(0, len(BIG), 100_000):
                yield BIG[at : at + 100_000]

        for body, more in ((io.BytesIO(BIG), {}), (pieces(), {}), (io.BytesIO(BIG), {"expect100": True})):
            async with session.post("/digest", data=body, **more) as answer:
                assert await answer.text() == expected
        async with session.get("/count") as answer:
            for number in range(3):
                line = await asyncio.wait_for(answer.content.readuntil(b"\n\n"), PATIENCE)
                assert line == b"data: %d\n\n" % number
                app[GO].set()
            assert await answer.content.read() == b""


async def test_the_public_side_is_https(world):
    """As behind a tunnel: the app is told, redirects to its own idea of itself are put right."""

    async def show(request):
        return web.json_response({name: request.headers.get(name) for name in ("Host", "X-Forwarded-Proto")})

    async def away(request):
        raise web.HTTPFound(f"http://{request.host}/elsewhere")

    app = web.Application()
    app.add_routes([web.get("/", show), web.get("/away", away)])
    world.gate.trust = Trust(proxies=LOOPBACK, forwarded_host=True)
    outside = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "pub.example", "X-Forwarded-For": "9.9.9.9"}
    async with behind(world, app), asking(world) as session:
        async with session.get("/", headers=outside) as answer:
            assert await answer.json() == {"Host": "pub.example", "X-Forwarded-Proto": "https"}
        async with session.get("/away", headers=outside, allow_redirects=False) as answer:
            assert answer.headers["Location"] == "https://pub.example/elsewhere"
    assert {seen.peer for seen in world.keeper.seen} == {"9.9.9.9"}
    assert all(seen.secure for seen in world.keeper.seen)


async def test_two_hundred_requests_at_once(world):
    app = web.Application()
    app.add_routes([web.post("/digest", digest)])
    connector = aiohttp.TCPConnector(limit=100)
    async with behind(world, app), asking(world, connector=connector) as session:

        async def one(number):
            body = b"%d" % number * 1000
            async with session.post("/digest", data=body) as answer:
                return await answer.text() == hashlib.sha256(body).hexdigest()

        assert all(await asyncio.gather(*map(one, range(200))))
    assert await soon(lambda: world.gate.activity("demo").open == 0)


async def test_the_plain_server_of_python(world, tmp_path):
    (tmp_path / "a.txt").write_text("hello")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=tmp_path)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        world.where = server.server_address[:2]
        async with asking(world) as session:
            for _ in range(3):
                async with session.get("/a.txt") as answer:
                    assert await answer.text() == "hello"
            async with session.get("/none") as answer:
                assert answer.status == 404
        server.shutdown()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
async def test_direct_https(certificate):
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    server.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    client.load_verify_locations(certificate / "cert.pem")
    async with opened(tls=server) as world:
        app = web.Application(client_max_size=1 << 30)
        app.add_routes([web.post("/digest", digest)])
        base = f"https://127.0.0.1:{world.gate.port}"
        connector = aiohttp.TCPConnector(ssl=client)
        async with behind(world, app), aiohttp.ClientSession(base, headers=BEARER, connector=connector) as session:
            for _ in range(2):
                async with session.post("/digest", data=io.BytesIO(BIG)) as answer:
                    assert await answer.text() == hashlib.sha256(BIG).hexdigest()
        assert all(seen.secure for seen in world.keeper.seen)
        plain = await world.get("/")  # in the clear, to a port of HTTPS
        assert b"HTTP/1.1 200" not in plain


@contextlib.asynccontextmanager
async def program(*arguments, cwd: Path):
    """Run a server that prints `port N` when it listens; yields N."""
    process = await asyncio.create_subprocess_exec(
        *arguments, cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, start_new_session=True
    )
    try:
        async for line in process.stdout:
            if line.startswith(b"port "):
                yield int(line.split()[1])
                return
        raise AssertionError("the server ended")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        await process.wait()


def uv_run(*packages):
    uv = Path(sys.executable).with_name("uv")
    return (uv, "run", "--no-project", "--quiet", *(f"--with={name}" for name in packages), "python", "-u", "app.py")


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.timeout(600)
async def test_a_gradio_app_streams_its_progress(world, tmp_path):
    from gradio_client import Client  # noqa: PLC0415  # takes a second to import

    source = """
        import socket, time, gradio as gr
        def work(name, progress=gr.Progress()):
            for at in progress.tqdm(range(3)):
                yield f"{name} {at}"
        demo = gr.Interface(work, "text", "text", api_name="work")
        demo.queue()
        _, url, _ = demo.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True)
        print("port", url.rstrip("/").rpartition(":")[2])
        time.sleep(600)
    """
    (tmp_path / "app.py").write_text(textwrap.dedent(source))
    async with program(*uv_run("gradio"), cwd=tmp_path) as port:
        world.where = ("127.0.0.1", port)

        def use():
            client = Client(f"http://127.0.0.1:{world.gate.port}", headers=BEARER, verbose=False)
            job = client.submit("hi", api_name="/work")
            job.result(timeout=60)
            return job.outputs()

        assert await asyncio.to_thread(use) == ["hi 0", "hi 1", "hi 2"]
        async with asking(world) as session, session.get("/config") as answer:
            config = await answer.json()
            assert config["root"] == f"http://127.0.0.1:{world.gate.port}"


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.timeout(300)
async def test_a_flask_app_and_its_uploads(world, tmp_path):
    source = """
        from flask import Flask, request, redirect, session
        from werkzeug.serving import make_server
        app = Flask(__name__)
        app.secret_key = "x"
        @app.post("/up")
        def up():
            session["name"] = request.files["file"].filename
            return redirect("/done")
        @app.get("/done")
        def done():
            return session["name"]
        server = make_server("127.0.0.1", 0, app, threaded=True)
        print("port", server.port)
        server.serve_forever()
    """
    (tmp_path / "app.py").write_text(textwrap.dedent(source))
    jar = aiohttp.CookieJar(unsafe=True)  # of an address instead of a name
    async with program(*uv_run("flask"), cwd=tmp_path) as port, asking(world, cookie_jar=jar) as session:
        world.where = ("127.0.0.1", port)
        form = aiohttp.FormData()
        form.add_field("file", io.BytesIO(BIG), filename="big.bin")
        async with session.post("/up", data=form) as answer:
            assert (answer.status, await answer.text()) == (200, "big.bin")
