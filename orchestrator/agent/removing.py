"""Deleting, at a container's start, what its user deleted in the one before it, or what its launcher has no more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator.engine.disk import remove

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME: Final = ".carry-removed.json"  # of the list, in the home
ROOTS: Final = ("/pinokio", "/home/pinokio", "/opt/python")


def remove_listed(path: Path, roots: Sequence[str] = ROOTS) -> list[str]:
    """Delete the paths that a file lists as a JSON array, then the file; returns what was deleted.

    Only what lies below `roots` is deleted, never a root itself, and no link is followed: a path on whose way a link
    lies is left alone. A list that cannot be read is dropped. Raises OSError when the disk refuses; the list is then
    still there, so that the next start goes on.
    """
    try:
        listed = json.loads(path.read_text("utf-8", "surrogateescape"))
    except FileNotFoundError:
        return []
    except ValueError:
        listed = []
    removed = []
    for each in listed if isinstance(listed, list) else []:
        if not isinstance(each, str) or "\0" in each:
            continue
        place = Path(each)
        if not _below(place, roots) or place.parent.resolve() != place.parent:
            continue
        if place.is_symlink() or place.exists():
            remove(place)
            removed.append(each)
    path.unlink(missing_ok=True)
    return removed


def _below(place: Path, roots: Sequence[str]) -> bool:
    return ".." not in place.parts and any(Path(root) in place.parents for root in roots)
