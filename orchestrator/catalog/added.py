"""Catalogues and apps that a user added, kept in `HOME/catalogues.json`.

A catalogue is a JSON array of objects with at least `name` and `repo`, as ours (docs/catalogue.md). Entries that are
no good are left out and counted, so that one bad entry or one that vanished takes nothing else with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from orchestrator.engine.errors import BadInputError
from orchestrator.launcher.names import valid_name

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.engine.home import Home

FILE: Final = "catalogues.json"
MOST_BYTES: Final = 8 << 20
MOST_APPS: Final = 20_000
LONGEST: Final = 500  # characters of one text
_REPOSITORY = re.compile(r"(?:https?|ssh|git|file)://[^\s]+|[A-Za-z0-9_][\w.-]*@[A-Za-z0-9][\w.-]*:[^\s-][^\s]*")


@dataclass(slots=True)
class Added:
    """Hold what was added: catalogues by their address, each with its apps' rows, and single apps under "" ."""

    catalogues: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def rows(self) -> list[dict[str, Any]]:
        """Return every app as the fields of `App`."""
        return [
            {**row, "tags": tuple(row.get("tags", ())), "source": source or "added by hand"}
            for source, rows in self.catalogues.items()
            for row in rows
        ]


def read_added(home: Home) -> Added:
    """Return what was added to a home; nothing where the file is missing or is not ours."""
    try:
        data = json.loads((home.root / FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return Added()
    catalogues = data.get("catalogues") if isinstance(data, Mapping) else None
    if not isinstance(catalogues, Mapping):
        return Added()
    return Added({str(source): parse(rows)[0] for source, rows in catalogues.items() if isinstance(rows, list)})


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
            rows.setdefault(row["key"], row)
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
    tags = entry.get("tags")
    return "", {
        "key": name.casefold(),
        "name": name,
        "repo": repo,
        "author": _text(entry.get("author")),
        "category": _text(entry.get("category")).upper(),
        "tags": [_text(tag) for tag in tags if isinstance(tag, str)][:20] if isinstance(tags, list) else [],
        "description": _text(entry.get("description")),
    }


def _text(value: Any) -> str:
    return re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", value)[:LONGEST].strip() if isinstance(value, str) else ""


def decode(data: bytes, source: str) -> Any:
    """Turn what was read from a catalogue's address into JSON; raises BadInputError."""
    if len(data) > MOST_BYTES:
        raise BadInputError(f"`{source}` is larger than {MOST_BYTES >> 20} MB, so it is no catalogue")
    try:
        return json.loads(data)
    except ValueError as error:
        raise BadInputError(
            f"`{source}` is not JSON: {error}",
            hint="for a single app give its git URL, which ends in `.git` or is on a git host",
        ) from None


def clashes(rows: Iterable[Mapping[str, Any]], known: Iterable[tuple[str, str]]) -> list[str]:
    """Return the names of rows that a known app with another repository has already."""
    taken = {name.casefold(): repo for name, repo in known}
    return [row["name"] for row in rows if taken.get(row["name"].casefold(), row["repo"]) != row["repo"]]


def read_file(path: Path) -> bytes:
    """Return a catalogue file's bytes, one more than is allowed at most."""
    with path.open("rb") as file:
        return file.read(MOST_BYTES + 1)
