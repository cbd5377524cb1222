"""Figures of the gate, each beside a raw TCP forwarder or no proxy at all; app, proxies and client are processes each.

The gate is as an exposed app has it, and the client a browser that is inside: every request has its cookie looked at.
Run as a module with `app`, `gate PORT HOME` or `raw PORT` it is one of those processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

import psutil

from benchmarks.program import SECONDS, BenchError

if TYPE_CHECKING:
    from benchmarks.program import Program

REQUESTS: Final = 1000
LARGE: Final = 256 << 20
ROUNDS: Final = 8
SOCKETS: Final = 1000
DOWNLOADS: Final = 200
EACH: Final = 8 << 20  # bytes of each of the concurrent downloads
PIECE: Final = 1 << 20
MIB: Final = 1 << 20
CHUNK: Final = 64 << 10
SMALL_CHUNK: Final = 8 << 10
LAST: Final = b"0\r\n\r\n"

BROWSER: Final = (
    b"Host: bench\r\nOrigin: http://bench\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n"
    b"Accept: text/html,application/xhtml+xml\r\nAccept-Encoding: gzip, br\r\nCookie: session=0123456789abcdef; %b\r\n"
)
ASK: Final = b"GET /%d HTTP/1.1\r\n%b\r\n"
ASK_CHUNKS: Final = b"GET /%d/%d HTTP/1.1\r\n%b\r\n"
SEND: Final = b"POST / HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n"
SEND_CHUNKS: Final = b"POST / HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n"
UPGRADE: Final = (
    b"GET /ws HTTP/1.1\r\n%bConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class Servers:
    """Where an app listens, the raw forwarder and the gate before it, and what a browser that is inside sends."""

    app: int
    raw: int
    gate: int
    gate_pid: int
    headers: bytes


def latency(_program: Program) -> float:
    """Ask for a small page many times over one connection: the median through the gate, less that without it (ms)."""
    with _servers() as servers:
        direct, through = _asking(servers, servers.app), _asking(servers, servers.gate)
    return 1000 * (through - direct)


def down(_program: Program) -> float:
    """Download a large body: how many percent of the raw forwarder's throughput the gate loses."""
    return _lost(_download)


def up(_program: Program) -> float:
    """Upload a large body: how many percent of the raw forwarder's throughput the gate loses."""
    return _lost(_upload)


def down_chunks(_program: Program) -> float:
    """Download the same in chunks of 64 KiB."""
    return _lost(partial(_download, chunk=CHUNK))


def up_chunks(_program: Program) -> float:
    """Upload the same in chunks of 64 KiB."""
    return _lost(partial(_upload, chunk=CHUNK))


def down_small_chunks(_program: Program) -> float:
    """Download the same in chunks of 8 KiB."""
    return _lost(partial(_download, chunk=SMALL_CHUNK))


def up_small_chunks(_program: Program) -> float:
    """Upload the same in chunks of 8 KiB."""
    return _lost(partial(_upload, chunk=SMALL_CHUNK))


def websockets(_program: Program) -> float:
    """Open 1,000 WebSockets at once that say nothing: the memory of each in the gate (kB); all must answer after it."""
    _allow_files()
    with _servers() as servers:
        process = psutil.Process(servers.gate_pid)
        _asking(servers, servers.gate, 20)
        before = process.memory_info().rss

        async def one() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            reader, writer = await asyncio.open_connection("127.0.0.1", servers.gate)
            writer.write(UPGRADE % servers.headers)
            if b" 101 " not in await reader.readuntil(b"\r\n\r\n"):
                raise BenchError("an upgrade was refused")
            return reader, writer

        async def run() -> int:
            clients = await asyncio.gather(*(one() for _ in range(SOCKETS)))
            after = process.memory_info().rss
            for _, writer in clients:
                writer.write(b"ping")
            for reader, writer in clients:
                if await reader.readexactly(4) != b"ping":
                    raise BenchError("a WebSocket said something else")
                writer.close()
            return after

        try:
            after = asyncio.run(asyncio.wait_for(run(), SECONDS))
        except (asyncio.TimeoutError, asyncio.IncompleteReadError) as error:
            raise BenchError("a WebSocket was lost") from error
    return (after - before) / SOCKETS / 1000


