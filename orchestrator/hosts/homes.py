"""Where the home lies when nobody says so: the folder that survives longest on each kind of rented machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator.engine.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


# prefixes of variables → folder; Kaggle's images are built on Colab's, so it comes first
_PLATFORMS: Final = (
    (("KAGGLE_KERNEL_RUN_TYPE", "KAGGLE_URL_BASE"), "/kaggle/working"),
    (("COLAB_RELEASE_TAG", "COLAB_BACKEND_VERSION", "COLAB_JUPYTER_IP"), "/content"),
    (("RUNPOD_POD_ID",), "/workspace"),
    (("VAST_",), "/workspace"),
    (("LIGHTNING_CLOUD_SPACE_ID", "LIGHTNING_CLOUDSPACE_HOST"), "/teamspace/studios/this_studio"),
    (("PAPERSPACE_",), "/storage"),
)


def default_home(environ: Mapping[str, str], exists: Callable[[str], bool]) -> Path:
    """Return the folder of the home: PINOCTL_HOME, else this machine's persistent folder, else `~/pinokio`.

    `exists` tells whether a path does; a platform counts only if its folder is there, so that a wrong guess does no
    harm.
    Raises BadInputError when not even the user's own folder is known.
    """
    given = environ.get("PINOCTL_HOME", "").strip()
    if given:
        return _expanded(given, environ)
    for folder in _persistent(environ):
        if exists(folder):
            return Path(folder, "pinokio")
    return _user_folder(environ) / "pinokio"


def _persistent(environ: Mapping[str, str]) -> list[str]:
    """List the persistent folders of the first platform whose variables are set."""
    for prefixes, folder in _PLATFORMS:
        if any(value and name.startswith(prefixes) for name, value in environ.items()):
            own = environ.get("WORKSPACE", "") if prefixes == ("VAST_",) else ""
            return [own, folder] if own.startswith("/") else [folder]
    return []


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
