"""Real parts for tests and measurements of tunnels: a gate to reach, SSH servers, a tunnel and what it told."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web

from orchestrator.expose.tunnels.fetching import Fetching
from orchestrator.expose.tunnels.provider import Here, Provider
from orchestrator.expose.tunnels.supervisor import Effects, State, Timing, Tunnel
from tests.expose.world import free_port

NONCE = "nonce-of-the-lab"
SSHD = shutil.which("sshd", path="/usr/sbin:/usr/bin")
QUICKLY = Timing(url=60, reach=15, own=60, probe=3, every=0.3, again=0.1)
PATIENCE = 120.0  # several attempts: a server that still knows a killed client gives the next one another address


class Gate:
    """Stand in for the gate: its nonce, a WebSocket that echoes, large bodies both ways, server-sent events."""

    def __init__(self) -> None:
        self.port = free_port()
        self._runner: web.AppRunner | None = None

    async def open(self) -> Gate:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_get("/.pinoctl/nonce", self._nonce)
        app.router.add_get("/echo", self._echo)
        app.router.add_get("/bytes/{count}", self._bytes)
        app.router.add_post("/digest", self._digest)
        app.router.add_get("/events", self._events)
        app.router.add_get("/host", self._host)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        return self

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _nonce(self, _request: web.Request) -> web.Response:
        return web.Response(text=NONCE)

    async def _host(self, request: web.Request) -> web.Response:
        return web.Response(text=request.host)

    async def _echo(self, request: web.Request) -> web.WebSocketResponse:
        socket_ = web.WebSocketResponse()
        await socket_.prepare(request)
        async for message in socket_:
            await socket_.send_bytes(message.data)
        return socket_

    async def _bytes(self, request: web.Request) -> web.Response:
        return web.Response(body=b"x" * int(request.match_info["count"]))

    async def _digest(self, request: web.Request) -> web.Response:
        digest = hashlib.sha256()
        async for piece in request.content.iter_chunked(1 << 16):
            digest.update(piece)
        return web.Response(text=digest.hexdigest())

    async def _events(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        await answer.write(b"data: first\n\n")
        await asyncio.sleep(60)  # whoever waits for the end has buffered
        return answer


async def use(url: str, *, size: int = 300_000) -> None:
    """Use everything that an app needs of a tunnel; raises when anything of it does not work."""
    body = bytes(range(256)) * (size // 256)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE)) as session:
        async with session.get(f"{url}/bytes/{size}") as answer:
            assert len(await answer.read()) == size
        async with session.post(f"{url}/digest", data=body) as answer:
            assert await answer.text() == hashlib.sha256(body).hexdigest()
        async with session.ws_connect(f"{url}/echo", max_msg_size=0) as socket_:
            await socket_.send_bytes(body)
            assert (await socket_.receive()).data == body
        async with session.get(f"{url}/events") as answer:
            assert await answer.content.readline() == b"data: first\n"
        async with session.get(f"{url}/host") as answer:
            assert await answer.text() == url.partition("://")[2]


@dataclass
class Watched:
    """A tunnel with all that it told, and when."""

    tunnel: Tunnel
    states: list[State]
    times: list[float]

    async def until(self, done: Callable[[State], bool], seconds: float = PATIENCE) -> State:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.states and done(self.states[-1]):
                return self.states[-1]
            await asyncio.sleep(0.005)
        raise AssertionError(f"not within {seconds} s; it said {self.states}")

    async def up(self, seconds: float = PATIENCE) -> State:
        return await self.until(lambda state: state.status == "up", seconds)

    async def not_up(self, seconds: float = PATIENCE) -> State:
        return await self.until(lambda state: state.status != "up", seconds)


@contextlib.asynccontextmanager
async def watched(
    gate: Gate, providers: Sequence[Provider], machine: Here, timing: Timing = QUICKLY
) -> AsyncIterator[Watched]:
    states: list[State] = []
    times: list[float] = []

    def told(state: State) -> None:
        states.append(state)
        times.append(time.monotonic())

    effects = Effects(provide=Fetching(say=lambda _line: None).provide)
    tunnel = Tunnel(gate.port, providers, machine, nonce=NONCE, told=told, effects=effects, timing=timing)
    tunnel.start()
    try:
        yield Watched(tunnel, states, times)
    finally:
        await tunnel.close()


@dataclass
class Sshd:
    """An OpenSSH server on one address, with a key of its own; `banner` is printed to whoever logs in."""

    folder: Path
    banner: str = ""
    address: str = "127.0.0.1"
    gateway: bool = False
    prefix: tuple[str, ...] = ()  # to be run elsewhere, in another network namespace say
    port: int = 0
    user: str = field(default_factory=getpass.getuser)
    _process: subprocess.Popen[bytes] | None = None

    def prepare(self, key: Path) -> Sshd:
        """Write keys and configuration; `key` is the one that may log in, made if it is not there."""
        self.port = self.port or free_port()
        for path in (self.folder / "host_key", key):
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
        lines = [
            f"Port {self.port}",
            f"ListenAddress {self.address}",
            f"HostKey {self.folder}/host_key",
            f"AuthorizedKeysFile {key}.pub",
            "PidFile none",
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "PermitRootLogin yes",
            "AllowTcpForwarding remote",
            f"GatewayPorts {'clientspecified' if self.gateway else 'no'}",
            "ClientAliveInterval 1",
            "ClientAliveCountMax 3",
            "LogLevel ERROR",
        ]
        if self.banner:
            (self.folder / "banner").write_text(self.banner, "utf-8")
            lines.append(f"ForceCommand cat {self.folder}/banner -")
        (self.folder / "sshd_config").write_text("\n".join(lines) + "\n", "utf-8")
        return self

    def start(self) -> None:
        Path("/run/sshd").mkdir(exist_ok=True)
        assert SSHD is not None
        self._process = subprocess.Popen(
            [*self.prefix, SSHD, "-D", "-e", "-f", str(self.folder / "sshd_config")], start_new_session=True
        )
        if self.prefix:
            return
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection((self.address, self.port), 1):
                return
            time.sleep(0.02)
        raise AssertionError("sshd does not answer")

    def stop(self) -> None:
        """Kill the server and every session of it."""
        if self._process is None:
            return
        for pid in [*descendants(self._process.pid), self._process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._process = None


def words(pid: int) -> list[bytes]:
    """Return a process's command line, an empty word for one that has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return [b""]


def descendants(pid: int) -> list[int]:
    """List the processes below one, the youngest first."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text("utf-8").split()):
                found = [*descendants(child), child, *found]
    return found
