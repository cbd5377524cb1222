"""Searching the catalogue: every word has to be somewhere, the best place first."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orchestrator.catalog.catalog import App

NAME, NAME_START, TAG, NAME_WORD, TAG_WORD, NAME_PART, ABOUT = 100, 60, 50, 45, 25, 20, 10
TYPOS = 3  # how many words a mistyped one may stand for
CLOSE = 0.8  # how like a word another has to be to count as the same, mistyped


def search(
    apps: Iterable[App],
    words: Sequence[str] = (),
    *,
    category: str | None = None,
    tag: str | None = None,
    author: str | None = None,
) -> list[App]:
    """Return the apps that have every word, best first, then by name; a word that no app has may be mistyped.

    `category`, `tag` and `author` narrow the apps, without regard to case.
    """
    narrowed = [app for app in apps if _narrow(app, category, tag, author)]
    wanted = [word for text in words for word in _words(text)]
    scored = [(score, app) for app in narrowed if (score := _score(app, wanted)) > 0]
    exact = " ".join(words).strip().casefold()
    scored = [(score + NAME * (app.name.casefold() == exact), app) for score, app in scored]
    if not scored and wanted:
        mended = _mended(narrowed, wanted)
        scored = [
            (score, app)
            for app in narrowed
            if (score := sum(best := [max((_score(app, [word]) for word in each), default=0) for each in mended]))
            and all(best)
        ]
    return [app for _, app in sorted(scored, key=lambda found: (-found[0], found[1].name.casefold()))]


def _narrow(app: App, category: str | None, tag: str | None, author: str | None) -> bool:
    return (
        (category is None or app.category.casefold() == category.casefold())
        and (author is None or app.author.casefold() == author.casefold())
        and (tag is None or any(each.casefold() == tag.casefold() for each in app.tags))
    )


def _score(app: App, wanted: Sequence[str]) -> int:
    if not wanted:
        return 1
    name, tags = app.name.casefold(), [tag.casefold() for tag in app.tags]
    name_words = set(_words(name))
    tag_words = {word for tag in tags for word in _words(tag)}
    about = f"{app.description} {app.author} {app.category}".casefold()
    total = NAME if "-".join(wanted) == "-".join(_words(name)) else 0
    for word in wanted:
        places = (
            (NAME, word in {name, app.key}),
            (NAME_WORD, word in name_words),
            (TAG, word in tags),
            (NAME_START, name.startswith(word)),
            (TAG_WORD, word in tag_words),
            (NAME_PART, word in name),
            (ABOUT, word in about or any(word in tag for tag in tags)),
        )
        best = max((score for score, there in places if there), default=0)
        if best == 0:
            return 0
        total += best
    return total


def _mended(apps: Sequence[App], wanted: Sequence[str]) -> list[list[str]]:
    """Return for each word those that it may stand for: itself where any app has it, else the closest known ones."""
    known = {word for app in apps for word in _words(_all(app))}
    texts = "\n".join(_all(app) for app in apps).casefold()
    return [
        [word] if word in texts else difflib.get_close_matches(word, known, n=TYPOS, cutoff=CLOSE) for word in wanted
    ]


def _all(app: App) -> str:
    return f"{app.name} {app.author} {app.category} {app.description} {' '.join(app.tags)}"


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.casefold())
