"""Keeping secrets out of images: files that hold one are moved to the private part of the volume, links stay.

Run as `python -m orchestrator.agent.scrub`, it takes an order as JSON on stdin and prints which files it moved: a
build's agent has that done by root, since scripts may have written with sudo.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

LONG: Final = 8  # letters of a secret that is nothing else where it is found
LARGEST: Final = 4 << 20  # bytes of a file that is looked into for shorter ones; settings are small
PIECE: Final = 4 << 20
OCTAL: Final = re.compile(r"\\([0-7]{3})")  # how the kernel writes blanks in paths
LEFT_OUT: Final = frozenset({"site-packages", "dist-packages", "node_modules", "__pycache__", "objects"})


class UnmovedError(OSError):
    """Report that a file holds a secret and cannot be moved: then no image may be made. `filename` tells which."""


@dataclass(frozen=True, slots=True)
class Order:
    """Say where to look, for what, and where to put what is found.

    Secrets of eight letters or more are looked for in every file below `everywhere`, but for what lies below `apart`;
    shorter ones, which chance finds as well, only in small files below `roots`, and not among packages or `apart`.
    Files that changed before `since` (seconds since 1970) are left out. `private` keeps the paths of what is moved.
    """

    roots: tuple[str, ...]
    secrets: tuple[str, ...]
    private: str
    since: float = 0.0
    everywhere: str | None = None
    apart: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the order as it is written for another process."""
        return {name: getattr(self, name) for name in self.__slots__}

    @staticmethod
    def from_json(text: str) -> Order:
        """Read what `to_json` gave."""
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in json.loads(text).items()
        }
        return Order(**given)


def scrub(order: Order) -> list[Path]:
    """Move every file that holds a secret, put a link in its place, and return them; raises UnmovedError."""
    wanted = sorted({secret.encode() for secret in order.secrets if secret})
    if not wanted:
        return []
    apart = frozenset({*order.apart, order.private})
    long = [secret for secret in wanted if len(secret) >= LONG]
    found = [
        path
        for root in order.roots
        for path, size in _changed(Path(root), order.since, lambda path: path in apart or Path(path).name in LEFT_OUT)
        if size <= LARGEST and _holds(path, wanted)
    ]
    if long:
        found += [
            path
            for root in ([order.everywhere] if order.everywhere is not None else order.roots)
            for path, _size in _changed(Path(root), order.since, apart.__contains__)
            if _holds(path, long)
        ]
    found = list(dict.fromkeys(found))
    for path in found:
        try:
            _move(path, Path(order.private) / path.relative_to("/"), Path(order.private))
        except OSError as error:  # noqa: PERF203  # each may fail, and there are few
            raise UnmovedError(error.errno, error.strerror or str(error), str(path)) from error
    return found


def mounted(table: Path = Path("/proc/self/mountinfo")) -> tuple[str, ...]:
    """Return where something is mounted below the root: no commit takes that along, and it may be a user's folder."""
    places = (line.split()[4] for line in table.read_text("utf-8", "surrogateescape").splitlines())
    plain = (OCTAL.sub(lambda found: chr(int(found[1], 8)), place) for place in places)
    return tuple(sorted({place for place in plain if place != "/"}))


def scrub_as_root(order: Order, *, sudo: Sequence[str] = ("sudo", "-n")) -> list[Path]:
    """Do as `scrub` does, as root where sudo lets us: else nobody wrote a file that is not ours."""
    if not any(order.secrets):
        return []
    program = [*sudo, "env", f"PYTHONPATH={os.pathsep.join(sys.path)}", sys.executable, "-m", __name__]
    try:
        allowed = not subprocess.run([*sudo, "true"], capture_output=True, check=False, timeout=60).returncode
    except (OSError, subprocess.TimeoutExpired):
        allowed = False
    if not allowed:
        return scrub(order)
    done = subprocess.run(program, input=json.dumps(order.to_json()), capture_output=True, text=True, check=False)
    try:
        said = json.loads(done.stdout)
    except ValueError:
        last = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
        raise OSError(0, f"looking for secrets as root ended with {last[0]}", order.everywhere or "/") from None
    if "failed" in said:
        raise UnmovedError(*said["failed"])
    return [Path(each) for each in said["moved"]]


def main(source: IO[str], out: IO[str]) -> None:
    """Carry out the order that is read, and write what became of it."""
    try:
        said: dict[str, Any] = {"moved": [str(path) for path in scrub(Order.from_json(source.read()))]}
    except UnmovedError as error:
        said = {"failed": [error.errno, error.strerror, error.filename]}
    json.dump(said, out)


def _changed(folder: Path, since: float, apart: Callable[[str], bool]) -> Iterator[tuple[Path, int]]:
    """Yield the files that changed, with their sizes; of folders that are `apart` nothing."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        with contextlib.suppress(FileNotFoundError):  # it is gone by now
            if entry.is_dir(follow_symlinks=False):
                if not apart(entry.path):
                    yield from _changed(Path(entry.path), since, apart)
                continue
            about = entry.stat(follow_symlinks=False)
            if stat.S_ISREG(about.st_mode) and about.st_ctime >= since:
                yield Path(entry.path), about.st_size


def _holds(path: Path, secrets: Collection[bytes]) -> bool:
    try:
        with path.open("rb") as file:
            return any(secret in piece for piece in _pieces(file, max(map(len, secrets)) - 1) for secret in secrets)
    except OSError:
        return False  # not ours to read, so nothing of the app's user wrote it


def _pieces(file: IO[bytes], overlap: int) -> Iterable[bytes]:
    """Yield a file in pieces that overlap, so that nothing is missed at their seams."""
    end = b""
    while piece := file.read(PIECE):
        yield end + piece
        end = (end + piece)[-overlap:] if overlap else b""


def _move(path: Path, target: Path, private: Path) -> None:
    private.mkdir(parents=True, exist_ok=True, mode=0o700)
    owner = private.stat()
    missing = [each for each in target.parents if not each.exists()]
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = target.with_name(f".{target.name}.moving")
    shutil.copy2(path, beside)
    beside.chmod(stat.S_IMODE(path.stat().st_mode) & 0o700)
    link = path.with_name(f".{path.name}.link")
    link.unlink(missing_ok=True)
    link.symlink_to(target)
    if os.geteuid() == 0:  # for the app to read and to change
        for made in (*missing, beside, link):
            os.chown(made, owner.st_uid, owner.st_gid, follow_symlinks=False)
    beside.replace(target)
    link.replace(path)


if __name__ == "__main__":
    main(sys.stdin, sys.stdout)
