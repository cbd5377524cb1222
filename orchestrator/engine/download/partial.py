"""The file being downloaded, next to its place, and the note of what it has (`NAME.part`, `NAME.part.json`)."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from orchestrator.engine.download.model import Remote


@dataclass(slots=True)
class Segment:
    """Cover the bytes from `start` up to `end` (None: to wherever it ends), of which `done` are on disk."""

    start: int
    end: int | None
    done: int = 0

    @property
    def position(self) -> int:
        """Offset of the next byte to fetch."""
        return self.start + self.done

    @property
    def complete(self) -> bool:
        """Tell whether nothing is missing; one without an end never says so."""
        return self.end is not None and self.position >= self.end


def split(size: int, parts: int) -> list[Segment]:
    """Divide a file into segments of about equal length, none of them empty."""
    parts = max(1, min(parts, size))
    bounds = [size * number // parts for number in range(parts + 1)]
    return [Segment(start, end) for start, end in itertools.pairwise(bounds)]


class Partial:
    """Own the `.part` file of one target, locked against other downloads of the same target."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.part = target.with_name(target.name + ".part")
        self.note = target.with_name(target.name + ".part.json")
        self.segments: list[Segment] = []
        self._about: dict[str, Any] = {}
        self._handle = -1
        self._lock = threading.Lock()

    def open(self, busy: Callable[[], None]) -> None:
        """Open and lock the file; `busy` is called, and has to sleep, for as long as another download has it."""
        while True:
            handle = os.open(self.part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(handle), self.part.stat()):
                    self._handle = handle
                    return
            except BlockingIOError:
                os.close(handle)
                busy()
                continue
            except FileNotFoundError:
                pass
            os.close(handle)  # the other one finished: the file has its final name, and this handle is of that

    def adopt(self, existing: Path) -> int:
        """Make a shorter file that stands at the target the beginning of the download; return its length."""
        existing.replace(self.part)
        os.close(self._handle)
        self._handle = os.open(self.part, os.O_RDWR | os.O_CLOEXEC)
        fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fstat(self._handle).st_size

    def resume(self, remote: Remote) -> bool:
        """Take up the segments of an earlier download of the same file; answers False when there are none."""
        try:
            found = json.loads(self.note.read_text("utf-8"))
            segments = [Segment(int(start), int(end), int(done)) for start, end, done in found["segments"]]
        except (OSError, ValueError, KeyError, TypeError):
            return False
        length = os.fstat(self._handle).st_size
        reached = max((segment.position for segment in segments if segment.done), default=0)
        if remote.size is None or not remote.matches(found) or reached > length or not _covers(segments, remote.size):
            return False
        self.segments, self._about = segments, _about(remote)
        return True

    def begin(self, remote: Remote, segments: list[Segment]) -> None:
        """Start over with these segments, of which the bytes that count as done stay."""
        kept = max((segment.position for segment in segments if segment.done), default=0)
        os.ftruncate(self._handle, kept)
        self.segments, self._about = segments, _about(remote)
        self.save()

    def write(self, segment: Segment, data: bytes) -> None:
        """Put the next bytes of a segment in place."""
        rest, offset = memoryview(data), segment.position
        while rest:
            count = os.pwrite(self._handle, rest, offset)
            rest, offset = rest[count:], offset + count
        segment.done += len(data)

    def save(self) -> None:
        """Write down what is on disk, after it really is."""
        with self._lock:
            segments = [[segment.start, segment.end, segment.done] for segment in self.segments]
            os.fdatasync(self._handle)
            beside = self.note.with_name(self.note.name + ".new")  # always the same name, so that kills leave no litter
            beside.write_text(json.dumps({**self._about, "segments": segments}), "utf-8")
            beside.replace(self.note)

    def finish(self, size: int) -> None:
        """Give the complete file its name."""
        os.ftruncate(self._handle, size)
        os.fsync(self._handle)
        self.part.replace(self.target)
        self.note.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove what was begun."""
        self.note.unlink(missing_ok=True)
        self.note.with_name(self.note.name + ".new").unlink(missing_ok=True)
        self.part.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file; one that holds nothing is removed."""
        if self._handle < 0:
            return
        with contextlib.suppress(OSError):
            if os.fstat(self._handle).st_size == 0 and os.path.samestat(os.fstat(self._handle), self.part.stat()):
                self.discard()
        os.close(self._handle)
        self._handle = -1

    @property
    def done(self) -> int:
        """Bytes on disk."""
        return sum(segment.done for segment in self.segments)


def _about(remote: Remote) -> dict[str, Any]:
    return {"size": remote.size, "etag": remote.etag, "modified": remote.modified}


def _covers(segments: list[Segment], size: int) -> bool:
    at = 0
    for segment in segments:
        if segment.start != at or segment.end is None or not 0 <= segment.done <= segment.end - segment.start:
            return False
        at = segment.end
    return at == size
