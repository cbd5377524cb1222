"""Following, with this machine's copy of a launcher, where an update brought the one in the container."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from orchestrator.launcher import git

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COMMIT: Final = re.compile(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def head_of(read: Callable[[str], bytes | None]) -> str | None:
    """Return the commit that a repository is at, None where that cannot be told; `read` gets files below its `.git`."""
    head = (read("HEAD") or b"").strip()
    if head.startswith(b"ref: "):
        ref = head[len(b"ref: ") :]
        head = (read(ref.decode("utf-8", "replace")) or b"").strip() or _packed(read("packed-refs") or b"", ref)
    return head.decode() if COMMIT.fullmatch(head) else None


def _packed(listed: bytes, ref: bytes) -> bytes:
    lines = (line.partition(b" ") for line in listed.splitlines())
    return next((commit for commit, _, name in lines if name == ref), b"")


def follow(folder: Path, commit: str) -> bool:
    """Bring a clone forward to a commit of its remote; tells whether it is a clone of ours. Raises GitError."""
    if folder.is_symlink() or not git.is_repository(folder):
        return False
    git.run_git(git.in_folder(folder, "fetch", "--quiet"))
    git.run_git(git.in_folder(folder, "merge", "--ff-only", "--quiet", commit))
    return True
