"""pinoctl's own code on its way into containers: an archive, its hash, the volume by which build containers see it."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import io
import os
import re
import tarfile
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from orchestrator.places.container import names
from orchestrator.places.container.docker import Docker, told

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PLACE: Final = "/opt/pinoctl/code"
LEFT_OUT: Final = frozenset({"__pycache__", "images", "commands", "notebook", "templates"})
USER: Final = 1000
COMPLETE: Final = ".complete"
OLD: Final = 2 * 86400.0  # seconds
NAMED: Final = re.compile(rf"{names.CODE_VOLUME}-[0-9a-f]{{12}}")


@functools.cache
def files() -> tuple[tuple[str, bytes], ...]:
    """Return the package's files: path in the archive and content, sorted; what only commands need is left out."""
    import orchestrator  # noqa: PLC0415  # only to know where the package is

    root = Path(orchestrator.__file__).parent
    return tuple(sorted((f"orchestrator/{path.relative_to(root)}", path.read_bytes()) for path in _walk(root)))


def _walk(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_dir():
            if path.name not in LEFT_OUT and not path.is_symlink():
                yield from _walk(path)
        elif path.suffix != ".pyc":
            yield path


@functools.cache
def digest() -> str:
    """Return the hash of the code."""
    found = hashlib.sha256()
    for name, content in files():
        found.update(f"{name}\0{len(content)}\0".encode() + content)
    return found.hexdigest()


def archive() -> bytes:
    """Pack the code, owned by the containers' user; the same code gives the same bytes."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        folders: set[str] = set()
        for name, content in files():
            for folder in reversed(Path(name).parents):
                if str(folder) != "." and str(folder) not in folders:
                    folders.add(str(folder))
                    tar.addfile(_entry(str(folder), folder=True))
            tar.addfile(_entry(name, size=len(content)), io.BytesIO(content))
    return packed.getvalue()


def _entry(name: str, *, size: int = 0, folder: bool = False) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type = tarfile.DIRTYPE if folder else tarfile.REGTYPE
    entry.mode, entry.size, entry.uid, entry.gid = 0o755 if folder else 0o644, size, USER, USER
    return entry


def put(docker: Docker, container: str) -> None:
    """Write the code into a container."""
    with told("pinoctl's code cannot be put into a container"):
        docker.api.put_archive(container, PLACE, archive())


def volume(docker: Docker, image: str) -> str:
    """Return the volume that holds this code, made and filled if need be; build containers mount it read-only.

    Its name has the code's hash, and a mark written last says that it is complete. It is filled by way of a container
    that is never started.
    """
    name = f"{names.CODE_VOLUME}-{digest()[:12]}"
    with told("the volume of pinoctl's code cannot be made"):
        docker.api.create_volume(name, labels={names.KIND: "code", names.CODE: digest()})
        filler = docker.client.containers.create(
            image,
            entrypoint=["true"],
            labels={names.KIND: "helper", names.READER: "true"},
            volumes={name: {"bind": PLACE, "mode": "rw"}},
        )
        try:
            if not is_complete(docker, str(filler.id)):
                with alone():
                    _fill(docker, str(filler.id))
        finally:
            filler.remove(force=True)
        _forget_older(docker, name)
    return name


def _fill(docker: Docker, container: str) -> None:
    """Write the code and the mark, unless another command did so by now: agents may run from it already."""
    if not is_complete(docker, container):
        docker.api.put_archive(container, PLACE, archive())
        docker.api.put_archive(container, PLACE, _mark())


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Keep other commands that have this code from filling a volume within the block."""
    import orchestrator  # noqa: PLC0415  # only to know where the package is

    folder = os.open(Path(orchestrator.__file__).parent, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a network's disk may have no locks for who only reads
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def is_complete(docker: Docker, container: str) -> bool:
    """Tell whether a container, running or not, has all of the code where it has its volume."""
    from docker.errors import NotFound  # noqa: PLC0415  # see docker.connect

    with told("pinoctl's code cannot be looked for"):
        try:
            docker.api.get_archive(container, f"{PLACE}/{COMPLETE}")
        except NotFound:
            return False
    return True


def _forget_older(docker: Docker, name: str, *, now: float | None = None) -> None:
    """Remove the volumes of other versions of the code that no container has, whichever home they were made for.

    Young ones stay, as another command may be about to make a container that has one.
    """
    from docker.errors import APIError  # noqa: PLC0415  # see docker.connect

    unused = docker.api.volumes(filters={"name": f"{names.CODE_VOLUME}-", "dangling": "true"})["Volumes"] or []
    for each in unused:
        if each["Name"] != name and NAMED.fullmatch(each["Name"]) and _age(each, now) > OLD:
            with contextlib.suppress(APIError):  # a container has it by now
                docker.api.remove_volume(each["Name"])


def _age(volume: Mapping[str, Any], now: float | None) -> float:
    """Return how many seconds ago a volume was made, give or take the daemon's time zone."""
    made = datetime.fromisoformat(f"{str(volume['CreatedAt'])[:19]}+00:00")
    return (time.time() if now is None else now) - made.timestamp()


def _mark() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.addfile(_entry(COMPLETE))
    return packed.getvalue()
