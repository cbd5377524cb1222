"""The names of apps: what one may look like, which are installed, which are close to a mistyped one."""

from __future__ import annotations

import difflib
import os
import re
from typing import TYPE_CHECKING

from orchestrator.engine.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.engine.home import Home

PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
ADVICE = "use 1 to 63 letters, digits, `.`, `_` or `-`, beginning with a letter or digit"


def valid_name(name: str) -> bool:
    """Tell whether an app may have this name (design, decision 11)."""
    return PATTERN.fullmatch(name) is not None


def check_name(name: str) -> str:
    """Return the name, or raise BadInputError when no app may have it."""
    if not valid_name(name):
        raise BadInputError(f"{name!r} cannot be the name of an app, because it becomes a folder's name", hint=ADVICE)
    return name


def same_name(one: str, other: str) -> bool:
    """Compare two names as we do everywhere: without case."""
    return one.casefold() == other.casefold()


def installed(home: Home) -> list[str]:
    """List the apps in a home: folders and links below `api`, sorted without case; links that lead nowhere included."""
    try:
        with os.scandir(home.api) as entries:
            names = [
                entry.name for entry in entries if valid_name(entry.name) and (entry.is_dir() or entry.is_symlink())
            ]
    except FileNotFoundError:
        return []
    return sorted(names, key=str.casefold)


def find_installed(home: Home, name: str) -> str | None:
    """Return an installed app's name as its folder spells it, or None; the exact spelling wins over other cases."""
    names = installed(home)
    if name in names:
        return name
    return next((each for each in names if same_name(each, name)), None)


def near(name: str, known: Iterable[str], *, limit: int = 4) -> list[str]:
    """Return the known names closest to a mistyped one, best first; one that contains it counts as close."""
    by_key = {each.casefold(): each for each in known}
    key = name.casefold()
    close = difflib.get_close_matches(key, by_key, n=limit, cutoff=0.6)
    inside = sorted((each for each in by_key if len(key) > 2 and key in each and each not in close), key=len)  # noqa: PLR2004  # two letters are in everything
    return [by_key[each] for each in [*close, *inside][:limit]]


def listing(names: Iterable[str]) -> str:
    """Write names for a message: `a`, `b` or `c`."""
    quoted = [f"`{name}`" for name in names]
    return " or ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)
