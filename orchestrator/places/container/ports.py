"""Which ports of this machine an app's container gets: the same again and again, so that bookmarks go on working.

They follow from home and app, and move on where somebody else has them. Docker would give others at each start.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
from typing import TYPE_CHECKING, Any, Final

from orchestrator.places.container.containers import RESERVED

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

FIRST: Final = 20000  # below those that Linux gives to outgoing connections
BLOCKS: Final = 2500


def chosen(
    home: str,
    app: str,
    *,
    before: Mapping[str, Any] | None,
    avoid: Collection[int],
    free: Callable[[int], bool],
) -> tuple[int, ...]:
    """Return a port for each of RESERVED, () where any will do since none of ours is free.

    Those of the app's container `before` stay; others are taken where they are `free`. None is among `avoid`.
    """
    kept = fixed(before)
    if kept and not set(kept) & set(avoid):
        return kept
    at = int(hashlib.sha256(f"{home} {app.casefold()}".encode()).hexdigest(), 16)
    for further in range(BLOCKS):
        first = FIRST + (at + further) % BLOCKS * len(RESERVED)
        block = tuple(range(first, first + len(RESERVED)))
        if not set(block) & set(avoid) and all(map(free, block)):
            return block
    return ()


def fixed(container: Mapping[str, Any] | None) -> tuple[int, ...]:
    """Return the ports that a container was made with for RESERVED, () where Docker was to choose."""
    bindings = ((container or {}).get("HostConfig") or {}).get("PortBindings") or {}
    found = [str(((bindings.get(f"{port}/tcp") or [{}])[0]).get("HostPort") or "") for port in RESERVED]
    return tuple(map(int, found)) if all(each.isdecimal() for each in found) else ()


def is_free(port: int) -> bool:
    """Tell whether nothing listens on a port of this machine's loopback address."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
