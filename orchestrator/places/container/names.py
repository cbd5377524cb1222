"""What containers, images and volumes are called, and the labels by which they are found again."""

from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.engine.home import Home

PREFIX: Final = "pinoctl"
APP: Final = "pinoctl.app"  # the app's name as its folder spells it
HOME: Final = "pinoctl.home"  # the home that it belongs to
KIND: Final = "pinoctl.kind"  # base, checkpoint, image; build, app, helper; own
CHAIN: Final = "pinoctl.chain"  # the steps that are done in an image
ROOT: Final = "pinoctl.root"  # what the steps start from, and after a space the update that came before
CODE: Final = "pinoctl.code"  # hash of pinoctl's own code in an image
LAUNCHER: Final = "pinoctl.launcher"  # hash of the launcher's files in an image
INSTALLED: Final = "pinoctl.installed"  # `true` when every step is done
BASE: Final = "pinoctl.base"  # what the base image begins with, and of an app's image the base image's id after it
LOCK: Final = "pinoctl.lock"  # what the image consists of
CONFIG: Final = "pinoctl.config"  # hash of how a container was made
RECIPE: Final = "pinoctl.recipe"  # hash of what a base image was made from
HARDWARE: Final = "pinoctl.hardware"
VERSION: Final = "pinoctl.version"
MODE: Final = "pinoctl.mode"  # image or volume
READER: Final = "pinoctl.reader"  # of a helper: whoever reads by way of it holds no lock

BASE_REPOSITORY: Final = "pinoctl/base"
CODE_VOLUME: Final = "pinoctl-code"


def home_key(home: Home) -> str:
    """Return a few letters that tell homes apart."""
    return hashlib.sha256(str(home.root).encode()).hexdigest()[:8]


def volume(home: Home, environ: Mapping[str, str] | None = None) -> str:
    """Return the volume that the apps of a home share, PINOCTL_VOLUME where that is set."""
    environ = os.environ if environ is None else environ
    return environ.get("PINOCTL_VOLUME") or f"{PREFIX}-shared-{home_key(home)}"


def own_volume(home: Home, app: str) -> str:
    """Return the volume of what an app has for itself alone."""
    return f"{PREFIX}-own-{app}-{home_key(home)}"


def repository(app: str) -> str:
    """Return the repository of an app's images; names that differ in case share it, as they do everywhere."""
    lower = app.lower()
    name = re.sub(r"[._-]{2,}", lambda found: found[0][0], lower).strip("._-")
    if name != lower:  # Docker allows less than folders do: `my--app` must not get the images of `my-app`
        name = f"{name}-{hashlib.sha256(lower.encode()).hexdigest()[:8]}".strip("-")
    return f"{PREFIX}/{name}"


def current(home: Home, app: str) -> str:
    """Return the reference of the image that an app runs from in a home."""
    return f"{repository(app)}:{home_key(home)}"


def previous(home: Home, app: str) -> str:
    """Return the reference of the image before the last update."""
    return f"{repository(app)}:{home_key(home)}-previous"


def candidate(home: Home, app: str) -> str:
    """Return the reference of an image that is built and not yet used."""
    return f"{repository(app)}:{home_key(home)}-next"


def updated(home: Home, app: str) -> str:
    """Return the reference of what the last update installed, which builds and a new version of pinoctl go on from."""
    return f"{repository(app)}:{home_key(home)}-updated"


def checkpoint(app: str, key: str) -> str:
    """Return the reference of a checkpoint."""
    return f"{repository(app)}:checkpoint-{key[:20]}"


def container(home: Home, app: str, what: str = "") -> str:
    """Return the name of an app's container; `what` is `build`, `next` or `old`."""
    return f"{PREFIX}-{app}-{home_key(home)}" + (f"-{what}" if what else "")
