"""Where the home lies when nobody says so: the folder that survives longest on each kind of rented machine."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from orchestrator.engine.errors import BadInputError
from orchestrator.hosts.detection import find_platform
from orchestrator.hosts.platform import NO, YES
from orchestrator.hosts.signs import Signs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.hosts.platform import Facts, Folder, Platform


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


def folder_of(facts: Facts, path: str, *, on_root: bool) -> Folder | None:
    """Return the folder of a platform that a path lies in, as far as what it survives is known.

    `on_root` tells that the path is on the disk of `/`: where no volume is mounted, a volume's folder lasts no longer.
    """
    inside = [each for each in facts.folders if PurePath(path).is_relative_to(each.path)]
    root = next((each for each in inside if each.path == "/"), None)
    if on_root and root is not None:
        return root
    return max((each for each in inside if each is not root), key=lambda each: len(each.path), default=None)


def lasting(folder: Folder) -> str:
    """Say in a few words whether what is in a folder survives a stop of its machine."""
    words = {YES: "survives a stop", NO: "does not survive a stop"}
    return words.get(folder.stop, folder.stop if "no stop" in folder.stop else f"survives a stop {folder.stop}")


def better_place(facts: Facts, path: str) -> str:
    """Say what to do about a home that does not survive a stop of its machine."""
    lasts = [each for each in facts.folders if each.stop == YES]
    volume = next((each for each in lasts if each.path in facts.bases), None)
    if volume is not None and PurePath(path).is_relative_to(volume.path):
        return f"no volume is mounted at `{volume.path}`: give the machine one"
    if volume is not None:
        return f"`{volume.path}` does where a volume is mounted there: set PINOCTL_HOME to a folder in it"
    return "".join(f"`{each.path}` does, {each.note}; docs/platforms.md says how to use it" for each in lasts[:1])


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
