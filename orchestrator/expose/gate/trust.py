"""Who asks, and how the browser sees us: worked out from a connection and its headers, and from whom we believe."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.expose.gate.wire import plain_address

if TYPE_CHECKING:
    from orchestrator.expose.gate.contract import Headers

_AUTHORITY = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.~-]+)(?::[0-9]{1,5})?")
Networks = tuple["ipaddress.IPv4Network | ipaddress.IPv6Network", ...]
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


@dataclass(frozen=True, slots=True)
class Trust:
    """Say which peers are proxies whose words about their client count, and what the public side is.

    `proxies` are networks; a peer within one is believed in X-Forwarded-For and -Proto, or, where `address_header`
    names another one (`cf-connecting-ip`), in that for the address. `forwarded_host`: in X-Forwarded-Host as well, for
    proxies that set it; the others pass on Host as the browser sent it, and what a visitor made up of that other one.
    `https` tells that the public side is HTTPS although we are spoken to in the clear; with `public`, that of requests
    for this authority only, as others may come from this machine itself.
    """

    proxies: Networks = ()
    https: bool = False
    address_header: str = "x-forwarded-for"
    public: str = ""
    forwarded_host: bool = False

    def believes(self, address: str) -> bool:
        """Tell whether an address is that of a proxy of ours."""
        try:
            parsed = ipaddress.ip_address(plain_address(address))
        except ValueError:
            return False
        return any(parsed in network for network in self.proxies)


@dataclass(frozen=True, slots=True)
class Public:
    """How a request looks from outside: its sender's address, HTTPS or not, and the authority in the address bar."""

    peer: str
    secure: bool
    host: str

    @property
    def scheme(self) -> str:
        """`https` or `http`."""
        return "https" if self.secure else "http"

    @property
    def port(self) -> str:
        """The port in the address bar."""
        tail = self.host.rpartition("]")[2].rpartition(":")[2]
        return tail if tail.isdigit() else "443" if self.secure else "80"


def seen_through(trust: Trust, peer: str, headers: Headers, *, tls: bool) -> Public:
    """Work out how a request looks from outside; `tls` tells that this connection itself is encrypted."""
    host = _first(headers, "host")
    secure = tls or (trust.https and trust.public.lower() in {"", host.lower()})
    if trust.believes(peer):
        proto = _first(headers, "x-forwarded-proto").partition(",")[0].strip().lower()
        if proto in {"http", "https", "ws", "wss"}:
            secure = proto in {"https", "wss"}
        forwarded = _first(headers, "x-forwarded-host").partition(",")[0].strip()
        if trust.forwarded_host and _AUTHORITY.fullmatch(forwarded):
            host = forwarded
        peer = _client(trust, peer, headers)
    return Public(peer, secure, host)


def is_authority(text: str) -> bool:
    """Tell whether a text can stand in Host: a name or an address, perhaps a port."""
    return _AUTHORITY.fullmatch(text) is not None


def _client(trust: Trust, peer: str, headers: Headers) -> str:
    """Take the last address that no proxy of ours has: what stands before it may be the client's invention."""
    named = [word for name, value in headers if name == trust.address_header for word in value.split(",")]
    for word in reversed(named):
        address = _address(word)
        if address is None:
            break
        peer = address
        if not trust.believes(address):
            break
    return peer


def _address(word: str) -> str | None:
    """Read an address, perhaps with a port, as proxies write them."""
    bare = word.strip().strip('"')
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    return plain_address(bare)


def _first(headers: Headers, name: str) -> str:
    return next((value for key, value in headers if key == name), "")
