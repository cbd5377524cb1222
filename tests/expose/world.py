"""A home whose apps are servers of the test, and the gate's process in front of them, in this process."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket

import aiohttp
from aiohttp import web

from orchestrator.engine.home import Home
from orchestrator.expose.asking import ask
from orchestrator.expose.daemon import Daemon
from orchestrator.expose.surroundings import Surroundings
from orchestrator.hosts.detection import find_platform
from orchestrator.hosts.signs import Signs
from orchestrator.hosts.way import ways_out

LOCAL = {"PINOCTL_PLATFORM": "local"}
# below those that the kernel gives to whoever asks for any: nobody else takes one of these by chance
PORTS = random.sample(range(20_000, 32_000), 12_000)


def surroundings(home, **environ):
    signs = Signs({"PATH": "/usr/bin:/bin", **environ}, lambda _path: False, lambda _path: None)
    platform = find_platform(signs)
    return Surroundings(home, platform, signs, ways_out(platform, signs), signs.environ)


class World:
    """A home with apps that are servers of this test, and the gate in front of them."""

    def __init__(self, tmp_path):
        self.home = Home(tmp_path / "home")
        self.words = {}
        self.urls = {}
        self.stopped = []
        self.runners = []
        self.environ = {}
        self.serving = None
        self.daemon = None

    async def app(self, name, page="/"):
        async def answer(request):
            return web.Response(text=f"{name} {request.path_qs}")

        server = web.Application()
        server.router.add_route("*", "/{rest:.*}", answer)
        runner = web.AppRunner(server)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.runners.append(runner)
        port = site._server.sockets[0].getsockname()[1]
        self.urls[name] = f"http://127.0.0.1:{port}{page}"
        self.words[name] = "ready"

    def look(self, name):
        word = self.words.get(name, "stopped")
        return {"word": word, "url": self.urls.get(name) if word == "ready" else None, "reason": None}

    def stop(self, name):
        self.stopped.append(name)
        self.words[name] = "stopped"

    async def begin(self, **environ):
        self.environ = environ or self.environ
        ready = asyncio.Event()
        self.daemon = Daemon(
            self.home,
            surroundings(self.home, **self.environ),
            look=self.look,
            stop_app=self.stop,
            running=lambda: [name for name, word in self.words.items() if word == "ready"],
            sleep=_soon,
        )
        self.serving = asyncio.create_task(self.daemon.serve(ready.set))
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait({self.serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self.serving.done():
            await self.serving

    async def end(self):
        if self.serving is not None:
            self.serving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.serving
            self.serving = None

    async def ask(self, op, **request):
        return await asyncio.to_thread(ask, self.daemon.files.socket, {"op": op, **request}, timeout=60)

    async def expose(self, app, **given):
        return await self.ask("expose", app=app, given={"tunnel": "none", **given})

    def watch(self, app):
        """Return the guard of an app, which from now on looks when the test says so, however long that takes."""
        self.daemon._apps[app]._guarding.cancel()
        return self.daemon._apps[app]._watch

    async def until(self, app, word):
        return await self.shown(app, lambda shown: shown.get("state") == word)

    async def shown(self, app, enough):
        while not enough(shown := await self.ask("state", app=app)):  # noqa: ASYNC110  # as another process does
            await asyncio.sleep(0.01)
        return shown

    async def get(self, url, **headers):
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session,
            session.get(url, headers={"Accept": "text/html", **headers}) as answer,
        ):
            return answer.status, await answer.text()


async def _soon(seconds):
    await asyncio.sleep(min(seconds, 0.02))


def free_port():
    """Find a port that nobody listens on."""
    while True:
        with contextlib.suppress(OSError), socket.socket() as server:
            server.bind(("127.0.0.1", port := PORTS.pop()))
            return port


def time_passes(seconds):
    """Let so much time pass at once for the event loop of a test, so that whoever waits for that goes on."""
    loop = asyncio.get_running_loop()
    before = loop.time
    loop.time = lambda: before() + seconds
