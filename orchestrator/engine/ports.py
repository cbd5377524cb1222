"""Free TCP ports, found as the desktop finds them: from 42003 on, free on all interfaces (spec 5.8)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import tempfile
from pathlib import Path
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


class Claims:
    """Give one engine its free ports, without those that another engine of this machine has given out just now.

    Between the moment when a script learns its port and the moment when its server listens, seconds may pass; two apps
    that start together would get the same one. Inside one engine nothing is kept apart, as on the desktop (spec 5.8). A
    claim is a lock on a file of the port's name in a folder that all engines of a user share; it ends with the process.
    Where there can be no such folder, nothing is claimed.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or Path(tempfile.gettempdir()) / f"pinoctl-ports-{os.getuid()}"
        self._held: dict[int, int] = {}

    def is_free(self, port: int) -> bool:
        """Tell whether nothing listens on a port."""
        return is_free(port)

    def next_free(self, start: int = FIRST, end: int = LAST) -> int:
        """Return the first free port from `start` on that no other engine has claimed, and claim it."""
        return next_free(start, end, skip=self)

    def take(self, count: int) -> list[int]:
        """Return `count` different free ports, ascending, all claimed."""
        return take(count, skip=self)

    def release(self) -> None:
        """Give up every claim: the servers that were to get these ports listen by now, or never will."""
        held, self._held = self._held, {}
        for lock in held.values():
            os.close(lock)

    def __contains__(self, port: object) -> bool:
        """Tell whether another engine has claimed a port; if none has, a free one is this engine's now."""
        if not isinstance(port, int) or port in self._held or not is_free(port):
            return False
        with contextlib.suppress(OSError):
            lock = self._open(port)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                return True
            except OSError:
                os.close(lock)
                raise
            self._held[port] = lock
        return False

    def _open(self, port: int) -> int:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        found = self._folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():  # in a folder that others may write to
            raise PermissionError(f"`{self._folder}` is somebody else's")
        return os.open(self._folder / str(port), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
