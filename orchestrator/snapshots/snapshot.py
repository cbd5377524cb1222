"""Snapshots of app folders: taken before an update, restored when it fails, discarded when it worked.

A snapshot is `HOME/snapshots/<app>/`: `tree/` with the app's files, `info.json` with what they cannot say, and, while
one is being put back, the marker `restoring`. It is built as `.<app>.new` and renamed when complete, thrown away as
`.<app>.old`. So whatever a killed command left, the next call can tell what it is and goes on from there: nothing in
the tree is ever changed or moved out, and restoring is repeatable. The caller holds the app's lock.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.engine.errors import PinoctlError
from orchestrator.snapshots.copying import copy_facts, keep_file
from orchestrator.snapshots.restoring import Restorer
from orchestrator.snapshots.trees import remove_tree

if TYPE_CHECKING:
    from orchestrator.engine.home import Home

Fault = Callable[[str], None]


def no_fault(_step: str) -> None:
    """Do nothing at a step; tests stop the program there instead."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Hold the facts of one snapshot.

    `source` is the real folder; `link` what the app's link pointed to, None for a folder of our own. `linked` maps each
    hard-linked file to its size and time (ns) when taken; `skipped` are paths that could not be kept (unreadable files,
    sockets), which a restore leaves as they are.
    """

    name: str
    source: Path
    created: float
    link: str | None = None
    linked: dict[str, tuple[int, int]] = field(default_factory=dict)
    copied: int = 0
    skipped: tuple[str, ...] = ()
    home: Home | None = None


class Snapshots:
    """Take, restore and discard the snapshots of one home; every call first tidies up after a killed one."""

    def __init__(self, home: Home, *, clock: Callable[[], float] = time.time, fault: Fault = no_fault) -> None:
        self.home = home
        self.folder = home.root / "snapshots"
        self._clock = clock
        self._fault = fault

    def take(self, name: str) -> Snapshot:
        """Keep an app's folder as it is now, in place of an earlier snapshot; files are linked where that is safe."""
        self._tidy(name)
        app = self.home.app(name)
        source = app.resolve()
        if not source.is_dir():
            raise PinoctlError(f"`{app}` is not a folder, so there is nothing to keep", hint="install the app again")
        new = self._new(name)
        tree = new / "tree"
        self._fault("take: begin")
        tree.mkdir(parents=True)
        taker = _Taker(source, tree, self._fault)
        taker.folder("")
        snapshot = Snapshot(
            name=name,
            source=source,
            created=self._clock(),
            link=os.readlink(app) if app.is_symlink() else None,  # noqa: PTH115  # Path.readlink would tidy it
            linked=taker.linked,
            copied=taker.copied,
            skipped=tuple(sorted(taker.skipped)),
            home=self.home,
        )
        self._fault("take: tree complete")
        _write(new / "info.json", _to_json(snapshot))
        self._fault("take: complete")
        self._publish(name)
        return snapshot

    def find(self, name: str) -> Snapshot | None:
        """Return the snapshot of an app, or None."""
        self._tidy(name)
        try:
            content = json.loads((self._at(name) / "info.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return _from_json(content, self.home)

    def interrupted(self, name: str) -> bool:
        """Tell whether a restore began and did not end; the app is incomplete until it is called again."""
        self._tidy(name)
        return (self._at(name) / "restoring").exists()

    def restore(self, name: str) -> tuple[str, ...]:
        """Put an app's folder back exactly as it was, in place, and keep the snapshot.

        Return the files that something rewrote in place behind our back, which are as it left them. Raises PinoctlError
        when there is no snapshot.
        """
        snapshot = self.find(name)
        if snapshot is None:
            raise PinoctlError(f"there is no snapshot of `{name}`", hint="one is taken when an update begins")
        marker = self._at(name) / "restoring"
        marker.touch()
        self._fault("restore: begin")
        if snapshot.link is not None and not os.path.lexists(self.home.app(name)):
            self.home.app(name).symlink_to(snapshot.link)
        restorer = Restorer(self._at(name) / "tree", snapshot.source, snapshot.linked, snapshot.skipped, self._fault)
        restorer.run()
        self._fault("restore: tree complete")
        marker.unlink()
        return tuple(restorer.changed)

    def discard(self, name: str) -> bool:
        """Throw an app's snapshot away; tell whether there was one."""
        self._tidy(name)
        if not self._at(name).exists():
            return False
        self._at(name).rename(self._old(name))
        self._fault("discard: renamed")
        remove_tree(self._old(name))
        return True

    def _at(self, name: str) -> Path:
        return self.folder / name

    def _new(self, name: str) -> Path:
        return self.folder / f".{name}.new"

    def _old(self, name: str) -> Path:
        return self.folder / f".{name}.old"

    def _publish(self, name: str) -> None:
        if self._at(name).exists():
            self._at(name).rename(self._old(name))
            self._fault("take: old one aside")
        self._new(name).rename(self._at(name))
        self._fault("take: published")
        remove_tree(self._old(name))

    def _tidy(self, name: str) -> None:
        remove_tree(self._old(name))
        if (self._new(name) / "info.json").exists():
            self._publish(name)
        remove_tree(self._new(name))


def take(home: Home, name: str) -> Snapshot:
    """Take a snapshot of an app; see `Snapshots.take`."""
    return Snapshots(home).take(name)


def restore(snapshot: Snapshot) -> tuple[str, ...]:
    """Put a snapshot back; see `Snapshots.restore`."""
    return _snapshots_of(snapshot).restore(snapshot.name)


def discard(snapshot: Snapshot) -> bool:
    """Throw a snapshot away; see `Snapshots.discard`."""
    return _snapshots_of(snapshot).discard(snapshot.name)


def _snapshots_of(snapshot: Snapshot) -> Snapshots:
    if snapshot.home is None:
        raise PinoctlError(f"the snapshot of `{snapshot.name}` belongs to no home", hint="take it with `take`")
    return Snapshots(snapshot.home)


class _Taker:
    """Walk an app's folder and keep what is in it."""

    def __init__(self, source: Path, tree: Path, fault: Fault) -> None:
        self.source = source
        self.tree = tree
        self.linked: dict[str, tuple[int, int]] = {}
        self.copied = 0
        self.skipped: list[str] = []
        self._fault = fault

    def folder(self, relative: str) -> None:
        """Keep one folder: what is in it, then its own mode and times."""
        source = self.source / relative
        target = self.tree / relative
        found = source.stat()
        target.mkdir(exist_ok=True)
        try:
            entries = sorted(os.scandir(source), key=lambda entry: entry.name)
        except PermissionError:
            self.skipped.append(relative)
            return
        for entry in entries:
            path = f"{relative}/{entry.name}" if relative else entry.name
            self._fault(f"take: {path}")
            try:
                self._entry(entry, path)
            except FileNotFoundError:  # deleted while we were looking
                continue
            except PermissionError:
                self.skipped.append(path)
        copy_facts(target, found)

    def _entry(self, entry: os.DirEntry[str], path: str) -> None:
        target = self.tree / path
        if entry.is_symlink():
            target.symlink_to(os.readlink(entry.path))  # noqa: PTH115  # Path.readlink would tidy it
        elif entry.is_dir(follow_symlinks=False):
            self.folder(path)
        elif entry.is_file(follow_symlinks=False):
            found = entry.stat(follow_symlinks=False)
            if keep_file(Path(entry.path), target, path, found):
                self.linked[path] = (found.st_size, found.st_mtime_ns)
            else:
                self.copied += 1
        elif stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode):
            self.skipped.append(path)  # sockets, pipes and devices mean nothing without who made them


def _write(path: Path, content: dict[str, Any]) -> None:
    """Write a file that is there completely or not at all, also after a power cut."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)


def _to_json(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "name": snapshot.name,
        "source": os.fspath(snapshot.source),
        "created": snapshot.created,
        "link": snapshot.link,
        "linked": snapshot.linked,
        "copied": snapshot.copied,
        "skipped": snapshot.skipped,
    }


def _from_json(content: dict[str, Any], home: Home) -> Snapshot:
    return Snapshot(
        name=content["name"],
        source=Path(content["source"]),
        created=content["created"],
        link=content["link"],
        linked={path: (size, mtime) for path, (size, mtime) in content["linked"].items()},
        copied=content["copied"],
        skipped=tuple(content["skipped"]),
        home=home,
    )
