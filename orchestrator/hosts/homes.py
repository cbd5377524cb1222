"""Where the home lies when nobody says so: the folder that survives longest on each kind of rented machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.engine.errors import BadInputError
from orchestrator.hosts.detection import find_platform
from orchestrator.hosts.signs import Signs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.hosts.platform import Platform


def default_home(
    environ: Mapping[str, str], exists: Callable[[str], bool], read: Callable[[str], str | None] = lambda _: None
) -> Path:
    """Return the folder of the home: PINOCTL_HOME, else this machine's persistent folder, else `~/pinokio`.

    `exists` tells whether a path does; a platform counts only by its variables and if its folder is there, so that a
    wrong guess does no harm. `read` returns a file's text; without it only the process's own variables count.
    Raises BadInputError when not even the user's own folder is known.
    """
    given = environ.get("PINOCTL_HOME", "").strip()
    if given:
        return _expanded(given, environ)
    signs = Signs(environ, lambda _: False, read)  # two folders that merely exist must not move a home
    for folder in persistent_folders(find_platform(signs), signs):
        if exists(folder):
            return Path(folder, "pinokio")
    return _user_folder(environ) / "pinokio"


def persistent_folders(platform: Platform, signs: Signs) -> list[str]:
    """List the folders of a platform that a home may lie in, the best first; empty means the user's own folder."""
    own = signs.get("WORKSPACE") if platform.name == "vast" else ""
    return [*([own] if own.startswith("/") else []), *platform.facts.bases]


def _expanded(path: str, environ: Mapping[str, str]) -> Path:
    if path == "~" or path.startswith("~/"):
        return _user_folder(environ) / path[2:]
    if not path.startswith("/"):
        raise BadInputError(f"`PINOCTL_HOME` must be an absolute path, got `{path}`")
    return Path(path)


def _user_folder(environ: Mapping[str, str]) -> Path:
    folder = environ.get("HOME", "")
    if not folder.startswith("/"):
        raise BadInputError("neither `PINOCTL_HOME` nor `HOME` is set", hint="set PINOCTL_HOME to the folder to use")
    return Path(folder)
