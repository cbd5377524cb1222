"""Telling how far what a user made is carried over, where that takes long."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

QUIET: Final = 3.0  # seconds that nobody wonders about
PAUSE: Final = 10.0  # seconds between two messages
GIGABYTE: Final = 1e9


@dataclass(slots=True)
class Progress:
    """Say from time to time what is going on, and nothing of what is soon done."""

    say: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    _due: float = field(init=False)

    def __post_init__(self) -> None:
        self._due = self.clock() + QUIET

    def _tell(self, text: str) -> None:
        now = self.clock()
        if now >= self._due:
            self._due = now + PAUSE
            self.say(text)

    def comparing(self, path: str) -> None:
        """Tell which of the user's changes is compared with the new version."""
        self._tell(f"comparing what was made in the app with the new version: at `{path}`")

    def packed(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Pass on an archive, and tell how much of it went by."""
        size = 0
        for piece in pieces:
            yield piece
            size += len(piece)
            self._tell(f"carrying over what was made in the app: {size / GIGABYTE:.1f} GB so far")
