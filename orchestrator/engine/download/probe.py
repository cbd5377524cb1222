"""Asking a server about a file before fetching it: HEAD, or one byte where HEAD does not tell."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from orchestrator.engine.download.model import Remote, Settings, TransientError
from orchestrator.engine.download.names import choose_name
from orchestrator.engine.errors import ScriptError
from orchestrator.engine.redaction import redact_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    import requests

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
IDENTITY = {"Accept-Encoding": "identity"}


def probe(session: requests.Session, url: str, settings: Settings) -> Remote:
    """Return what the server says about a file; raise TransientError or ScriptError."""
    timeout = (settings.connect_timeout, settings.stall)
    with session.head(url, allow_redirects=True, timeout=timeout, headers=IDENTITY, stream=True) as response:
        length = _length(response.headers)
        if response.ok and length and not _encoded(response.headers):
            return _remote(url, response, length, ranges="bytes" in response.headers.get("Accept-Ranges", "").lower())
    return ask_one_byte(session, url, settings)


def ask_one_byte(session: requests.Session, url: str, settings: Settings) -> Remote:
    """Ask with GET for the first byte only: tells the size and whether ranges work."""
    timeout = (settings.connect_timeout, settings.stall)
    with session.get(url, headers={**IDENTITY, "Range": "bytes=0-0"}, timeout=timeout, stream=True) as response:
        total = total_of(response.headers.get("Content-Range"))
        if response.status_code == 416:  # noqa: PLR2004  # range not satisfiable: an empty file
            return _remote(url, response, total if total is not None else 0, ranges=False)
        check_status(response, url)
        if response.status_code == 206:  # noqa: PLR2004  # partial content
            return _remote(url, response, total, ranges=total is not None)
        size = None if _encoded(response.headers) else _length(response.headers)
        return _remote(url, response, size, ranges=False)


def check_status(response: requests.Response, url: str) -> None:
    """Raise TransientError for a status that may pass, ScriptError for one that will not."""
    status = response.status_code
    if status < 400:  # noqa: PLR2004  # HTTP's own numbers
        return
    said = f"status {status}" + (f" ({response.reason})" if response.reason else "")
    if status in _PASSING:
        raise TransientError(said, wait=retry_after(response.headers.get("Retry-After")))
    hints = {
        401: "the file needs a login",
        403: "the file needs a login, or the link has expired",
        404: "check the URL",
        410: "check the URL",
    }
    raise ScriptError(
        f"cannot download `{redact_url(url)}`: the server answered {said}", hint=hints.get(status, "check the URL")
    )


def retry_after(header: str | None) -> float | None:
    """Read a `Retry-After` given in seconds; dates are not worth a clock."""
    return float(header) if header and header.strip().isdigit() else None


def total_of(content_range: str | None) -> int | None:
    """Return the whole length that a `Content-Range` header tells."""
    found = re.match(r"\s*bytes\s+(?:\d+-\d+|\*)/(\d+)\s*$", content_range or "", re.IGNORECASE)
    return int(found.group(1)) if found else None


def range_of(content_range: str | None) -> tuple[int, int] | None:
    """Return first and last offset of a `Content-Range` header."""
    found = re.match(r"\s*bytes\s+(\d+)-(\d+)/", content_range or "", re.IGNORECASE)
    return (int(found.group(1)), int(found.group(2))) if found else None


def _remote(url: str, response: requests.Response, size: int | None, *, ranges: bool) -> Remote:
    headers = response.headers
    etag = headers.get("ETag")
    name = choose_name(headers.get("Content-Disposition"), url)
    return Remote(
        size=size,
        ranges=ranges,
        etag=etag if etag and not etag.startswith("W/") else None,
        modified=_date(headers.get("Last-Modified")),
        name=name,
    )


def _date(header: str | None) -> str | None:
    try:
        return header if header and parsedate_to_datetime(header) else None
    except (TypeError, ValueError):
        return None


def _length(headers: Mapping[str, str]) -> int | None:
    text = headers.get("Content-Length", "")
    return int(text) if text.isdigit() else None


def _encoded(headers: Mapping[str, str]) -> bool:
    return headers.get("Content-Encoding", "identity").lower() not in {"", "identity"}
