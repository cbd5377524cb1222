"""Git's index as bytes: which files a repository tracks, without running git (gitformat-index)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

FIXED: Final = 40  # bytes of an entry before the object's name
SHA1: Final = 20  # bytes of the names of objects
SHA256: Final = 32
MISFITS: Final = (IndexError, ValueError, struct.error)
EXTENDED: Final = 0x4000
LENGTH: Final = 0x0FFF
OLDEST: Final = 2
PACKED: Final = 4


class IndexUnreadableError(ValueError):
    """Report that these bytes are no index of a version that is known."""


@dataclass(frozen=True, slots=True)
class Tracked:
    """Describe one entry: `path` relative to the repository, `stage` 0 unless a merge is under way."""

    path: str
    mode: int
    sha: str
    stage: int = 0


def parse_index(raw: bytes) -> tuple[Tracked, ...]:
    """Return the entries of an index of version 2, 3 or 4; raise IndexUnreadableError for anything else.

    Names that are not UTF-8 hold surrogates. Extensions are not read: a split index gives the entries that it holds
    itself, a sparse one gives folders, whose paths end in `/`.
    """
    if len(raw) < 12 or raw[:4] != b"DIRC":  # noqa: PLR2004  # the header is twelve bytes long
        raise IndexUnreadableError("this is not an index of git")
    version, count = struct.unpack(">II", raw[4:12])
    if not OLDEST <= version <= PACKED:
        raise IndexUnreadableError(f"indexes of version {version} are not known")
    try:  # nothing in the file says how long the names of objects are; only the right length gives entries that fit
        return _entries(raw, version, count, SHA1)
    except MISFITS:
        pass
    try:
        return _entries(raw, version, count, SHA256)
    except MISFITS as error:
        raise IndexUnreadableError("the index is damaged") from error


def _entries(raw: bytes, version: int, count: int, size: int) -> tuple[Tracked, ...]:
    found = []
    at, name = 12, b""
    for _ in range(count):
        start = at
        mode = struct.unpack_from(">I", raw, at + 24)[0]
        sha = raw[at + FIXED : at + FIXED + size].hex()
        flags = struct.unpack_from(">H", raw, at + FIXED + size)[0]
        at += FIXED + size + 2
        if version > OLDEST and flags & EXTENDED:
            at += 2
        if version == PACKED:
            drop, at = _number(raw, at)
            if drop > len(name):
                raise ValueError
            head = name[: len(name) - drop]
        else:
            head = b""
        end = raw.index(b"\0", at)
        name = head + raw[at:end]
        if not name or min(len(name), LENGTH) != flags & LENGTH or mode >> 12 not in {0o04, 0o10, 0o12, 0o16}:
            raise ValueError
        found.append(Tracked(name.decode("utf-8", "surrogateescape"), mode, sha, (flags >> 12) & 3))
        # entries of versions 2 and 3 end in one to eight NULs, so that their length divides by eight
        at = end + 1 if version == PACKED else start + (end - start) // 8 * 8 + 8
    if at > len(raw) - size:
        raise ValueError
    return tuple(found)


def _number(raw: bytes, at: int) -> tuple[int, int]:
    """Read a number in git's offset encoding; returns it and where it ends."""
    byte = raw[at]
    number = byte & 0x7F
    while byte & 0x80:
        at += 1
        byte = raw[at]
        number = (number + 1 << 7) | (byte & 0x7F)
    return number, at + 1
