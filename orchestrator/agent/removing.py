"""Deleting, at a container's start, what its user had deleted in the container before it (places/container/carry)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from orchestrator.engine.disk import remove

ROOTS: Final = ("/pinokio/", "/home/pinokio/")


def remove_listed(path: Path, roots: tuple[str, ...] = ROOTS) -> list[str]:
    """Delete the paths that a JSON array lists, then the list; only below `roots`, and links are not followed."""
    try:
        listed = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return []
    except ValueError:
        listed = []
    removed = []
    for each in listed if isinstance(listed, list) else []:
        if not isinstance(each, str) or ".." in Path(each).parts or not each.startswith(roots):
            continue
        place = Path(each)
        if place.parent.resolve() == place.parent:  # no link on the way
            remove(place)
            removed.append(each)
    path.unlink(missing_ok=True)
    return removed
