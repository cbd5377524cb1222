"""Connections to apps that are kept for the next request."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from orchestrator.expose.gate.wire import connect

if TYPE_CHECKING:
    from orchestrator.expose.gate.wire import Wire

MOST = 32  # kept for each app
SECONDS = 3.0  # shorter than what app servers keep (5 s for Node and uvicorn), so that they seldom end one under us


class Pool:
    """Connections to apps; those given back are used again for a few seconds."""

    def __init__(self, seconds: float = SECONDS, most: int = MOST) -> None:
        self._seconds, self._most = seconds, most
        self._idle: dict[tuple[str, int], deque[tuple[Wire, asyncio.TimerHandle]]] = {}

    def kept(self, target: tuple[str, int]) -> Wire | None:
        """Take a connection that was kept, the latest first; None without one."""
        idle = self._idle.get(target, ())
        while idle:
            wire, timer = idle.pop()
            timer.cancel()
            if not (wire.ended or wire.held):  # what came unasked belongs to no request
                return wire
            wire.abort()
        return None

    async def fresh(self, target: tuple[str, int]) -> Wire | None:
        """Open a connection; None when nobody answers there."""
        return await connect(target)

    def give(self, target: tuple[str, int], wire: Wire) -> None:
        """Keep a connection whose last answer is complete."""
        idle = self._idle.setdefault(target, deque())
        if len(idle) >= self._most or wire.ended or wire.said_all or wire.held or self._seconds <= 0:
            wire.abort()
            return
        wire.on_end = wire.abort
        timer = asyncio.get_running_loop().call_later(self._seconds, self._expire, target, wire)
        idle.append((wire, timer))

    def close(self) -> None:
        """End every connection that is kept."""
        for idle in self._idle.values():
            for wire, timer in idle:
                timer.cancel()
                wire.abort()
        self._idle.clear()

    def _expire(self, target: tuple[str, int], wire: Wire) -> None:
        left = deque(pair for pair in self._idle.get(target, ()) if pair[0] is not wire)
        if left:
            self._idle[target] = left
        else:
            self._idle.pop(target, None)
        wire.abort()
