"""Copying as Node's `fs.cp` does it, which is what `fs.copy` promises (spec 7.2)."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from orchestrator.engine.errors import ScriptError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class CopyOptions:
    """Hold the options of Node's `fs.cp` that can be written in JSON."""

    recursive: bool = False
    force: bool = True
    error_on_exist: bool = False
    dereference: bool = False
    preserve_timestamps: bool = False
    verbatim_symlinks: bool = False

    @classmethod
    def parse(cls, options: Mapping[str, Any]) -> CopyOptions:
        """Read `options` of a step; members that Node does not know are ignored, ones of a wrong type are errors."""
        known: dict[str, bool] = {}
        for field in fields(cls):
            head, *rest = field.name.split("_")
            name = head + "".join(part.capitalize() for part in rest)
            value = options.get(name)
            if name in options and not isinstance(value, bool):
                raise ScriptError(f"`fs.copy` needs true or false as `options.{name}`, got {value!r}")
            if isinstance(value, bool):
                known[field.name] = value
        return cls(**known)


def copy(source: Path, target: Path, options: CopyOptions) -> None:
    """Copy a file, link or folder; raise OSError with Node's error code where Node refuses."""
    info = _stat(source, options)
    if info is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(source))
    _check_pair(info, target, options)
    if stat.S_ISDIR(info.st_mode) and _inside(source, target):
        raise OSError(errno.EINVAL, "a folder cannot be copied into itself", str(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    _copy(source, info, target, options)


def _stat(path: Path, options: CopyOptions) -> os.stat_result | None:
    try:
        return path.stat() if options.dereference else path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _inside(folder: Path, path: Path) -> bool:
    """Tell whether a path that may not exist yet lies in a folder, by the identity of its parents."""
    info = folder.stat()
    for parent in path.parents:
        try:
            if os.path.samestat(parent.stat(), info):
                return True
        except (FileNotFoundError, NotADirectoryError):  # noqa: PERF203  # the errors are the answers
            continue
    return False


def _check_pair(info: os.stat_result, target: Path, options: CopyOptions) -> None:
    there = _stat(target, options)
    if there is None:
        return
    if os.path.samestat(info, there):
        raise OSError(errno.EINVAL, "source and destination are the same", str(target))
    if stat.S_ISDIR(info.st_mode) and not stat.S_ISDIR(there.st_mode):
        raise IsADirectoryError(errno.EISDIR, "a folder cannot replace what is no folder", str(target))
    if not stat.S_ISDIR(info.st_mode) and stat.S_ISDIR(there.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "a folder cannot be replaced by what is no folder", str(target))


def _copy(source: Path, info: os.stat_result, target: Path, options: CopyOptions) -> None:
    if stat.S_ISDIR(info.st_mode):
        _copy_folder(source, info, target, options)
    elif stat.S_ISLNK(info.st_mode):
        _copy_link(source, target, options)
    elif stat.S_ISREG(info.st_mode):
        _copy_file(source, info, target, options)
    else:
        raise OSError(errno.EINVAL, "a socket, pipe or device cannot be copied", str(source))


def _copy_folder(source: Path, info: os.stat_result, target: Path, options: CopyOptions) -> None:
    if not options.recursive:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(source))
    made = not target.exists()
    if made:
        target.mkdir()
    for name in sorted(os.listdir(source)):  # noqa: PTH208  # names are all that is needed
        child, copied = source / name, target / name
        child_info = _stat(child, options)
        if child_info is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(child))
        _check_pair(child_info, copied, options)
        _copy(child, child_info, copied, options)
    if made:
        target.chmod(stat.S_IMODE(info.st_mode))


def _copy_link(source: Path, target: Path, options: CopyOptions) -> None:
    destination = os.readlink(source)  # noqa: PTH115  # the text as it is
    if not options.verbatim_symlinks:
        # Node makes relative links absolute unless told otherwise.
        destination = os.path.normpath(
            os.path.join(os.path.abspath(source.parent), destination)  # noqa: PTH100, PTH118  # the text as it is, links not followed
        )  # resolve() would follow links
    if target.is_symlink():
        target.unlink()
    os.symlink(destination, target)  # noqa: PTH211  # the text as it is


def _copy_file(source: Path, info: os.stat_result, target: Path, options: CopyOptions) -> None:
    if (target.is_symlink() or target.exists()) and not options.force:
        if options.error_on_exist:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        return
    beside = target.with_name(f".{secrets.token_hex(8)}.new")
    try:
        shutil.copyfile(source, beside)
        beside.chmod(stat.S_IMODE(info.st_mode))
        if options.preserve_timestamps:
            os.utime(beside, ns=(info.st_atime_ns, info.st_mtime_ns))
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
