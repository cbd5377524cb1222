"""A terminal emulator (pyte) that also keeps what scrolls away and which rows go on from the row above."""

from __future__ import annotations

import contextlib
import re
from collections import deque
from typing import Any

import pyte
import pyte.modes


class _Recording(pyte.Screen):
    """Be pyte's screen with a scrollback of text."""

    def __init__(self, cols: int, rows: int, scrollback: int) -> None:
        self.history: deque[tuple[bool, str]] = deque(maxlen=scrollback)
        self._drawing = False
        super().__init__(cols, rows)

    def draw(self, data: str) -> None:
        self._drawing = True
        try:
            super().draw(data)
        finally:
            self._drawing = False

    def linefeed(self) -> None:
        super().linefeed()
        line: Any = self.buffer[self.cursor.y]
        line.wrapped = self._drawing

    def index(self) -> None:
        top, bottom = self.margins or (0, self.lines - 1)
        if self.cursor.y == bottom and top == 0:
            self.history.append(self.row(0))
        super().index()

    def row(self, y: int) -> tuple[bool, str]:
        """Return one row of the visible screen."""
        if y not in self.buffer:
            return False, ""
        line = self.buffer[y]
        return getattr(line, "wrapped", False), "".join(line[x].data for x in range(self.columns)).rstrip(" ")

    def erase_in_display(self, how: int = 0, *args: Any, **kwargs: Any) -> None:
        super().erase_in_display(how, *args, **kwargs)
        if how == 3:  # noqa: PLR2004  # ED 3: the scrollback
            self.history.clear()


def emulate(raw: str, cols: int, rows: int, scrollback: int) -> list[tuple[bool, str]]:
    """Return the rows of the scrollback and of the screen down to the last one in use."""
    screen = _Recording(cols, rows, scrollback)
    stream = pyte.Stream(screen)
    for piece in re.split(r"(?=\x1b)", raw):
        with contextlib.suppress(Exception):  # a sequence that pyte does not know must not lose the others
            stream.feed(piece)
    last = max([screen.cursor.y, *screen.buffer], default=0)
    return [*screen.history, *(screen.row(y) for y in range(last + 1))]
