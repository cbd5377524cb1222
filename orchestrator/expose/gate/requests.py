"""What a request carries of ours: its path, tokens, cookies; and the request without them."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote, unquote_to_bytes

from orchestrator.expose.gate import sessions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestrator.expose.gate.contract import Headers, Seen

OWN: Final = "/.pinoctl/"  # all the gate's own addresses begin with this
QUERY: Final = "token"
HEADER: Final = "x-pinoctl-token"
LOOKED_AT: Final = 4  # tokens of each kind in one request, and cookies of one name
COMPARED: Final = 64  # that may be tokens, when they are taken out of an address

_UNFIT: Final = re.compile(r"[\x00-\x20\x7f#]")  # no address holds them; a Location with them could say anything
_CODED_TWICE: Final = 3  # rounds of percent-decoding that any server might do
_SAFE: Final = "%/:?@!$&'()*+,;=-._~[]"

Forms = tuple[bytes, ...]  # what a token as sent may mean: a form writes a blank as `+`, a person pastes a `+`


@dataclass(frozen=True, slots=True)
class Carried:
    """The credentials of a request, none of them looked at yet."""

    query: tuple[Forms, ...]
    headers: tuple[Forms, ...]
    cookies: tuple[tuple[str, str], ...]  # name and value, ours only


def carried(seen: Seen) -> Carried:
    """Collect what may be a token or a cookie of ours, only the first few of each kind."""
    by_query = [forms for pair in _pairs(seen.target) if (forms := _query_forms(pair))]
    by_header = [
        (given.encode("latin-1"),)
        for name, value in seen.headers
        if (given := _bearer(value) if name == "authorization" else value.strip() if name == HEADER else None)
    ]
    ours: list[tuple[str, str]] = []
    for name, value in seen.headers:
        if name == "cookie":
            ours += [(key, given) for key, given, _ in _cookies(value) if sessions.is_ours(key)]
    return Carried(tuple(by_query[:LOOKED_AT]), tuple(by_header[:LOOKED_AT]), tuple(ours[:64]))


def is_address(target: str) -> bool:
    """Tell whether this is a path with or without a query, and nothing that two servers might read in two ways."""
    return target.startswith("/") and _UNFIT.search(target) is None


@lru_cache(maxsize=64)  # each request is looked at more than once
def own_path(target: str) -> str | None:
    """Say which address of the gate this is (what follows `/.pinoctl/`), `..` for one in disguise, None for an app's.

    In disguise: written in a way that some server would read as one of ours, or as none of ours.
    """
    path = target.partition("?")[0]
    plain = path
    for _ in range(_CODED_TWICE):
        plain = unquote(plain, "latin-1")
    # A server may resolve `..` before or after it cuts off `;parameters`, and take `\` for `/`.
    plain = plain.replace("\\", "/")
    looks = {_resolved(plain), _resolved(re.sub(r";[^/]*", "", plain))}
    if not path.startswith(OWN):
        return ".." if any(f"{look.lower()}/".startswith(OWN) for look in looks) else None
    return path.removeprefix(OWN) if looks == {path.rstrip("/")} and not path.endswith("//") else ".."


def _resolved(path: str) -> str:
    return posixpath.normpath("/" + path.lstrip("/"))


def asks_for_page(seen: Seen) -> bool:
    """Tell whether a browser asks for a page to show, not a program or a part of a page."""
    if seen.method not in {"GET", "HEAD"} or seen.upgrade:
        return False
    modes = [value for name, value in seen.headers if name == "sec-fetch-mode"]
    return modes == ["navigate"] if modes else wants_html(seen)


def wants_html(seen: Seen) -> bool:
    """Tell whether an answer should be HTML."""
    return any(name == "accept" and "text/html" in value.lower() for name, value in seen.headers)


def wants_json(seen: Seen) -> bool:
    """Tell whether an answer should be JSON."""
    return any(name == "accept" and "json" in value.lower() for name, value in seen.headers)


def without_tokens(target: str, is_token: Callable[[Forms], bool]) -> str:
    """Take our tokens out of an address; everything else stays byte for byte.

    Of very many that may be tokens the last ones go unseen: no app means them, and comparing takes its time.
    """
    path, mark, query = target.partition("?")
    pairs = query.split("&") if mark else []
    left, compared = [], 0
    for pair in pairs:
        if forms := _query_forms(pair):
            compared += 1
            if compared > COMPARED or is_token(forms):
                continue
        left.append(pair)
    if len(left) == len(pairs):
        return target
    return path + (mark + "&".join(left) if left else "")


def cleaned(headers: Headers, is_token: Callable[[Forms], bool]) -> Headers:
    """Take out what is ours: cookies, the token's header, and Authorization when it holds our token."""
    kept: list[tuple[str, str]] = []
    for name, value in headers:
        if name == HEADER:
            continue
        if name == "authorization" and (given := _bearer(value)) is not None and is_token((given.encode("latin-1"),)):
            continue
        if name == "cookie":
            parts = list(_cookies(value))
            left = [whole for key, _, whole in parts if not sessions.is_ours(key)]
            if len(left) != len(parts):
                if rest := ";".join(left).strip():
                    kept.append((name, rest))
                continue
        kept.append((name, value))
    return tuple(kept)


def local(address: str, fallback: str = "/") -> str:
    """Return an address on this same server as ASCII, `fallback` for anything that a browser might take elsewhere."""
    if not address.startswith("/") or address[1:2] in {"/", "\\"} or _UNFIT.search(address):
        return fallback
    own = own_path(address)
    if own is not None and own != "apps" and not own.startswith("go/"):
        return fallback
    return quote(address, safe=_SAFE)


def same_place(target: str) -> str:
    """Return a request's own address as a Location: on this server, whatever slashes it begins with."""
    return local("/" + quote(target.lstrip("/\\").encode("latin-1", "replace"), safe=_SAFE))


def _pairs(target: str) -> list[str]:
    _, mark, query = target.partition("?")
    return query.split("&") if mark else []


def _query_forms(pair: str) -> Forms:
    name, _, value = pair.encode("latin-1", "replace").partition(b"=")
    if unquote_to_bytes(name) != QUERY.encode():
        return ()
    plain, blank = unquote_to_bytes(value), unquote_to_bytes(value.replace(b"+", b" "))
    return (plain,) if plain == blank else (plain, blank)


def _bearer(value: str) -> str | None:
    scheme, _, given = value.strip().partition(" ")
    return (given.strip() or None) if scheme.lower() == "bearer" else None


def _cookies(value: str) -> Iterator[tuple[str, str, str]]:
    """Yield name, value without quotes, and the whole as it stood."""
    for part in value.split(";"):
        name, _, given = part.partition("=")
        plain = given.strip()
        if len(plain) > 1 and plain[0] == plain[-1] == '"':
            plain = plain[1:-1]
        yield name.strip(), plain, part
