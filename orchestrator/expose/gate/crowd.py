"""Who stays when there are too many connections: those of visitors who were let in, before all others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from orchestrator.expose.gate.wire import Wire

MOST_STRANGERS: Final = 4096  # however short a time they have waited: each may send a head of 64 KiB


class Crowd:
    """The connections of one port that have no request under way with an app.

    Of strangers, whose last request was not let through, `waiting` may stay as long as they like. Beyond these the
    oldest are cut, but each has `grace` seconds for its request: after a restart everyone who was inside comes back in
    the same moment, and is a stranger until their request is read. `files` is how many files this process can have
    open in good comfort; a connection beyond these is exchanged for a stranger's, else for one that rests.
    """

    def __init__(self, waiting: int, grace: float, files: int) -> None:
        self._waiting, self._grace, self._files = waiting, grace, files
        self._strangers: dict[Wire, float] = {}  # since when, the oldest first
        self._resting: dict[Wire, None] = {}  # let in, and without a request now; the longest first
        self._inside: set[Wire] = set()
        self._timer: asyncio.TimerHandle | None = None

    def arrive(self, wire: Wire) -> None:
        """Take in a new connection, and cut others if there are too many."""
        loop = asyncio.get_running_loop()
        self._strangers[wire] = loop.time()
        if wire.number > self._files:
            # The kernel gives the lowest number that is free, so this counts whatever the process has open.
            others = (other for crowd in (self._strangers, self._resting) for other in crowd if other is not wire)
            self._cut(next(others, wire))
        if len(self._strangers) > self._waiting:
            self._look_after(0)  # not now: what has come in is read first, so that a busy loop makes nobody look slow

    def let_in(self, wire: Wire) -> None:
        """Count it no longer as a stranger's: a request of it was let through."""
        self._inside.add(wire)
        self._strangers.pop(wire, None)
        self._resting.pop(wire, None)

    def turn_away(self, wire: Wire) -> None:
        """Count it as a stranger's from now on: a request of it was not let through, whatever there was before."""
        self._inside.discard(wire)

    def rest(self, wire: Wire) -> None:
        """Let it wait for its next request."""
        if wire.lost:
            return
        if wire in self._inside:
            self._resting[wire] = None
        else:
            self._resting.pop(wire, None)
            self._strangers.pop(wire, None)
            self._strangers[wire] = asyncio.get_running_loop().time()

    def leave(self, wire: Wire) -> None:
        """Forget a connection that ends."""
        self._inside.discard(wire)
        self._strangers.pop(wire, None)
        self._resting.pop(wire, None)
        if not self._strangers and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_after(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            if self._timer.when() <= loop.time() + seconds:
                return
            self._timer.cancel()
        self._timer = loop.call_later(seconds, self._make_room)

    def _make_room(self) -> None:
        self._timer = None
        over, patient = len(self._strangers) - self._waiting, asyncio.get_running_loop().time() - self._grace
        late = [
            wire
            for place, (wire, since) in enumerate(self._strangers.items())
            if since <= patient or len(self._strangers) - place > MOST_STRANGERS
        ]
        # What holds something is looked at next, unless it takes no answers.
        for wire in [wire for wire in late if wire.full or not wire.held][: max(over, 0)]:
            self._cut(wire)
        if len(self._strangers) > self._waiting:
            self._look_after(self._grace)

    def _cut(self, wire: Wire) -> None:
        self.leave(wire)
        wire.abort()
