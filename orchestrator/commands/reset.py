"""`pinoctl reset APP`: the launcher's own reset script, after which the app is not installed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import click

from orchestrator.commands import output
from orchestrator.commands.options import (
    answer_options,
    given_answers,
    home_of,
    home_option,
    json_option,
    quiet_option,
    yes_option,
)
from orchestrator.engine.errors import PinoctlError

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.engine.home import Home


@click.command()
@click.argument("app")
@yes_option
@answer_options
@home_option
@json_option
@quiet_option
def reset(
    *, app: str, yes: bool, answers: str | None, answer: tuple[str, ...], home: Path | None, as_json: bool, quiet: bool
) -> int:
    """Stop an app and run its launcher's reset script, which as a rule deletes what was installed.

    The next `up` installs the app anew.
    """
    from orchestrator.commands.apps import usable_app  # noqa: PLC0415  # `--help` does without
    from orchestrator.commands.confirm import confirm  # noqa: PLC0415
    from orchestrator.commands.offers import read_offers  # noqa: PLC0415
    from orchestrator.commands.run import execute  # noqa: PLC0415
    from orchestrator.commands.session import Session  # noqa: PLC0415
    from orchestrator.places.choosing import HOST, place_of  # noqa: PLC0415

    document, pairs = given_answers(answers, answer)
    where = home_of(home)
    name = usable_app(where, app)
    if place_of(where, name).name != HOST:
        return _forget_container(where, name, yes=yes)
    script = read_offers(where, name, None).launcher.scripts.reset
    if script is None:
        raise PinoctlError(f"`{name}` offers no reset script", hint=f"`pinoctl rm {name}` removes it altogether")
    if not confirm(
        output.clean(script.confirm) or f"Run `{script.path}` of `{name}`, which deletes what it installed?", yes=yes
    ):
        output.say(f"`{name}` stays as it is")
        return 1
    place_of(where, name).stop(name)
    with Session(where, name, quiet=quiet) as session:
        status = execute(session, script.path, dict(script.args), answers=document, pairs=pairs, as_json=as_json)
    if status == 0:
        place_of(where, name).stop(name)
        _forget_installation(where, name)
    return status


def _forget_container(home: Home, name: str, *, yes: bool) -> int:
    """Remove an app's container and images: what a reset script deletes is in them."""
    from orchestrator.commands.confirm import confirm  # noqa: PLC0415  # see above
    from orchestrator.places.container.place import ContainerPlace  # noqa: PLC0415
    from orchestrator.state.locks import app_lock  # noqa: PLC0415

    if not confirm(f"Remove the container and the images of `{name}`, with everything that was made in it?", yes=yes):
        output.say(f"`{name}` stays as it is")
        return 1
    place = ContainerPlace(home)
    with app_lock(home, name, "reset"):
        place.stop(name)
        place.remove(name)
    output.say(f"`{name}` is not installed any more; shared models and caches stay")
    return 0


def _forget_installation(home: Home, name: str) -> None:
    """Forget that the app was installed, so that the next `up` does it again."""
    from orchestrator.agent.files import AgentFiles  # noqa: PLC0415  # see above
    from orchestrator.state.app_state import AppState  # noqa: PLC0415
    from orchestrator.state.library import Library  # noqa: PLC0415

    files = AgentFiles(home, name)
    for path in (files.state, files.position):
        path.unlink(missing_ok=True)
    with (
        contextlib.suppress(PinoctlError, OSError),
        Library(home.library) as library,
    ):  # the index is rebuilt where it is lost
        library.set_state(name, AppState())
