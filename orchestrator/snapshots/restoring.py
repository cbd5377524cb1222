"""Putting a folder back as a snapshot has it, in place: repeatable, so that a killed restore is simply run again."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from orchestrator.snapshots.copying import copy_facts, copy_file
from orchestrator.snapshots.trees import remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

TEMPORARY = ".pinoctl-restoring"


class Restorer:
    """Make `target` equal to `tree`; `changed` lists linked files whose content is no longer that of the snapshot."""

    def __init__(
        self,
        tree: Path,
        target: Path,
        linked: Mapping[str, tuple[int, int]],
        skipped: Collection[str],
        fault: Callable[[str], None],
    ) -> None:
        self.tree = tree
        self.target = target
        self.linked = linked
        self.skipped = frozenset(skipped)
        self.changed: list[str] = []
        self._fault = fault

    def run(self) -> None:
        """Put everything back."""
        self.target.mkdir(parents=True, exist_ok=True)
        self._folder("")

    def _folder(self, relative: str) -> None:
        wanted_folder = self.tree / relative
        folder = self.target / relative
        if relative in self.skipped:
            return
        with suppress(PermissionError):
            folder.chmod(stat.S_IMODE(folder.stat().st_mode) | stat.S_IRWXU)
        wanted = {entry.name: entry for entry in os.scandir(wanted_folder)}
        there = {entry.name: entry for entry in os.scandir(folder)}
        for name, entry in sorted(there.items()):
            path = f"{relative}/{name}" if relative else name
            if path in self.skipped:
                continue
            if name not in wanted or _kind(wanted[name]) != _kind(entry):
                self._fault(f"restore: remove {path}")
                remove_tree(self.target / path)
        for name, entry in sorted(wanted.items()):
            path = f"{relative}/{name}" if relative else name
            self._fault(f"restore: {path}")
            self._entry(entry, path)
        copy_facts(folder, wanted_folder.stat())

    def _entry(self, entry: os.DirEntry[str], path: str) -> None:
        target = self.target / path
        if entry.is_symlink():
            self._symlink(os.readlink(entry.path), target)  # noqa: PTH115  # Path.readlink would tidy it
        elif entry.is_dir(follow_symlinks=False):
            target.mkdir(exist_ok=True)
            self._folder(path)
        else:
            self._file(path, entry.stat(follow_symlinks=False))

    def _symlink(self, content: str, target: Path) -> None:
        if target.is_symlink() and os.readlink(target) == content:  # noqa: PTH115  # see _entry
            return
        temporary = self._temporary(target)
        temporary.symlink_to(content)
        temporary.replace(target)

    def _file(self, path: str, found: os.stat_result) -> None:
        source, target = self.tree / path, self.target / path
        if path in self.linked and (found.st_size, found.st_mtime_ns) != self.linked[path]:
            self.changed.append(path)
        if target.exists() and target.samefile(source):
            return
        temporary = self._temporary(target)
        if path in self.linked:
            try:
                os.link(source, temporary)
            except OSError:
                copy_file(source, temporary, found)
        else:
            copy_file(source, temporary, found)
        temporary.replace(target)

    def _temporary(self, target: Path) -> Path:
        temporary = target.with_name(TEMPORARY)
        remove_tree(temporary)
        return temporary


def _kind(entry: os.DirEntry[str]) -> int:
    return stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode)
