"""How much of what arrives on a connection belongs to one body: a number of bytes, everything, or chunks.

Chunks are passed on as they come, and only their sizes are read: taking each out of its frame and framing it again
costs three quarters of the throughput. So whoever reads them after us has to see the same ends as we do. What is not
framed as RFC 9112 (7.1) says is an error, and lines that hold more than a size are written anew without it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.expose.gate.contract import Headers

    _Found = tuple[int, int, bytes | None] | None

LINE_LIMIT: Final = 1024  # bytes of a chunk's line with its extensions
TRAILER_LIMIT: Final = 16 * 1024  # bytes of all trailers together

_END: Final = b"\r\n"
_NEXT: Final = re.compile(rb"\r\n([0-9A-Fa-f]{1,15})\r\n")  # the end of a chunk and the size of the next one
_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})([ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?)\r\n")
_BARE: Final = re.compile(rb"(?<!\r)\n|\r[^\n]")
_TRAILER: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)")


class FramingError(ValueError):
    """What arrives is not framed as it should be, so nobody can say where it ends."""


class Passage(Protocol):
    """Tell what belongs to a body; `ended` when nothing more does, `unbounded` when it may stop at any point."""

    @property
    def ended(self) -> bool:
        """Whether it is complete."""

    @property
    def unbounded(self) -> bool:
        """Whether its sender says that it is complete by ending the connection."""

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """Divide what has arrived into what is to be passed on and what comes after it; raises FramingError."""


class Counted:
    """So many bytes and not one more, or everything (None)."""

    def __init__(self, count: int | None) -> None:
        self._left = count

    @property
    def ended(self) -> bool:
        """Whether all of them have come."""
        return self._left == 0

    @property
    def unbounded(self) -> bool:
        """Whether there is no number."""
        return self._left is None

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """Count what has arrived."""
        if self._left is None:
            return data, b""
        if len(data) <= self._left:
            self._left -= len(data)
            return data, b""
        left, self._left = self._left, 0
        return data[:left], data[left:]


class Chunks:
    """A body in chunks with the line after it; `trailers` says which ones of those that come late may go on."""

    unbounded = False

    def __init__(self, trailers: Callable[[Headers], Headers]) -> None:
        self.ended = False
        self._trailers = trailers
        self._left = 0  # bytes of this chunk that are still to come
        self._within = False  # the end of a chunk's line comes next, not the first line
        self._late = False  # the last chunk was there, and trailers follow
        self._begun = b""  # of a line that is not complete, or of trailers
        self._seen = 0  # bytes of the trailers that are lines as they should be

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """Divide what has arrived; raises FramingError for what is no chunk."""
        if self._begun:
            data, self._begun = self._begun + data, b""
        pieces: list[bytes] = []
        begin = at = 0  # what lies between goes on as it is
        while True:
            step = min(self._left, len(data) - at)
            self._left -= step
            at += step
            found = None if self._left or self.ended else self._between(data, at)
            if found is None:
                break
            start, at, instead = found
            if instead is not None:
                pieces += (data[begin:start], instead)
                begin = at
        mine, rest = data[begin:at], data[at:]
        if not self.ended:
            self._begun, rest = rest, b""
        return (b"".join((*pieces, mine)) if pieces else mine), rest

    def _between(self, data: bytes, at: int) -> _Found:
        """Read what is not the content of a chunk: from where to where, and what is passed on instead if anything is.

        None when it is not complete. The end of a chunk is passed on without waiting for the next one's line.
        """
        if self._late:
            return self._end(data, at)
        if not self._within:
            return self._line(data, at)
        found = _NEXT.match(data, at)
        if found is not None and (size := int(found[1], 16)):
            self._left = size
            return at, found.end(), None
        end = data[at : at + len(_END)]
        if not _END.startswith(end):
            raise FramingError("a chunk does not end where it should")
        if end != _END:
            return None
        self._within = False
        return at, at + len(_END), None

    def _line(self, data: bytes, at: int) -> _Found:
        end = data.find(b"\n", at, at + LINE_LIMIT) + 1
        if not end:
            if len(data) - at >= LINE_LIMIT:
                raise FramingError("the line of a chunk is too long")
            return None
        line = _LINE.fullmatch(data, at, end)
        if line is None:
            raise FramingError("this is not the size of a chunk")
        self._left = int(line[1], 16)
        self._within, self._late = True, not self._left
        if self._late:
            return at, end, b""  # is told together with the trailers
        return at, end, line[1] + _END if line[2] else None

    def _end(self, data: bytes, at: int) -> _Found:
        if data.startswith(_END, at):
            self.ended = True
            return at, at + len(_END), b"0\r\n\r\n"
        end = data.find(_END + _END, at, at + TRAILER_LIMIT)
        if end < 0:
            if len(data) - at >= TRAILER_LIMIT or _BARE.search(data, at + self._seen):
                raise FramingError("the trailers are too long, or a line does not end as lines do")
            self._seen = max(len(data) - at - 1, 0)  # not again: they may come byte by byte
            return None
        late = []
        for line in data[at:end].split(_END):
            found = _TRAILER.fullmatch(line)
            if found is None:
                raise FramingError("this is no trailer")
            late.append((found[1].decode("ascii").lower(), found[2].decode("latin-1").rstrip(" \t")))
        self.ended = True
        kept = b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in self._trailers(tuple(late)))
        return at, end + len(_END) * 2, b"0\r\n" + kept + _END
