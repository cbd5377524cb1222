"""Which installed app a command means: names are checked here, at the edge, and compared without case."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.commands import output
from orchestrator.engine.errors import BadInputError
from orchestrator.launcher.names import ADVICE, find_installed, installed, listing, near, valid_name

if TYPE_CHECKING:
    from orchestrator.engine.home import Home


def installed_app(home: Home, text: str) -> str:
    """Return the name of an installed app, as its folder spells it.

    `text` is its name in any case, its folder, or the git URL it came from. Raises BadInputError with near names.
    """
    name = _match(home, text)
    if name is not None:
        return name
    if not valid_name(text) and not _is_place(text):
        raise BadInputError(f"`{output.clean(text)}` cannot be the name of an app", hint=ADVICE)
    known = installed(home)
    if not known:
        raise BadInputError(
            f"`{text}` is not installed, and no other app is", hint=f"install it with `pinoctl up {text}`"
        )
    close = near(text, known)
    hint = (
        f"did you mean {listing(close)}?"
        if close
        else f"installed are {listing(known[:12])}; `pinoctl up APP` installs more"
    )
    raise BadInputError(f"`{text}` is not installed", hint=hint)


def usable_app(home: Home, text: str) -> str:
    """Return the name of an installed app whose folder is really there; raise BadInputError otherwise."""
    name = installed_app(home, text)
    folder = home.app(name)
    if not folder.is_dir():
        raise BadInputError(
            f"the folder of `{name}` is gone: it was linked to `{link_target(folder)}`",
            hint=f"put the folder back, or forget the app with `pinoctl rm {name}`",
        )
    return name


def link_target(folder: Path) -> str:
    """Return where an app's link leads, for messages."""
    try:
        return os.readlink(folder)  # noqa: PTH115  # Path.readlink would tidy what the message should show
    except OSError:
        return str(folder)


def _is_place(text: str) -> bool:
    return "://" in text or "/" in text or text.startswith((".", "~"))


def _match(home: Home, text: str) -> str | None:
    if valid_name(text):
        found = find_installed(home, text)
        if found is not None:
            return found
    if "://" in text:
        from orchestrator.engine.repositories import remote_of  # noqa: PLC0415  # names and folders do without
        from orchestrator.launcher.target import parse_target, same_remote  # noqa: PLC0415

        url = parse_target(text, cwd=Path.cwd()).url
        return next((name for name in installed(home) if same_remote(remote_of(home.app(name)), url)), None)
    if _is_place(text) and (place := Path(text).expanduser()).exists():
        real = place.resolve()
        return next((name for name in installed(home) if home.app(name).resolve() == real), None)
    return None
