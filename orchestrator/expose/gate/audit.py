"""The audit log: who entered, who was refused, which links and passwords were made; never anything secret."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LARGEST: Final = 10 << 20  # bytes, then a new file is begun
KEPT: Final = 3  # files: the one written to and two older ones
SELDOM: Final = 60.0  # seconds before the same thing is written again
_REMEMBERED: Final = 1024  # things that were written lately
_LONGEST: Final = 200  # characters of any one value that somebody else may have chosen
_LONGEST_WHY: Final = 1000


class Audit:
    """Appends events as JSON lines to a file (mode 600); several processes may, and a full disk stops nobody."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time, *, largest: int = LARGEST) -> None:
        self._path = path
        self._clock = clock
        self._largest = largest

    def note(self, event: str, *, app: str = "", peer: str = "", way: str = "", who: str = "", why: str = "") -> None:
        """Write that something happened; `who` is a user's name or a share's id, never a token, `why` our own words."""
        entry = {"time": round(self._clock(), 3), "event": event, "app": app, "peer": peer, "way": way, "who": who}
        known = {key: _short(value) for key, value in entry.items() if value != ""}
        line = json.dumps({**known, **({"why": why[:_LONGEST_WHY]} if why else {})}) + "\n"
        with contextlib.suppress(OSError), self._locked():
            self._rotate()
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, line.encode())
            finally:
                os.close(descriptor)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(
            self._path.with_name(f"{self._path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            with contextlib.suppress(OSError):  # some network file systems have no locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _rotate(self) -> None:
        try:
            if self._path.stat().st_size < self._largest:
                return
        except FileNotFoundError:
            return
        files = _files(self._path)
        for older, newer in zip(reversed(files), reversed(files[:-1]), strict=False):
            with contextlib.suppress(FileNotFoundError):
                newer.replace(older)


class Seldom:
    """Notes what may happen many times a second, the same thing once a minute only; `ticks` never goes back."""

    def __init__(self, audit: Audit | None, ticks: Callable[[], float]) -> None:
        self._audit = audit
        self._ticks = ticks
        self._lately: OrderedDict[tuple[str, ...], float] = OrderedDict()

    def note(self, event: str, *, app: str = "", peer: str = "", way: str = "", who: str = "") -> None:
        """Write it, unless the very same was written a moment ago."""
        if self._audit is None:
            return
        now, key = self._ticks(), (event, app, peer, way, who)
        at = self._lately.pop(key, None)
        again = at is not None and now - at < SELDOM
        self._lately[key] = at if at is not None and again else now
        while len(self._lately) > _REMEMBERED:
            self._lately.popitem(last=False)
        if not again:
            self._audit.note(event, app=app, peer=peer, way=way, who=who)


def read(path: Path, limit: int = 100) -> list[dict[str, Any]]:
    """Return the last `limit` events, oldest first; lines that are no events are left out."""
    found: deque[dict[str, Any]] = deque(maxlen=max(limit, 0))
    for file in reversed(_files(path)):
        with contextlib.suppress(FileNotFoundError), file.open("rb") as lines:
            for line in lines:
                with contextlib.suppress(ValueError):
                    event = json.loads(line)
                    if isinstance(event, dict):
                        found.append(event)
    return list(found)


def _files(path: Path) -> list[Path]:
    """List the files of a log, newest first."""
    return [path, *(path.with_name(f"{path.name}.{number}") for number in range(1, KEPT))]


def _short(value: object) -> object:
    return value[:_LONGEST] if isinstance(value, str) else value
