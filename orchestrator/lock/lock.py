"""The lock document: everything that a build was made of and from, as a file that stays diffable."""

from __future__ import annotations

import errno
import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import Any

from orchestrator.engine.errors import BadInputError

FILE_NAME = "pinoctl.lock.json"
VERSION = 1
_HINT = "make a new lock with `pinoctl build`"
# section of the inventory → the keys of its entries that have to be texts
_SECTIONS: dict[str, tuple[str, ...]] = {
    "repositories": ("path",),
    "environments": ("path", "kind"),
    "npm": ("path", "sha256"),
    "resolved": ("path", "sha256"),
    "python_versions": ("path", "python"),
    "downloads": ("path", "url", "sha256"),
}
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")


@dataclass(frozen=True, slots=True)
class Launcher:
    """Name a launcher: `origin` and `commit` of its repository where it has one, and `tree`, a hash of its files."""

    origin: str | None = None
    commit: str | None = None
    tree: str | None = None


@dataclass(frozen=True, slots=True)
class Base:
    """Name the image that the base image begins with and its id at this engine; `recipe` hashes all of the base."""

    reference: str
    id: str = ""
    recipe: str = ""


@dataclass(frozen=True, slots=True)
class Lock:
    """Hold one lock; `date` is UTC, to the second; `scripts` the keys of the steps done, in order.

    `captured` are the values that scripts captured and that are not secret, `secrets` the names of those that are;
    `inventory` is what `inventory.take` gives.
    """

    date: datetime
    app: str
    launcher: Launcher
    base: Base
    hardware: Mapping[str, Any] = field(default_factory=dict)
    captured: Mapping[str, Any] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()
    inventory: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.date.tzinfo is None:
            raise ValueError("a lock's date needs a time zone")
        object.__setattr__(self, "date", self.date.astimezone(timezone.utc).replace(microsecond=0))

    def to_json(self) -> dict[str, Any]:
        """Return the lock as JSON data."""
        return {
            "version": VERSION,
            "date": self.date.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "app": self.app,
            "launcher": {name: value for name, value in asdict(self.launcher).items() if value is not None},
            "base": asdict(self.base),
            "hardware": dict(self.hardware),
            "captured": dict(self.captured),
            "secrets": list(self.secrets),
            "scripts": list(self.scripts),
            "inventory": dict(self.inventory),
        }

    @classmethod
    def from_json(cls, data: Any) -> Lock:
        """Read a lock from JSON data; raises BadInputError that names what is wrong and where."""
        if not isinstance(data, Mapping):
            raise BadInputError("the lock is not a JSON object", hint=_HINT)
        version = data.get("version")
        if version != VERSION:
            newer = isinstance(version, int) and version > VERSION
            raise BadInputError(
                f"the lock has version `{version}`, and this pinoctl reads version {VERSION}",
                hint="upgrade pinoctl, or make a new lock with `pinoctl build`" if newer else _HINT,
            )
        launcher, base = _mapping(data, "launcher"), _mapping(data, "base")
        return cls(
            date=_date(_text(data, "date")),
            app=_text(data, "app"),
            launcher=Launcher(**{
                name: _text(launcher, name, "launcher.") for name in ("origin", "commit", "tree") if name in launcher
            }),
            base=Base(
                _text(base, "reference", "base."),
                *(_text(base, name, "base.") if name in base else "" for name in ("id", "recipe")),
            ),
            hardware=_mapping(data, "hardware"),
            captured=_mapping(data, "captured"),
            secrets=_texts(data, "secrets"),
            scripts=_texts(data, "scripts"),
            inventory=_inventory(_mapping(data, "inventory")),
        )  # fmt: skip


