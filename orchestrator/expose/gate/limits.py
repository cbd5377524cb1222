"""Guessing slowed down: growing waits for each address, limits for each name, and for passwords altogether."""

from __future__ import annotations

import hashlib
import ipaddress
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from orchestrator.expose.gate.trust import LOOPBACK
from orchestrator.hosts.way import PRIVATE

if TYPE_CHECKING:
    from collections.abc import Callable

FREE: Final = 8  # wrong ones from an address before it has to wait
FIRST_WAIT: Final = 2.0  # seconds, doubled with each further one
LONGEST_WAIT: Final = 900.0
FORGOTTEN_AFTER: Final = 3600.0  # seconds without a wrong one
MOST_ADDRESSES: Final = 4096  # remembered at once; those that were quiet longest are forgotten first
REMEMBERED: Final = 32  # different wrong ones of an address, so that a repeated one counts once

SHARED_WAIT: Final = 60.0  # seconds at most for a name at an address that many share, whoever of them guesses

OF_A_NAME: Final = 100  # wrong passwords of one name from all addresses together ...
OF_A_NAME_PER_SECOND: Final = 1 / 3  # ... and how many more each second allows
_NAME: Final = 64  # characters of a name that are looked at; nobody's is longer
TRIES: Final = 20  # passwords looked at, right or wrong: each takes computing time ...
TRIES_PER_SECOND: Final = 2.0

_USER_BITS: Final = 64  # of an IPv6 address: the network that one user is given

# Behind tunnels that pass bytes on, and behind proxies that are not believed, all visitors come from one of these.
_SHARED: Final = (
    *LOOPBACK,
    *(ipaddress.ip_network(each) for each in (*PRIVATE, "169.254.0.0/16", "fe80::/10")),
)


@dataclass(slots=True)
class _Address:
    wrong: int = 0
    last: float = 0.0
    closed_until: float = 0.0
    recent: OrderedDict[bytes, None] = field(default_factory=OrderedDict)


class Bucket:
    """Holds up to `size` tries and gains `rate` of them a second."""

    def __init__(self, size: int, rate: float, now: float) -> None:
        self._size, self._rate, self._left, self._at = size, rate, float(size), now

    def take(self, now: float) -> None:
        """Take one out, if there is one."""
        self._fill(now)
        self._left = max(0.0, self._left - 1)

    def wait(self, now: float) -> float:
        """Say in how many seconds there is one again."""
        self._fill(now)
        return max(0.0, (1 - self._left) / self._rate)

    def _fill(self, now: float) -> None:
        self._left = min(self._size, self._left + max(0.0, now - self._at) * self._rate)
        self._at = now


class Limits:
    """Counts wrong tokens and passwords; `ticks` returns seconds and never goes back."""

    def __init__(self, ticks: Callable[[], float]) -> None:
        self._ticks = ticks
        self._addresses: OrderedDict[str, _Address] = OrderedDict()
        self._names: OrderedDict[str, Bucket] = OrderedDict()
        self._tries = Bucket(TRIES, TRIES_PER_SECOND, ticks())

    def wait(self, peer: str) -> float:
        """Say for how many seconds wrong tokens from this address are answered with a wait; 0 when they are not."""
        return self._closed(source(peer))

    def wait_for_password(self, peer: str, user: str) -> float:
        """Say for how many seconds no password for this name is looked at from this address; 0 when it is.

        Where many share an address it is one name that waits there: others must not be kept out by who guesses.
        """
        now, name = self._ticks(), self._names.get(user[:_NAME])
        by_name = name.wait(now) if name is not None else 0.0
        return max(self._closed(_where(peer, user)), by_name, self._tries.wait(now))

    def tried_password(self) -> None:
        """Count a password that is going to be looked at."""
        self._tries.take(self._ticks())

    def wrong_password(self, peer: str, user: str) -> None:
        """Count a password that was wrong, also if it was before."""
        now, key = self._ticks(), user[:_NAME]
        name = self._names.pop(key, None) or Bucket(OF_A_NAME, OF_A_NAME_PER_SECOND, now)
        self._names[key] = name
        while len(self._names) > MOST_ADDRESSES:
            self._names.popitem(last=False)
        name.take(now)
        self._count(_where(peer, user), None, SHARED_WAIT if shared(peer) else LONGEST_WAIT)

    def wrong(self, peer: str, guess: bytes) -> None:
        """Count a wrong token; the same `guess` of an address counts once, because browsers repeat old cookies."""
        self._count(source(peer), guess, LONGEST_WAIT)

    def _closed(self, key: str) -> float:
        known = self._addresses.get(key)
        return max(known.closed_until - self._ticks(), 0.0) if known else 0.0

    def _count(self, key: str, guess: bytes | None, longest: float) -> None:
        now = self._ticks()
        known = self._addresses.pop(key, None)
        if known is None or now - known.last > FORGOTTEN_AFTER + LONGEST_WAIT:
            known = _Address()
        self._addresses[key] = known
        while len(self._addresses) > MOST_ADDRESSES:
            self._addresses.popitem(last=False)
        if guess is not None:
            digest = hashlib.blake2b(guess, digest_size=16).digest()
            if digest in known.recent:
                known.recent.move_to_end(digest)
                return
            known.recent[digest] = None
            while len(known.recent) > REMEMBERED:
                known.recent.popitem(last=False)
        known.wrong, known.last = known.wrong + 1, now
        if (over := known.wrong - FREE) >= 0:
            known.closed_until = now + min(FIRST_WAIT * 2.0 ** min(over, 30), longest)


def _where(peer: str, user: str) -> str:
    return f"{source(peer)} {user[:_NAME]}" if shared(peer) else source(peer)


def shared(peer: str) -> bool:
    """Tell whether many visitors may have this address: one of this machine, of a private network, or none at all."""
    address = _address(peer)
    return address is None or any(address in network for network in _SHARED)


def source(peer: str) -> str:
    """Say what counts as one address: for IPv6 the network that one user is given."""
    address = _address(peer)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, _USER_BITS), strict=False))
    return str(address) if address is not None else _bare(peer)[:64]


def _address(peer: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(_bare(peer))
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _bare(peer: str) -> str:
    return peer.partition("%")[0].strip("[]")
