"""`pinoctl open APP`: the URL of an app that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.commands import output
from orchestrator.commands.options import home_of, home_option, json_option
from orchestrator.engine.errors import PinoctlError

if TYPE_CHECKING:
    from pathlib import Path


@click.command("open")
@click.argument("app")
@home_option
@json_option
def open_(*, app: str, home: Path | None, as_json: bool) -> int:
    """Print the URL of an app that is ready; any other state is a failure (exit status 1)."""
    from orchestrator.commands.apps import installed_app  # noqa: PLC0415  # `--help` does without
    from orchestrator.commands.overview import survey  # noqa: PLC0415

    where = home_of(home)
    name = installed_app(where, app)
    view = survey(where, [name])[0]
    url = view.row.url
    if as_json:
        output.as_json({"app": name, "state": view.state, "url": url, "place": view.row.place})
        return 0 if url else 1
    if not url:
        if view.state == "ready":
            raise PinoctlError(f"`{name}` is ready, but it has no page")
        raise PinoctlError(
            f"`{name}` has no URL, because it is {output.clean(view.state)}", hint=f"start it with `pinoctl up {name}`"
        )
    output.data(url)
    return 0