def downloads(_program: Program) -> float:
    """Download 200 bodies at once: how far the gate's memory grows (MB); every byte must arrive."""
    _allow_files()
    with _servers() as servers:
        process = psutil.Process(servers.gate_pid)
        _asking(servers, servers.gate, 20)
        before = peak = process.memory_info().rss

        async def one() -> int:
            reader, writer = await asyncio.open_connection("127.0.0.1", servers.gate)
            writer.write(ASK % (EACH, servers.headers))
            await reader.readuntil(b"\r\n\r\n")
            size = 0
            while size < EACH and (data := await reader.read(PIECE)):
                size += len(data)
            writer.close()
            return size

        async def watch() -> None:
            nonlocal peak
            while True:
                peak = max(peak, process.memory_info().rss)
                await asyncio.sleep(0.05)

        async def run() -> list[int]:
            watching = asyncio.create_task(watch())
            try:
                return await asyncio.wait_for(asyncio.gather(*(one() for _ in range(DOWNLOADS))), SECONDS)
            finally:
                watching.cancel()

        sizes = asyncio.run(run())
    if sizes != [EACH] * DOWNLOADS:
        raise BenchError(f"{sum(size != EACH for size in sizes)} of {DOWNLOADS} downloads stopped early")
    return (peak - before) / 1e6


def _lost(take: Callable[[Servers, int], float]) -> float:
    """Take turns with the raw forwarder and compare the best of each."""
    with _servers() as servers:
        raw = gate = 0.0
        for _ in range(ROUNDS):
            raw, gate = max(raw, take(servers, servers.raw)), max(gate, take(servers, servers.gate))
    return 100 * (1 - gate / raw)


def _asking(servers: Servers, port: int, count: int = REQUESTS) -> float:
    took = []
    with _client(port) as client:
        for _ in range(count):
            began = time.perf_counter()
            client.sendall(ASK % (2, servers.headers))
            answer = b""
            while not answer.endswith(b"\r\n\r\nxx"):
                answer += client.recv(65536)
            took.append(time.perf_counter() - began)
    return median(took)


def _download(servers: Servers, port: int, *, chunk: int = 0) -> float:
    buffer = bytearray(PIECE)
    with _client(port) as client:
        began = time.perf_counter()
        asks = (LARGE, chunk, servers.headers) if chunk else (LARGE, servers.headers)
        client.sendall((ASK_CHUNKS if chunk else ASK) % asks)
        size, tail = 0, b""
        while size < LARGE or (chunk and tail != LAST):
            got = client.recv_into(buffer)
            if not got:
                raise BenchError("the download stopped early")
            size += got
            tail = (tail + buffer[max(got - len(LAST), 0) : got])[-len(LAST) :]
        return LARGE / (time.perf_counter() - began)


