"""Sharing folders between apps: `fs.link` moves a folder's content into the drive and links it back (spec 10).

Every step can be interrupted: what is to be moved where is written down first, files are moved one by one and never
overwritten, and the next call goes on from whatever it finds.
"""

from __future__ import annotations

import contextlib
import errno
import filecmp
import json
import os
import shutil
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.engine.disk import disk, remove, write_whole
from orchestrator.engine.drive_registry import Registry
from orchestrator.engine.errors import ScriptError

Say = Callable[[str], None]
_TRIES = 20  # how often a folder may get new content while it is being moved


@dataclass(frozen=True, slots=True)
class Link:
    """Share one route: the absolute folders `links` become links to one folder of the drive."""

    route: str
    links: tuple[Path, ...]


def share(
    root: Path,
    links: Sequence[Link],
    *,
    remote: str | None,
    peers: Sequence[str] = (),
    say: Say = lambda _: None,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Link folders into the drive at `root`; `remote` is the app's git URL, None when it has none.

    On equal names the drive's file stays; the app's, if it differs, is kept below `drives/displaced`. Raises
    ScriptError, with everything still either in the app or in the drive.
    """
    registry = Registry(root)
    for link in links:
        _check_route(link.route)
    with registry.locked(lambda: say("waiting for another app that links into the drive"), sleep):
        for link in links:
            _share(registry, link, remote=remote, peers=peers, say=say, now=now)


def _check_route(route: str) -> None:
    if not route or route.startswith((".", "/")) or "\0" in route or ".." in Path(route).parts:
        raise ScriptError(
            f"`fs.link` cannot use the route `{route}`: a route is a relative path inside the drive",
            hint="write it without a leading `.` or `/`",
        )


def _share(
    registry: Registry, link: Link, *, remote: str | None, peers: Sequence[str], say: Say, now: Callable[[], float]
) -> None:
    everyone = [*peers, *([remote] if remote else [])]
    folder = registry.folder(everyone, link.route)
    pending = _Pending(registry.root)
    open_links = [path for path in link.links if not path.is_symlink()]
    if folder is None:
        begun = [found for path in open_links if (found := pending.get(path))] + [
            found for path in link.links if (found := _linked_to(path, registry.root))
        ]
        if not begun and not open_links and not remote:
            return
        folder = begun[0] if begun else registry.new_folder(link.route, int(now() * 1000))
    with disk("make the folder", folder):
        folder.mkdir(parents=True, exist_ok=True)
    # Written down before anything moves, so that a call after a crash finds the same folder again.
    if remote:
        registry.register(everyone, link.route, folder)
    for path in link.links:
        if path.is_symlink():
            pending.drop(path)
            say(f"{path} is linked already")
            continue
        pending.put(path, folder)
        _replace(path, folder, registry.root / "drives" / "displaced" / f"{folder.parent.name}" / link.route, say)
        pending.drop(path)


def _linked_to(path: Path, root: Path) -> Path | None:
    """Return where a link into the drive points, None for anything else."""
    try:
        target = Path(os.path.normpath(path.parent / os.readlink(path)))  # noqa: PTH115  # the text as it is
    except OSError:
        return None
    return target if target.is_relative_to(root / "drives") else None


def _replace(path: Path, folder: Path, displaced: Path, say: Say) -> None:
    """Move a folder's content into the drive and put a relative link in its place."""
    if path.exists() and not path.is_dir():
        raise ScriptError(f"`fs.link` cannot share `{path}`: it is a file", hint="share the folder that holds it")
    if Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(path)) or Path(
        os.path.realpath(path)
    ).is_relative_to(os.path.realpath(folder)):
        raise ScriptError(
            f"`fs.link` cannot share `{path}`: the drive's folder `{folder}` lies inside it, or it inside the drive's"
        )
    with disk("share", path):
        path.mkdir(parents=True, exist_ok=True)
        for _ in range(_TRIES):
            move_into(path, folder, displaced, say)
            try:
                path.rmdir()
            except OSError as error:
                if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                    raise
                continue  # the app wrote another file meanwhile
            path.symlink_to(
                os.path.relpath(os.path.realpath(folder), os.path.realpath(path.parent)), target_is_directory=True
            )
            break
        else:
            raise ScriptError(
                f"`fs.link` cannot share `{path}`: new files keep appearing in it",
                hint="stop the app, then run the script again",
            )
    say(f"{path} -> {folder}")


def move_into(source: Path, target: Path, displaced: Path, say: Say) -> None:
    """Move what is in a folder into another; nothing in `target` is replaced, links are moved as they are."""
    for entry in sorted(os.scandir(source), key=lambda found: found.name):
        here, there = Path(entry.path), target / entry.name
        if not os.path.lexists(there):
            _move(here, there, displaced / entry.name, say)
        elif _is_folder(here) and _is_folder(there):
            move_into(here, there, displaced / entry.name, say)
            here.rmdir()
        elif _same(here, there):
            remove(here)
        else:
            _displace(here, displaced / entry.name, say)


def _move(here: Path, there: Path, displaced: Path, say: Say) -> None:
    try:
        here.rename(there)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    else:
        return
    if _is_folder(here):
        mode = stat.S_IMODE(here.stat().st_mode)
        there.mkdir()
        move_into(here, there, displaced, say)
        there.chmod(mode)
        here.rmdir()
    else:
        _copy_over(here, there)
        here.unlink()


def _copy_over(here: Path, there: Path) -> None:
    """Copy a file or link to another file system; it appears under its name only when it is complete."""
    beside = there.with_name(f".{there.name[:100]}.moving")
    remove(beside)
    try:
        shutil.copy2(here, beside, follow_symlinks=False)
        if not beside.is_symlink():
            with beside.open("rb+") as file:
                os.fsync(file.fileno())
        beside.rename(there)
    except BaseException:
        with contextlib.suppress(OSError):
            remove(beside)
        raise


def _displace(here: Path, aside: Path, say: Say) -> None:
    """Keep what lost against the drive's copy, under a name that is free."""
    place, number = aside, 1
    while os.path.lexists(place):
        number += 1
        place = aside.with_name(f"{aside.name}.{number}")
    place.parent.mkdir(parents=True, exist_ok=True)
    _move(here, place, place.with_name(f"{place.name}.parts"), say)
    say(f"the drive has another {here.name}, which stays; the app's is kept as {place}")


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _same(first: Path, second: Path) -> bool:
    if first.is_symlink() or second.is_symlink():
        return first.is_symlink() and second.is_symlink() and first.readlink() == second.readlink()
    return first.is_file() and second.is_file() and filecmp.cmp(first, second, shallow=False)


class _Pending:
    """Remember which folders are on their way into the drive, for the call after a crash."""

    def __init__(self, root: Path) -> None:
        self._file = root / "drives" / "pending.json"

    def get(self, path: Path) -> Path | None:
        found = self._read().get(str(path))
        return Path(found) if isinstance(found, str) else None

    def put(self, path: Path, folder: Path) -> None:
        self._write({**self._read(), str(path): str(folder)})

    def drop(self, path: Path) -> None:
        table = self._read()
        if table.pop(str(path), None) is not None:
            self._write(table)

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self._file.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self, table: dict[str, Any]) -> None:
        with disk("write", self._file):
            if table:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                write_whole(self._file, [json.dumps(table, indent=2).encode()], alone=True)
            else:
                self._file.unlink(missing_ok=True)
