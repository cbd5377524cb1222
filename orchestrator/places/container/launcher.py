"""The launcher on its way into an image: which of its files, packed for the daemon, and what they are compared by."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import stat
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from orchestrator.agent.files import read_json, write_json
from orchestrator.launcher.git import git_environment, in_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

USER: Final = 1000
PIECE: Final = 1 << 20
LARGE: Final = 4 << 20  # bytes of a file that is not read again for every command
SECRET_NAMES: Final = frozenset({".env", ".netrc"})
HARMLESS: Final = (".example", ".sample", ".template", ".dist")  # what shows how a file of secrets is to be filled in
NOT_PACKED: Final = frozenset({"ENVIRONMENT", "__pycache__", ".DS_Store"})  # the first holds the user's own values
INSTALLED: Final = ("pyvenv.cfg", "conda-meta")  # a folder with one of these was made by an installation
ABOUT: Final = frozenset({".md", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".ico", ".mp4", ".webm"})
ABOUT_NAMES: Final = frozenset({"LICENSE", "LICENSE.txt", ".gitignore", ".gitattributes", "pinokio_meta.json"})
METADATA: Final = frozenset({"pinokio.js", "pinokio.json"})
# what git notes of where it fetched from; a token in it is for the machine that fetched, not for an image
WITH_URLS: Final = re.compile(r"(?:.*/)?(?:config|FETCH_HEAD|logs/.*)")
CREDENTIALS: Final = re.compile(rb"(\b[a-z][a-z0-9+.-]*://)(?!git@)[^/\s@\"]+@", re.IGNORECASE)
EXTRA_HEADER: Final = re.compile(rb"^[ \t]*extraheader[ \t]*=.*\n?", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class LauncherFile:
    """Hold one file of a launcher: its path below the launcher's folder, and where it really is."""

    path: str
    source: Path
    mode: int
    link: str | None = None

    def content(self) -> Iterator[bytes]:
        """Yield what the file holds, in pieces; of a link, where it leads."""
        if self.link is not None:
            yield self.link.encode("utf-8", "surrogateescape")
            return
        with self.source.open("rb") as file:
            while piece := file.read(PIECE):
                yield piece


def files_of(folder: Path, *, tracked_only: bool = False) -> list[LauncherFile]:
    """Return the files of a launcher, sorted, git's own left out.

    Where the folder is in a repository, those that git tracks, and unless `tracked_only` those that it would track;
    else everything. What an installation made and files like `.env` count only where git tracks them.
    """
    root = folder.resolve()
    return _described(root, _chosen(root, tracked_only=tracked_only)[0])


def left_out(folder: Path, *, tracked_only: bool = False) -> list[str]:
    """Return what lies in a launcher's folder and is none of its files, but for what git ignores; folders end in `/`.

    Of a folder that is left out altogether only its name is there.
    """
    return sorted(_chosen(folder.resolve(), tracked_only=tracked_only)[1])


def _chosen(root: Path, *, tracked_only: bool) -> tuple[list[str], set[str]]:
    """Return the paths of a launcher's files, and what was left out."""
    tracked = _listed(root, "", "--cached")
    others = _listed(root, "", "--others", "--exclude-standard") if tracked else []
    if not tracked:
        others = _listed(root, "", "--others", "--exclude-standard") or list(_walk(root, ""))
    taken, left = [], set()
    installed: dict[str, bool] = {}
    for path in others:
        made = None
        for each in (path[: at + 1] for at, letter in enumerate(path) if letter == "/"):
            if each not in installed:
                installed[each] = _installed(root / each)
            if installed[each]:
                made = each
                break
        if made is not None:
            left.add(made)
        elif (tracked and tracked_only) or _secret(path):
            left.add(path)
        else:
            taken.append(path)
    return sorted({*tracked, *taken}), left


def _secret(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name in SECRET_NAMES or (name.startswith(".env.") and not name.endswith(HARMLESS))


def _installed(folder: Path) -> bool:
    return folder.name == "node_modules" or any((folder / name).exists() for name in INSTALLED)


def _described(root: Path, paths: list[str]) -> list[LauncherFile]:
    found = []
    for path in paths:
        if NOT_PACKED.intersection(path.split("/")):
            continue
        source = root / path
        try:
            about = source.lstat()
        except OSError:
            continue  # git lists what was deleted, too
        if stat.S_ISLNK(about.st_mode):
            found.append(LauncherFile(path, source, 0o777, os.readlink(source)))  # noqa: PTH115  # the text as it is
        elif stat.S_ISREG(about.st_mode):
            found.append(LauncherFile(path, source, 0o755 if about.st_mode & 0o100 else 0o644))
    return found


def _listed(root: Path, below: str, *which: str) -> list[str]:
    """List files of a repository and its submodules: what git tracks, or what it would track."""
    command = in_folder(root / below, "ls-files", "-z", *which)
    try:
        done = subprocess.run(command, capture_output=True, env=git_environment(os.environ), timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    found = []
    for name in (below + os.fsdecode(name) for name in done.stdout.split(b"\0") if name):
        note = root / name / ".git"  # git lists a submodule as one entry, which is a folder here
        if not name.endswith("/") and note.is_file():
            found += [f"{name}/.git", *_listed(root, f"{name}/", "--cached")]
        else:
            found.append(name)
    return found


def _walk(folder: Path, below: str) -> Iterator[str]:
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    if below and any(entry.name in INSTALLED for entry in entries):
        yield below  # for those who tell what was left out
        return
    for entry in entries:
        if entry.name in {".git", "node_modules"}:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), f"{below}{entry.name}/")
        else:
            yield f"{below}{entry.name}"


