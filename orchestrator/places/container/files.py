"""Small files in and out of containers that may be stopped, by way of the daemon's archives."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import tarfile
from typing import TYPE_CHECKING, Any, Final

from orchestrator.places.container.docker import told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from orchestrator.places.container.docker import Docker

LARGEST: Final = 64 << 20  # bytes of a file that is read
MOST: Final = 512 << 20  # bytes of a folder that are received
FOLDER: Final = 1 << 31  # in a mode as the daemon tells it
NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


def read(docker: Docker, container: str, path: str) -> bytes | None:
    """Return what a file in a container holds, None when it is not there, no file, or too large."""
    from docker.errors import NotFound  # noqa: PLC0415  # see docker.connect

    with told(f"`{path}` cannot be read in the container"):
        try:
            pieces, about = docker.api.get_archive(container, path)
        except NotFound:
            return None
        if int(about.get("mode") or 0) & FOLDER or int(about.get("size") or 0) > LARGEST:
            pieces.close()  # an app may have put there what no memory holds
            return None
        packed = io.BytesIO(b"".join(pieces))
    with tarfile.open(fileobj=packed) as tar:
        for entry in tar:
            opened = tar.extractfile(entry) if entry.isfile() and entry.size <= LARGEST else None
            return opened.read() if opened is not None else None
    return None


def read_json(docker: Docker, container: str, path: str) -> Any:
    """Return what a JSON file in a container holds, None when it is missing or torn."""
    content = read(docker, container, path)
    try:
        return json.loads(content) if content is not None else None
    except ValueError:
        return None


def write(
    docker: Docker,
    container: str,
    path: str,
    content: bytes,
    *,
    below: str,
    mode: int = 0o644,
    folders: int = 0o755,
    user: int = 1000,
) -> None:
    """Write a file in a container; the folders between it and `below`, which is there, are made."""
    folder, relative = below.rstrip("/"), path[len(below.rstrip("/")) + 1 :]
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        parts = relative.split("/")
        for depth in range(1, len(parts)):
            between = tarfile.TarInfo("/".join(parts[:depth]))
            between.type, between.mode, between.uid, between.gid = tarfile.DIRTYPE, folders, user, user
            tar.addfile(between)
        entry = tarfile.TarInfo(relative)
        entry.size, entry.mode, entry.uid, entry.gid = len(content), mode, user, user
        tar.addfile(entry, io.BytesIO(content))
    with told(f"`{path}` cannot be written in the container"):
        docker.api.put_archive(container, folder or "/", packed.getvalue())


def copy_out(
    docker: Docker,
    container: str,
    path: str,
    into: Path,
    *,
    wanted: Callable[[str], bool],
    largest: int = LARGEST,
    most: int = MOST,
) -> bool:
    """Copy files that lie in a folder of a container into a folder of this machine; tell whether the folder is there.

    The container's app says what is there, so it is trusted with nothing: only regular files come whose names are
    `wanted`, of at most `largest` bytes, no folders and no links, and after `most` bytes nothing more is read. Files
    here with wanted names that are not there any more are removed.
    """
    from docker.errors import NotFound  # noqa: PLC0415  # see docker.connect

    with told(f"`{path}` cannot be read in the container"):
        try:
            pieces, _about = docker.api.get_archive(container, path, chunk_size=1 << 20)
        except NotFound:
            return False
        with (
            contextlib.closing(pieces),
            contextlib.suppress(tarfile.ReadError),  # the archive ends in the middle where there is too much
            tarfile.open(fileobj=_Stream(pieces, most), mode="r|") as tar,
        ):
            there = _unpack(tar, into, wanted, largest)
            for left in [each for each in _listed(into) if wanted(each) and each not in there]:
                (into / left).unlink(missing_ok=True)
    return True


class _Stream(io.RawIOBase):
    """Read what an iterator yields, up to a number of bytes."""

    def __init__(self, pieces: Iterator[bytes], most: int) -> None:
        self._pieces, self._left, self._rest = pieces, most, b""

    def readable(self) -> bool:
        """Tell that this is for reading."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, "" at the end and where the limit is reached."""
        if not self._rest and self._left > 0:
            self._rest = next(self._pieces, b"")
            self._left -= len(self._rest)
        taken = self._rest if size < 0 else self._rest[:size]
        self._rest = self._rest[len(taken) :]
        return taken


def _listed(folder: Path) -> list[str]:
    return os.listdir(folder) if folder.is_dir() else []  # noqa: PTH208  # names are all that is needed


def _unpack(tar: tarfile.TarFile, into: Path, wanted: Callable[[str], bool], largest: int) -> set[str]:
    there: set[str] = set()
    for entry in tar:
        _folder, _, name = entry.name.partition("/")
        if not entry.isreg() or entry.sparse is not None or "/" in name or entry.size > largest or not wanted(name):
            continue
        opened = tar.extractfile(entry)
        if opened is None:
            continue
        into.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside = into / f".{name}.copied"
        try:
            with os.fdopen(os.open(beside, NEW_FILE, 0o600), "wb") as file:
                shutil.copyfileobj(opened, file)
            beside.replace(into / name)
        finally:
            beside.unlink(missing_ok=True)
        there.add(name)
    return there
