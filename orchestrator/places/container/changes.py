"""What a container's user changed against its image: the daemon's list of changes as a tree, and its top-most paths."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

CHANGED: Final = 0
ADDED: Final = 1
DELETED: Final = 2
KINDS: Final = {CHANGED: "changed", ADDED: "added", DELETED: "deleted"}
KEPT: Final = ".pinoctl-kept"
REMOVED_LIST: Final = "/pinokio/.carry-removed.json"
LOST: Final = "\ufffd"  # what the daemon's list shows for a byte that is no UTF-8
# What pinoctl itself has in the home: its records, what leads to volumes, and tools that it makes anew.
OURS: Final = (
    *(
        "/pinokio/run",
        "/pinokio/installed",
        "/pinokio/cache",
        "/pinokio/drive",
        "/pinokio/logs",
        "/pinokio/ENVIRONMENT",
    ),
    *(REMOVED_LIST, "/pinokio/bin/base", "/pinokio/bin/.base.lock", "/pinokio/bin/.miniforge.lock"),
)
# What nobody made: passing files, and what daemons and drivers put into containers.
NOBODYS: Final = (
    *("/tmp", "/var/tmp", "/run", "/dev", "/proc", "/sys", "/opt/pinoctl", "/.dockerenv"),  # noqa: S108  # containers'
    *("/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/mtab", "/etc/ld.so.cache"),
)


@dataclass(frozen=True, slots=True)
class Change:
    """Name one path and what happened to it: `added`, `changed` or `deleted`."""

    path: str
    what: str


@dataclass(slots=True)
class Node:
    """Hold one path of the daemon's list, and what it lists below."""

    path: str
    kind: int
    below: dict[str, Node] = field(default_factory=dict)

    def all(self) -> Iterator[Node]:
        """Yield it and everything below it."""
        yield self
        for each in self.below.values():
            yield from each.all()

    def leaves(self) -> Iterator[Node]:
        """Yield what has nothing below it."""
        if not self.below:
            yield self
        for each in self.below.values():
            yield from each.leaves()


def roots_of(app: str) -> tuple[str, ...]:
    """Return where what is made in an app comes along from: its folder first, then all else that an app can write to.

    The last one is where uv puts Pythons of environments.
    """
    return f"/pinokio/api/{app}", "/pinokio", "/home/pinokio", "/opt/python"


def left_out(path: str) -> bool:
    """Tell whether nobody misses a path: byte code, and what git keeps for itself while it works."""
    parts = path.split("/")
    if "__pycache__" in parts or path.endswith(".pyc"):
        return True
    inside = in_git(path)
    if inside is None:
        return False
    return inside.endswith(".lock") or inside in {"FETCH_HEAD", "ORIG_HEAD", "logs"} or inside.startswith("logs/")


def passing(path: str) -> bool:
    """Tell whether a path is left out even where its folder is taken whole: a user's clone keeps its logs and index."""
    inside = in_git(path)
    return inside.endswith(".lock") if inside is not None else left_out(path)


def in_git(path: str) -> str | None:
    """Return the part of a path below its innermost `.git`, None when there is no such folder on the way."""
    _, mark, inside = path.rpartition("/.git/")
    return inside if mark else None


def below(path: str, roots: Iterable[str]) -> bool:
    """Tell whether a path is one of these or lies in one."""
    return any(path == root or path.startswith(root.rstrip("/") + "/") for root in roots)


def tree(diff: Iterable[Mapping[str, Any]], roots: Sequence[str], apart: Sequence[str] = ()) -> list[Node]:
    """Return the trees of changes in and below `roots`, without what lies in and below `apart` (mounts)."""
    nodes: dict[str, Node] = {}
    tops = []
    for path, kind in sorted((str(each["Path"]), int(each["Kind"])) for each in diff or ()):
        if not below(path, roots) or below(path, apart) or left_out(path):
            continue
        parent = nodes.get(path.rpartition("/")[0])
        node = nodes[path] = Node(path, kind)
        if parent is None:
            tops.append(node)
        else:
            parent.below[path] = node
    return tops


def users(diff: Iterable[Mapping[str, Any]], roots: Sequence[str], apart: Sequence[str] = ()) -> list[Change]:
    """Return the top-most paths that were added, and those that were changed or deleted, sorted by path.

    Folders that count as changed only since something in them changed are left out, as are git's own files.
    """
    found = []
    queue = tree(diff, roots, apart)
    while queue:
        node = queue.pop()
        if "/.git/" in f"{node.path}/":
            continue
        if node.kind == CHANGED and node.below:
            queue += node.below.values()
        elif not (node.kind == CHANGED and node.path in roots):
            found.append(Change(node.path, KINDS.get(node.kind, KINDS[CHANGED])))
    return sorted(found, key=lambda each: each.path)


def mounts_of(attributes: Mapping[str, Any]) -> tuple[str, ...]:
    """Return where volumes, binds and memory are mounted in a container, from what the daemon tells about it."""
    found = {str(each.get("Destination", "")).rstrip("/") for each in attributes.get("Mounts") or ()}
    found |= {path.rstrip("/") for path in (attributes.get("HostConfig") or {}).get("Tmpfs") or {}}
    return tuple(sorted(found - {""}))
