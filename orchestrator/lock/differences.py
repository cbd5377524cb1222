"""What two locks differ in, each difference named."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from orchestrator.lock.lock import Lock

_SHORT = 12  # digits of commits and digests that are shown
_NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Difference:
    """Name one thing that moved: `what` it is, and what it was and is; None where it was not there.

    `kind`: `app`, `base`, `launcher`, `hardware`, `captured`, `scripts`, `repository`, `changed-file`, `environment`,
    `package`, `contents` (the same version with other files: built here, and not the same way), `conda`, `npm`,
    `resolved`, `python-version` or `download`.
    """

    kind: str
    what: str
    old: str | None
    new: str | None

    def __str__(self) -> str:
        if self.old is None:
            return f"{self.what}: added, {self.new}" if self.new else f"{self.what}: added"
        if self.new is None:
            return f"{self.what}: removed, was {self.old}" if self.old else f"{self.what}: removed"
        return f"{self.what}: {self.old or _NOTHING} -> {self.new or _NOTHING}"


def differences(old: Lock, new: Lock) -> list[Difference]:
    """List what a new lock has otherwise than an old one; their dates do not count.

    A base image is the same if the recipe is, or where there is none the id: an id is another at every engine.
    """
    found = [] if old.app == new.app else [Difference("app", "app", old.app, new.app)]
    if (old.base.recipe or old.base.id) != (new.base.recipe or new.base.id):
        found.append(Difference("base", "base image", _base(old), _base(new)))
    for name in ("origin", "commit", "tree"):
        before, after = getattr(old.launcher, name), getattr(new.launcher, name)
        found += _changed("launcher", f"launcher {name}", before, after)
    found += _mappings("hardware", "hardware", old.hardware, new.hardware)
    found += _mappings("captured", "captured value", old.captured, new.captured)
    found += _scripts(old.scripts, new.scripts)
    return [*found, *inventory_differences(old.inventory, new.inventory)]


def inventory_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    """List what one inventory has otherwise than another."""
    found: list[Difference] = []
    for path, before, after in _pairs(old, new, "repositories"):
        found += _repository(f"repository {path}", before, after)
    for path, before, after in _pairs(old, new, "environments"):
        found += _environment(path, before, after)
    for path, before, after in _pairs(old, new, "npm"):
        found += _npm(path, before, after)
    for section, kind, key in (("resolved", "resolved", "sha256"), ("python_versions", "python-version", "python")):
        for path, before, after in _pairs(old, new, section):
            found += _changed(kind, path, _value(before, key), _value(after, key))
    for path, before, after in _pairs(old, new, "downloads"):
        found += _changed("download", f"download {path}", _digest(before), _digest(after))
    return found


def wanting(lock: Lock, text: str) -> list[str]:
    """Name what a lock holds and what a failed step speaks of: commits, and packages as `name==version`."""
    words = set(re.split(r"[\s`'\",;:()]+", text))
    found = {
        f"package {package['name']}=={package['version']}"
        for environment in lock.inventory.get("environments", [])
        for package in environment.get("packages", [])
        if f"{package['name']}=={package['version']}" in words
    }
    for entry in lock.inventory.get("repositories", []):
        if entry.get("commit") and entry["commit"] in words:
            found.add(f"repository {entry['path']}: commit {_short(entry['commit'])}")
    return sorted(found)


def _repository(what: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> Iterator[Difference]:
    if old is None or new is None:
        yield Difference("repository", what, _commit(old), _commit(new))
        return
    yield from _changed("repository", f"{what}: commit", old.get("commit"), new.get("commit"))
    yield from _changed("repository", f"{what}: origin", old.get("origin"), new.get("origin"))
    if old.get("branch") and new.get("branch"):  # a detached head has the same files
        yield from _changed("repository", f"{what}: branch", old["branch"], new["branch"])
    before, after = set(old.get("dirty", [])), set(new.get("dirty", []))
    for path in sorted(before ^ after):
        states = ("changed", "as committed") if path in before else ("as committed", "changed")
        yield Difference("changed-file", f"{what}: {path}", *states)


def _environment(path: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> Iterator[Difference]:
    if old is None or new is None:
        yield Difference("environment", f'environment "{path}"', *(_python(side) for side in (old, new)))
        return
    yield from _changed("environment", f'python of env "{path}"', old.get("python"), new.get("python"))
    for kind, describe in (("package", _package), ("conda", _conda)):
        section = "packages" if kind == "package" else "conda"
        title = "package" if kind == "package" else "conda package"
        before, after = (_by_name(side.get(section, [])) for side in (old, new))
        for name in sorted(before.keys() | after.keys()):
            olds, news = (", ".join(map(describe, side.get(name, ()))) or None for side in (before, after))
            what = f'{title} {name} in env "{path}"'
            yield from _changed(kind, what, olds, news)
            if kind == "package" and olds == news:
                yield from _contents(what, before[name], after[name])


def _contents(what: str, old: list[Mapping[str, Any]], new: list[Mapping[str, Any]]) -> Iterator[Difference]:
    for key, title in (("built_by", "built by"), ("record", "files")):
        before, after = (", ".join(str(fact.get(key) or "") for fact in side) for side in (old, new))
        if before != after:
            short = (before, after) if key == "built_by" else (_short(before), _short(after))
            yield Difference("contents", f"{what}: {title}", *short)


def _npm(path: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> Iterator[Difference]:
    packages = [None if side is None else side.get("packages") for side in (old, new)]
    if packages[0] is None or packages[1] is None:
        yield from _changed("npm", path, _digest(old), _digest(new))
        return
    before, after = ({name: _npm_package(fact) for name, fact in side.items()} for side in packages if side is not None)
    yield from _mappings("npm", f"npm package in {path}", before, after)


def _scripts(old: tuple[str, ...], new: tuple[str, ...]) -> Iterator[Difference]:
    """Name the first step that differs: all keys after it differ because of it."""
    for number, (before, after) in enumerate(zip(old, new), 1):  # noqa: B905  # the lengths are compared below
        if before != after:
            yield Difference("scripts", f"step {number}", _short(before), _short(after))
            return
    if len(old) != len(new):
        yield Difference("scripts", "number of steps", str(len(old)), str(len(new)))


def _pairs(
    old: Mapping[str, Any], new: Mapping[str, Any], section: str
) -> Iterator[tuple[str, Mapping[str, Any] | None, Mapping[str, Any] | None]]:
    before, after = ({str(entry["path"]): entry for entry in side.get(section, [])} for side in (old, new))
    for path in sorted(before.keys() | after.keys()):
        yield path, before.get(path), after.get(path)


def _mappings(kind: str, what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Difference]:
    for name in sorted(old.keys() | new.keys()):
        if name not in old or name not in new or old[name] != new[name]:
            before, after = (str(side[name]) if name in side else None for side in (old, new))
            yield Difference(kind, f"{what} {name}", before, after)


def _changed(kind: str, what: str, old: Any, new: Any) -> Iterator[Difference]:
    if old != new:
        before, after = (None if value is None else _short(str(value)) for value in (old, new))
        yield Difference(kind, what, before, after)


def _by_name(packages: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    named: dict[str, list[Mapping[str, Any]]] = {}
    for package in packages:
        named.setdefault(str(package["name"]), []).append(package)
    return named


def _package(fact: Mapping[str, Any]) -> str:
    source = fact.get("source") or {}
    place = next(
        (f"{kind} {source[kind]}" for kind in ("git", "hg", "svn", "bzr", "archive", "folder") if kind in source), ""
    )
    exact = next((_short(str(source[key])) for key in ("commit", "sha256") if key in source), "")
    return " ".join(filter(None, (str(fact["version"]), place and f"from {place}", exact and f"at {exact}")))


def _conda(fact: Mapping[str, Any]) -> str:
    build = " ".join(filter(None, (str(fact["version"]), str(fact.get("build", "")))))
    return f"{build} from {fact['channel']}" if fact.get("channel") else build


def _npm_package(fact: Mapping[str, Any]) -> str:
    return " ".join(str(fact[key]) for key in ("version", "resolved", "integrity") if fact.get(key))


def _base(lock: Lock) -> str:
    exact = lock.base.recipe or lock.base.id
    return f"{lock.base.reference} ({_short(exact)})" if exact else lock.base.reference


def _commit(entry: Mapping[str, Any] | None) -> str | None:
    return None if entry is None else f"commit {_short(str(entry.get('commit')))}"


def _python(entry: Mapping[str, Any] | None) -> str | None:
    return None if entry is None else f"Python {entry.get('python') or 'unknown'}"


def _digest(entry: Mapping[str, Any] | None) -> str | None:
    return None if entry is None else f"sha256 {_short(str(entry.get('sha256')))}"


def _value(entry: Mapping[str, Any] | None, key: str) -> str | None:
    return None if entry is None else str(entry.get(key))


def _short(text: str) -> str:
    """Return a commit or digest in short; other text as it is."""
    plain = text.removeprefix("sha256:")
    return plain[:_SHORT] if len(plain) >= 40 and set(plain) <= set("0123456789abcdef") else text  # noqa: PLR2004  # a SHA-1
