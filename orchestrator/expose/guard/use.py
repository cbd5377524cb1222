"""What of an open page counts as use, and what it does by itself: so that a tab left open does not keep a machine."""

from __future__ import annotations

import zlib
from typing import Final

# Gradio's page holds a stream open below this path for as long as it is open, and gets a sign of life there.
_HEARTBEATS: Final = "/heartbeat/"
_OURS: Final = "/.pinoctl/"

# Whole messages of clients that nobody typed: of Engine.IO (under Socket.IO), and what people write by hand.
SIGNS_OF_LIFE: Final = frozenset({b"2", b"3", b"ping", b"pong", b'{"type":"ping"}', b'{"type":"pong"}'})
LONGEST_SIGN: Final = 64

_FIN, _COMPRESSED, _OPCODE, _CONTROL = 0x80, 0x40, 0x0F, 0x08
_MASKED, _LENGTH, _TWO_BYTES, _EIGHT_BYTES = 0x80, 0x7F, 126, 127
_TAIL: Final = b"\x00\x00\xff\xff"  # what RFC 7692 leaves out at the end of a compressed message


def counts(target: str) -> bool:
    """Say whether a request for this target (path and query) is a sign that somebody uses the app."""
    path = target.partition("?")[0]
    return not path.startswith(_OURS) and _HEARTBEATS not in path


class Messages:
    """Find in the bytes that a client sends on a WebSocket whether it says something; pings are not said by anybody.

    Nothing is kept of what goes by but a header, or a message of LONGEST_SIGN bytes at most.
    """

    def __init__(self) -> None:
        self._head = b""
        self._left = 0  # bytes of the payload still to come
        self._counts = False  # this frame is part of a message that counts as soon as it is seen
        self._short: tuple[bytes, bool, bytearray] | None = None  # mask, compressed, what has come of a short message

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; return whether any of them belong to a message that somebody meant."""
        at, meant = 0, False
        while at < len(data):
            if self._left:
                piece = data[at : at + self._left]
                at += len(piece)
                self._left -= len(piece)
                if self._short is not None:
                    self._short[2].extend(piece)
                    meant |= not self._left and self._ended()
                else:
                    meant |= self._counts
                continue
            self._head += data[at : at + 1]
            at += 1
            if len(self._head) == _size(self._head):
                meant |= self._begin(self._head)
                self._head = b""
        return meant

    def _begin(self, head: bytes) -> bool:
        """Begin the frame of this header; return whether it counts as it is."""
        first, length = head[0], head[1] & _LENGTH
        mask = head[-4:] if head[1] & _MASKED else bytes(4)
        if length >= _TWO_BYTES:
            length = int.from_bytes(head[2 : 4 if length == _TWO_BYTES else 10], "big")
        self._left, self._short, self._counts = length, None, not first & _CONTROL
        if not self._counts:
            return False
        if first & _FIN and first & _OPCODE and 0 < length <= LONGEST_SIGN:
            self._short = (mask, bool(first & _COMPRESSED), bytearray())
            return False
        return True

    def _ended(self) -> bool:
        """Say whether the short message that is complete now is more than a sign of life."""
        if self._short is None:
            return False
        mask, compressed, masked = self._short
        self._short = None
        said = bytes(byte ^ mask[at % 4] for at, byte in enumerate(masked))
        if compressed:
            try:
                # One character is always written out; what refers to earlier messages cannot be read, and counts.
                said = zlib.decompressobj(-zlib.MAX_WBITS).decompress(said + _TAIL, LONGEST_SIGN + 1)
            except zlib.error:
                return True
        return said.replace(b" ", b"").lower() not in SIGNS_OF_LIFE


def _size(head: bytes) -> int:
    """Say how long the header is that begins so."""
    if len(head) < 2:  # noqa: PLR2004  # the two bytes that every header has
        return 2
    length = head[1] & _LENGTH
    return 2 + (2 if length == _TWO_BYTES else 8 if length == _EIGHT_BYTES else 0) + (4 if head[1] & _MASKED else 0)
