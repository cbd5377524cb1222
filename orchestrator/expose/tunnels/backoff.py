"""How long to wait before a tunnel is tried again: pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST = 1.0
LONGEST = 30.0


@dataclass(slots=True)
class Backoff:
    """Give 1, 2, 4 ... 30 s, each shortened by up to a half: many tunnels that broke together do not return together.

    `random` yields numbers from 0 to 1.
    """

    random: Callable[[], float]
    _tries: int = 0

    def wait(self) -> float:
        """Count a failure; returns the seconds to wait."""
        seconds = min(FIRST * 2.0 ** min(self._tries, 10), LONGEST)
        self._tries += 1
        return seconds * (1.0 - self.random() / 2)

    def reset(self) -> None:
        """Forget the failures: it held."""
        self._tries = 0
