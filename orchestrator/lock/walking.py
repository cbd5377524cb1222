"""Finding the repositories, Python environments and npm trees below a folder, without looking into what they hold."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_SKIPPED = frozenset({".git", "node_modules", "__pycache__", ".pinoctl", "proc", "sys"})
# the files that another tool resolved versions into, apart from npm's own
_RESOLVED = frozenset({"uv.lock", "poetry.lock", "pdm.lock", "pixi.lock", "yarn.lock", "pnpm-lock.yaml", "bun.lock"})


@dataclass
class Found:
    """Hold the folders and files that a walk found, as the walk named them."""

    repositories: list[str] = field(default_factory=list)
    environments: list[str] = field(default_factory=list)
    node_modules: list[str] = field(default_factory=list)
    package_locks: list[str] = field(default_factory=list)
    python_versions: list[str] = field(default_factory=list)
    resolved: list[str] = field(default_factory=list)


def walk(top: Path | str) -> Found:
    """Find what an inventory looks at below a folder (sorted); links are not followed, unreadable folders left out.

    An environment is not descended into but for `src` (where pip puts editable clones) and conda's `envs`.
    """
    found = Found()
    stack = [os.fspath(top)]
    while stack:
        folder = stack.pop()
        try:
            with os.scandir(folder) as entries:
                inside = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
        except OSError:
            continue
        stack += [f"{folder}/{name}" for name in _looked_at(folder, inside, found)]
    for kind in vars(found).values():
        kind.sort()
    return found


def _looked_at(folder: str, inside: dict[str, bool], found: Found) -> list[str]:
    """Note what a folder is and holds, and return the names of those folders in it that are to be walked too."""
    if ".git" in inside:
        found.repositories.append(folder)
    if "pyvenv.cfg" in inside or inside.get("conda-meta"):
        found.environments.append(folder)
        return [name for name in ("src", "envs") if inside.get(name)]
    if inside.get("node_modules"):
        found.node_modules.append(f"{folder}/node_modules")
    for name, is_folder in inside.items():
        if not is_folder:
            _note_file(f"{folder}/{name}", name, found)
    return [name for name, is_folder in inside.items() if is_folder and name not in _SKIPPED]


def _note_file(path: str, name: str, found: Found) -> None:
    if name == "package-lock.json":
        found.package_locks.append(path)
    elif name == ".python-version":
        found.python_versions.append(path)
    elif name in _RESOLVED:
        found.resolved.append(path)
