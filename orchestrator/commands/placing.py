"""Where a command puts an app: the place chosen, what its container may use tried, the other place left in order."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from orchestrator.commands import output
from orchestrator.engine.errors import BadInputError, PinoctlError
from orchestrator.places.choosing import CONTAINER, HOST, choose, lives_on_host, places_of
from orchestrator.places.container import settings
from orchestrator.places.container.docker import RefusedError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from orchestrator.engine.home import Home
    from orchestrator.places.container.place import ContainerPlace

ASKED: Final = ("gpus", "cpus", "base")  # what only the daemon knows whether it can be had
TRIED: Final = ("mode", "gpus", "memory", "cpus", "shm", "pids", "mounts", "base")


@dataclass(frozen=True, slots=True)
class Placed:
    """Tell the place of an app, whether somebody asked for it now, and what was chosen before this command."""

    name: str
    given: bool
    before: settings.Settings


def placed(
    home: Home, name: str, wanted: str | None, limits: Mapping[str, Any], *, quiet: bool, building: bool = False
) -> Placed:
    """Choose the place of an app and keep the choice with what its container may use; raises BadInputError.

    `building` keeps what is given for the app's image and leaves an app where it lives.
    """
    from orchestrator.commands.building import chosen_settings  # noqa: PLC0415  # `--help` does without

    options = sorted(key for key, value in limits.items() if value not in {None, False, ()})
    before = settings.read(home, name)
    if before.place is None and lives_on_host(home, name):
        before = replace(before, place=HOST)
    choice = choose(home, name, CONTAINER if building else wanted)
    place, asked = choice.name, choice.given
    if options and place == HOST:
        if asked or before.place == HOST:
            raise BadInputError(
                f"`--{options[0].replace('_', '-')}` is for containers, and `{name}` is to be on the host",
                hint="`--place container` moves it into one, where it is installed anew",
            )
        place, asked = CONTAINER, True
    now = chosen_settings(home, name, HOST if building and before.place == HOST else place, limits)
    if now.place == HOST and CONTAINER in {place, before.place}:
        now = now.changed(left=True)
    if place == CONTAINER and before.place != CONTAINER and not asked and not quiet:
        output.say(f"`{name}` gets a container: {choice.why}; `--place host` installs it here instead")
    if place == CONTAINER:
        _refuse_impossible(now, {key for key in ASKED if limits.get(key)})
    if now != before and (place == CONTAINER or before.place is not None):
        settings.write(home, name, now)
    return Placed(place, asked, before)


def _refuse_impossible(wanted: settings.Settings, given: Collection[str]) -> None:
    """Ask the daemon whether what was given can be had, so that nothing else is kept; raises PinoctlError."""
    if not given:
        return
    from orchestrator.places.container import base_image, gpus  # noqa: PLC0415  # see above
    from orchestrator.places.container.docker import connect  # noqa: PLC0415

    docker = connect()
    if "gpus" in given:
        gpus.requests(wanted.gpus, docker.info, card=True)
    processors = int(docker.info.get("NCPU") or 0)
    if "cpus" in given and 0 < processors < (wanted.cpus or 0):
        raise BadInputError(
            f"`--cpus {wanted.cpus:g}` is more than the {processors} processors of the machine",
            hint="give fewer, or `--cpus none` for all of them",
        )
    if "base" in given and wanted.base is not None:
        base_image.look_up(docker, wanted.base)


@contextlib.contextmanager
def on_trial(home: Home, name: str, placing: Placed) -> Iterator[None]:
    """Put the settings of before back where the block finds that a container cannot be had with the new ones."""
    try:
        yield
    except RefusedError:
        now, before = settings.read(home, name), placing.before
        again = replace(now, place=before.place or now.place, **{key: getattr(before, key) for key in TRIED})
        if again != now:
            settings.write(home, name, again)
            output.say(f"`{name}` keeps the settings that it had before")
        raise


def may_fall_back(place: ContainerPlace, name: str, placing: Placed) -> bool:
    """Tell whether an app that no container can be made for may be installed on the host: only a new one."""
    return not placing.given and placing.before.place is None and not place.has(name)


def leave_other(home: Home, name: str, placing: Placed) -> None:
    """Stop an app in the place that it does not live in any more, and say what stays there."""
    for place in places_of(home, name)[1:]:
        try:
            stopped = place.stop(name)
        except PinoctlError as error:
            output.say(f"warning: whether `{name}` still runs in its container cannot be seen: {error}", style="yellow")
            continue
        if place.name == CONTAINER and (stopped or placing.before.place == CONTAINER):
            output.say(
                f"`{name}` is stopped in its container, which stays with its image and what was made there:"
                " `--place container` goes back to it"
            )
        elif stopped:
            output.say(
                f"`{name}` is stopped on the host; what it installed in `{home.app(name)}` stays there:"
                " `--place host` goes back to it"
            )


def stop_everywhere(home: Home, name: str) -> bool:
    """Stop an app in every place that may have something of it; tells whether it ran. Raises PinoctlError."""
    first, *others = places_of(home, name)
    stopped = first.stop(name)
    try:
        return any([stopped, *(place.stop(name) for place in others)])
    except PinoctlError as error:
        output.say(f"warning: what `{name}` has in another place cannot be stopped: {error}", style="yellow")
        return stopped


def container_of(home: Home, name: str) -> ContainerPlace | None:
    """Return the containers of an app that lives in one or once did, None where it never did or they cannot be had.

    Raises PinoctlError where it lives there.
    """
    for index, place in enumerate(places_of(home, name)):
        if place.name == CONTAINER:
            try:
                place.prepare()
            except PinoctlError as error:
                if index == 0:
                    raise
                output.say(f"warning: what `{name}` left in Docker stays there: {error}", style="yellow")
                return None
            from orchestrator.places.container.place import ContainerPlace  # noqa: PLC0415  # hosts need nothing of it

            return place if isinstance(place, ContainerPlace) else None
    return None