class Sums:
    """Know the hashes of large files that did not change since they were read; `path` is where that is kept."""

    def __init__(self, path: Path | None = None) -> None:
        known = read_json(path) if path is not None else None
        self._known: dict[str, Any] = known if isinstance(known, dict) else {}
        self._path = path

    def of(self, file: LauncherFile) -> str:
        """Return the hash of what a file holds."""
        about = file.source.lstat()
        now = [about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino]
        name = os.fsencode(file.source).hex()
        known = self._known.get(name)
        if isinstance(known, list) and known[1:] == now:
            return str(known[0])
        found = hashlib.sha256()
        for piece in file.content():
            found.update(piece)
        if file.link is None and about.st_size > LARGE and self._path is not None:
            self._known[name] = [found.hexdigest(), *now]
            with contextlib.suppress(OSError):  # it is read again then
                self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                write_json(self._path, self._known)
        return found.hexdigest()


def digest(
    files: list[LauncherFile], *, without: frozenset[str] | set[str] = frozenset(), sums: Sums | None = None
) -> str:
    """Return the hash of a launcher's files, but for those named; modes count, times do not."""
    sums = sums or Sums()
    found = hashlib.sha256()
    for file in files:
        if file.path not in without:
            found.update(f"{file.path}\0{file.mode}\0{sums.of(file)}\0".encode("utf-8", "surrogateescape"))
    return found.hexdigest()


def digests(files: list[LauncherFile], *, sums: Sums | None = None) -> dict[str, str]:
    """Return the hash of each file of a launcher."""
    sums = sums or Sums()
    return {file.path: hashlib.sha256(f"{file.mode}\0{sums.of(file)}".encode()).hexdigest()[:16] for file in files}


def about_itself(files: list[LauncherFile]) -> set[str]:
    """Return the files that say what a launcher is and do nothing: texts, pictures, metadata."""
    return {
        file.path
        for file in files
        if Path(file.path).suffix.lower() in ABOUT
        or file.path.rpartition("/")[2] in ABOUT_NAMES
        or file.path in METADATA
        or file.path in {f"pinokio/{name}" for name in METADATA}
    }


def pack(folder: Path, files: list[LauncherFile], name: str, into: IO[bytes]) -> None:
    """Write a tar archive of a launcher, as the folder `name` of the containers' user.

    Git's own folder goes along, without the credentials in its remotes.
    """
    root = folder.resolve()
    with tarfile.open(fileobj=into, mode="w", format=tarfile.PAX_FORMAT) as tar:
        folders: set[str] = set()
        for file in files:
            _parents(tar, f"{name}/{file.path}", folders)
            _add(tar, f"{name}/{file.path}", file)
        if not files:
            _parents(tar, f"{name}/x", folders)
        git = root / ".git"
        if git.is_dir():
            for path in sorted(_everything(git)):
                _parents(tar, f"{name}/.git/{path}", folders)
                if path.endswith("/"):  # git knows no repository without `refs`, which may be empty
                    continue
                about = (git / path).lstat()
                if WITH_URLS.fullmatch(path):
                    _add_text(tar, f"{name}/.git/{path}", without_credentials((git / path).read_bytes()), about)
                    continue
                _add(tar, f"{name}/.git/{path}", LauncherFile(path, git / path, stat.S_IMODE(about.st_mode)))


def without_credentials(text: bytes) -> bytes:
    """Return what git noted, without user names, passwords and tokens in URLs, and without extra headers."""
    return EXTRA_HEADER.sub(b"", CREDENTIALS.sub(rb"\1", text))


def packed(folder: Path, files: list[LauncherFile], name: str) -> IO[bytes]:
    """Return a temporary file with the archive, at its beginning."""
    file = tempfile.TemporaryFile(prefix="pinoctl-launcher-")  # noqa: SIM115  # the caller closes it
    pack(folder, files, name, file)
    file.seek(0)
    return file


def _everything(folder: Path, below: str = "") -> Iterator[str]:
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            yield f"{below}{entry.name}/"
            yield from _everything(Path(entry.path), f"{below}{entry.name}/")
        elif entry.is_file(follow_symlinks=False) and not entry.name.endswith(".lock"):
            yield f"{below}{entry.name}"


def _parents(tar: tarfile.TarFile, path: str, known: set[str]) -> None:
    parts = path.split("/")[:-1]
    for depth in range(1, len(parts) + 1):
        folder = "/".join(parts[:depth])
        if folder not in known:
            known.add(folder)
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, 0o755, USER, USER
            tar.addfile(entry)


def _add_text(tar: tarfile.TarFile, path: str, text: bytes, about: os.stat_result) -> None:
    entry = tarfile.TarInfo(path)
    entry.mode, entry.uid, entry.gid = stat.S_IMODE(about.st_mode), USER, USER
    entry.size, entry.mtime = len(text), int(about.st_mtime)
    tar.addfile(entry, io.BytesIO(text))


def _add(tar: tarfile.TarFile, path: str, file: LauncherFile) -> None:
    entry = tarfile.TarInfo(path)
    entry.mode, entry.uid, entry.gid = file.mode, USER, USER
    if file.link is not None:
        entry.type, entry.linkname = tarfile.SYMTYPE, file.link
        tar.addfile(entry)
        return
    with file.source.open("rb") as content:
        about = os.fstat(content.fileno())
        entry.size, entry.mtime = about.st_size, int(about.st_mtime)
        tar.addfile(entry, content)
