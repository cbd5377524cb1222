"""What is changed in the heads that pass the gate, both ways; pure functions on lists of headers.

The app gets the Host that the browser used. Apps compare Origin with it (ComfyUI), build redirects (FastAPI) and
addresses (Gradio) from it, and bind cookies to it, so any other Host breaks one of them. Those that refuse hosts they
do not know (Vite's development server, Jupyter, Ollama) are given their own address instead, where the owner says so or
their refusal shows it, and then Origin and Referer have to name it as well.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from orchestrator.expose.gate.wire import V4

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from orchestrator.expose.gate.contract import Headers
    from orchestrator.expose.gate.trust import Public

HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "proxy-authenticate",
        "te",
        "transfer-encoding",
        "upgrade",
    }
)
# Only the gate may tell an app who asks; what a client says about it is no more than a claim.
FORWARDING = frozenset(
    {
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-prefix",
        "x-forwarded-proto",
        "x-forwarded-protocol",
        "x-forwarded-scheme",
        "x-forwarded-server",
        "x-forwarded-ssl",
        "x-original-url",
        "x-rewrite-url",
        "x-real-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "true-client-ip",
        "cf-connecting-ip",
        "cf-connecting-ipv6",
        "fastly-client-ip",
        "front-end-https",
    }
)
KEPT = frozenset({"host", "content-length", "transfer-encoding", "cookie", "authorization", "origin", "set-cookie"})
NO_TRAILER = HOP | {
    "authorization",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "host",
    "location",
    "set-cookie",
    "trailer",
}
SHARED_CACHES = frozenset({"cdn-cache-control", "cloudflare-cdn-cache-control", "surrogate-control"})
LOCAL = frozenset({"127.0.0.1", "localhost", "0.0.0.0", "::1", "::"})  # noqa: S104  # compared with, not bound to

_REFRESH = re.compile(r"""(?i)^([\d.\s]*(?:[;,]\s*)?(?:url\s*=\s*)?["']?)([^"'\s]+)""")
_DOMAIN = re.compile(r"(?i);\s*domain\s*=([^;]*)")


def words(headers: Headers, name: str) -> set[str]:
    """Return the comma-separated words of all headers of a name, in lower case."""
    return {word.strip().lower() for key, value in headers if key == name for word in value.split(",")} - {""}


def end_to_end(headers: Headers) -> Headers:
    """Leave out what concerns one connection only, and what Connection names, but never what a body's length is."""
    gone = HOP | (words(headers, "connection") - KEPT)
    return tuple(pair for pair in headers if pair[0] not in gone)


def own_address(target: tuple[str, int]) -> str:
    """Write an app's own authority as its user on this machine would."""
    host, port = target
    plain = host.strip("[]")
    if plain in {"", "*", "0.0.0.0"}:  # noqa: S104  # compared with, not bound to
        plain = V4
    return f"[{plain}]:{port}" if ":" in plain else f"{plain}:{port}"


def to_app(headers: Headers, public: Public, target: tuple[str, int], *, local_host: bool = False) -> Headers:
    """Make the headers that the app gets of those of a request, without the framing of its body.

    `local_host` gives the app its own address as Host instead of the one that the browser used.
    """
    own = own_address(target)
    host = own if local_host or not public.host else public.host
    kept = [("host", host)]
    for name, value in end_to_end(headers):
        if name.replace("_", "-") in FORWARDING or name in {"host", "content-length"}:  # WSGI knows no difference
            continue
        if local_host and name in {"origin", "referer"}:
            kept.append((name, _moved(value, public.host, "http", own)))
        else:
            kept.append((name, value))
    node = f'"[{public.peer}]"' if ":" in public.peer else public.peer or "unknown"
    told = f"for={node};proto={public.scheme}" + (f';host="{public.host}"' if public.host else "")
    kept += [("x-forwarded-for", public.peer), ("x-forwarded-proto", public.scheme)]
    kept += [("x-forwarded-port", public.port), ("forwarded", told)]
    if public.host:
        kept.append(("x-forwarded-host", public.host))
    return tuple(kept)


def to_client(
    headers: Headers,
    public: Public,
    target: tuple[str, int],
    *,
    closed: bool = False,
    is_ours: Callable[[str], bool] = lambda _name: False,
) -> Headers:
    """Make the headers that the client gets of those of an answer, without the framing of its body.

    Addresses of the app's own become public ones, and cookies for its own names those of whoever asked; cookies of the
    gate's (`is_ours` by name) are not for apps to set. Answers of an app that is `closed` to strangers stay out of
    caches that many people share, as these would hand them out without asking the gate.
    """
    kept = []
    for name, value in end_to_end(headers):
        if name in {"location", "content-location"}:
            kept.append((name, location(value, public, target)))
        elif name == "refresh":
            kept.append((name, _REFRESH.sub(lambda found: found[1] + location(found[2], public, target), value)))
        elif name == "set-cookie":
            if not is_ours(value.partition("=")[0]):
                kept.append((name, _DOMAIN.sub(_domain, value)))
        elif closed and name == "cache-control":
            kept.append((name, private(value)))
        elif closed and name in SHARED_CACHES:
            continue
        elif name != "content-length":
            kept.append((name, value))
    if closed and all(name != "cache-control" for name, _ in headers):
        kept.append(("cache-control", "private"))
    return tuple(kept)


def private(value: str) -> str:
    """Make a Cache-Control one that only the browser's own cache may act on."""
    words = [word.strip() for word in value.split(",")]
    kept = [word for word in words if word and word.partition("=")[0].lower() not in {"public", "private", "s-maxage"}]
    return ", ".join(kept if "no-store" in map(str.lower, kept) else ["private", *kept])


def location(value: str, public: Public, target: tuple[str, int]) -> str:
    """Make the address of a redirect one that the browser can reach; others than the app's own stay as they are.

    The app's own address becomes the public one; the public one gets the right scheme, as most apps believe that they
    are spoken to in the clear.
    """
    if not public.host:
        return value
    try:
        parts = urlsplit(value)
        ports = {parts.port} if parts.port else {"http": {80}, "https": {443}}.get(parts.scheme, {80, 443})
    except ValueError:
        return value
    if parts.scheme not in {"http", "https", ""} or not parts.hostname:
        return value
    names = LOCAL | {target[0].strip("[]").lower()}
    own = parts.hostname in names and target[1] in ports
    if not own and parts.netloc.lower() != public.host.lower():
        return value
    return urlunsplit((public.scheme, public.host, *parts[2:]))


def trailers(headers: Iterable[tuple[str, str]]) -> Headers:
    """Leave those trailers that may come after a body (RFC 9110, 6.5.1)."""
    return tuple(pair for pair in headers if pair[0] not in NO_TRAILER)


def _moved(value: str, host: str, scheme: str, new: str) -> str:
    """Put another authority into an address if it has this one."""
    try:
        parts = urlsplit(value)
    except ValueError:
        return value
    return urlunsplit((scheme, new, *parts[2:])) if host and parts.netloc.lower() == host.lower() else value


def _domain(found: re.Match[str]) -> str:
    name = found[1].strip().strip('"').lstrip(".").lower()
    return "" if name.strip("[]") in LOCAL or name.endswith(".localhost") else found[0]
