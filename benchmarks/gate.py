"""Figures of the gate, each beside a raw TCP forwarder or no proxy at all; app, proxies and client are processes each.

Run as a module with `app` or `gate PORT` it is one of those processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import TYPE_CHECKING, Final

import psutil

from benchmarks.program import SECONDS, BenchError

if TYPE_CHECKING:
    from benchmarks.program import Program
    from orchestrator.expose.gate.contract import Pass, Seen

REQUESTS: Final = 1000
LARGE: Final = 256 << 20
ROUNDS: Final = 8
SOCKETS: Final = 1000
DOWNLOADS: Final = 200
EACH: Final = 8 << 20  # bytes of each of the concurrent downloads
PIECE: Final = 1 << 20
MIB: Final = 1 << 20

ASK: Final = (
    b"GET /%d HTTP/1.1\r\nHost: bench\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n"
    b"Accept: text/html,application/xhtml+xml\r\nAccept-Encoding: gzip, br\r\nCookie: session=0123456789abcdef\r\n\r\n"
)
SEND: Final = b"POST / HTTP/1.1\r\nHost: bench\r\nContent-Length: %d\r\n\r\n"
UPGRADE: Final = (
    b"GET /ws HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def latency(_program: Program) -> float:
    """Ask for a small page many times over one connection: the median through the gate, less that without it (ms)."""
    with _servers() as (app, ports):
        direct, through = _asking(app), _asking(ports["gate"])
    return 1000 * (through - direct)


def down(_program: Program) -> float:
    """Download a large body: how many percent of the raw forwarder's throughput the gate loses."""
    return _lost(_download)


def up(_program: Program) -> float:
    """Upload a large body: how many percent of the raw forwarder's throughput the gate loses."""
    return _lost(_upload)


def websockets(_program: Program) -> float:
    """Open 1,000 WebSockets that say nothing: the memory of each in the gate (kB); all must still answer after it."""
    _allow_files()
    with _servers() as (_, ports):
        process = psutil.Process(ports["gate pid"])
        _asking(ports["gate"], 20)
        before = process.memory_info().rss
        clients = []
        for _ in range(SOCKETS):
            client = socket.create_connection(("127.0.0.1", ports["gate"]), timeout=30)
            client.sendall(UPGRADE)
            if b" 101 " not in client.recv(4096):
                raise BenchError("an upgrade was not answered")
            clients.append(client)
        after = process.memory_info().rss
        for client in clients:
            client.sendall(b"ping")
        for client in clients:
            if client.recv(16) != b"ping":
                raise BenchError("a WebSocket was lost")
            client.close()
    return (after - before) / SOCKETS / 1000


def downloads(_program: Program) -> float:
    """Download 200 bodies at once: how far the gate's memory grows (MB); every byte must arrive."""
    _allow_files()
    with _servers() as (_, ports):
        process = psutil.Process(ports["gate pid"])
        _asking(ports["gate"], 20)
        before = peak = process.memory_info().rss

        async def one() -> int:
            reader, writer = await asyncio.open_connection("127.0.0.1", ports["gate"])
            writer.write(ASK % EACH)
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


def _lost(take: Callable[[int], float]) -> float:
    """Take turns with the raw forwarder and compare the best of each."""
    with _servers() as (_, ports):
        best = {"raw": 0.0, "gate": 0.0}
        for _ in range(ROUNDS):
            for name in ("raw", "gate"):
                best[name] = max(best[name], take(ports[name]))
    return 100 * (1 - best["gate"] / best["raw"])


def _asking(port: int, count: int = REQUESTS) -> float:
    took = []
    with _client(port) as client:
        for _ in range(count):
            began = time.perf_counter()
            client.sendall(ASK % 2)
            answer = b""
            while not answer.endswith(b"\r\n\r\nxx"):
                answer += client.recv(65536)
            took.append(time.perf_counter() - began)
    return median(took)


def _download(port: int) -> float:
    buffer = bytearray(PIECE)
    with _client(port) as client:
        began = time.perf_counter()
        client.sendall(ASK % LARGE)
        size = 0
        while size < LARGE:
            got = client.recv_into(buffer)
            if not got:
                raise BenchError("the download stopped early")
            size += got
        return LARGE / (time.perf_counter() - began)


def _upload(port: int) -> float:
    piece = bytes(PIECE)
    with _client(port) as client:
        began = time.perf_counter()
        client.sendall(SEND % LARGE)
        for _ in range(LARGE // PIECE):
            client.sendall(piece)
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += client.recv(65536)
        return LARGE / (time.perf_counter() - began)


def _client(port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


@contextlib.contextmanager
def _servers() -> Iterator[tuple[int, dict[str, int]]]:
    """Run the app and both proxies; yields the app's port, and `raw`, `gate` and `gate pid`."""
    with contextlib.ExitStack() as stack:

        def start(*arguments: str) -> tuple[int, int]:
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.gate", *arguments], stdout=subprocess.PIPE, text=True
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            line = process.stdout.readline() if process.stdout is not None else ""
            if not line.strip():
                raise BenchError(f"`{arguments[0]}` did not start")
            return int(line), process.pid

        app, _ = start("app")
        gate, pid = start("gate", str(app))
        raw, _ = start("raw", str(app))
        yield app, {"raw": raw, "gate": gate, "gate pid": pid}


def _allow_files() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class _Open:
    """Keeper and apps of a gate that lets everyone through to one server."""

    def __init__(self, port: int) -> None:
        self._port = port

    def decide(self, seen: Seen) -> Pass:
        """Let it through."""
        from orchestrator.expose.gate.contract import Pass  # noqa: PLC0415  # only in the gate's process

        return Pass("bench", seen.target, seen.headers)

    def lasts(self, _passed: Pass) -> bool:
        """Let it stay."""
        return True

    def target(self, _app: str) -> tuple[str, int]:
        """Say where the server is."""
        return "127.0.0.1", self._port

    def state(self, _app: str) -> object:
        """Never be asked, as the server is there."""
        raise NotImplementedError

    def lost(self, _app: str) -> None:
        """Do nothing about it."""


async def _gate(app: int) -> None:
    from orchestrator.expose.gate.proxy import Gate  # noqa: PLC0415  # only in the gate's process

    opened = _Open(app)
    gate = await Gate.listen("127.0.0.1", 0, keeper=opened, app="bench", apps=opened)  # type: ignore[arg-type]  # its state is never asked for
    print(gate.port, flush=True)
    await asyncio.Event().wait()


async def _raw(app: int) -> None:
    from orchestrator.agent.forward import Forwarder  # noqa: PLC0415  # only in the forwarder's process

    forwarder = await Forwarder.listen([0], host="127.0.0.1")
    forwarder.set_target(0, ("127.0.0.1", app))
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
    """Answer a path of a number with as many bytes, an upgrade with an echo, a body with nothing."""
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    piece, left_over = b"x" * PIECE, b""
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
            length = re.search(rb"(?i)content-length: (\d+)", head)
            left, buffer = (int(length[1]) if length else 0) - len(left_over), bytearray(PIECE)
            left_over = b""
            while left > 0:
                got = client.recv_into(buffer)
                if not got:
                    return
                left -= got
            asked = re.match(rb"GET /(\d+)", head)
            size = int(asked[1]) if asked else 0
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % size)
            while size:
                client.sendall(piece[:size])
                size -= min(size, PIECE)


if __name__ == "__main__":
    if sys.argv[1] == "app":
        _app()
    else:
        asyncio.run({"gate": _gate, "raw": _raw}[sys.argv[1]](int(sys.argv[2])))
