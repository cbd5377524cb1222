"""QR codes of URLs: for terminals, and as PNG and SVG.

Always dark on white with the whole quiet zone, whatever the terminal's or the page's theme: cameras do not read
inverted codes.
"""

from __future__ import annotations

import io
from typing import Final, Protocol

BORDER: Final = 4  # modules, what the standard asks for
_BLOCKS: Final = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}
# Exact colours: a theme may have made something else of "black" and "white".
_BLACK_ON_WHITE: Final = "\x1b[38;2;0;0;0;48;2;255;255;255m"
_RESET: Final = "\x1b[0m"


class _Stream(Protocol):
    def isatty(self) -> bool: ...


def wanted(stream: _Stream) -> bool:
    """Tell whether a code makes sense there: only on a terminal, never in a log."""
    return stream.isatty()


def terminal(text: str, *, colour: bool = True) -> str:
    """Draw a code with half blocks, two rows of modules per line; ends with a newline.

    With `colour` it is black on white by escape sequences. Without (NO_COLOR) the characters have to do it, and they
    take the terminal's own colours: the white parts are drawn as blocks, so it is right on dark terminals.
    """
    rows = _rows(text)
    if len(rows) % 2:
        rows.append([False] * len(rows[0]))
    lines = []
    for above, below in zip(rows[::2], rows[1::2], strict=True):
        if colour:
            drawn = "".join(_BLOCKS[pair] for pair in zip(above, below, strict=True))
            lines.append(f"{_BLACK_ON_WHITE}{drawn}{_RESET}")
        else:
            lines.append("".join(_BLOCKS[not up, not down] for up, down in zip(above, below, strict=True)))
    return "\n".join(lines) + "\n"


def png(text: str, *, scale: int = 8) -> bytes:
    """Make a PNG, black on white, `scale` pixels per module."""
    return _save(text, kind="png", scale=scale, dark="black", light="white")


def svg(text: str, *, scale: int = 8) -> str:
    """Make an SVG document, black on white, which can stand in a page (no XML declaration)."""
    return _save(text, kind="svg", scale=scale, dark="black", light="white", xmldecl=False).decode("utf-8")


def _rows(text: str) -> list[list[bool]]:
    import segno  # noqa: PLC0415  # start-up time of commands

    # The smallest code that holds it; segno uses what room is left in it for a higher level of correction.
    code = segno.make(text, error="l", micro=False)
    return [[bool(module) for module in row] for row in code.matrix_iter(scale=1, border=BORDER)]


def _save(text: str, *, kind: str, **options: object) -> bytes:
    import segno  # noqa: PLC0415  # as above

    out = io.BytesIO()
    segno.make(text, error="l", micro=False).save(out, kind=kind, border=BORDER, **options)
    return out.getvalue()
