"""Git repositories in containers, read as files: what they track, and whether a user or an update moved them on."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Final, Literal, Protocol

from orchestrator.places.container.git_index import IndexUnreadableError, Tracked, parse_index

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.places.container.archives import Entry

SHORT: Final = 65536  # bytes; what says where a repository stands is not longer, packed references aside
POINTS: Final = {"HEAD", "packed-refs", "index", "refs", "MERGE_HEAD", "shallow"}
State = tuple[str, str, frozenset[Tracked]]  # HEAD, the commit it stands for, the index
Whose = Literal["mine", "theirs", "both"]


class Files(Protocol):
    """Tell what is in a container or an image."""

    def entry(self, path: str, /) -> Entry | None:
        """Return what is at a path."""

    def read(self, path: str, /) -> bytes:
        """Return the content of a small file."""


def commit_of(head: str, loose: str | None, packed: str) -> str:
    """Return the commit that HEAD stands for, "" for a branch without any: its own, its loose or its packed one."""
    if not head.startswith("ref:"):
        return head.strip()
    if loose is not None:
        return loose.strip()
    name = head.partition(":")[2].strip()
    lines = (line.split(" ", 1) for line in packed.splitlines() if line[:1] not in {"#", "^", ""})
    return next((line[0] for line in lines if line[-1] == name), "")


class Repositories:
    """Answer about the repositories of three sides; `roots` bound the search for the one that a path lies in."""

    def __init__(self, base: Files, mine: Files, theirs: Files, roots: Sequence[str]) -> None:
        self._sides = {"base": base, "mine": mine, "theirs": theirs}
        self._roots = tuple(root.rstrip("/") for root in roots)
        self._states: dict[tuple[str, str], State | None] = {}
        self._names: dict[tuple[str, str], frozenset[str]] = {}

    def tracked(self, path: str, side: str = "theirs") -> bool:
        """Tell whether git tracks a path in the new image (or on another side)."""
        return any(posixpath.relpath(path, folder) in self._tracks(side, folder) for folder in self._above(path))

    def whose(self, path: str) -> Whose | None:
        """Tell whose version a path in `.git` is to be, None where that is not decided for a repository as a whole.

        `both` means that the new image's stays although the user's is another.
        """
        folder, _, inside = path.rpartition("/.git/")
        if inside.partition("/")[0] not in POINTS:
            return None
        base, mine, theirs = (self._state(side, folder) for side in self._sides)
        if inside.startswith("refs/") and f"ref: {inside}" not in {each[0] for each in (base, mine, theirs) if each}:
            return None  # another branch than the one that is checked out
        if base is None or mine is None or theirs is None:
            return "theirs" if inside == "index" and theirs is not None else None
        if mine == base:
            return "theirs"
        return "mine" if base == theirs else "both"

    def of_two_updates(self, path: str) -> bool:
        """Tell whether a path is tracked in a repository which both the user and the new image took to other commits.

        Files of two versions must not be mixed there, even where only one of the two changed them.
        """
        for folder in self._above(path):
            base, mine, theirs = (self._state(side, folder) for side in self._sides)
            if base is None or mine is None or theirs is None or mine[:2] == base[:2] or theirs[:2] == base[:2]:
                continue
            name = posixpath.relpath(path, folder)
            if mine[:2] != theirs[:2] and (
                name in self._tracks("mine", folder) or name in self._tracks("theirs", folder)
            ):
                return True
        return False

    def _above(self, path: str) -> list[str]:
        """Return the folders which a path lies in, innermost first, up to its root."""
        root = next((each for each in self._roots if path.startswith(f"{each}/")), None)
        found = []
        while root is not None and path != root and path:
            path = path.rpartition("/")[0]
            found.append(path)
        return found

    def _tracks(self, side: str, folder: str) -> frozenset[str]:
        key = (side, folder)
        if key not in self._names:
            state = self._state(side, folder)
            self._names[key] = frozenset(entry.path for entry in state[2]) if state else frozenset()
        return self._names[key]

    def _state(self, side: str, folder: str) -> State | None:
        key = (side, folder)
        if key not in self._states:
            self._states[key] = self._read(self._sides[side], folder)
        return self._states[key]

    def _read(self, files: Files, folder: str) -> State | None:
        git = self._folder_of_git(files, folder)
        if git is None:
            return None
        head = self._text(files, f"{git}/HEAD")
        if head is None:
            return None
        name = head.partition(":")[2].strip() if head.startswith("ref:") else ""
        loose = self._text(files, posixpath.join(git, name)) if name and ".." not in name.split("/") else None
        packed = self._text(files, f"{git}/packed-refs", limit=1 << 26) if name and loose is None else None
        index = files.entry(f"{git}/index")
        entries: tuple[Tracked, ...] = ()
        if index is not None and index.kind == "file":
            try:
                entries = parse_index(files.read(f"{git}/index"))
            except IndexUnreadableError:
                entries = ()
        return head.strip(), commit_of(head, loose, packed or ""), frozenset(entries)

    def _folder_of_git(self, files: Files, folder: str) -> str | None:
        """Return where a repository keeps its state: its `.git`, or what a submodule's `.git` file names."""
        git = f"{folder}/.git"
        entry = files.entry(git)
        if entry is None or entry.folder:
            return git if entry else None
        text = self._text(files, git) or ""
        return posixpath.normpath(posixpath.join(folder, text[7:].strip())) if text.startswith("gitdir:") else None

    @staticmethod
    def _text(files: Files, path: str, limit: int = SHORT) -> str | None:
        entry = files.entry(path)
        if entry is None or entry.kind != "file" or entry.size > limit:
            return None
        return files.read(path).decode("utf-8", "surrogateescape")
