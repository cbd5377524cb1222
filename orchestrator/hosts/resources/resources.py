"""The resources of this machine, as plans, `doctor` and the check before `up` see them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.engine.limits import Limits, read_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@dataclass(frozen=True, slots=True)
class Disk:
    """Describe one file system: where it is mounted, its kind, and its bytes; `free` is what a user may still write."""

    path: str
    kind: str
    free: int
    total: int


@dataclass(frozen=True, slots=True)
class Resources:
    """Hold what may be used: memory and processors within their limits, and the disks that pinoctl writes to.

    `disks` begins with the one that holds the home.
    """

    limits: Limits
    disks: tuple[Disk, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the resources as `--json` prints them."""
        return {
            "memory": self.limits.memory,
            "memory_limited_by": self.limits.memory_source or None,
            "cpus": self.limits.cpus,
            "cpus_limited_by": self.limits.cpus_source or None,
            "disks": [{"path": each.path, "kind": each.kind, "free": each.free, "total": each.total}
                      for each in self.disks],
        }  # fmt: skip


def detect_resources(
    home: Path,
    *,
    others: Iterable[Path] = (Path("/tmp"),),  # noqa: S108  # where pip and uv unpack
    root: Path = Path("/"),
    statvfs: Callable[[str], os.statvfs_result] = os.statvfs,
) -> Resources:
    """Look at the limits of this process and at the disks of the home and of `others`; a few file reads, no network."""
    mounts = _mounts(root)
    disks: dict[str, Disk] = {}
    for place in (home, *others):
        disk = disk_of(place, mounts, statvfs)
        if disk is not None:
            disks.setdefault(disk.path, disk)
    return Resources(read_limits(root), tuple(disks.values()))


def disk_of(
    place: Path, mounts: dict[str, str], statvfs: Callable[[str], os.statvfs_result] = os.statvfs
) -> Disk | None:
    """Return the file system that a folder is on, or would be once it is made; None where nobody can tell."""
    existing = place.absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    real = os.path.realpath(existing)
    try:
        found = statvfs(real)
    except OSError:
        return None
    mount = max(
        (path for path in mounts if real == path or real.startswith(path.rstrip("/") + "/")), key=len, default=real
    )
    return Disk(mount, mounts.get(mount, ""), found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)


def free_at(place: Path) -> int | None:
    """Return how many bytes may still be written at a place, None where nobody can tell."""
    disk = disk_of(place, {})
    return disk.free if disk is not None else None


def _mounts(root: Path) -> dict[str, str]:
    """Return mount point → kind of file system."""
    try:
        lines = (root / "proc/self/mounts").read_text("utf-8", "replace").splitlines()
    except OSError:
        return {}
    fields = (line.split() for line in lines)
    return {parts[1].replace("\\040", " "): parts[2] for parts in fields if len(parts) > 2}  # noqa: PLR2004  # fstab(5)
