"""What a build from a lock is given so that it takes the same versions again: files and environment variables.

The limits: what a build backend asks for beside itself is only held by date; an environment made with uv or pip where
VIRTUAL_ENV does not name it gets a range where environments disagree; conda and downloads are not held at all. So the
inventory of the result is compared with the lock's afterwards (`differences`).
"""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.engine.errors import BadInputError
from orchestrator.lock.constraints import BUILD, PIP, UV, constraints, version_key, versions
from orchestrator.lock.git_pins import BIN, git_configuration, git_variables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.lock.lock import Lock

_CONFIG = "config"  # holds uv/uv.toml, as a folder of XDG_CONFIG_DIRS
_PIP_WITH_DATES = (26,)
_UV_WITH_EXEMPTIONS = (0, 10)  # an older one refuses the whole file
_DATES = "%Y-%m-%dT%H:%M:%SZ"


def files(lock: Lock, folder: Path, *, home: Path = Path("/pinokio")) -> dict[str, str]:
    """Return all files that hold a build at a lock, names relative to `folder`, where they will lie."""
    if any(character.isspace() for character in str(folder)):
        raise BadInputError(
            f"the folder `{folder}` has spaces in its name, and uv and pip take those for the end of it",
            hint="use a folder without spaces",
        )
    return {
        **constraints(lock.inventory, home=home),
        **git_configuration(lock.inventory, folder=folder, home=home),
        f"{_CONFIG}/uv/uv.toml": uv_configuration(lock),
    }


def environment(
    lock: Lock, folder: Path, *, path: str | None = None, dates: bool = True, uv: str | None = None
) -> dict[str, str]:
    """Return the variables that hold a build at a lock whose files lie in `folder`.

    `path` is the PATH of the build: with it, PATH is among the result, the wrapper of git first. `dates` adds those
    that keep what is not in the lock (build requirements, mostly) from being newer than it. uv gets one only if the
    build's version of it, `uv`, and all those in the lock's environments know how to exempt packages; pip only if all
    its versions in the lock know the option and nothing came from an index that has no dates.
    """
    found = {
        "UV_CONSTRAINT": str(folder / UV),
        "PIP_CONSTRAINT": str(folder / PIP),
        **git_variables(folder),
    }
    if BUILD in constraints(lock.inventory):
        found["UV_BUILD_CONSTRAINT"] = found["PIP_BUILD_CONSTRAINT"] = str(folder / BUILD)
    if path is not None:
        found["PATH"] = f"{folder / BIN}:{path}" if path else str(folder / BIN)
    if dates:
        # the last thing that the build took may have been uploaded in the lock's own second
        limit = (lock.date + timedelta(seconds=1)).strftime(_DATES)
        if uv is not None and _oldest(lock.inventory, "uv", uv) >= _UV_WITH_EXEMPTIONS:
            found["XDG_CONFIG_DIRS"] = f"{folder / _CONFIG}:/etc/xdg"
        found["npm_config_before"] = limit
        if _pip_takes_dates(lock.inventory):
            found["PIP_UPLOADED_PRIOR_TO"] = limit
    return found


def uv_configuration(lock: Lock) -> str:
    """Return a `uv.toml` with the lock's date, from which all packages are exempt that the lock holds exactly.

    Without the exemption, uv finds nothing at indexes that do not tell when a file was uploaded (PyTorch's); there is
    no variable for it. An `exclude-newer` of the app's own project wins.
    """
    limit = (lock.date + timedelta(seconds=1)).strftime(_DATES)
    held = sorted({name for entry in lock.inventory.get("environments", []) for name in versions(entry)})
    exempt = "".join(f"{json.dumps(name)} = false\n" for name in held)
    return f'exclude-newer = "{limit}"\n\n[exclude-newer-package]\n{exempt}'


def write(lock: Lock, folder: Path, *, home: Path = Path("/pinokio"), at: Path | None = None) -> list[Path]:
    """Write the files into a folder, and return their paths; scripts become executable.

    `at` is the folder's path where the build runs, if that is another than here.
    """
    written = []
    for name, text in sorted(files(lock, at or folder, home=home).items()):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
        file.chmod(0o755 if text.startswith("#!") else 0o644)
        written.append(file)
    return written


def _pip_takes_dates(inventory: Mapping[str, Any]) -> bool:
    undated = any(
        "+" in str(package["version"])
        for entry in inventory.get("environments", [])
        for package in entry.get("packages", [])
    )
    return not undated and _oldest(inventory, "pip") >= _PIP_WITH_DATES


def _oldest(inventory: Mapping[str, Any], name: str, *others: str) -> tuple[int, ...]:
    """Return the release of the oldest version of a package among those in environments and others; () for none."""
    held = [
        str(package["version"])
        for entry in inventory.get("environments", [])
        for package in entry.get("packages", [])
        if package["name"] == name
    ]
    return min((tuple(version_key(version)[1]) for version in (*held, *others)), default=())
