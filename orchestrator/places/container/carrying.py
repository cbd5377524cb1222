"""Deciding what of a user's changes goes where: base = the old image, mine = the old container, theirs = the new image.

What only the user changed is the user's, what only the update changed is the update's. Where both did, files of the
program stay as in the new image and the user's version is kept aside; of everything else the user's version goes on,
and the new image's is kept beside it as `NAME.new`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from orchestrator.places.container.archives import FOR_EACH, SEVERAL
from orchestrator.places.container.changes import ADDED, DELETED, KEPT, below, in_git
from orchestrator.places.container.repositories import Repositories

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from orchestrator.places.container.archives import Entry, Seen
    from orchestrator.places.container.changes import Node

INSTALLED: Final = {"site-packages", "dist-packages", "node_modules", "conda-meta", ".git"}
ENVIRONMENT: Final = {"bin", "lib", "lib64", "include", "share", "etc", "pkgs"}
RECORD: Final = re.compile(r"(?:(.+)-[^-]+\.dist-info|(.+)-[^-]+-[^-]+\.json)")  # of pip's packages and of conda's
NEW: Final = re.compile(r"(.+)\.new(?:-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ)?", re.DOTALL)


class Reads(Protocol):
    """Tell what is in a container or an image."""

    def entry(self, path: str, /) -> Entry | None:
        """Return what is at a path."""

    def digest(self, path: str, /) -> str:
        """Return what tells its content from others."""

    def read(self, path: str, /) -> bytes:
        """Return the content of a small file."""

    def manifest(self, path: str, /) -> dict[str, Seen]:
        """Return what is below a folder."""

    def knows(self, path: str, /) -> bool:
        """Tell whether `entry` answers about a path at once."""

    def prefetch(self, folder: str, wanted: Collection[str], allowed: int, /) -> None:
        """Make ready to answer about paths below a folder, unless more than `allowed` bytes have to be read in vain."""


class Nothing:
    """Stand for an image that is gone."""

    def entry(self, _path: str, /) -> Entry | None:
        """Return nothing."""
        return None

    def digest(self, _path: str, /) -> str:
        """Return no digest."""
        return ""

    def read(self, _path: str, /) -> bytes:
        """Return no content."""
        return b""

    def manifest(self, _path: str, /) -> dict[str, Seen]:
        """Return no paths."""
        return {}

    def knows(self, _path: str, /) -> bool:
        """Tell that it answers at once."""
        return True

    def prefetch(self, _folder: str, _wanted: Collection[str], _allowed: int, /) -> None:
        """Do nothing."""


def _ignore(_path: str) -> None:
    """Do nothing about where it is."""


def learn(
    side: Reads,
    node: Node,
    counts: Callable[[str], bool] = lambda _: True,
    *,
    at: Callable[[str], None] = _ignore,
) -> None:
    """Have a side know what is at the paths of a tree of changes, by few requests; `at` is told where it is.

    Paths for which `counts` is false are left out, with all below them. One archive of a folder serves as long as
    it costs less than asking for its parts.
    """
    if not node.below:
        return
    at(node.path)
    entry = side.entry(node.path)
    if entry is None or not entry.folder:
        return
    unknown = [
        (each, paths)
        for each in node.below.values()
        if (paths := [path for path in _paths(each, counts) if not side.knows(path)])
    ]
    if sum(len(paths) for _, paths in unknown) < SEVERAL:
        return
    if len(unknown) > 1 or not unknown[0][0].below:
        wanted = [path for _, paths in unknown for path in paths]
        side.prefetch(node.path, wanted, len(unknown) * FOR_EACH)
    for each, _ in unknown:
        learn(side, each, counts, at=at)


def _paths(node: Node, counts: Callable[[str], bool]) -> Iterator[str]:
    """Yield the paths of a tree, and those where else is looked: a folder's repository, a file's other version."""
    if counts(node.path):
        yield node.path
        yield f"{node.path}/.git" if node.below else f"{node.path}.new"
        for each in node.below.values():
            yield from _paths(each, counts)


@dataclass(frozen=True, slots=True)
class Put:
    """Say that `source` goes to `target`; `mine` tells from where; `head` takes a folder's mode alone."""

    source: str
    target: str
    mine: bool = True
    head: bool = False


@dataclass(slots=True)
class Plan:
    """List what is to be done: copies, deletions (absolute paths), and which copies are only kept aside."""

    puts: list[Put] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    aside: list[str] = field(default_factory=list)


