"""Keeping secrets out of images: files that hold one are moved to the private part of the volume, links stay."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LARGEST: Final = 4 << 20  # bytes of a file that is looked into; settings are small
LEFT_OUT: Final = frozenset({"site-packages", "dist-packages", "node_modules", "__pycache__", "objects"})


def scrub(roots: Iterable[Path], secrets: Iterable[str], private: Path, *, since: float = 0.0) -> list[Path]:
    """Move every file below `roots` that holds a secret below `private`, put a link in its place, and return them.

    Only files that changed at `since` (seconds since 1970) or later are looked at; packages and git's objects are left
    out, since nobody's answers get there. `private` keeps the paths. Raises OSError when a file cannot be moved: then
    no image may be made.
    """
    wanted = [secret.encode() for secret in secrets if secret]
    if not wanted:
        return []
    found = [path for root in roots for path in _changed(root, since) if _holds(path, wanted)]
    for path in found:
        _move(path, private / path.relative_to("/"))
    return found


def _changed(folder: Path, since: float) -> Iterator[Path]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if entry.name not in LEFT_OUT:
                yield from _changed(Path(entry.path), since)
            continue
        about = entry.stat(follow_symlinks=False)
        if stat.S_ISREG(about.st_mode) and about.st_ctime >= since and about.st_size <= LARGEST:
            yield Path(entry.path)


def _holds(path: Path, secrets: list[bytes]) -> bool:
    try:
        content = path.read_bytes()
    except OSError:
        return False  # not ours to read, so nothing of the app's user wrote it
    return any(secret in content for secret in secrets)


def _move(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = target.with_name(f".{target.name}.moving")
    shutil.copy2(path, beside)
    beside.chmod(stat.S_IMODE(path.stat().st_mode) & 0o700)
    beside.replace(target)
    link = path.with_name(f".{path.name}.link")
    link.unlink(missing_ok=True)
    link.symlink_to(target)
    link.replace(path)
