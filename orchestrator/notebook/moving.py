"""Moving the shared models to a folder that outlives the machine, and putting a link in their place.

First everything is copied there and compared, then the folder is renamed and the link made, and only then are the local
copies deleted. It can be interrupted anywhere; the next call goes on. Nothing that lies there already is overwritten.
"""

from __future__ import annotations

import contextlib
import filecmp
import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator.engine.errors import PinoctlError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PART: Final = ".pinoctl-part"
REGISTRY: Final = "drives.json"  # which folder holds what; both sides' entries are needed
IGNORED: Final = frozenset({"drives.lock"})


@dataclass
class Moved:
    """Say what was moved: how many files, their bytes, and which stayed here, with the reason."""

    files: int = 0
    bytes: int = 0
    kept: dict[Path, str] = field(default_factory=dict)


def move_drive(local: Path, target: Path, say: Callable[[str], None]) -> Moved:
    """Make `local` (HOME/drive) a link to the folder `target`, with all that was in it moved there.

    Files whose names are taken there by others, and links, which such a folder cannot hold, stay in `drive.local`
    beside it. Raises PinoctlError, with every file still here, when something cannot be copied.
    """
    target.mkdir(parents=True, exist_ok=True)
    if local.is_symlink():
        _check_link(local, target)
    moved = Moved()
    try:
        sources = [*([local] if local.is_dir() and not local.is_symlink() else []), *_set_aside(local)]
        for source in sources:
            _copy_all(source, target, say)
        if local.is_dir() and not local.is_symlink():
            local.rename(_free_name(local))
        if not local.is_symlink():
            local.parent.mkdir(parents=True, exist_ok=True)
            local.symlink_to(target, target_is_directory=True)
        for source in _set_aside(local):
            _clear(source, target, moved)
    except OSError as error:
        raise PinoctlError(
            f"the models cannot be moved to `{target}`: {error.strerror or error}",
            hint="nothing was deleted that is not there; make room in Drive, and run the cell again",
        ) from error
    return moved


def _check_link(local: Path, target: Path) -> None:
    if Path(os.path.realpath(local)) != Path(os.path.realpath(target)):
        raise PinoctlError(
            f"`{local}` is a link to `{local.readlink()}` already",
            hint=f"remove it with `rm {local}` if it should lead to `{target}`; what it leads to stays",
        )


def _set_aside(local: Path) -> list[Path]:
    return sorted(path for path in local.parent.glob(f"{local.name}.local*") if path.is_dir() and not path.is_symlink())


def _free_name(local: Path) -> Path:
    number, place = 1, local.with_name(f"{local.name}.local")
    while place.exists() or place.is_symlink():
        number += 1
        place = local.with_name(f"{local.name}.local{number}")
    return place


def _files(source: Path) -> Iterator[tuple[Path, Path]]:
    """Yield every file and link below a folder, with its path inside of it; links are not followed."""
    for folder, names, files in os.walk(source):
        for name in sorted([*files, *(each for each in names if Path(folder, each).is_symlink())]):
            path = Path(folder, name)
            yield path, path.relative_to(source)


def _copy_all(source: Path, target: Path, say: Callable[[str], None]) -> None:
    """Copy what the target lacks, whole or not at all."""
    for path, inside in _files(source):
        place = target / inside
        if path.is_symlink() or inside.name in IGNORED or not path.is_file() or inside.name.endswith(PART):
            continue
        if inside == Path(REGISTRY) and place.exists():
            _merge_registry(path, place)
        elif not place.exists() and _has_room_for_folder(place.parent, target):
            size = path.stat().st_size
            say(f"copying `{inside}` ({size / 2**20:.1f} MB)")
            _copy(path, place)


def _has_room_for_folder(folder: Path, target: Path) -> bool:
    """Make the folders above a file; tell False where a file has one of their names."""
    for parent in [*reversed(folder.relative_to(target).parents), folder.relative_to(target)]:
        if (target / parent).exists() and not (target / parent).is_dir():
            return False
    folder.mkdir(parents=True, exist_ok=True)
    return True


def _copy(path: Path, place: Path) -> None:
    part = place.with_name(place.name + PART)
    try:
        shutil.copyfile(path, part)
        with contextlib.suppress(OSError):  # a folder over the network may not take times
            shutil.copystat(path, part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        _check_same(path, part)
        part.rename(place)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


def _check_same(path: Path, copy: Path) -> None:
    if not filecmp.cmp(path, copy, shallow=False):
        raise OSError(0, f"the copy of `{path}` differs from it")


def _merge_registry(path: Path, place: Path) -> None:
    """Add the entries that only the local registry has; those of the target stay as they are."""
    try:
        ours, theirs = json.loads(path.read_text("utf-8")), json.loads(place.read_text("utf-8"))
        merged = {**theirs, **{remote: {**routes, **theirs.get(remote, {})} for remote, routes in ours.items()}}
    except (ValueError, TypeError, AttributeError):
        return  # one of them is no registry: both stay as they are
    if merged != theirs:
        part = place.with_name(place.name + PART)
        part.write_text(json.dumps(merged, indent=2), "utf-8")
        part.replace(place)


def _clear(source: Path, target: Path, moved: Moved) -> None:
    """Delete the local files that the target has byte for byte; note why others stay."""
    for path, inside in _files(source):
        place = target / inside
        if path.is_symlink():
            moved.kept[path] = "a link, which Drive cannot hold"
        elif inside.name in IGNORED or inside.name.endswith(PART) or inside == Path(REGISTRY):
            path.unlink()
        elif place.is_file() and filecmp.cmp(path, place, shallow=False):
            moved.files += 1
            moved.bytes += path.stat().st_size
            path.unlink()
        else:
            moved.kept[path] = "Drive has another file of that name"
    for folder, _, _ in os.walk(source, topdown=False):
        with contextlib.suppress(OSError):  # what is not empty stays
            Path(folder).rmdir()
