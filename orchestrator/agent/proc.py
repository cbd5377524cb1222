"""What `/proc` says about processes and ports, read directly: one pass over all costs a few milliseconds."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
_LISTEN = "0A"
IPV4_BYTES = 4
INODE = 9  # the column of /proc/net/tcp


@dataclass(frozen=True, slots=True)
class Process:
    """Describe one process: `cpu` in seconds so far, `memory` resident bytes, `started` in clock ticks since boot."""

    pid: int
    parent: int
    session: int
    started: int
    cpu: float
    memory: int
    name: str
    state: str


@dataclass(frozen=True, slots=True)
class Listening:
    """Name one listening TCP socket; `host` is `127.0.0.1`, `0.0.0.0`, `::`, `::1` or another address in numbers."""

    pid: int
    host: str
    port: int


def parse_stat(text: str) -> Process | None:
    """Parse `/proc/<pid>/stat`; the command's name may itself hold blanks and brackets."""
    head, _, tail = text.rpartition(")")
    number, _, name = head.partition(" (")
    fields = tail.split()
    try:
        return Process(
            pid=int(number),
            parent=int(fields[1]),
            session=int(fields[3]),
            started=int(fields[19]),
            cpu=(int(fields[11]) + int(fields[12])) / TICKS,
            memory=int(fields[21]) * PAGE,
            name=name,
            state=fields[0],
        )
    except (ValueError, IndexError):
        return None


def process(pid: int, proc: Path = PROC) -> Process | None:
    """Return one process, None when it is gone."""
    try:
        return parse_stat((proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None


def processes(proc: Path = PROC) -> dict[int, Process]:
    """Return all processes of the machine by number."""
    found: dict[int, Process] = {}
    for name in os.listdir(proc):  # noqa: PTH208  # names are all that is needed, and this runs every two seconds
        if name.isdecimal():
            one = process(int(name), proc)
            if one is not None:
                found[one.pid] = one
    return found


def descendants(root: int, table: Mapping[int, Process]) -> list[Process]:
    """Return everything below one process, without itself and without zombies."""
    children: dict[int, list[int]] = {}
    for one in table.values():
        children.setdefault(one.parent, []).append(one.pid)
    found: list[Process] = []
    waiting = list(children.get(root, ()))
    while waiting:
        pid = waiting.pop()
        if table[pid].state != "Z":
            found.append(table[pid])
        waiting.extend(children.get(pid, ()))
    return found


def boot_id(proc: Path = PROC) -> str:
    """Return what changes with every boot, so that process numbers of an earlier one are never believed."""
    try:
        return (proc / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.partition(":")
    words = [bytes.fromhex(host[at : at + 8])[::-1] for at in range(0, len(host), 8)]
    raw = b"".join(words)
    if len(raw) == IPV4_BYTES:
        return ".".join(str(byte) for byte in raw), int(port, 16)
    if raw == bytes(16):
        return "::", int(port, 16)
    if raw == bytes(15) + b"\x01":
        return "::1", int(port, 16)
    if raw[:12] == bytes(10) + b"\xff\xff":
        return ".".join(str(byte) for byte in raw[12:]), int(port, 16)
    return ":".join(f"{raw[at]:02x}{raw[at + 1]:02x}" for at in range(0, 16, 2)), int(port, 16)


def parse_listening(text: str) -> dict[str, tuple[str, int]]:
    """Parse `/proc/net/tcp` or `tcp6`: socket inode → address, of the listening ones."""
    found: dict[str, tuple[str, int]] = {}
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) > INODE and fields[3] == _LISTEN:
            with contextlib.suppress(ValueError):
                found[fields[INODE]] = _address(fields[1])
    return found


def listening(pids: Iterable[int], proc: Path = PROC) -> list[Listening]:
    """Return the TCP ports that some processes listen on, lowest port first."""
    sockets: dict[str, tuple[str, int]] = {}
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            sockets.update(parse_listening((proc / "net" / table).read_text(encoding="ascii", errors="replace")))
    found: dict[tuple[str, int], Listening] = {}
    for pid in pids if sockets else ():
        with contextlib.suppress(OSError):
            for descriptor in os.listdir(proc / str(pid) / "fd"):  # noqa: PTH208  # names are all that is needed
                with contextlib.suppress(OSError):
                    target = os.readlink(proc / str(pid) / "fd" / descriptor)  # noqa: PTH115  # the text of the link, not a path
                    address = sockets.get(target[8:-1]) if target.startswith("socket:[") else None
                    if address is not None:
                        found.setdefault(address, Listening(pid, *address))
    return sorted(found.values(), key=lambda one: (one.port, one.host))


Kill = Callable[[int, int], None]


def kill_verified(targets: Iterable[Process], *, kill: Kill = os.kill, proc: Path = PROC) -> list[int]:
    """Kill processes that are still the ones meant (same start time); returns the numbers of those killed."""
    killed: list[int] = []
    for target in targets:
        now = process(target.pid, proc)
        if now is not None and now.started == target.started and now.state != "Z":
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(target.pid, signal.SIGKILL)
                killed.append(target.pid)
    return killed