def _upload(servers: Servers, port: int, *, chunk: int = 0) -> float:
    piece = _framed(chunk)
    with _client(port) as client:
        began = time.perf_counter()
        client.sendall(SEND_CHUNKS % servers.headers if chunk else SEND % (servers.headers, LARGE))
        for _ in range(LARGE // PIECE):
            client.sendall(piece)
        client.sendall(LAST if chunk else b"")
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            data = client.recv(65536)
            if not data:
                raise BenchError("the upload was not answered")
            answer += data
        return LARGE / (time.perf_counter() - began)


def _framed(chunk: int) -> bytes:
    """Make a piece of a body, in chunks of so many bytes if they are not 0."""
    return (b"%x\r\n%b\r\n" % (chunk, b"x" * chunk)) * (PIECE // chunk) if chunk else b"x" * PIECE


def _client(port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


@contextlib.contextmanager
def _servers() -> Iterator[Servers]:
    """Run the app and both proxies."""
    with contextlib.ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory())

        def start(*arguments: str) -> tuple[list[str], int]:
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.gate", *arguments], stdout=subprocess.PIPE, text=True
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            line = process.stdout.readline() if process.stdout is not None else ""
            if not line.strip():
                raise BenchError(f"`{arguments[0]}` did not start")
            return line.split(), process.pid

        (app,), _ = start("app")
        (gate, token), pid = start("gate", app, home)
        (raw,), _ = start("raw", app)
        yield Servers(int(app), int(raw), int(gate), pid, BROWSER % _entered(int(gate), token))


def _entered(port: int, token: str) -> bytes:
    """Open the app's link as a browser does; returns the cookie that it gets."""
    with _client(port) as client:
        client.sendall(b"GET /?token=%b HTTP/1.1\r\n%bConnection: close\r\n\r\n" % (token.encode(), BROWSER % b"a=b"))
        answer = b""
        while data := client.recv(65536):
            answer += data
    cookie = re.search(rb"(?i)\r\nset-cookie: ([^;\r]+)", answer)
    if cookie is None:
        raise BenchError("the gate let nobody in")
    return cookie[1]


def _allow_files() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class _Apps:
    """Tell the gate of one app, which is there."""

    def __init__(self, port: int) -> None:
        self._port = port

    def target(self, _app: str) -> tuple[str, int]:
        """Say where the server is."""
        return "127.0.0.1", self._port

    def state(self, _app: str) -> object:
        """Never be asked, as the server is there."""
        raise NotImplementedError

    def lost(self, _app: str) -> None:
        """Do nothing about it."""


async def _gate(app: str, home: str) -> None:
    from orchestrator.expose.gate.admission import Admission  # noqa: PLC0415  # only in the gate's process
    from orchestrator.expose.gate.audit import Audit  # noqa: PLC0415  # as above
    from orchestrator.expose.gate.keys import Keys  # noqa: PLC0415  # as above
    from orchestrator.expose.gate.proxy import Gate  # noqa: PLC0415  # as above

    audit = Audit(Path(home, "audit.jsonl"))
    keys = Keys(Path(home, "keys.json"), audit=audit)
    keeper = Admission(keys, nonce="bench", audit=audit)
    apps = _Apps(int(app))
    gate = await Gate.listen("127.0.0.1", 0, keeper=keeper, app="bench", apps=apps)  # type: ignore[arg-type]  # its state is never asked for
    print(gate.port, keys.token("bench"), flush=True)
    await asyncio.Event().wait()


async def _raw(app: str) -> None:
    from orchestrator.agent.forward import Forwarder  # noqa: PLC0415  # only in the forwarder's process

    forwarder = await Forwarder.listen([0], host="127.0.0.1")
    forwarder.set_target(0, ("127.0.0.1", int(app)))
    print(forwarder.ports[0], flush=True)
    await asyncio.Event().wait()


def _app() -> None:
    _allow_files()
    threading.stack_size(256 << 10)
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            client, _ = server.accept()
            threading.Thread(target=_serve, args=(client,), daemon=True).start()


def _serve(client: socket.socket) -> None:
    """Answer a path of a number with as many bytes, of two in chunks, an upgrade with an echo, a body with nothing."""
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    left_over = b""
    with contextlib.suppress(OSError), client:
        while True:
            head = left_over
            while b"\r\n\r\n" not in head:
                data = client.recv(65536)
                if not data:
                    return
                head += data
            head, _, left_over = head.partition(b"\r\n\r\n")
            if head.startswith(b"GET /ws"):
                client.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
                while data := client.recv(4096):
                    client.sendall(data)
                return
            if not _take_body(client, head, left_over):
                return
            left_over = b""
            asked = re.match(rb"GET /(\d+)(?:/(\d+))?", head)
            size, chunk = (int(asked[1]), int(asked[2] or 0)) if asked else (0, 0)
            framing = b"Transfer-Encoding: chunked" if chunk else b"Content-Length: %d" % size
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n%b\r\n\r\n" % framing)
            piece = _framed(chunk)
            while size:
                client.sendall(piece if chunk else piece[:size])
                size -= min(size, PIECE)
            client.sendall(LAST if chunk else b"")


def _take_body(client: socket.socket, head: bytes, begun: bytes) -> bool:
    """Read a body to its end, of which this has come; returns False when it does not come."""
    length = re.search(rb"(?i)content-length: (\d+)", head)
    chunked = b"chunked" in head.lower()
    left, tail, buffer = (int(length[1]) if length else 0) - len(begun), begun[-len(LAST) :], bytearray(PIECE)
    while tail != LAST if chunked else left > 0:
        got = client.recv_into(buffer)
        if not got:
            return False
        left -= got
        tail = (tail + buffer[max(got - len(LAST), 0) : got])[-len(LAST) :]
    return True


if __name__ == "__main__":
    if sys.argv[1] == "app":
        _app()
    else:
        asyncio.run({"gate": _gate, "raw": _raw}[sys.argv[1]](*sys.argv[2:]))
