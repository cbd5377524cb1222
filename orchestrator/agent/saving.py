"""When the build of an image is worth a checkpoint; pure, so that the rule can be read and tested by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SMALL: Final = 64 << 20  # bytes that may be committed again with the next checkpoint of the same container
NEVER: Final = 1e6  # seconds: where nothing can be committed
WORTH: Final = 10.0  # how many times its cost the work must have taken that a checkpoint saves


@dataclass(frozen=True, slots=True)
class Cost:
    """Say what a commit costs on a daemon: `fixed` seconds, and `rate` bytes per second on top."""

    fixed: float = 0.15
    rate: float = 100e6

    def seconds(self, written: int) -> float:
        """Return how long committing this many bytes takes."""
        return self.fixed + max(0, written) / self.rate


@dataclass(frozen=True, slots=True)
class Unsaved:
    """Hold what is not in an image yet: `seconds` of work, `written` bytes in the container's own layer.

    `last` tells that only the last step of the script is left.
    """

    seconds: float
    written: int
    last: bool = False


def due(unsaved: Unsaved, cost: Cost) -> str | None:
    """Return how to save now: `stay` in the container, `leave` it, None to go on without.

    A container's second commit writes its whole layer again, so one that has written much is left for a new one. Before
    the last step it is saved in any case where that costs next to nothing or the work is worth it, so that a change of
    the last step repeats only that step.
    """
    price = cost.seconds(unsaved.written)
    if price >= NEVER:
        return None
    if unsaved.written <= SMALL:
        return "stay" if unsaved.last or unsaved.seconds >= WORTH * price else None
    worth = WORTH / 10 if unsaved.last else WORTH  # what is committed now need not be committed at the end
    return "leave" if unsaved.seconds >= worth * price else None
