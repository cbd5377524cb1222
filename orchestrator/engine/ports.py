"""Free TCP ports, found as the desktop finds them: from 42003 on, free on all interfaces (spec 5.8)."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Final

from orchestrator.engine.errors import PinoctlError

if TYPE_CHECKING:
    from collections.abc import Container

FIRST: Final = 42003
LAST: Final = 65535
_NO_IPV6: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT})


def is_free(port: int) -> bool:
    """Tell whether nothing listens on a port, on any IPv4 or IPv6 address; about 20 microseconds.

    A port that may not be bound (below 1024 without root, or no port at all) is not free. Connections that are only
    winding down do not count: servers can bind again at once.
    """
    if not 0 < port <= LAST:
        return False
    try:  # one socket for both families conflicts with any listener of either
        return _can_bind(socket.AF_INET6, "::", port)
    except OSError:
        return _can_bind(socket.AF_INET, "", port)


def _can_bind(family: socket.AddressFamily, address: str, port: int) -> bool:
    """Try a port; OSError when the machine has no such family."""
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            probe.bind((address, port))
        except OSError as error:
            if family == socket.AF_INET6 and error.errno in _NO_IPV6:
                raise
            return False
        return True


def next_free(start: int = FIRST, end: int = LAST, *, skip: Container[int] = ()) -> int:
    """Return the first free port from `start` to `end`, both included, that is not in `skip`.

    Raises PinoctlError when there is none.
    """
    for port in range(start, end + 1):
        if port not in skip and is_free(port):
            return port
    raise PinoctlError(
        f"no port from {start} to {end} is free",
        hint="stop some of the programs that listen there; `ss -ltnp` lists them",
    )


def take(count: int, start: int = FIRST, end: int = LAST, *, skip: Container[int] = ()) -> list[int]:
    """Return `count` different free ports, ascending; nothing reserves them. Raises PinoctlError if there are fewer."""
    ports: list[int] = []
    for _ in range(count):
        ports.append(next_free(ports[-1] + 1 if ports else start, end, skip=skip))
    return ports
