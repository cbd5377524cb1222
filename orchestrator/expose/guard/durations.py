"""Spans of time as people write them (`30m`, `1h30m`, `1.5h`), and back."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Protocol

from orchestrator.engine.errors import BadInputError

if TYPE_CHECKING:

    class Reader(Protocol):
        """Read a span of time."""

        def __call__(self, text: str, *, what: str) -> float:
            """Return seconds; raises BadInputError."""


MINUTE: Final = 60.0
HOUR: Final = 3600.0
DAY: Final = 86400.0
LONGEST: Final = 366 * DAY  # anything longer is a slip of the finger

_UNITS: Final = {"d": DAY, "h": HOUR, "m": MINUTE, "s": 1.0}
_NUMBER: Final = r"[0-9]{1,9}(?:\.[0-9]{1,9})?"
_PIECE: Final = re.compile(
    rf"\s*({_NUMBER})\s*(d|days?|h|hrs?|hours?|m|mins?|minutes?|s|secs?|seconds?)(?![a-z])\s*", re.IGNORECASE
)
_BARE: Final = re.compile(rf"\s*({_NUMBER})\s*")
_NONE: Final = re.compile(r"\s*(?:none|0+(?:\.0+)?)\s*", re.IGNORECASE)


def parse(text: str, *, what: str = "a span of time") -> float:
    """Read a span of time such as `30m`, `2h`, `1h30m`, `90s` or `1.5h`; return seconds.

    Units are d, h, m and s, each at most once and the largest first. `what` names the option in messages. Raises
    BadInputError.
    """
    if (number := _BARE.fullmatch(text)) and float(number[1]):
        bare = text.strip()
        raise BadInputError(
            f"{what} has no unit: `{bare}`", hint=f"Say `{bare}m` for minutes, `{bare}h` for hours or `{bare}s`"
        )
    if number:
        return _within(0.0, text, what)
    total, at, smallest = 0.0, 0, LONGEST
    while at < len(text):
        piece = _PIECE.match(text, at)
        # A unit that is named twice, or after a smaller one, is as likely a mistake as meant.
        if piece is None or (unit := _UNITS[piece[2][0].lower()]) >= smallest:
            break
        total, at, smallest = total + float(piece[1]) * unit, piece.end(), unit
    if at < len(text) or not text:
        raise BadInputError(f"{what} cannot be read: `{text}`", hint="Write it as `30m`, `2h`, `1h30m` or `90s`")
    return _within(total, text, what)


def parse_hours(text: str, *, what: str = "a number of hours") -> float:
    """Read a number of hours (`8`, `0.5`), or a span with units (`90m`); return seconds. Raises BadInputError."""
    bare = _BARE.fullmatch(text)
    return _within(float(bare[1]) * HOUR, text, what) if bare else parse(text, what=what)


def parse_limit(text: str, read: Reader, *, what: str) -> float:
    """Read a limit as `read` reads a span; return seconds, 0 for `none` and `0`, which take it back."""
    return 0.0 if _NONE.fullmatch(text) else read(text, what=what)


def show(seconds: float) -> str:
    """Write a span as `parse` reads it, rounded to whole seconds: `1h30m`, `45s`; less than nothing is `0s`."""
    left = max(0, round(seconds))
    pieces = []
    for unit, size in _UNITS.items():
        count, left = divmod(left, int(size))
        if count:
            pieces.append(f"{count}{unit}")
    return "".join(pieces) or "0s"


def rough(seconds: float) -> str:
    """Write a span for a sentence, in its largest unit or two: `2d3h`, `1h30m`, `5m`, `45s`."""
    if seconds >= DAY:
        return show(round(seconds / HOUR) * HOUR)
    return show(round(seconds / MINUTE) * MINUTE if seconds >= 2 * MINUTE else seconds)


def _within(seconds: float, text: str, what: str) -> float:
    if seconds < 1:
        raise BadInputError(
            f"{what} has to be one second or more, not `{text.strip()}`", hint="Give a longer one, like `30m`"
        )
    if seconds > LONGEST:
        raise BadInputError(
            f"{what} is longer than a year: `{text.strip()}`", hint="Units are d (days), h (hours), m (minutes) and s"
        )
    return seconds
