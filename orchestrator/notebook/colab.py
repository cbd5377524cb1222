"""What of Colab's own package is used: mounting Drive, and a frame that leads to a port of the runtime."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from orchestrator.engine.errors import BadInputError, PinoctlError

MOUNT: Final = "/content/drive"
TOPS: Final = ("MyDrive", "Shareddrives")
HERE: Final = frozenset({"127.0.0.1", "localhost", "::1"})


def package(name: str) -> Any:
    """Import a module of `google.colab`; raise PinoctlError where there is none."""
    try:
        return importlib.import_module(f"google.colab.{name}")
    except ImportError:
        raise PinoctlError(
            "this is no notebook on Colab, because Python has no `google.colab` here",
            hint="run this in a cell of a Colab notebook; elsewhere use the command `pinoctl`",
        ) from None


def mount(folder: str, mountpoint: str = MOUNT) -> Path:
    """Mount Drive, which asks for consent the first time, and return a folder in it, made if it is not there.

    Raises PinoctlError when Drive cannot be mounted, BadInputError when the folder does not lie in it.
    """
    parts = checked(folder)
    try:
        package("drive").mount(mountpoint)
    except (NotImplementedError, ValueError, OSError) as error:
        raise PinoctlError(
            f"Google Drive cannot be mounted: {error}",
            hint="run the cell again, and allow the access that Colab asks for",
        ) from error
    top = Path(mountpoint, parts[0])
    if not top.is_dir():
        raise PinoctlError(
            f"Google Drive is mounted, but `{top}` is not there",
            hint="run the cell again, and allow access to all files",
        )
    place = Path(mountpoint, *parts)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PinoctlError(
            f"the folder `{place}` cannot be made: {error.strerror or error}", hint="name another folder of your Drive"
        ) from error
    return place


def checked(folder: str) -> tuple[str, ...]:
    """Return the parts of a folder's name in Drive, like `MyDrive/pinoctl`; raise BadInputError for any other."""
    parts = tuple(part for part in folder.split("/") if part)
    if len(parts) < 2 or parts[0] not in TOPS or {".", ".."} & set(parts) or folder.startswith("/") or "\0" in folder:  # noqa: PLR2004  # top and one below
        raise BadInputError(
            f"`{folder}` is no folder of its own in Drive", hint="name one below `MyDrive`, like `MyDrive/pinoctl`"
        )
    return parts


def frame_of(link: str) -> tuple[int, str] | None:
    """Return the port and path of a link to this machine, as a frame takes them; None when it leads elsewhere."""
    address = urlsplit(link)
    if address.scheme != "http" or address.hostname not in HERE:
        return None
    query = f"?{address.query}" if address.query else ""
    return address.port or 80, (address.path or "/") + query


def show(port: int, path: str, height: int) -> None:
    """Show a port of the runtime in the cell's output."""
    package("output").serve_kernel_port_as_iframe(port, path=path, height=str(height))
