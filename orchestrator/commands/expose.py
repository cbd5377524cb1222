"""`pinoctl expose` and `pinoctl hide`: give an app an address beyond this machine, and take it away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from orchestrator.commands import output
from orchestrator.commands.options import expose_options, home_of, home_option, json_option, quiet_option

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.argument("app")
@click.option("--qr", is_flag=True, help="Show the address as a QR code, too.")
@expose_options
@home_option
@json_option
@quiet_option
def expose(*, app: str, qr: bool, home: Path | None, as_json: bool, quiet: bool, **options: Any) -> int:
    """Give an app an address beyond this machine, closed to strangers, and print it.

    The app need not run: whoever comes sees a page that waits for it. What is chosen here is kept for its next `up`.
    """
    from orchestrator.commands.apps import installed_app  # noqa: PLC0415  # `--help` does without
    from orchestrator.commands.exposing import begin, given_exposure  # noqa: PLC0415
    from orchestrator.commands.links import told_closed  # noqa: PLC0415
    from orchestrator.commands.open import draw  # noqa: PLC0415
    from orchestrator.commands.progress import Progress  # noqa: PLC0415

    given = given_exposure(options)
    where = home_of(home)
    name = installed_app(where, app)
    link = begin(where, name, given).settle(Progress(name, quiet=quiet))
    if "tunnel" not in given:
        told_closed(name, link)
    if as_json:
        output.as_json({"app": name, **link.to_json()})
    else:
        if qr:
            draw(str(link.best), qr=True)
        output.data(str(link.best))
    return 1 if link.problem else 0


@click.command()
@click.argument("app")
@click.option("--forget", is_flag=True, help="End every link and session of it for good, too.")
@home_option
@json_option
def hide(*, app: str, forget: bool, home: Path | None, as_json: bool) -> int:
    """Take an app's address beyond this machine away; the app goes on."""
    from orchestrator.commands.apps import installed_app  # noqa: PLC0415  # `--help` does without
    from orchestrator.commands.exposing import hide as ask_gate  # noqa: PLC0415

    where = home_of(home)
    name = installed_app(where, app)
    hidden = ask_gate(where, name, forget=forget)
    if as_json:
        output.as_json({"app": name, "hidden": hidden})
    else:
        output.say(f"`{name}` is hidden" if hidden else f"`{name}` was not exposed")
    return 0
