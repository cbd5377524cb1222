"""Small files in and out of containers that may be stopped, by way of the daemon's archives."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.places.container.docker import told

if TYPE_CHECKING:
    from orchestrator.places.container.docker import Docker

LARGEST = 64 << 20


def read(docker: Docker, container: str, path: str) -> bytes | None:
    """Return what a file in a container holds, None when it is not there or no file."""
    from docker.errors import NotFound  # noqa: PLC0415  # see docker.connect

    with told(f"`{path}` cannot be read in the container"):
        try:
            pieces, _about = docker.api.get_archive(container, path)
        except NotFound:
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


def copy_out(docker: Docker, container: str, path: str, into: Path) -> None:
    """Copy what a container has at a path below a folder of this machine; the owner's modes stay, links do not come."""
    from docker.errors import NotFound  # noqa: PLC0415  # see docker.connect

    with told(f"`{path}` cannot be read in the container"):
        try:
            pieces, _about = docker.api.get_archive(container, path, chunk_size=1 << 20)
        except NotFound:
            return
        with tempfile.TemporaryFile(prefix="pinoctl-copy-") as packed:
            for piece in pieces:
                packed.write(piece)
            packed.seek(0)
            with tarfile.open(fileobj=packed) as tar:
                _unpack(tar, into)


def _unpack(tar: tarfile.TarFile, into: Path) -> None:
    for entry in tar:
        place = into / entry.name
        if ".." in Path(entry.name).parts or Path(entry.name).is_absolute():
            continue
        if entry.isdir():
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
        elif entry.isfile() and (opened := tar.extractfile(entry)) is not None:
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            beside = place.with_name(f".{place.name}.copied")
            with beside.open("wb") as file:
                shutil.copyfileobj(opened, file)
            beside.chmod(entry.mode & 0o700)
            beside.replace(place)
