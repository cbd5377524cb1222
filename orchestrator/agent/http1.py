"""HTTP/1.x as a guard reads it (RFC 9112): strict about heads, exact about where a body ends, one request at a time.

Whatever two readers could understand differently is refused, as a request hidden behind another one's words would
pass the guard unseen.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, replace
from http import HTTPStatus

HEAD_LIMIT = 64 * 1024  # bytes of a request's line and headers together
PIECE = 256 * 1024  # bytes read at once
WHOLE_CHUNK = 64 * 1024  # chunks up to this size are passed on in one piece
CHUNKED = -1  # a body's length when it ends with its last chunk
TO_THE_END = -2  # a response's, when it ends with the connection

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e\x80-\xff]+) (HTTP/1\.[01])")
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-9][0-9][0-9])(?: [\t\x20-\x7e\x80-\xff]*)?")
_HEADER = re.compile(rb"(" + _TOKEN + rb"):([\t\x20-\x7e\x80-\xff]*)")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
_TARGET = re.compile(rb"/.*|https?://[^/?#@]+(?:[/?].*)?", re.IGNORECASE)
_HOP = frozenset({b"connection", b"keep-alive", b"proxy-connection"})


class RefusedError(Exception):
    """A message is not passed on; `status` is what its sender is told."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class NothingSentError(Exception):
    """A connection ended before its first byte."""


@dataclass(frozen=True)
class Head:
    """The first line (without its end) and the headers of a message, names as they were written."""

    line: bytes
    headers: tuple[tuple[bytes, bytes], ...]

    def all(self, name: bytes) -> list[bytes]:
        """List the values of a header (its name in lower case)."""
        return [value for key, value in self.headers if key.lower() == name]

    def first(self, name: bytes) -> bytes:
        """Return a header's first value, b"" without one."""
        return next(iter(self.all(name)), b"")

    def words(self, name: bytes) -> set[bytes]:
        """Return the comma-separated words of all headers of a name, in lower case."""
        return {word.strip().lower() for value in self.all(name) for word in value.split(b",")} - {b""}

    def without(self, *names: bytes) -> Head:
        """Leave out all headers of these names."""
        return replace(self, headers=tuple(pair for pair in self.headers if pair[0].lower() not in names))

    def closing(self) -> Head:
        """Say that the connection ends with this message, whatever was said about it before."""
        return replace(self, headers=(*self.without(*_HOP).headers, (b"Connection", b"close")))

    def encode(self) -> bytes:
        """Write it as it goes over the wire, the empty line included."""
        return b"\r\n".join([self.line, *(b"%b: %b" % pair for pair in self.headers), b"", b""])


@dataclass(frozen=True)
class Request:
    """A request's head, taken apart."""

    head: Head
    method: bytes
    target: bytes
    version: bytes
    length: int  # bytes of the body, or CHUNKED

    @property
    def path(self) -> bytes:
        """The target without scheme, host and query; at least `/`."""
        bare = self.target.partition(b"?")[0]
        if not bare.startswith(b"/") and b"://" in bare:
            bare = b"/" + bare.partition(b"://")[2].partition(b"/")[2]
        return bare

    @property
    def query(self) -> bytes | None:
        """What comes after the first question mark; None without one."""
        _, mark, query = self.target.partition(b"?")
        return query if mark else None

    @property
    def upgrade(self) -> bool:
        """Whether the connection shall become something else, such as a WebSocket."""
        return (
            self.version == b"HTTP/1.1"
            and b"upgrade" in self.head.words(b"connection")
            and bool(self.head.words(b"upgrade"))
        )


async def read_lines(reader: asyncio.StreamReader) -> list[bytes]:
    """Read a head up to its empty line; each line without its end.

    Raises RefusedError (400 for lines that do not end in CR LF or hold other control characters, 431 for more than
    HEAD_LIMIT bytes), NothingSentError, and asyncio.IncompleteReadError for a head that stops half-way.
    """
    lines: list[bytes] = []
    size = 0
    while True:
        try:
            line = await reader.readuntil(b"\n")
        except asyncio.LimitOverrunError as error:
            raise RefusedError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the head is too long") from error
        except asyncio.IncompleteReadError as error:
            if not lines and not error.partial:
                raise NothingSentError from error
            raise
        size += len(line)
        if size > HEAD_LIMIT:
            raise RefusedError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the head is too long")
        if not line.endswith(b"\r\n") or b"\r" in line[:-2] or b"\0" in line:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "a line does not end as lines do")
        if line == b"\r\n":
            return lines
        lines.append(line[:-2])


