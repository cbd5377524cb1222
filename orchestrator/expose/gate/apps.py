"""What the gate must know of apps, told by their owner, and what it can tell: how much they are used."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class State:
    """How an app is: a word (`installing`, `starting`, `ready`, `stopped`, `failed`, `unknown`), and more if known."""

    word: str
    detail: str = ""


class Apps(Protocol):
    """Where apps are; asked for each request, so answers come from memory."""

    def target(self, app: str) -> tuple[str, int] | None:
        """Say where the app listens now (host, port), None while it is nowhere."""

    def state(self, app: str) -> State:
        """Say how the app is."""

    def lost(self, app: str) -> None:
        """Be told that nobody answered where the app should listen."""


@dataclass(slots=True)
class Activity:
    """How much an app is used; times are of the gate's clock, None before the first one.

    `last_request` is that of the last request that was let through, `last_byte` when anything passed between the app
    and a client, open WebSockets and streaming answers included; `open` are requests and upgraded connections under
    way, `upgraded` those of them that are upgraded.
    """

    last_request: float | None = None
    last_byte: float | None = None
    open: int = 0
    upgraded: int = 0

    @property
    def last(self) -> float | None:
        """When anything happened."""
        return max((at for at in (self.last_request, self.last_byte) if at is not None), default=None)


class Meter:
    """Counts the use of apps; several gates may share one."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._apps: defaultdict[str, Activity] = defaultdict(Activity)

    def of(self, app: str) -> Activity:
        """Return the counters of an app; they go on counting."""
        return self._apps[app]
