"""What commands print: data on stdout; progress, logs and errors on stderr."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from typing import Any, TextIO

from orchestrator.engine.errors import PinoctlError

_CODES = {"red": "31", "green": "32", "yellow": "33", "blue": "34", "bold": "1", "dim": "2"}


_unfinished: dict[str, bool] = {}  # whether an app's last line on stderr is still open


def coloured(stream: TextIO) -> bool:
    """Tell whether to colour a stream: a terminal, unless NO_COLOR is set or the terminal is dumb."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, style: str, stream: TextIO) -> str:
    """Colour text where the stream wants it."""
    return f"\033[{_CODES[style]}m{text}\033[0m" if coloured(stream) else text


def say(text: str, *, style: str | None = None) -> None:
    """Print a line of progress on stderr, below what an app printed and did not end."""
    below = "\n" if _unfinished.pop("line", False) else ""
    sys.stderr.write(below + (paint(text, style, sys.stderr) if style else text) + "\n")
    sys.stderr.flush()


def raw(text: str) -> None:
    """Pass an app's own output on to stderr, unfiltered."""
    if text:
        _unfinished["line"] = not text.endswith("\n")
    sys.stderr.buffer.write(text.encode("utf-8", "surrogateescape"))
    sys.stderr.flush()


def data(text: str) -> None:
    """Print a line of data on stdout."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def as_json(value: Any) -> None:
    """Print a value as one line of JSON on stdout."""
    data(json.dumps(value, ensure_ascii=False))


def report(error: PinoctlError | str) -> None:
    """Print an error, and its hint on a line of its own."""
    say(f"{paint('error:', 'red', sys.stderr)} {error}")
    hint(getattr(error, "hint", None))


def hint(text: str | None) -> None:
    """Print what to do next, if there is something."""
    if text:
        say(f"{paint('hint:', 'blue', sys.stderr)} {text}")


def gone() -> None:
    """Settle that the reader of our output went away: what is still buffered goes nowhere, silently."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def unusable(error: OSError) -> PinoctlError:
    """Turn an error of the operating system that nothing else explained into one for people."""
    why = (error.strerror or str(error)).lower()
    place = f"`{error.filename}` cannot be used: {why}" if error.filename else why
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return PinoctlError(place, hint="make room on that disk, or choose another home with `--home`")
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return PinoctlError(place, hint="choose a home that you can write to with `--home` or PINOCTL_HOME")
    return PinoctlError(place)


_BLANKED = (*range(32), *range(127, 160), 0x2028, 0x2029)
_DROPPED = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
_CONTROL: dict[int, str | None] = {**dict.fromkeys(_BLANKED, " "), **dict.fromkeys(_DROPPED)}


def clean(text: str) -> str:
    """Return a launcher's text on one line and harmless: no control characters that could move a terminal's cursor."""
    return text.translate(_CONTROL)


def table(rows: list[list[str]], header: list[str]) -> None:
    """Print rows in columns on stdout, under a header."""
    widths = [max(len(str(row[column])) for row in [header, *rows]) for column in range(len(header))]
    for row in [header, *rows]:
        line = "  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        data(paint(line, "bold", sys.stdout) if row is header else line)
