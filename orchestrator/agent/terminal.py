"""The raw terminal log of one app: what the scripts printed, rotated by size, with offsets that never go back."""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMIT = 16 * 1024 * 1024
_PIECE = 64 * 1024


def parts(path: Path) -> list[tuple[int, Path]]:
    """Return the files of a log, oldest first, each with the offset that its first byte has in the whole log.

    A rotated part carries its offset in its name: `terminal-<offset>.log`.
    """
    pattern = re.compile(re.escape(path.stem) + r"-(\d{1,18})" + re.escape(path.suffix) + r"\Z")
    found: list[tuple[int, Path]] = []
    with contextlib.suppress(OSError):
        for name in os.listdir(path.parent):  # noqa: PTH208  # names are all that is needed
            match = pattern.match(name)
            if match:
                found.append((int(match[1]), path.parent / name))
    found.sort()
    begin = 0
    if found:
        with contextlib.suppress(OSError):
            begin = found[-1][0] + found[-1][1].stat().st_size
    return [*found, (begin, path)]


class TerminalLog:
    """Append raw output; `offset` counts every byte that was ever logged, also those rotated away."""

    def __init__(self, path: Path, *, limit: int = LIMIT) -> None:
        self.path = path
        self.failed: OSError | None = None
        self._limit = limit
        self._begin = parts(path)[-1][0]
        self._file = self._open()

    def _open(self) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(file).st_size
        return file

    @property
    def offset(self) -> int:
        """Where the next byte goes."""
        return self._begin + self._size

    def write(self, text: str) -> int:
        """Append text and return the offset behind it; on a full disk the text is lost and `failed` says why."""
        data = text.encode("utf-8", "surrogateescape") if text.isascii() else text.encode("utf-8", "replace")
        try:
            if self._size and self._size + len(data) > self._limit:
                self._rotate()
            self._size += os.write(self._file, data)
            self.failed = None
        except OSError as error:
            self.failed = error
        return self.offset

    def _rotate(self) -> None:
        outdated = parts(self.path)[:-1]
        os.close(self._file)
        self.path.rename(self.path.with_name(f"{self.path.stem}-{self._begin}{self.path.suffix}"))
        self._begin += self._size
        self._file = self._open()
        for _, part in outdated:
            part.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def read_terminal(path: Path, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield what is kept of a log from an offset on, in pieces with their offsets; negative ones count from the end."""
    files = parts(path)
    if offset < 0:
        with contextlib.suppress(OSError):
            offset += files[-1][0] + files[-1][1].stat().st_size
    for begin, part in files:
        with contextlib.suppress(OSError), part.open("rb") as file:
            at = max(0, offset - begin)
            file.seek(at)
            while piece := file.read(_PIECE):
                yield begin + at, piece
                at += len(piece)


def last_lines(path: Path, count: int = 15) -> list[str]:
    """Return the last lines that a person would see in the log: no control sequences, no blank lines."""
    text = b"".join(piece for _, piece in read_terminal(path, -16 * 1024)).decode("utf-8", "replace")
    return visible_lines(text)[-count:]


_CONTROL = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[P^_X][^\x1b]*\x1b\\|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[ -/]*[0-~]"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1a\x7f]"
)


def plain(text: str) -> str:
    """Return terminal text without its control sequences; line ends become plain newlines."""
    return _CONTROL.sub("", text).replace("\r\n", "\n")


def visible_lines(text: str) -> list[str]:
    """Return the lines that stay on a screen: of a line overwritten by carriage returns only the last state."""
    lines = (line.rsplit("\r", 1)[-1].rstrip() for line in plain(text).split("\n"))
    return [line for line in lines if line.strip()]