def read(path: Path) -> Lock:
    """Read a lock file, or the one in a folder; raises BadInputError."""
    file = path / FILE_NAME if path.is_dir() else path
    try:
        data = json.loads(file.read_bytes())
    except OSError as error:
        raise BadInputError(f"the lock `{file}` cannot be read: {error.strerror or error}", hint=_HINT) from None
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"the lock `{file}` is not JSON: {error}", hint=_HINT) from None
    try:
        return Lock.from_json(data)
    except BadInputError as error:
        raise BadInputError(f"the lock `{file}` cannot be used: {error}", hint=error.hint) from None


def check_target(path: Path) -> None:
    """Raise BadInputError where no lock can be written; the folders above it are made."""
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "Is a directory")
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise BadInputError(
            f"the lock `{path}` cannot be written: {(error.strerror or str(error)).lower()}",
            hint="name a file in a folder that you may write with `--lock FILE`",
        ) from None


def write(path: Path, lock: Lock) -> None:
    """Write a lock file whole or not at all; the same lock always gives the same bytes."""
    text = json.dumps(lock.to_json(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _mapping(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key, {})
    if not isinstance(value, Mapping):
        raise BadInputError(f"`{key}` of the lock is not an object", hint=_HINT)
    return value


def _texts(data: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = data.get(key, [])
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise BadInputError(f"`{key}` of the lock is not a list of texts", hint=_HINT)
    return tuple(value)


def _text(data: Mapping[str, Any], key: str, where: str = "") -> str:
    value = data.get(key)
    if not isinstance(value, str):
        missing = "is missing" if value is None else "is not a text"
        raise BadInputError(f"`{where}{key}` of the lock {missing}", hint=_HINT)
    return value


def _date(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise BadInputError(f"`date` of the lock is `{text}`, not a time such as `2025-01-31T12:00:00Z`", hint=_HINT)
    return found


def _inventory(inventory: Mapping[str, Any]) -> Mapping[str, Any]:
    """Check what the rest of this package relies on; sections that this version does not know are kept."""
    for section, keys in _SECTIONS.items():
        entries = inventory.get(section, [])
        if not isinstance(entries, list):
            raise BadInputError(f"`inventory.{section}` of the lock is not a list", hint=_HINT)
        for number, entry in enumerate(entries):
            where = f"inventory.{section}[{number}]"
            if not isinstance(entry, Mapping):
                raise BadInputError(f"`{where}` of the lock is not an object", hint=_HINT)
            for key in keys:
                _text(entry, key, f"{where}.")
            if ".." in PurePosixPath(entry["path"]).parts:
                raise BadInputError(f"`{where}.path` of the lock leads out of the home: `{entry['path']}`", hint=_HINT)
            _entry(section, entry, where)
    return inventory


def _entry(section: str, entry: Mapping[str, Any], where: str) -> None:
    if section == "repositories":
        commit = entry.get("commit")
        if commit is not None and not (isinstance(commit, str) and _COMMIT.match(commit)):
            raise BadInputError(f"`{where}.commit` of the lock is not a commit: `{commit}`", hint=_HINT)
        if not isinstance(entry.get("origin"), (str, type(None))):
            raise BadInputError(f"`{where}.origin` of the lock is not a text", hint=_HINT)
    elif section == "npm" and not isinstance(entry.get("packages", {}), Mapping):
        raise BadInputError(f"`{where}.packages` of the lock is not an object", hint=_HINT)
    elif section == "environments":
        for kind in ("packages", "conda"):
            _packages(entry.get(kind, []), f"{where}.{kind}")


def _packages(listed: Any, where: str) -> None:
    if not isinstance(listed, list):
        raise BadInputError(f"`{where}` of the lock is not a list", hint=_HINT)
    for number, package in enumerate(listed):
        place = f"{where}[{number}]"
        if not isinstance(package, Mapping):
            raise BadInputError(f"`{place}` of the lock is not an object", hint=_HINT)
        _text(package, "name", f"{place}.")
        _text(package, "version", f"{place}.")
        if not isinstance(package.get("source", {}), Mapping):
            raise BadInputError(f"`{place}.source` of the lock is not an object", hint=_HINT)
