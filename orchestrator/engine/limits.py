"""How much memory and processor this process may use: what the machine has, or less where a control group says so."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

UNLIMITED: Final = 1 << 60  # version 1 writes a number near 2^63 where there is no limit


@dataclass(frozen=True, slots=True)
class Limits:
    """Hold what may be used: `memory` in bytes and `cpus` (0.5 is half a core), and which file said so, "" for none."""

    memory: int
    cpus: float
    memory_source: str = ""
    cpus_source: str = ""


def read_limits(root: Path = Path("/"), *, memory: int | None = None, cpus: int | None = None) -> Limits:
    """Return the smallest limit on the way from this process's control group up to the root, of either version.

    `root` is where `proc` and `sys` lie; `memory` (bytes) and `cpus` are what the machine has, by default this one's.
    """
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if memory is None else memory
    cores = float(len(os.sched_getaffinity(0)) if cpus is None else cpus)
    limits = Limits(total, cores)
    for folder in _groups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            value = _number(folder / name)
            if value is not None and value < min(limits.memory, UNLIMITED):
                limits = Limits(value, limits.cpus, str(folder / name), limits.cpus_source)
    for folder in _groups(root, "cpu"):
        quota = _quota(folder)
        if quota is not None and quota < limits.cpus:
            limits = Limits(limits.memory, quota, limits.memory_source, str(folder))
    return limits


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's control groups, from its own up to the root, of both versions."""
    mounts = _mounts(root, controller)
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        version = "cgroup2" if number == "0" and not controllers else "cgroup"
        if version == "cgroup" and controller not in controllers.split(","):
            continue
        for mount, shown in mounts.get(version, []):
            inner = path[len(shown) :] if shown != "/" and path.startswith(shown) else path
            yield from _upwards(mount, inner.strip("/"))


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    parts = path.split("/") if path else []
    for count in range(len(parts), -1, -1):
        folder = mount.joinpath(*parts[:count])
        if folder.is_dir():  # in a container the path may be the host's, of which only the end is mounted
            yield folder


def _mounts(root: Path, controller: str) -> dict[str, list[tuple[Path, str]]]:
    """Return where control groups are mounted, each with the part of the hierarchy that is seen there."""
    found: dict[str, list[tuple[Path, str]]] = {}
    for line in _text(root / "proc/self/mountinfo").splitlines():
        before, dash, after = line.partition(" - ")
        fields, about = before.split(), after.split()
        if not dash or len(fields) < 5 or len(about) < 3:  # noqa: PLR2004  # proc(5): root is field 4, options are last
            continue
        kind, options = about[0], about[2].split(",")
        if kind == "cgroup2" or (kind == "cgroup" and controller in options):
            place = root / re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), fields[4]).lstrip("/")
            found.setdefault(kind, []).append((place, fields[3]))
    return found


def _quota(folder: Path) -> float | None:
    parts = _text(folder / "cpu.max").split()
    if len(parts) == 2 and parts[0].isdigit() and int(parts[1]) > 0:  # noqa: PLR2004  # quota and period
        return int(parts[0]) / int(parts[1])
    quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    return quota / period if quota is not None and period else None


def _number(file: Path) -> int | None:
    text = _text(file).strip()
    return int(text) if text.isdigit() else None


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8", "replace")
    except OSError:
        return ""
