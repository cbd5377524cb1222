"""Writing and removing files so that nothing is left half-written, and saying clearly what the disk refused."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.engine.errors import ScriptError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_REASONS: dict[int, tuple[str, str]] = {
    errno.ENOSPC: ("the disk is full", "free some space, or move the home to a larger disk, then run it again"),
    errno.EDQUOT: ("the disk quota is used up", "free some space or raise the quota, then run it again"),
    errno.EROFS: ("the file system is read-only", "mount it writable, or choose a home on a writable disk"),
    errno.EACCES: ("permission is denied", "check who owns it, and that the user running this may use it"),
    errno.EPERM: ("the operation is not permitted", "check its owner and attributes"),
    errno.ENOENT: ("it does not exist", "check the path in the script, and that earlier steps made it"),
    errno.EISDIR: ("it is a folder", "name a file; to copy a folder give `options: {recursive: true}`"),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "remove that file or choose another path"),
    errno.EEXIST: ("it exists already", "remove it first, or choose another path"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter name"),
    errno.ELOOP: ("its symbolic links form a loop", "remove one of the links"),
    errno.EFBIG: (
        "the file would be larger than allowed",
        "raise the file size limit (`ulimit -f`) or use another disk",
    ),
    errno.EMFILE: ("too many files are open", "raise the limit on open files (`ulimit -n`)"),
    errno.EIO: ("the disk reported an input/output error", "check the disk"),
}


def disk_error(action: str, path: str | os.PathLike[str], error: OSError) -> ScriptError:
    """Turn an error of the operating system into one that says what, why and what to do."""
    number = error.errno or 0
    reason, hint = _REASONS.get(number, (error.strerror or str(error), "check the path and the disk"))
    code = f" ({errno.errorcode[number]})" if number in errno.errorcode else ""
    return ScriptError(f"cannot {action} `{os.fspath(path)}`: {reason}{code}", hint=hint)


@contextlib.contextmanager
def disk(action: str, path: str | os.PathLike[str]) -> Iterator[None]:
    """Report what the disk refuses inside the block as a ScriptError about `action` and `path`."""
    try:
        yield
    except OSError as error:
        raise disk_error(action, path, error) from error


def remove(path: str | os.PathLike[str]) -> None:
    """Remove a file, link or folder with all it holds; an absent one is fine; links are never followed."""
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISDIR(mode):
            shutil.rmtree(path)
        else:
            os.unlink(path)  # noqa: PTH108  # takes any path-like as it is


def write_whole(
    path: str | os.PathLike[str], parts: Iterable[bytes], *, mode: int = 0o666, alone: bool = False
) -> None:
    """Write a new file in one move: what stood at `path`, a folder included, stays until the new content is complete.

    `mode` is what the umask is taken from. A link at `path` is replaced, not followed. `alone` tells that nobody else
    writes this file at the same time (a lock is held): then a kill leaves nothing that the next call does not clear.
    """
    target = Path(path)
    beside = target.with_name(f".{target.name}.new" if alone else f".{secrets.token_hex(8)}.new")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if alone else os.O_EXCL), mode)
    try:
        with os.fdopen(handle, "wb") as file:
            for part in parts:
                file.write(part)
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        beside.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise


def append(path: str | os.PathLike[str], parts: Iterable[bytes]) -> None:
    """Append to a file, made if missing; when the disk refuses a part, the file gets its old length back."""
    with open(path, "ab", buffering=0) as file:  # noqa: PTH123  # takes any path-like as it is
        before = os.fstat(file.fileno()).st_size
        try:
            for part in parts:
                rest = memoryview(part)
                while rest:
                    rest = rest[file.write(rest) :]
        except BaseException:
            with contextlib.suppress(OSError):
                os.ftruncate(file.fileno(), before)
            raise
