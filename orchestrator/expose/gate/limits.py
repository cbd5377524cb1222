"""Guessing slowed down: growing waits for each address, and a limit for all of them together."""

from __future__ import annotations

import hashlib
import ipaddress
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

FREE: Final = 8  # wrong ones from an address before it has to wait
FIRST_WAIT: Final = 2.0  # seconds, doubled with each further one
LONGEST_WAIT: Final = 900.0
FORGOTTEN_AFTER: Final = 3600.0  # seconds without a wrong one
MOST_ADDRESSES: Final = 4096  # remembered at once; those that were quiet longest are forgotten first
REMEMBERED: Final = 32  # different wrong ones of an address, so that a repeated one counts once

EVERYWHERE: Final = 100  # wrong ones from all addresses together ...
EVERYWHERE_PER_SECOND: Final = 1 / 3  # ... and how many more each second allows
TRIES: Final = 20  # passwords looked at, right or wrong: each takes computing time ...
TRIES_PER_SECOND: Final = 2.0

_USER_BITS: Final = 64  # of an IPv6 address: the network that one user is given


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
        self._everywhere = Bucket(EVERYWHERE, EVERYWHERE_PER_SECOND, ticks())
        self._tries = Bucket(TRIES, TRIES_PER_SECOND, ticks())

    def wait(self, peer: str) -> float:
        """Say for how many seconds nothing that could be guessed is looked at from this address; 0 when it is."""
        now = self._ticks()
        known = self._addresses.get(source(peer))
        return max(known.closed_until - now if known else 0.0, self._everywhere.wait(now), 0.0)

    def wait_for_password(self, peer: str) -> float:
        """Say the same of passwords, of which only so many are looked at each second."""
        return max(self.wait(peer), self._tries.wait(self._ticks()))

    def tried_password(self) -> None:
        """Count a password that is going to be looked at."""
        self._tries.take(self._ticks())

    def wrong(self, peer: str, guess: bytes | None) -> None:
        """Count a wrong one; the same `guess` of an address counts once, because browsers repeat old cookies."""
        now, key = self._ticks(), source(peer)
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
        self._everywhere.take(now)
        if (over := known.wrong - FREE) >= 0:
            known.closed_until = now + min(FIRST_WAIT * 2.0 ** min(over, 30), LONGEST_WAIT)


def source(peer: str) -> str:
    """Say what counts as one address: for IPv6 the network that one user is given."""
    bare = peer.partition("%")[0].strip("[]")
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return bare[:64]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, _USER_BITS), strict=False))
    return str(address)
