"""Catalogues and apps that a user added, kept in `HOME/catalogues.json`.

A catalogue is a JSON array of objects with at least `name` and `repo`, as ours (docs/catalogue.md). Entries that are
no good are left out and counted, so that one bad entry or one that vanished takes nothing else with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from orchestrator.engine.errors import BadInputError
from orchestrator.launcher.names import valid_name

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.engine.home import Home

FILE: Final = "catalogues.json"
BY_HAND: Final = "added by hand"
MOST_BYTES: Final = 8 << 20
MOST_APPS: Final = 20_000
LONGEST: Final = 500  # characters of one text
_REPOSITORY = re.compile(
    r"(?:https?|ssh|git)://(?:[\w.~%+-]+@)?[A-Za-z0-9\[][^\s/@]*/[^\s/][^\s]*|file:///[^\s]+"
    r"|[A-Za-z0-9_][\w.-]*@[A-Za-z0-9][\w.-]*:[^\s-][^\s]*"
)
_PASSWORD = re.compile(r"https?://[^/\s]*@|[a-z]+://[^/\s@]*:[^/\s@]*@")


@dataclass(slots=True)
class Added:
    """Hold what was added: catalogues by their address, each with its apps' rows, and single apps under "" ."""

    catalogues: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def rows(self) -> list[dict[str, Any]]:
        """Return every app as the fields of `App`."""
        return [
            {**row, "tags": tuple(row.get("tags", ())), "source": source or BY_HAND}
            for source, rows in self.catalogues.items()
            for row in rows
        ]


def read_added(home: Home, *, strict: bool = False) -> Added:
    """Return what was added to a home; nothing where the file is missing or damaged.

    `strict` is for whoever writes it again: raises BadInputError where the file is damaged, which would lose it.
    """
    file = home.root / FILE
    try:
        catalogues = json.loads(file.read_bytes())["catalogues"]
        return Added({str(source): parse(rows)[0] for source, rows in catalogues.items()})
    except FileNotFoundError:
        return Added()
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, BadInputError) as error:
        if strict:
            raise BadInputError(
                f"`{file}` cannot be read as a list of catalogues: {error}",
                hint="mend the file, or delete it and add your catalogues again",
            ) from error
        return Added()


@contextlib.contextmanager
def changing(home: Home) -> Iterator[Added]:
    """Read what was added, and store what becomes of it unless the block raises; other commands wait meanwhile."""
    home.root.mkdir(parents=True, exist_ok=True)
    folder = os.open(home.root, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # held by the folder, so that no lock file stays
        found = read_added(home, strict=True)
        yield found
        write_added(home, found)
    finally:
        os.close(folder)


def write_added(home: Home, added: Added) -> None:
    """Store what was added, whole or not at all."""
    file = home.root / FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{FILE}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps({"catalogues": added.catalogues}, indent=1, ensure_ascii=False) + "\n", "utf-8")
        temporary.replace(file)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def parse(document: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """Read a catalogue's JSON: return the rows that are good, and for each bad one what is wrong with it."""
    if isinstance(document, Mapping):
        document = document.get("apps")
    if not isinstance(document, list):
        raise BadInputError(
            "this is no catalogue: it must be a JSON array of apps",
            hint='for example [{"name": "my-app", "repo": "https://…"}]',
        )
    rows: dict[str, dict[str, Any]] = {}
    problems: list[str] = []
    for number, entry in enumerate(document[:MOST_APPS], start=1):
        problem, row = _row(entry)
        if problem or row is None:
            problems.append(f"entry {number}: {problem}")
        else:
            before = rows.setdefault(row["key"], row)
            if plain_repo(before["repo"]) != plain_repo(row["repo"]):
                problems.append(f"entry {number}: `{row['name']}` has another repository further up")
    if len(document) > MOST_APPS:
        problems.append(f"{len(document) - MOST_APPS} entries beyond the first {MOST_APPS} are left out")
    return list(rows.values()), problems


def _row(entry: Any) -> tuple[str, dict[str, Any] | None]:
    if not isinstance(entry, Mapping):
        return "it is no object", None
    name, repo = entry.get("name") or entry.get("key"), entry.get("repo") or entry.get("url")
    if not isinstance(name, str) or not valid_name(name):
        return f"{name!r} cannot be the name of an app", None
    if not isinstance(repo, str) or not _REPOSITORY.fullmatch(repo) or len(repo) > LONGEST:
        return f"`{name}` has no git URL as `repo`", None
    if _PASSWORD.match(repo):
        return f"the `repo` of `{name}` holds a password or token", None
    tags = entry.get("tags")
    return "", {
        "key": name.casefold(),
        "name": name,
        "repo": repo,
        "author": _text(entry.get("author")) or author_of(repo),
        "category": _text(entry.get("category")).upper(),
        "tags": [_text(tag) for tag in tags if isinstance(tag, str)][:20] if isinstance(tags, list) else [],
        "description": _text(entry.get("description")),
    }


def author_of(repo: str) -> str:
    """Return the owner that a repository's URL names, "" where it names none."""
    path = re.sub(r"^[a-z]+://[^/]*/|^[^:/]*:", "", repo).rstrip("/")
    owner = path.rpartition("/")[0].rpartition("/")[2]
    return owner if valid_name(owner) else ""


def plain_repo(repo: str) -> str:
    """Return a repository's URL as it compares: without case, `.git` and slashes at its end."""
    return repo.casefold().rstrip("/").removesuffix(".git")


def _text(value: Any) -> str:
    return re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", value)[:LONGEST].strip() if isinstance(value, str) else ""


def decode(data: bytes, source: str) -> Any:
    """Turn what was read from a catalogue's address into JSON; raises BadInputError."""
    if len(data) > MOST_BYTES:
        raise BadInputError(f"`{source}` is larger than {MOST_BYTES >> 20} MB, so it is no catalogue")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadInputError(
            f"`{source}` is not JSON: {error}",
            hint="for a single app give its git URL, which ends in `.git` or is on a git host",
        ) from None


def clashes(rows: Iterable[Mapping[str, Any]], known: Iterable[tuple[str, str]]) -> list[str]:
    """Return the names of rows that a known app with another repository has already."""
    taken: dict[str, set[str]] = {}
    for name, repo in known:
        taken.setdefault(name.casefold(), set()).add(plain_repo(repo))
    return [row["name"] for row in rows if taken.get(row["key"], set()) - {plain_repo(row["repo"])}]


def read_file(path: Path) -> bytes:
    """Return a catalogue file's bytes, one more than is allowed at most."""
    with path.open("rb") as file:
        return file.read(MOST_BYTES + 1)
