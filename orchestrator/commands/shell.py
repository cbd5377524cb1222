"""`pinoctl shell APP`: a bash inside an app's environment, on the user's own terminal (spec 8.5, 8.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.commands import output
from orchestrator.commands.options import home_of, home_option

if TYPE_CHECKING:
    from pathlib import Path


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("app")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]")
@click.option("--venv", metavar="PATH", help="Which virtual environment to activate, where the app has several.")
@home_option
def shell(*, app: str, command: tuple[str, ...], venv: str | None, home: Path | None) -> int:
    """Open a bash inside an app's environment, or run one command in it.

    It has the variables and tools of the app's own shells, begins in the app's folder, and its virtual environment is
    active. The exit status is the command's.
    """
    from orchestrator.commands.apps import usable_app  # noqa: PLC0415  # `--help` does without
    from orchestrator.places.choosing import HOST, place_of  # noqa: PLC0415

    where = home_of(home)
    name = usable_app(where, app)
    place = place_of(where, name)
    if place.name != HOST:
        from orchestrator.places.container.place import ContainerPlace  # noqa: PLC0415  # see above

        return ContainerPlace(where, say=output.say).shell(name, command, venv=venv)
    from orchestrator.agent.interactive import become_shell  # noqa: PLC0415  # see above

    become_shell(where, name, command, venv=venv, say=output.say)
    return 1  # never: this process is the shell now
