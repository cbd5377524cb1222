"""Which scripts of an app a plan goes through."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.launcher.launcher import Launcher
    from orchestrator.launcher.scripts import Script

DEPTH: Final = 3  # folders below the app's in which launchers keep scripts
MOST: Final = 2000  # files looked at in one app
METADATA: Final = frozenset({"pinokio.js", "pinokio.json", "pinokio_meta.json", "package.json", "package-lock.json"})
NOT_OURS: Final = (".git", "pyvenv.cfg", "conda-meta")  # a folder with one of these holds something that was installed


def lifecycle(fresh: Launcher, installed: Launcher) -> dict[str, Script]:
    """Return what an app's lifecycle would run: `install` and `start`, where the launcher has them (spec 3.5).

    `fresh` is the launcher as its menu is now, `installed` as it would be with everything it looks for in place.
    """
    found = {"install": fresh.scripts.install, "start": installed.scripts.start or fresh.scripts.start}
    return {role: script for role, script in found.items() if script is not None}


def script_files(folder: Path) -> list[str]:
    """List the files of an app that may be scripts, relative to its folder, sorted; what was installed is left out."""
    found: list[str] = []
    _collect(os.fspath(folder), "", DEPTH, found)
    return sorted(found)


def _collect(folder: str, below: str, depth: int, found: list[str]) -> None:
    try:
        with os.scandir(folder) as entries:
            present = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return
    if below and any(entry.name in NOT_OURS for entry in present):
        return
    for entry in present:
        if len(found) >= MOST:
            return
        path = f"{below}{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            if depth and not entry.name.startswith(".") and entry.name != "node_modules":
                _collect(entry.path, f"{path}/", depth - 1, found)
        elif entry.name.endswith((".js", ".json")) and entry.name not in METADATA and entry.is_file():
            found.append(path)
