"""Whom the token front lets in: tokens in requests found, compared and taken out again, and guessing slowed down."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

from orchestrator.agent.forward import plain_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestrator.agent.http1 import Request

COOKIE = "pinoctl_token"
QUERY = "token"
WRONG_LIMIT = 10  # wrong tokens from one address ...
WRONG_SECONDS = 60.0  # ... within this time, and this long nothing from there is looked at
MOST_ADDRESSES = 4096  # remembered at once; the oldest are forgotten first

_SAFE_METHODS = frozenset({b"GET", b"HEAD"})


class Decision(Enum):
    """What becomes of a request."""

    PASS = "pass"  # noqa: S105  # a decision, no password
    REDIRECT = "redirect"  # right, and to be asked again without the token in its address
    UNKNOWN = "unknown"
    LIMITED = "limited"


def _pairs(query: bytes | None) -> list[bytes]:
    return query.split(b"&") if query else []


def _query_forms(pair: bytes) -> tuple[bytes, ...]:
    """What a `token=...` of a query may mean: a form writes a blank as `+`, a person may paste a `+` as it is."""
    name, _, value = pair.partition(b"=")
    if unquote_to_bytes(name) != QUERY.encode():
        return ()
    return unquote_to_bytes(value), unquote_to_bytes(value.replace(b"+", b" "))


def _cookies(value: bytes) -> Iterator[tuple[bytes, bytes]]:
    for part in value.split(b";"):
        if stripped := part.strip():
            yield stripped.partition(b"=")[0].strip(), stripped


def _bearer(value: bytes) -> bytes | None:
    scheme, _, given = value.partition(b" ")
    return given.strip() if scheme.lower() == b"bearer" else None


class Admission:
    """Decides by the token; `clock` returns seconds and never goes back."""

    def __init__(self, token: str, clock: Callable[[], float]) -> None:
        if not token:
            raise ValueError("an empty token would let everyone in; give one, or none to open the app to all")
        self._token = token.encode("utf-8", "surrogateescape")
        self._clock = clock
        self._wrong: dict[str, list[tuple[float, bytes]]] = {}
        self._closed_until: dict[str, float] = {}

    def decide(self, request: Request, peer: str) -> Decision:
        """Look for the token in a request from this address; wrong ones are counted."""
        source, now = _source(peer), self._clock()
        if self._closed_until.get(source, now) > now:
            return Decision.LIMITED
        by_query = [forms for pair in _pairs(request.query) if (forms := _query_forms(pair))]
        by_header = [given for value in request.head.all(b"authorization") if (given := _bearer(value)) is not None]
        by_cookie = [
            whole.partition(b"=")[2].strip()
            for value in request.head.all(b"cookie")
            for name, whole in _cookies(value)
            if name == COOKIE.encode()
        ]
        if any(self._is_ours(*forms) for forms in by_query):
            asks_again = request.method in _SAFE_METHODS and not request.upgrade
            return Decision.REDIRECT if asks_again else Decision.PASS
        if any(map(self._is_ours, by_header)) or any(
            self._is_ours(given, unquote_to_bytes(given)) for given in by_cookie
        ):
            return Decision.PASS
        guesses = [b""] * len(by_query + by_header)
        # A browser repeats an old cookie with everything it asks for: that is one wrong token, not many.
        guesses += [hashlib.sha256(given).digest() for given in by_cookie]
        if guesses:
            self._count(source, now, guesses[0])
        return Decision.UNKNOWN

    def seconds_closed(self, peer: str) -> int:
        """Say for how many whole seconds more nothing from this address is looked at."""
        return max(0, round(self._closed_until.get(_source(peer), 0.0) - self._clock() + 0.5))

    def clean(self, request: Request) -> Request:
        """Take our token out of the address, the cookies and the Authorization header; all else stays as it was."""
        headers = []
        for name, value in request.head.headers:
            kept = value
            if name.lower() == b"cookie":
                parts = [whole for key, whole in _cookies(value) if key != COOKIE.encode()]
                if len(parts) != len(list(_cookies(value))):
                    kept = b"; ".join(parts)
                    if not kept:
                        continue
            elif name.lower() == b"authorization":
                given = _bearer(value)
                if given is not None and self._is_ours(given):
                    continue
            headers.append((name, kept))
        bare, mark, _ = request.target.partition(b"?")
        left = self._left(request)
        target = request.target
        if len(left) != len(_pairs(request.query)):
            target = bare + (mark + b"&".join(left) if left else b"")
        line = b" ".join((request.method, target, request.version))
        return replace(request, head=replace(request.head, line=line, headers=tuple(headers)), target=target)

    def location(self, request: Request) -> bytes:
        """Say where to ask again without the token: on the same server, whatever slashes the path begins with."""
        left = self._left(request)
        return b"/" + request.path.lstrip(b"/\\") + (b"?" + b"&".join(left) if left else b"")

    def set_cookie(self, *, secure: bool) -> str:
        """Write the cookie that carries the token from now on."""
        value = quote(self._token, safe="")
        return f"{COOKIE}={value}; HttpOnly; SameSite=Lax; Path=/{'; Secure' if secure else ''}"

    def _left(self, request: Request) -> list[bytes]:
        return [pair for pair in _pairs(request.query) if not self._is_ours(*_query_forms(pair))]

    def _is_ours(self, *forms: bytes) -> bool:
        return any([hmac.compare_digest(form, self._token) for form in forms])  # noqa: C419  # each one takes its time

    def _count(self, source: str, now: float, guess: bytes) -> None:
        recent = [(at, what) for at, what in self._wrong.pop(source, []) if at > now - WRONG_SECONDS]
        if not guess or guess not in {what for _, what in recent}:
            recent.append((now, guess))
        self._wrong[source] = recent
        if len(recent) >= WRONG_LIMIT:
            del self._wrong[source]
            self._closed_until.pop(source, None)
            self._closed_until[source] = now + WRONG_SECONDS
        for remembered in (self._wrong, self._closed_until):
            while len(remembered) > MOST_ADDRESSES:
                del remembered[next(iter(remembered))]


def _source(peer: str) -> str:
    """What counts as one address: for IPv6 the network of 64 bits that one user is given."""
    bare = plain_address(peer)
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return bare
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else bare  # noqa: PLR2004  # IPv6
