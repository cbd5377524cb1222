"""File names that servers and URLs suggest, reduced to names that cannot leave a folder."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes, urlsplit

_LONGEST = 240  # bytes; `.part.json` is appended, and most file systems allow 255
_UNNAMED = "download"


def safe_name(name: str | None) -> str | None:
    """Return the last part of a name without anything that a path could be made of, None when nothing is left.

    Both kinds of slashes separate, control characters vanish, and so do blanks and dots at the end.
    """
    if not name:
        return None
    cleaned = "".join(character for character in name if character >= " " and character != "\x7f")
    last = re.split(r"[/\\]", cleaned)[-1].strip().rstrip(". ")
    if not last:
        return None
    stem, dot, ending = last.rpartition(".")
    while len(last.encode("utf-8", "replace")) > _LONGEST:
        stem, last = (
            (stem[:-1], f"{stem[:-1]}{dot}{ending}") if len(stem) > 1 and len(ending) < 20 else (stem, last[:-1])  # noqa: PLR2004  # endings are short
        )  # an ending is short
    return last.encode("utf-8", "replace").decode("utf-8")


def disposition_name(header: str | None) -> str | None:
    """Return the file name of a `content-disposition` header, the encoded form (`filename*`) before the plain one."""
    if not header:
        return None
    text = _as_utf8(header)
    encoded = re.search(r"filename\*\s*=\s*\"?([\w!#$%&+^`{}~-]*)'[^']*'([^;\"]+)", text, re.IGNORECASE)
    if encoded:
        try:
            name = unquote_to_bytes(encoded.group(2).strip()).decode(encoded.group(1) or "utf-8", "replace")
        except LookupError:
            name = unquote_to_bytes(encoded.group(2).strip()).decode("utf-8", "replace")
        return safe_name(name)
    quoted = re.search(r"filename\s*=\s*\"((?:[^\"\\]|\\.)*)\"", text, re.IGNORECASE)
    if quoted:
        # A backslash escapes the next character only where that is a quote or a backslash; elsewhere it separates.
        return safe_name(re.sub(r"\\([\"\\])", r"\1", quoted.group(1)))
    plain = re.search(r"filename\s*=\s*([^;]+)", text, re.IGNORECASE)
    return safe_name(plain.group(1).strip().strip("\"'")) if plain else None


def url_name(url: str) -> str | None:
    """Return the last path segment of a URL, without the query and as it is written."""
    return safe_name(urlsplit(url).path.rpartition("/")[2])


def choose_name(header: str | None, url: str) -> str:
    """Name a downloaded file: what the server says, else what the URL says, else `download`."""
    return disposition_name(header) or url_name(url) or _UNNAMED


def _as_utf8(header: str) -> str:
    """Read a header as UTF-8 where it is; HTTP libraries hand headers over as Latin-1."""
    try:
        return header.encode("latin-1").decode("utf-8")
    except (UnicodeEncodeError, UnicodeDecodeError):
        return header
