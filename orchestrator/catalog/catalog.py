"""The apps that pinoctl knows by name, and how a name finds its repository."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path

from orchestrator.engine.errors import BadInputError


@dataclass(frozen=True, slots=True)
class App:
    """Hold the facts about one app of the catalogue; `repo` is the https URL of its launcher."""

    key: str
    name: str
    repo: str
    author: str
    category: str
    tags: tuple[str, ...] = ()


@functools.cache
def apps() -> tuple[App, ...]:
    """Return the whole catalogue, sorted by name; it is read once, when first asked for."""
    text = Path(__file__).with_name("apps.json").read_text(encoding="utf-8")
    return tuple(App(**{**row, "tags": tuple(row["tags"])}) for row in json.loads(text))


def find(name: str, catalog: tuple[App, ...] | None = None) -> list[App]:
    """Return the apps that a name, key or `author/name` means, in any case; an exact spelling wins over the others."""
    entries = apps() if catalog is None else catalog
    author, slash, last = name.rpartition("/")
    if slash:
        entries = tuple(app for app in entries if app.author.casefold() == author.casefold())
    exact = [app for app in entries if last in {app.name, app.key}]
    key = last.casefold()
    return exact or [app for app in entries if key in {app.name.casefold(), app.key.casefold()}]


def choose(name: str, catalog: tuple[App, ...] | None = None) -> App | None:
    """Return the one app of this name or None; raise BadInputError that lists the choices when there are several."""
    found = find(name, catalog)
    if len(found) > 1:
        choices = ", ".join(f"`{app.author}/{app.name}`" for app in found)
        raise BadInputError(f"`{name}` may mean any of these apps: {choices}", hint="give one of them with its author")
    return found[0] if found else None


def close(name: str, catalog: tuple[App, ...] | None = None, *, limit: int = 4) -> list[str]:
    """Return names of the catalogue that look like a mistyped one, best first."""
    from orchestrator.launcher.names import near  # noqa: PLC0415  # difflib is only needed once a name was not found

    entries = apps() if catalog is None else catalog
    return near(name.rpartition("/")[2], (app.name for app in entries), limit=limit)


def search(words: str, catalog: tuple[App, ...] | None = None) -> list[App]:
    """Return the apps that have every word somewhere in their name, author, category or tags."""
    wanted = words.casefold().split()
    entries = apps() if catalog is None else catalog
    texts = ((app, " ".join((app.name, app.key, app.author, app.category, *app.tags)).casefold()) for app in entries)
    return [app for app, text in texts if all(word in text for word in wanted)]
