"""`pinoctl open APP`: the URL of an app that runs."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from orchestrator.commands import output
from orchestrator.commands.options import home_of, home_option, json_option
from orchestrator.engine.errors import PinoctlError


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
    from orchestrator.commands.exposing import link_of, shown_links  # noqa: PLC0415
    from orchestrator.commands.overview import survey  # noqa: PLC0415

    where = home_of(home)
    name = installed_app(where, app)
    view = survey(where, [name])[0]
    url = view.row.url
    link = link_of(shown_links(where).get(name) or {})
    if url and link.link and link.url is None and link.provider:
        why = f" ({output.clean(link.note)})" if link.note else ""
        output.say(
            f"warning: `{name}` cannot be reached from outside now{why}; this is its address here", style="yellow"
        )
    if url:
        draw(link.link or url, qr=qr, png=png, svg=svg)
    if as_json:
        output.as_json({"app": name, "state": view.state, "url": url, "place": view.row.place, **link.to_json()})
        return 0 if url else 1
    if not url:
        if view.state == "ready":
            raise PinoctlError(f"`{name}` is ready, but it has no page")
        raise PinoctlError(
            f"`{name}` has no URL, because it is {output.clean(view.state)}", hint=f"start it with `pinoctl up {name}`"
        )
    output.data(link.link or url)
    return 0


def draw(url: str, *, qr: bool = False, png: str | None = None, svg: str | None = None) -> None:
    """Show a URL as a QR code on stderr, or write it into files."""
    if not (qr or png or svg):
        return
    from orchestrator.expose import qr as code  # noqa: PLC0415  # only when asked for

    if qr:
        output.say(code.terminal(url, colour=output.coloured(sys.stderr)))
    if png:
        Path(png).write_bytes(code.png(url))
    if svg:
        Path(svg).write_text(code.svg(url), encoding="utf-8")
