"""Which place an app lives in: what was chosen, else where it is already, else containers where there are any."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.agent.files import AgentFiles
from orchestrator.engine.errors import BadInputError
from orchestrator.places.container import settings
from orchestrator.places.host import HostPlace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.engine.home import Home
    from orchestrator.places.place import Place

HOST, CONTAINER = "host", "container"


def place_of(home: Home, app: str, *, say: Callable[[str], None] = lambda _line: None) -> Place:
    """Return the place of an app that was brought up before; the host for any other."""
    return make(home, settings.read(home, app).place or HOST, say=say)


def places_of(home: Home, app: str) -> list[Place]:
    """Return the places that may have something of an app, the one that it lives in first."""
    chosen = settings.read(home, app)
    first = chosen.place or HOST
    others = [HOST] if first == CONTAINER else [CONTAINER] if chosen.left else []
    return [make(home, name) for name in (first, *others)]


def lives_on_host(home: Home, app: str) -> bool:
    """Tell whether an app was brought up on the host."""
    return AgentFiles(home, app).state.exists()


def make(home: Home, name: str, *, say: Callable[[str], None] = lambda _line: None) -> Place:
    """Return a place by its name."""
    if name == CONTAINER:
        from orchestrator.places.container.place import ContainerPlace  # noqa: PLC0415  # hosts need nothing of it

        return ContainerPlace(home, say=say)
    return HostPlace(home)


@dataclass(frozen=True, slots=True)
class Choice:
    """Tell the place chosen for an app, and why where nobody said so."""

    name: str
    why: str = ""
    given: bool = False


def choose(home: Home, app: str, wanted: str | None, environ: Mapping[str, str] | None = None) -> Choice:
    """Choose the place of an app that is to be brought up.

    What the user wants now counts (`wanted`, then PINOCTL_PLACE), then what was wanted before, then where the app is
    installed; anew it is a container where a usable Docker daemon answers that offers the machine's card.
    """
    environ = os.environ if environ is None else environ
    wanted = wanted or environ.get("PINOCTL_PLACE") or None
    if wanted is not None:
        if wanted not in {HOST, CONTAINER}:
            raise BadInputError(f"`{wanted}` is no place for an app", hint="give `host` or `container`")
        return Choice(wanted, given=True)
    before = settings.read(home, app).place
    if before is not None:
        return Choice(before)
    if lives_on_host(home, app):
        return Choice(HOST, "it is installed there")
    return _of_daemon(environ)


def _of_daemon(environ: Mapping[str, str]) -> Choice:
    """Choose for a new app: a container where a daemon answers that can be used, with the machine's card."""
    from orchestrator.places.container.endpoint import gpu_support, look_round  # noqa: PLC0415  # only for new apps

    found = look_round(environ)
    if not found.usable:
        return Choice(HOST, found.problem)
    info = found.info
    if not info:  # a daemon on another machine was not asked yet
        from orchestrator.places.container.docker import DockerError, connect  # noqa: PLC0415  # only for these

        try:
            info = connect(environ, look=found, wait=5).info
        except DockerError as error:
            return Choice(HOST, str(error))
    if _has_card() and not gpu_support(info):
        return Choice(HOST, "the Docker daemon does not offer the graphics card to containers")
    return Choice(CONTAINER, f"Docker {info.get('ServerVersion', '')} is usable")


def _has_card() -> bool:
    from orchestrator.engine.hardware import detect  # noqa: PLC0415  # takes a moment

    return detect().gpu == "nvidia"