class Carrying:
    """Compare three sides and fill `plan`; `apart` are the mounts of the old container, `stamp` names what is kept."""

    def __init__(
        self,
        sides: tuple[Reads, Reads, Reads],
        *,
        roots: Sequence[str],
        stamp: str,
        apart: Sequence[str] = (),
        pending: Sequence[str] = (),
        tracked: Callable[[str], bool] | None = None,
        at: Callable[[str], None] = _ignore,
    ) -> None:
        self.base, self.mine, self.theirs = sides
        self.plan = Plan()
        self._roots = roots
        self._stamp = stamp
        self._apart = apart
        self._at = at
        self._pending = pending
        self._news: dict[str, list[str]] = {}  # by the path whose version they may be
        self._superseded: set[str] = set()
        self._repositories = Repositories(self.base, self.mine, self.theirs, roots)
        self._tracked = tracked or self._repositories.tracked

    def carry(self, trees: Sequence[Node]) -> Plan:
        """Decide about every change, and about deletions that the old container had still to do."""
        for node in trees:
            for each in node.all():
                found = NEW.fullmatch(each.path) if each.kind == ADDED else None
                if found:
                    self._news.setdefault(found[1], []).append(each.path)
        for node in trees:
            self._learn(node)
            self._visit(node)
        for path in self._pending:
            if below(path, self._roots) and path not in self.plan.removed and self._is_mine(path) is None:
                self._deleted(path)
        self.plan.puts = [put for put in self.plan.puts if not (put.mine and put.target in self._superseded)]
        return self.plan

    def _is_mine(self, path: str) -> Entry | None:
        """Return what the user has at a path; what waits for its deletion is gone."""
        return None if below(path, self._pending) else self.mine.entry(path)

    def _learn(self, node: Node) -> None:
        """Compare many files with few requests; of the user's side just what there may be something else of."""
        for side in (self.theirs, self.base):
            learn(side, node, at=self._at)
        learn(self.mine, node, lambda path: NEW.fullmatch(path) is not None or not self._users_alone(path), at=self._at)

    def _users_alone(self, path: str) -> bool:
        return self.base.entry(path) is None and self.theirs.entry(path) is None

    def _visit(self, node: Node) -> None:
        path = node.path
        self._at(path)
        if node.kind == ADDED and not below(path, self._pending) and self._users_alone(path):
            self._added(node)
            return
        mine, base, theirs = self._is_mine(path), self.base.entry(path), self.theirs.entry(path)
        if mine is None:
            if node.kind == DELETED:
                self._deleted(path)
            return
        if mine.kind == "other":  # sockets and devices belong to what runs
            return
        if mine.folder and (theirs.folder if theirs else base is not None and base.folder):
            self._merge(node, mine, base, theirs)
        else:
            self._leaf(node, mine, base, theirs)

    def _added(self, node: Node) -> None:
        """Take what neither image has as it is, whatever it is: nobody needs to be asked about it."""
        path = node.path
        if any(below(each, [path]) for each in self._apart):
            self.plan.puts.append(Put(path, path, head=True))
            for each in node.below.values():
                self._visit(each)
        elif self._repositories.of_two_updates(path):
            self._aside(path)
        else:
            self.plan.puts.append(Put(path, path))

    def _merge(self, node: Node, mine: Entry, base: Entry | None, theirs: Entry | None) -> None:
        if base and theirs and mine.mode != base.mode == theirs.mode:
            self.plan.puts.append(Put(node.path, node.path, head=True))
        if node.kind == DELETED and base and base.folder:  # deleted and made anew: the list may not say what is gone
            gone = sorted(name for name in self.base.manifest(node.path) if name)
            for name in gone:
                path = f"{node.path}/{name}"
                above = self._is_mine(path.rpartition("/")[0])
                if self._is_mine(path) is None and above is not None and above.folder:
                    self._deleted(path)
        upgraded = self._upgraded_twice(node)
        for each in node.below.values():
            if each.path in upgraded:
                self._aside(each.path)
            else:
                self._visit(each)

    def _upgraded_twice(self, node: Node) -> set[str]:
        """Return the user's records of packages that the new image has in another version than the old one.

        Two records of one package beside each other would make its version a matter of luck.
        """
        records = [each for each in node.below.values() if _package(each.path)]
        gone = {
            _package(each.path)
            for each in records
            if each.kind == DELETED and self.base.entry(each.path) and not self.theirs.entry(each.path)
        }
        return {
            each.path
            for each in records
            if each.kind == ADDED and _package(each.path) in gone and not self.theirs.entry(each.path)
        }

    def _leaf(self, node: Node, mine: Entry, base: Entry | None, theirs: Entry | None) -> None:
        path = node.path
        if in_git(path) is not None and theirs is not None and self._git(path):
            return
        if self._same(self.base, self.theirs, path) and not self._repositories.of_two_updates(path):
            if base is None or not self._same(self.base, self.mine, path):
                self.plan.puts.append(Put(path, path))
        elif self._same(self.mine, self.theirs, path) or self._same(self.mine, self.base, path):
            return
        elif mine.folder and base is not None and base.folder:
            for (
                each
            ) in node.leaves():  # the folder became something else: only what the user changed in it is the user's
                entry = self._is_mine(each.path)
                if entry is not None and entry.kind != "other":
                    self._aside(each.path)
        elif self.belongs_to_program(path):
            self._aside(path)
        else:
            self.plan.puts.append(Put(path, path))
            if theirs is not None:
                self._beside(path)

    def _git(self, path: str) -> bool:
        """Decide about what says where a repository stands: all of it changes hands or none; False for other files."""
        whose = self._repositories.whose(path)
        if whose == "mine":
            self.plan.puts.append(Put(path, path))
        elif whose == "both":
            self._aside(path)
        return whose is not None

    def _aside(self, path: str) -> None:
        """Keep the user's version of what stays as the new image has it."""
        app = self._roots[0].rstrip("/")
        name = path[len(app) + 1 :] if below(path, [app]) else path.lstrip("/")
        target = f"{app}/{KEPT}/{self._stamp}/{name}"
        self.plan.puts.append(Put(path, target))
        self.plan.aside.append(target)

    def _beside(self, path: str) -> None:
        """Keep the new image's version of what goes on as the user had it, in place of what an earlier update kept."""
        there = self._news.get(path, [])
        if any(self._equal(self.theirs, path, self.mine, each) for each in there):
            return
        before = [each for each in there if self._equal(self.base, path, self.mine, each)]
        self._superseded.update(before)
        target = f"{path}.new"
        if self.theirs.entry(target) is not None or (target not in before and self.mine.entry(target) is not None):
            target = f"{path}.new-{self._stamp}"
        self.plan.puts.append(Put(path, target, mine=False))
        self.plan.aside.append(target)

    @staticmethod
    def _equal(one: Reads, path: str, other: Reads, another: str) -> bool:
        entry = one.entry(path)
        return entry is not None and entry == other.entry(another) and one.digest(path) == other.digest(another)

    def _deleted(self, path: str) -> None:
        base, theirs = self.base.entry(path), self.theirs.entry(path)
        inside = in_git(path)
        if theirs is None:
            return
        if inside is not None and (
            inside.startswith("objects") or self._repositories.whose(path) in {"theirs", "both"}
        ):  # what the user's git packed anew may still be needed here
            return
        if base and base.folder and theirs.folder:
            self._deleted_folder(path)
        elif self._same(self.base, self.theirs, path) and not self._repositories.of_two_updates(path):
            self.plan.removed.append(path)
        elif not self.belongs_to_program(path):
            self.plan.removed.append(path)
            self._beside(path)

    def _deleted_folder(self, path: str) -> None:
        base, theirs = self.base.manifest(path), self.theirs.manifest(path)
        gone, stays = [], False
        for name, seen in sorted(theirs.items()):
            place = f"{path}/{name}"
            if seen[0] == "folder" or not name:
                continue
            if name not in base:
                stays = True
            elif base[name] == seen:
                gone.append(place)
            elif self.belongs_to_program(place):
                stays = True
            else:
                stays = True
                gone.append(place)
                self._beside(place)
        self.plan.removed += gone if stays else [path]

    def _same(self, one: Reads, other: Reads, path: str) -> bool:
        """Tell whether two sides have the same at a path: kind, mode, content; contents are compared last."""
        if one is other:
            return True
        first, second = (self._is_mine(path) if side is self.mine else side.entry(path) for side in (one, other))
        if first is None or second is None:
            return first is second
        return first == second and one.digest(path) == other.digest(path)

    def belongs_to_program(self, path: str) -> bool:
        """Tell whether a path is the program's: tracked by git in the new image, or of an installed environment."""
        parts = path.split("/")
        if INSTALLED.intersection(parts):
            return True
        for at, part in enumerate(parts[:-1]):
            if part in ENVIRONMENT:
                folder = "/".join(parts[:at])
                if any(self.theirs.entry(f"{folder}/{sign}") for sign in ("pyvenv.cfg", "conda-meta")):
                    return True
        return self._tracked(path) or self._repositories.of_two_updates(path)


def _package(path: str) -> str:
    """Return the name of the package that a record is of, as packages' names are compared, "" for other files."""
    folder, _, name = path.rpartition("/")
    found = RECORD.fullmatch(name)
    if found is None or (found[2] and not folder.endswith("/conda-meta")):
        return ""
    return re.sub(r"[-_.]+", "-", found[1] or found[2]).lower()
