"""What the tests of tunnels share: a machine to be on, recorded outputs, and time that passes when nobody runs."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from orchestrator.expose.tunnels.provider import Here, Provider, Start, Told

RECORDED = Path(__file__).parent / "recorded"


def here(folder: Path, environ: Mapping[str, str] | None = None, **more: Any) -> Here:
    more.setdefault("which", lambda name: f"/usr/bin/{name}")
    return Here(
        environ={"PATH": "/usr/bin:/bin", **(environ or {})}, folder=folder, programs=folder / "programs", **more
    )


def read(provider: Provider, start: Start, recording: str, stream: str = "stderr") -> list[Told]:
    """Let a provider read a recording; returns all that it was told."""
    lines = (RECORDED / recording).read_text("utf-8").splitlines()
    return [told for line in lines if (told := provider.read(line, stream, start)) is not None]


class Time:
    """Be the clock: it jumps to the next one who waits as soon as nothing else can run."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = itertools.count()

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (self.now + seconds, next(self._count), future))
        await future

    async def until(self, done: Callable[[], bool], *, seconds: float = 100_000) -> None:
        """Let time pass until something holds; fails when it never does."""
        end = self.now + seconds
        while True:
            for _ in range(30):
                await asyncio.sleep(0)
                if done():
                    return
            while self._waiting and self._waiting[0][2].done():
                heapq.heappop(self._waiting)
            assert self._waiting, "nobody waits for anything, so this will never be"
            when, _, future = heapq.heappop(self._waiting)
            assert when <= end, f"not within {seconds} s"
            self.now = max(self.now, when)
            future.set_result(None)

    async def passes(self, seconds: float) -> None:
        end = self.now + seconds
        sleeper = asyncio.ensure_future(self.sleep(seconds))
        await self.until(lambda: sleeper.done() and self.now >= end)
