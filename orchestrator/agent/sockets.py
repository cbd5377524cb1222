"""Unix sockets at paths of any length: the kernel takes 107 bytes, longer ones go through a folder's descriptor."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LONGEST = 107


def _through_folder(path: Path) -> tuple[int, str]:
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    return folder, f"/proc/self/fd/{folder}/{path.name}"


def listen(path: Path, *, backlog: int = 64) -> socket.socket:
    """Bind a socket that only this user can open (mode 600) and listen on it; what was at the path is replaced.

    Who finds it there can connect: it gets its name only once it listens. The caller holds the agent's lock, so
    whatever lies there belongs to nobody alive. Raises OSError.
    """
    draft = path.with_name(f".{os.getpid()}.sock")
    draft.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder, address = -1, str(draft)
    mask = os.umask(0o177)
    try:
        if len(os.fsencode(address)) > LONGEST:
            folder, address = _through_folder(draft)
        server.bind(address)
        server.listen(backlog)
        draft.rename(path)
    except BaseException:
        server.close()
        draft.unlink(missing_ok=True)
        raise
    finally:
        os.umask(mask)
        if folder >= 0:
            os.close(folder)
    return server


def connect(path: Path, *, timeout: float | None) -> socket.socket:
    """Connect to a socket; raises FileNotFoundError, ConnectionRefusedError when nobody listens, TimeoutError."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(timeout)
    folder, address = -1, str(path)
    try:
        if len(os.fsencode(address)) > LONGEST:
            folder, address = _through_folder(path)
        client.connect(address)
    except BaseException:
        client.close()
        raise
    finally:
        if folder >= 0:
            os.close(folder)
    return client