def _headers(lines: list[bytes]) -> tuple[tuple[bytes, bytes], ...]:
    found = []
    for line in lines:
        parts = _HEADER.fullmatch(line)
        if parts is None:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "a header cannot be read")
        found.append((parts[1], parts[2].strip(b" \t")))
    return tuple(found)


def _declared(head: Head) -> int | None:
    """Read how long the body is; None when nothing is said. Raises RefusedError when it could be read in two ways."""
    codings, lengths = head.all(b"transfer-encoding"), head.all(b"content-length")
    if codings:
        if lengths:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "two ways to say how long the body is")
        if len(codings) != 1 or codings[0].lower() != b"chunked":
            raise RefusedError(HTTPStatus.BAD_REQUEST, "a transfer coding other than chunked")
        return CHUNKED
    if len(set(lengths)) > 1 or not all(map(_LENGTH.fullmatch, lengths)):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "a length that cannot be read")
    return int(lengths[0]) if lengths else None


def parse_request(lines: list[bytes]) -> Request:
    """Take a request's head apart; raises RefusedError for everything that is not plain HTTP/1.0 or 1.1."""
    first = _REQUEST.fullmatch(lines[0]) if lines else None
    if first is None:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "the first line is not a request of HTTP/1.x")
    method, target, version = first.groups()
    if not (_TARGET.fullmatch(target) or (method == b"OPTIONS" and target == b"*")):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "the address cannot be read")
    head = Head(lines[0], _headers(lines[1:]))
    hosts = len(head.all(b"host"))
    if hosts > 1 or (hosts == 0 and version == b"HTTP/1.1"):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "there must be one Host")
    length = _declared(head)
    if length == CHUNKED and version != b"HTTP/1.1":
        raise RefusedError(HTTPStatus.BAD_REQUEST, "chunks are of HTTP/1.1")
    if len(head.all(b"content-length")) > 1:  # the same one several times
        rest = head.without(b"content-length").headers
        head = replace(head, headers=(*rest, (b"Content-Length", str(length).encode())))
    return Request(head, method, target, version, length or 0)


def parse_response(lines: list[bytes], method: bytes) -> tuple[int, Head, int]:
    """Take a response's head apart: its status, the head, and how long its body is; raises RefusedError (400)."""
    status = _STATUS.fullmatch(lines[0]) if lines else None
    if status is None:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "the first line is not a status of HTTP/1.x")
    code, head = int(status[1]), Head(lines[0], _headers(lines[1:]))
    if method == b"HEAD" or code < HTTPStatus.OK or code in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}:
        return code, head, 0
    if head.all(b"transfer-encoding"):  # counts for more than a length (RFC 9112, 6.3)
        head = head.without(b"content-length")
    length = _declared(head)
    return code, head, TO_THE_END if length is None else length


async def pass_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, length: int) -> None:
    """Pass on a body and not a byte more: `length` bytes, chunks up to the last one (CHUNKED), or all (TO_THE_END).

    Chunks are written anew, without extensions and trailers. Raises RefusedError (400) for chunks that cannot be read,
    asyncio.IncompleteReadError when the sender ends too early, OSError when either side is gone.
    """
    if length == CHUNKED:
        await _pass_chunks(reader, writer)
        return
    left = length
    while left != 0:
        piece = await reader.read(PIECE if length == TO_THE_END else min(left, PIECE))
        if not piece:
            if length == TO_THE_END:
                return
            raise asyncio.IncompleteReadError(b"", left)
        left -= len(piece) if length != TO_THE_END else 0
        writer.write(piece)
        await writer.drain()


async def _pass_chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        size = await _chunk_size(reader)
        if size == 0:
            break
        start = b"%x\r\n" % size
        if size <= WHOLE_CHUNK:
            writer.write(start + await reader.readexactly(size) + b"\r\n")
            await writer.drain()
        else:
            writer.write(start)
            await pass_body(reader, writer, size)
            writer.write(b"\r\n")
        if await reader.readexactly(2) != b"\r\n":
            raise RefusedError(HTTPStatus.BAD_REQUEST, "a chunk is longer than it says")
    try:
        await read_lines(reader)  # trailers, up to the empty line
    except NothingSentError as error:
        raise asyncio.IncompleteReadError(b"", 2) from error
    writer.write(b"0\r\n\r\n")
    await writer.drain()


async def _chunk_size(reader: asyncio.StreamReader) -> int:
    try:
        line = await reader.readuntil(b"\n")
    except asyncio.LimitOverrunError as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "a chunk's size cannot be read") from error
    parts = _CHUNK.fullmatch(line[:-2]) if line.endswith(b"\r\n") else None
    if parts is None:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "a chunk's size cannot be read")
    return int(parts[1], 16)
