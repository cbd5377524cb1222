"""The apps that pinoctl knows by name, and how a name finds its repository."""

from __future__ import annotations

import functools
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.catalog.added import plain_repo, read_added
from orchestrator.engine.errors import BadInputError

if TYPE_CHECKING:
    from orchestrator.engine.home import Home


@dataclass(frozen=True, slots=True)
class App:
    """Hold the facts about one app of a catalogue.

    `repo` is the URL of its launcher, `description` one sentence where name and tags do not say what it is, `source`
    the catalogue that a user added it with, "" for ours.
    """

    key: str
    name: str
    repo: str
    author: str = ""
    category: str = ""
    tags: tuple[str, ...] = ()
    description: str = ""
    source: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the facts as `--json` prints them."""
        return {**asdict(self), "tags": list(self.tags)}


@functools.cache
def shipped() -> tuple[App, ...]:
    """Return our own catalogue, sorted by name; it is read once, when first asked for."""
    text = Path(__file__).with_name("apps.json").read_text(encoding="utf-8")
    return tuple(App(**{**row, "tags": tuple(row["tags"])}) for row in json.loads(text))


def apps(home: Home | None = None) -> tuple[App, ...]:
    """Return our catalogue, and behind it the apps that the user of a home added and that are not in ours."""
    if home is None:
        return shipped()
    ours = shipped()
    have = {(app.key, plain_repo(app.repo)) for app in ours}
    rows = read_added(home).rows()
    return (*ours, *(App(**row) for row in rows if (row["key"], plain_repo(row["repo"])) not in have))


def find(name: str, catalog: tuple[App, ...] | None = None) -> list[App]:
    """Return the apps that a name, key or `author/name` means, in any case; an exact spelling wins over the others."""
    entries = shipped() if catalog is None else catalog
    author, slash, last = name.rpartition("/")
    if slash:
        entries = tuple(app for app in entries if app.author.casefold() == author.casefold())
    exact = [app for app in entries if last in {app.name, app.key}]
    key = last.casefold()
    return exact or [app for app in entries if key in {app.name.casefold(), app.key.casefold()}]


def choose(name: str, catalog: tuple[App, ...] | None = None) -> App | None:
    """Return the one app of this name or None; raise BadInputError that lists the choices when there are several."""
    found = find(name, catalog)
    if len({plain_repo(app.repo) for app in found}) > 1:
        choices = [f"{app.author}/{app.name}" if app.author else app.repo for app in found]
        told_apart = len({choice.casefold() for choice in choices}) == len(choices)
        listed = ", ".join(f"`{choice}`" for choice in (choices if told_apart else [app.repo for app in found]))
        raise BadInputError(
            f"`{name}` may mean any of these apps: {listed}",
            hint="give one of them with its author" if told_apart else "give the address of its repository",
        )
    return found[0] if found else None


def close(name: str, catalog: tuple[App, ...] | None = None, *, limit: int = 4) -> list[str]:
    """Return names of the catalogue that look like a mistyped one, best first."""
    from orchestrator.launcher.names import near  # noqa: PLC0415  # difflib is only needed once a name was not found

    entries = shipped() if catalog is None else catalog
    return near(name.rpartition("/")[2], (app.name for app in entries), limit=limit)
