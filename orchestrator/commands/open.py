"""`pinoctl open APP`: the URL of an app that runs."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from orchestrator.commands import output
from orchestrator.commands.links import Link, link_of, shown_links, warn
from orchestrator.commands.options import home_of, home_option, json_option
from orchestrator.engine.errors import BadInputError, PinoctlError

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.engine.home import Home


@click.command("open")
@click.argument("app")
@click.option("--qr", is_flag=True, help="Show the URL as a QR code, too.")
@click.option("--png", type=click.Path(dir_okay=False), metavar="FILE", help="Write the QR code as a picture.")
@click.option("--svg", type=click.Path(dir_okay=False), metavar="FILE", help="Write the QR code as a drawing.")
@home_option
@json_option
def open_(*, app: str, qr: bool, png: str | None, svg: str | None, home: Path | None, as_json: bool) -> int:
    """Print the URL of an app that is ready; any other state is a failure (exit status 1).

    Of an app that is exposed it is the URL that works from outside, with its token.
    """
    from orchestrator.commands.apps import installed_app  # noqa: PLC0415  # `--help` does without
    from orchestrator.commands.overview import survey  # noqa: PLC0415

    where = home_of(home)
    name = installed_app(where, app)
    view = survey(where, [name])[0]
    url = view.row.url
    link = outside(where, name, there=bool(url))
    if url:
        warn(name, link, instead="; this is its address here")
        draw(link.best or url, qr=qr, png=png, svg=svg)
    if as_json:
        output.as_json({"app": name, "state": view.state, "url": url, "place": view.row.place, **link.to_json()})
        return 0 if url else 1
    if not url:
        if view.state == "ready":
            raise PinoctlError(f"`{name}` is ready, but it has no page")
        raise PinoctlError(
            f"`{name}` has no URL, because it is {output.clean(view.state)}", hint=f"start it with `pinoctl up {name}`"
        )
    output.data(link.best or url)
    return 0


def outside(home: Home, app: str, *, there: bool) -> Link:
    """Return where an app is reached; of one that is `there` the gate is started again if it died."""
    from orchestrator.commands.exposing import begin  # noqa: PLC0415  # `--help` does without
    from orchestrator.commands.progress import Progress  # noqa: PLC0415

    shown = shown_links(home).get(app) or {}
    if not shown.get("gone") or not there:
        return link_of(shown)
    try:
        return begin(home, app, {}).settle(Progress(app), tell=False)
    except PinoctlError as error:
        return Link(problem=f"{shown['tunnel']['reason']}: {error}", hint=str(error.hint or ""))


def draw(url: str, *, qr: bool = False, png: str | None = None, svg: str | None = None) -> None:
    """Show a URL as a QR code on stderr, or write it into files, new ones for their owner alone: it holds a token."""
    if not (qr or png or svg):
        return
    from orchestrator.expose import qr as code  # noqa: PLC0415  # only when asked for

    if qr:
        output.say(code.terminal(url, colour=output.coloured(sys.stderr)))
    if png:
        _write(png, code.png(url))
    if svg:
        _write(svg, code.svg(url).encode("utf-8"))


def _write(path: str, data: bytes) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    except OSError as error:
        raise BadInputError(
            f"the QR code cannot be written to `{path}`: {(error.strerror or str(error)).lower()}",
            hint="name a file in a folder that you can write to",
        ) from error
