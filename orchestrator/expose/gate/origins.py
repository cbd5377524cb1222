"""Where a request comes from: whether a page of another site sent it with the visitor's cookie."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Collection

    from orchestrator.expose.gate.contract import Seen

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_PORTS = {"http": "80", "https": "443"}
_OWN_SITE = frozenset({"same-origin", "none"})  # none: typed, or a bookmark


def changes(seen: Seen) -> bool:
    """Tell whether a request may change something, or opens a channel that can."""
    return seen.upgrade or seen.method not in _SAFE_METHODS


def is_own(seen: Seen, allowed: Collection[str] = ()) -> bool:
    """Tell whether a request that changes something was sent by a page of this very origin, or of an allowed one.

    Either word of a browser suffices, no page can write them: an Origin that is ours, or Sec-Fetch-Site, which is
    right even where a tunnel changed the Host header. Without both it is Referer; with none nobody can tell: no.
    """
    origin, site = first(seen, "origin"), first(seen, "sec-fetch-site")
    if origin is not None and (origin in allowed or _same(origin, seen)):
        return True
    if site is not None or origin is not None:
        return site in _OWN_SITE
    referer = first(seen, "referer")
    return referer is not None and _same(referer, seen)


def may_read(seen: Seen, allowed: Collection[str] = ()) -> bool:
    """Tell whether a request that only reads may use a cookie: not when a page of another site loads it as a part.

    Some apps change things on GET. Following a link from anywhere is allowed; old browsers say nothing, and may.
    """
    site = first(seen, "sec-fetch-site")
    if site is None or site in _OWN_SITE:
        return True
    if first(seen, "origin") in allowed:
        return True
    return first(seen, "sec-fetch-mode") == "navigate" and first(seen, "sec-fetch-dest") not in {"object", "embed"}


def first(seen: Seen, name: str) -> str | None:
    """Return the only value of a header, None when it is missing; a doubled one is nobody's word."""
    values = [value.strip() for key, value in seen.headers if key == name]
    if not values:
        return None
    return values[0] if len(values) == 1 else ""


def _same(address: str, seen: Seen) -> bool:
    scheme, authority = _parts(address)
    if scheme not in _PORTS or not authority:
        return False
    # Who sees HTTP may stand behind a proxy that ended HTTPS and did not say so; the other way round is an attack.
    if seen.secure and scheme != "https":
        return False
    return authority == _without_default_port(seen.host.strip().lower(), scheme)


def _parts(address: str) -> tuple[str, str]:
    try:
        parts = urlsplit(address)
    except ValueError:
        return "", ""
    return parts.scheme.lower(), _without_default_port(parts.netloc.lower(), parts.scheme.lower())


def _without_default_port(authority: str, scheme: str) -> str:
    host, colon, port = authority.rpartition(":")
    return host if colon and port == _PORTS.get(scheme) else authority
