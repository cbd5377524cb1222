"""The gate's eye on apps: asked again when it is time or a connection was refused, never on top of an error."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.expose.watching import READY_SECONDS, SOON_SECONDS, Watched, Watcher

URL = "http://127.0.0.1:7860/ui?theme=dark"


class World:
    """Apps that change when a test says so, and a clock that moves only then."""

    def __init__(self):
        self.said = {"word": "starting"}
        self.looks = 0
        self.changes = []
        self.pauses = []
        self.go_on = asyncio.Event()
        self.resting = asyncio.Event()
        self.watcher = Watcher(self.look, self.changed, sleep=self.sleep)

    def look(self, _app):
        self.looks += 1
        if isinstance(self.said, Exception):
            raise self.said
        return self.said

    def changed(self, app, seen):
        self.changes.append((app, seen.word, seen.target))

    async def sleep(self, seconds):
        self.pauses.append(seconds)
        self.resting.set()
        await self.go_on.wait()
        self.go_on.clear()

    async def rest(self):
        """Wait until the watcher waits for the time to pass."""
        await self.resting.wait()
        self.resting.clear()

    async def next(self, said=None):
        """Let the time pass until the next look is done, and the watcher waits again."""
        if said is not None:
            self.said = said
        self.resting.clear()
        self.go_on.set()
        await self.rest()


@pytest.fixture
async def world():
    made = World()
    yield made
    await made.watcher.close()


async def test_an_app_is_followed_until_it_is_ready_and_seldom_after(world):
    world.watcher.add("app")
    await world.rest()
    await world.next({"word": "ready", "url": URL})
    assert world.watcher.seen("app").target == ("127.0.0.1", 7860)
    assert world.watcher.seen("app").page == "/ui?theme=dark"
    assert world.changes == [("app", "starting", None), ("app", "ready", ("127.0.0.1", 7860))]
    assert world.pauses[0] == SOON_SECONDS
    assert world.pauses[-1] == READY_SECONDS


async def test_a_refused_connection_makes_it_look_at_once(world):
    world.said = {"word": "ready", "url": URL}
    world.watcher.add("app")
    await world.rest()
    world.said = {"word": "stopped"}
    for _ in range(100):
        world.watcher.lost("app")
    await world.rest()  # the pause that keeps many refused requests from being many looks
    await world.next()
    assert world.watcher.seen("app").word == "stopped"
    assert world.looks <= 3, "a hundred refused requests are one reason to look"


async def test_a_look_that_fails_is_told_and_costs_nothing(world):
    world.said = {"word": "ready", "url": URL}
    world.watcher.add("app")
    await world.rest()
    await world.next(OSError("no docker"))
    seen = world.watcher.seen("app")
    assert (seen.word, seen.detail) == ("unknown", "no docker")
    await world.next({"word": "ready", "url": URL})
    assert world.watcher.seen("app").word == "ready"


async def test_what_is_not_watched_is_unknown(world):
    assert world.watcher.seen("other") == Watched()
    world.watcher.lost("other")
    world.watcher.remove("other")
    world.watcher.add("app")
    await world.rest()
    world.watcher.remove("app")
    assert world.watcher.seen("app").word == "unknown"


@pytest.mark.parametrize(
    ("url", "target", "page"),
    [
        ("http://127.0.0.1:80", ("127.0.0.1", 80), "/"),
        ("http://[::1]:3000/", ("::1", 3000), "/"),
        ("https://localhost/x", ("localhost", 443), "/x"),
        ("http://127.0.0.1:99999/", None, "/"),
        (None, None, "/"),
    ],
)
def test_where_an_app_listens(url, target, page):
    seen = Watched("ready", url=url)
    assert (seen.target, seen.page) == (target, page)
    assert Watched("starting", url=url).target is None
