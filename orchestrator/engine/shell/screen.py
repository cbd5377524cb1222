"""The text of an emulated terminal (spec 8.10), worked out only when somebody asks for it.

Plain output (text, CR, LF, backspace, tabs, colours, erase to the end of the line) takes a fast path; everything else
goes through pyte. Both give the same text, which a test checks.
"""

from __future__ import annotations

import re
from collections import deque

SCROLLBACK = 1000  # rows above the visible ones
RAW_LIMIT = 256 * 1024  # characters of output kept; more than 1030 rows of 100 columns hold, with room for colours

Row = tuple[bool, str]  # whether it goes on from the row above, and its text

_STRINGS = re.compile(r"\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\|\Z)")
_C1 = re.compile(r"[\x80-\x9f]")  # in binary output they would begin strings that swallow all that follows
_QUIET = re.compile(r"\x1b\[[\d;:]*m|\x1b\[\?(?:2004|25)[hl]|\x1b\[\?1[hl]|\x1b[=>]|\x07")
_PLAIN = re.compile(
    r"[\x20-\x7e\xa0-\xac\xae-\u02ff\u2010-\u2027\u2190-\u2193\u2500-\u259f\u2800-\u28ff\u2713\u2714\u2717\u2718\r\n\t\b]*"
)
_TOKENS = re.compile(r"\x1b\[0?K|[\r\n\t\b]|[^\x1b\r\n\t\b]+")
_ERASE = re.compile(r"\x1b\[0?K")


class Screen:
    """Keep the tail of a terminal's output, and tell what the terminal would show."""

    def __init__(self, cols: int = 100, rows: int = 30) -> None:
        self.cols = cols
        self.rows = rows
        self._raw: deque[str] = deque()
        self._size = 0
        self._total = 0

    def feed(self, text: str) -> None:
        """Take output, as it came from the terminal."""
        self._raw.append(text)
        self._size += len(text)
        self._total += len(text)
        while self._size - len(self._raw[0]) >= RAW_LIMIT:
            self._size -= len(self._raw.popleft())

    def clear(self) -> None:
        """Forget what was shown."""
        self._raw.clear()
        self._size = 0

    def raw(self, upto: int | None = None) -> str:
        """Return the kept output, or what of it lies within the first `upto` characters that were ever fed."""
        if len(self._raw) > 1:
            whole = "".join(self._raw)
            self._raw = deque([whole])
        kept = self._raw[0] if self._raw else ""
        return kept if upto is None or upto >= self._total else kept[: max(0, len(kept) - (self._total - upto))]

    def text(self, upto: int | None = None) -> str:
        """Return the last 1000 rows and the visible ones: CRLF, trimmed at the right, wrapped lines joined."""
        return render(self.raw(upto), self.cols, self.rows)

    def plain_text(self, upto: int | None = None) -> str | None:
        """Return the same where that is quick, None where it takes an emulator."""
        rows = plain_rows(_quiet(self.raw(upto)), self.cols)
        return None if rows is None else _joined(rows[-(SCROLLBACK + self.rows) :])

    def visible(self) -> str:
        """Return the visible rows only, without line breaks (7.1)."""
        tail = self.raw()[-4 * self.cols * self.rows :]
        return render(tail, self.cols, self.rows, scrollback=0).replace("\r\n", "")


def render(raw: str, cols: int, rows: int, *, scrollback: int = SCROLLBACK) -> str:
    """Return what a terminal of that size would hold after this output."""
    raw = _C1.sub("", raw)
    found = plain_rows(_quiet(raw), cols)
    if found is None:
        found = emulated_rows(_STRINGS.sub("", raw), cols, rows, scrollback)
    return _joined(found[-(scrollback + rows) :])


def _quiet(raw: str) -> str:
    """Take out what changes no text: colours, titles, cursor and keypad modes."""
    return _QUIET.sub("", _STRINGS.sub("", _C1.sub("", raw)))


def _joined(rows: list[Row]) -> str:
    texts: list[str] = []
    for wrapped, text in rows:
        if wrapped and texts:
            texts[-1] += text
        else:
            texts.append(text)
    trimmed = [text.rstrip(" ") for text in texts]
    while trimmed and not trimmed[-1]:
        trimmed.pop()
    return "\r\n".join(trimmed)


def plain_rows(raw: str, cols: int) -> list[Row] | None:  # noqa: C901, PLR0912  # one small terminal, a branch per control
    """Return the rows of output that never moves the cursor up, None where it needs a real emulator."""
    if _PLAIN.fullmatch(_ERASE.sub("", raw)) is None:
        return None
    rows: list[Row] = []
    row, wrapped, at = "", False, 0
    for piece in _TOKENS.findall(raw):
        if piece == "\n":
            rows.append((wrapped, row))
            row, wrapped = " " * at if at > 0 else "", False
        elif piece == "\r":
            at = 0
        elif piece == "\b":
            if at >= cols:
                return None  # emulators differ about where the cursor is after the last column
            at = max(0, at - 1)
        elif piece == "\t":
            at = (at // 8 + 1) * 8
            if at >= cols:
                return None
        elif piece[0] == "\x1b":
            if at >= cols:
                return None
            row = row[:at]
        else:
            if at > len(row):
                row += " " * (at - len(row))
            rest = piece
            while at + len(rest) > cols:
                rows.append((wrapped, row[:at] + rest[: cols - at]))
                rest, row, wrapped, at = rest[cols - at :], "", True, 0
            row = row[:at] + rest + row[at + len(rest) :]
            at += len(rest)
    rows.append((wrapped, row))
    return _padded(rows, cols)


def _padded(rows: list[Row], cols: int) -> list[Row]:
    """Fill up rows that go on in the next one, so that joining them keeps the columns."""
    return [
        (wrapped, text.ljust(cols) if following[0] else text)
        for (wrapped, text), following in zip(rows, [*rows[1:], (False, "")], strict=True)
    ]


def emulated_rows(raw: str, cols: int, rows: int, scrollback: int) -> list[Row]:
    """Return the rows as pyte has them."""
    from orchestrator.engine.shell.emulator import emulate  # noqa: PLC0415  # pyte takes 30 ms to import, few steps need it

    return _padded(emulate(raw, cols, rows, scrollback), cols)
