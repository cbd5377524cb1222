"""Requests as a guard reads them: h11, and a refusal of whatever two readers could understand differently.

A request hidden behind another one's words would pass the guard unseen, so line ends, folded lines and lengths that
h11 would put right for its users are not put right here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

import h11

from orchestrator.expose.gate.heads import words
from orchestrator.expose.gate.requests import own_path
from orchestrator.expose.gate.trust import is_authority

if TYPE_CHECKING:
    from orchestrator.expose.gate.contract import Headers
    from orchestrator.expose.gate.wire import Wire

HEAD_LIMIT = 64 * 1024  # bytes of a request's line and headers together

_END = b"\r\n\r\n"
_STRAY = re.compile(rb"(?<!\r)\n|\r(?!\n)|\n[ \t]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_BARE = re.compile(rb"(?<!\r)\n|\x00")
_BLANK = re.compile(rb"(?:\r\n)+")
_RAW = re.compile(rb"[\x80-\xff]")
_ABSOLUTE = re.compile(r"https?://([^/?#@]+)(.*)", re.IGNORECASE)


class RefusedError(Exception):
    """A message is not passed on; `status` is what its sender is told."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """A request's head, taken apart; `parser` goes on reading a body in chunks."""

    parser: h11.Connection
    method: str
    target: str  # path and query, or `*`
    headers: Headers
    version: str  # "1.0" or "1.1"
    length: int | None  # bytes of the body; None when it is in chunks

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def has_body(self) -> bool:
        """Whether anything comes after the head."""
        return self.length != 0

    @property
    def own(self) -> bool:
        """Whether it is for the gate itself, or written so that somebody might think so."""
        return own_path(self.target) is not None

    @property
    def upgrade(self) -> bool:
        """Whether the connection shall become a WebSocket.

        Nothing else is passed on: on a connection that became HTTP/2, say, requests would follow that nobody judges.
        """
        kinds = [value.strip().lower() for name, value in self.headers if name == "upgrade"]
        asked = "upgrade" in words(self.headers, "connection") and kinds == ["websocket"]
        return asked and self.version == "1.1" and not self.has_body

    @property
    def keeps(self) -> bool:
        """Whether the client will send another request on the same connection."""
        return self.version == "1.1" and "close" not in words(self.headers, "connection")

    @property
    def wants_page(self) -> bool:
        """Whether a person looks at the answer."""
        accepts = next((value for name, value in self.headers if name == "accept"), "")
        return self.method in {"GET", "HEAD"} and "text/html" in accepts.lower() and not self.upgrade


async def read_request(wire: Wire) -> Request | None:
    """Read one head and not a byte more; None when the client ended before its first byte.

    Raises RefusedError: 431 for more than HEAD_LIMIT bytes, 400 for everything that is not plain HTTP/1.0 or 1.1.
    """
    head = bytearray()
    while True:
        searched = max(len(head) - len(_END), 0)
        piece = await wire.receive()
        if not piece:
            if head:
                raise RefusedError(HTTPStatus.BAD_REQUEST, "the head stops half-way")
            return None
        head += piece
        if (blank := _BLANK.match(head)) is not None:  # what careless clients send after a body (RFC 9112, 2.2)
            del head[: blank.end()]
        end = head.find(_END, searched)
        if end >= 0:
            break
        if _BARE.search(head, searched, HEAD_LIMIT):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "a line does not end as lines do")
        if len(head) > HEAD_LIMIT:
            break
    if not 0 <= end <= HEAD_LIMIT:
        raise RefusedError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the head is too long")
    wire.unread(bytes(head[end + len(_END) :]))
    return parse_request(bytes(head[: end + len(_END)]))


def parse_request(head: bytes) -> Request:
    """Take a head apart, its empty line included; raises RefusedError (400)."""
    if _STRAY.search(head):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "a line does not end as lines do")
    line, rest = head.split(b"\r\n", 1)
    # Some clients write addresses as they were typed; the app gets them as browsers would have sent them.
    head = _RAW.sub(lambda found: b"%%%02X" % found[0][0], line) + b"\r\n" + rest
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)
    try:
        parser.receive_data(head)
        event = parser.next_event()
    except h11.RemoteProtocolError as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"{error}") from error
    if not isinstance(event, h11.Request):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "this is no request")
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers)
    version = event.http_version.decode()
    length = _length(headers, version)
    target = _target(event.method, event.target.decode("latin-1"), headers)
    return Request(parser, event.method.decode("latin-1"), target, headers, version, length)


def _length(headers: Headers, version: str) -> int | None:
    codings = [value for name, value in headers if name == "transfer-encoding"]
    lengths = [value for name, value in headers if name == "content-length"]
    if version not in {"1.0", "1.1"}:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "this is not HTTP/1.x")
    if codings and (lengths or version == "1.0"):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "two ways to say how long the body is")
    if codings:
        return None
    return int(lengths[0]) if lengths else 0


def _target(method: bytes, target: str, headers: Headers) -> str:
    host = next((value for name, value in headers if name == "host"), "")
    if host and not is_authority(host):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "the host cannot be read")
    if target.startswith("/") and method != b"CONNECT":
        return target
    if target == "*" and method == b"OPTIONS":
        return target
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None or method == b"CONNECT" or not is_authority(absolute[1]):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "the address cannot be read")
    if host and absolute[1].lower() != host.lower():
        raise RefusedError(HTTPStatus.BAD_REQUEST, "two hosts are named")
    rest = absolute[2]
    return rest if rest.startswith("/") else f"/{rest}"
