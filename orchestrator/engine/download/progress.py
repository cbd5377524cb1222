"""What a download prints: one line that is written over, and lines that stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_CLEAR = "\x1b[K"


def amount(count: float) -> str:
    """Write a number of bytes for people, in decimal units."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:  # noqa: PLR2004  # decimal units
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} TB"


def duration(seconds: float) -> str:
    """Write a time as `1:02:03` or `2:03`."""
    whole = int(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


class Progress:
    """Print the state of one download through `write`, which takes terminal text."""

    def __init__(self, name: str, write: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._name = name
        self._write = write
        self._clock = clock
        self._open_line = False
        self.restart(0)

    def restart(self, done: int) -> None:
        """Measure the speed from here on, `done` bytes being there already."""
        self._first, self._began = done, self._clock()

    def show(self, done: int, total: int | None) -> None:
        """Write the line anew."""
        elapsed = self._clock() - self._began
        speed = (done - self._first) / elapsed if elapsed > 0 else 0.0
        if total:
            left = f", {duration((total - done) / speed)} left" if speed > 0 and done < total else ""
            state = f"{100 * done / total:5.1f}% of {amount(total)}, {amount(speed)}/s{left}"
        else:
            state = f"{amount(done)}, {amount(speed)}/s"
        self._write(f"\r{self._name}: {state}{_CLEAR}")
        self._open_line = True

    def line(self, text: str) -> None:
        """Write a line that stays."""
        self.end()
        self._write(f"{text}\r\n")

    def end(self) -> None:
        """End the line that is written over."""
        if self._open_line:
            self._write("\r\n")
            self._open_line = False
