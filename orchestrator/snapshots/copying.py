"""How a snapshot keeps one file: as a hard link where that is safe, as a copy where it is not."""

from __future__ import annotations

import os
import re
import shutil
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SMALL = 1024 * 1024
PACKAGES = frozenset({"site-packages", "dist-packages", "node_modules"})
WRITTEN = re.compile(r"\.(db|db3|sqlite|sqlite3|mdb|log|jsonl)(-(wal|shm|journal))?$", re.IGNORECASE)


def must_copy(relative: str, size: int) -> bool:
    """Decide whether a file may be written in place, so that a hard link to it would change with it.

    Databases and logs are, whatever their size, and anything small may be a setting that a script rewrites. Package
    managers and git replace their files instead (a new file under the old name), and there are tens of thousands of
    them; models and other large files are downloaded beside and renamed. Those are linked, which costs nothing.
    """
    if WRITTEN.search(relative):
        return True
    packages = PACKAGES.intersection(relative.split("/")[:-1]) or ".git/objects/" in relative
    return size <= SMALL and not packages


def copy_file(source: Path, target: Path, found: os.stat_result) -> None:
    """Copy a file with mode, times and, where we may, owner."""
    with source.open("rb") as reading, target.open("xb") as writing:
        shutil.copyfileobj(reading, writing, 1024 * 1024)
    copy_facts(target, found)


def copy_facts(target: Path, found: os.stat_result) -> None:
    """Give a file or folder the owner, mode and times of another."""
    with suppress(PermissionError):
        if (os.geteuid(), os.getegid()) != (found.st_uid, found.st_gid):
            os.chown(target, found.st_uid, found.st_gid)
    target.chmod(stat.S_IMODE(found.st_mode))
    os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))


def keep_file(source: Path, target: Path, relative: str, found: os.stat_result) -> bool:
    """Link or copy a file into a snapshot; tell whether it was linked.

    What cannot be linked (another file system, too many links, a file of someone else) is copied, what cannot be read
    is linked if that is possible. Raises OSError when neither works.
    """
    if must_copy(relative, found.st_size):
        try:
            copy_file(source, target, found)
        except PermissionError:
            target.unlink(missing_ok=True)
            os.link(source, target, follow_symlinks=False)
            return True
        return False
    try:
        os.link(source, target, follow_symlinks=False)
    except FileNotFoundError:
        raise
    except OSError:
        copy_file(source, target, found)
        return False
    return True
