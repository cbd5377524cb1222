"""The journal of one app: events as JSON lines, appended at once, rotated by size, readable after any crash."""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import TYPE_CHECKING, Any

from orchestrator.engine.redactor import Redactor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

LIMIT = 4 * 1024 * 1024


def older(path: Path) -> Path:
    """Return where the part before the last rotation lies."""
    return path.with_name(path.name + ".1")


class Journal:
    """Append events to one file.

    Each event is one `write` to a file opened with O_APPEND, so lines never mix and a crash tears at most the last one.
    A full disk loses events, never the agent: `failed` then holds the last error.
    """

    def __init__(
        self, path: Path, *, redactor: Redactor | None = None, limit: int = LIMIT, now: Callable[[], float] = time.time
    ) -> None:
        self.path = path
        self.failed: OSError | None = None
        self._redactor = redactor or Redactor()
        self._limit = limit
        self._now = now
        self._size = 0
        self._file = self._open()

    def _open(self) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(file).st_size
        if self._size and os.pread(file, 1, self._size - 1) != b"\n":
            with contextlib.suppress(OSError):  # a torn last line must not swallow the next one
                self._size += os.write(file, b"\n")
        return file

    def write(self, kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
        """Append one event and return it as it was written: time and kind added, secrets blanked."""
        entry = {"t": round(self._now(), 3), "kind": kind, **self._redactor.value(data)}
        line = (
            json.dumps(entry, separators=(",", ":"), ensure_ascii=False, default=repr).encode("utf-8", "replace")
            + b"\n"
        )
        try:
            if self._size and self._size + len(line) > self._limit:
                self._rotate()
            written = os.write(self._file, line)
            if written < len(line):  # the disk filled up half-way: end the torn line when there is room again
                raise OSError(28, "only a part of an event could be written")  # noqa: TRY301  # one place handles all write errors
            self._size += written
            self.failed = None
        except OSError as error:
            if self.failed is None:
                with contextlib.suppress(OSError):
                    os.write(self._file, b"\n")
            self.failed = error
        return entry

    def _rotate(self) -> None:
        os.close(self._file)
        self.path.replace(older(self.path))
        self._file = self._open()

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def read_journal(path: Path, *, holding: bytes = b"") -> Iterator[dict[str, Any]]:
    """Yield all events kept, oldest first; torn, foreign and broken lines are left out.

    `holding` saves time: only lines with these bytes are looked at.
    """
    for part in (older(path), path):
        with contextlib.suppress(OSError), part.open("rb") as file:
            for line in file:
                entry = _entry(line) if holding in line else None
                if entry is not None:
                    yield entry


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) and isinstance(entry.get("kind"), str) else None
