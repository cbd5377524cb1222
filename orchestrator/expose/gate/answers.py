"""Heads of answers as careless apps write them, put right as browsers would read them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from orchestrator.expose.gate.wire import Wire

HEAD_LIMIT: Final = 256 * 1024  # bytes

_END: Final = re.compile(rb"\n\r?\n")
_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_ODD: Final = re.compile(rb"\n(?!" + _TOKEN + rb":)[^\r\n]")  # a line that does not begin with a name
_LINE: Final = re.compile(rb"\n(?![ \t])([^\r\n:]*):[^\n]*(?:\n[ \t][^\n]*)*")  # with those that continue it
_BLANK: Final = re.compile(rb"(\n" + _TOKEN + rb")[ \t]+$")


async def read_head(wire: Wire) -> bytes:
    """Read the head of an answer and not a byte more; less than one when the app ends, or says too much, before."""
    head = bytearray()
    while len(head) <= HEAD_LIMIT:
        searched = max(len(head) - 2, 0)
        piece = await wire.receive()
        if not piece:
            break
        head += piece
        if (end := _END.search(head, searched)) is not None:
            wire.unread(bytes(head[end.end() :]))
            del head[end.end() :]
            break
    return put_right(bytes(head))


def put_right(head: bytes) -> bytes:
    """Take out blanks between a name and its colon (RFC 9112, 5.1), and headers whose names are none."""
    return head if _ODD.search(head) is None else _LINE.sub(_repaired, head)


def _repaired(found: re.Match[bytes]) -> bytes:
    line, end = found[0], found.end(1) - found.start()
    name = _BLANK.fullmatch(line[:end])
    if name is not None:
        return name[1] + line[end:]
    return line if re.fullmatch(_TOKEN, found[1]) else b""
