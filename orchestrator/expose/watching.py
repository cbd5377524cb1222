"""Where exposed apps listen and how they are: asked often while they are not ready, now and then afterwards."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

READY_SECONDS: Final = 5.0
SOON_SECONDS: Final = 0.5
WORKING: Final = frozenset({"installing", "starting"})
AT_WORK: Final = WORKING | {"ready"}


@dataclass(slots=True)
class Watched:
    """Hold what was last seen of an app; `url` is its page on this machine, as a browser here opens it."""

    word: str = "unknown"
    detail: str = ""
    url: str | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event, compare=False)

    @property
    def target(self) -> tuple[str, int] | None:
        """Where the app's main server listens, None while there is none."""
        if self.url is None or self.word != "ready":
            return None
        try:
            split = urlsplit(self.url)
            port = split.port or (443 if split.scheme == "https" else 80)
        except ValueError:
            return None
        return split.hostname or "127.0.0.1", port

    @property
    def page(self) -> str:
        """Path and query of the app's page, `/` where it has no other."""
        split = urlsplit(self.url or "")
        return (split.path or "/") + (f"?{split.query}" if split.query else "")


class Watcher:
    """Keep an eye on apps.

    `look` blocks and returns what is true of an app: `word` (as `pinoctl status` words it), `reason`, `url`; it runs in
    a thread. `changed` is called whenever an app's word or URL became another.
    """

    def __init__(
        self,
        look: Callable[[str], Mapping[str, Any]],
        changed: Callable[[str, Watched], None],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._look = look
        self._changed = changed
        self._sleep = sleep
        self._apps: dict[str, Watched] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._wake: dict[str, asyncio.Event] = {}

    def add(self, app: str) -> None:
        """Watch an app from now on; nothing happens when it is watched already."""
        if app not in self._tasks:
            self._apps[app], self._wake[app] = Watched(), asyncio.Event()
            self._tasks[app] = asyncio.ensure_future(self._watch(app))

    def remove(self, app: str) -> None:
        """Stop watching an app."""
        task = self._tasks.pop(app, None)
        if task is not None:
            task.cancel()
        self._apps.pop(app, None)
        self._wake.pop(app, None)

    def seen(self, app: str) -> Watched:
        """Return what was last seen of an app."""
        return self._apps.get(app) or Watched()

    def lost(self, app: str) -> None:
        """Look again at once: a connection to the app was refused."""
        if app in self._wake:
            self._wake[app].set()

    async def look_now(self, app: str) -> None:
        """Look at an app and return when that is done; for who knows that something has just changed."""
        await self._refresh(app)

    async def close(self) -> None:
        """Stop watching everything."""
        tasks = list(self._tasks.values())
        for app in list(self._tasks):
            self.remove(app)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, app: str) -> None:
        while True:
            wake = self._wake[app]
            wake.clear()
            await self._refresh(app)
            word = self._apps[app].word
            pause = READY_SECONDS if word == "ready" else SOON_SECONDS
            waiting = asyncio.ensure_future(wake.wait())
            sleeping = asyncio.ensure_future(self._sleep(pause))
            try:
                await asyncio.wait({waiting, sleeping}, return_when=asyncio.FIRST_COMPLETED)
                if wake.is_set():  # many requests may be refused at once, and looking costs something
                    await self._sleep(SOON_SECONDS / 5)
            finally:
                for task in (waiting, sleeping):
                    task.cancel()

    async def _refresh(self, app: str) -> None:
        try:
            said = await asyncio.to_thread(self._look, app)
        except Exception as error:  # noqa: BLE001  # whatever fails in looking, the next look may not
            said = {"word": "unknown", "reason": str(error)}
        seen = self._apps.get(app)
        if seen is None:
            return
        before = (seen.word, seen.url, seen.detail)
        seen.word = str(said.get("word") or "unknown")
        seen.detail = str(said.get("reason") or "")
        if said.get("url") or seen.word not in {"ready", "unknown"}:
            seen.url = said.get("url")
        if before != (seen.word, seen.url, seen.detail):
            seen.changed.set()
            seen.changed = asyncio.Event()
            with contextlib.suppress(Exception):
                self._changed(app, seen)
