"""`pinoctl share`, `shares` and `revoke`: links for others, which end by themselves or when they are taken back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from orchestrator.commands import output
from orchestrator.commands.options import home_of, home_option, json_option, quiet_option
from orchestrator.engine.errors import BadInputError, PinoctlError

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.commands.exposing import Exposing
    from orchestrator.expose.gate.book import Share


@click.command()
@click.argument("app")
@click.option("--for", "span", metavar="SPAN", help="How long the link lets people in, like `2h`  [default: for good]")
@click.option("--once", is_flag=True, help="Let in one browser only, the first that opens it.")
@click.option("--label", metavar="TEXT", default="", help="A note for yourself: whom it is for.")
@click.option("--qr", is_flag=True, help="Show the link as a QR code, too.")
@home_option
@json_option
@quiet_option
def share(
    *, app: str, span: str | None, once: bool, label: str, qr: bool, home: Path | None, as_json: bool, quiet: bool
) -> int:
    """Make a link that lets others use an app, and print it.

    An app that is not exposed yet is exposed first. `pinoctl revoke ID` takes the link back, with every session that
    began by it.
    """
    from orchestrator.commands.apps import installed_app  # noqa: PLC0415  # `--help` does without
    from orchestrator.commands.exposing import begin, keys_of  # noqa: PLC0415
    from orchestrator.commands.links import shown_links, told_closed  # noqa: PLC0415
    from orchestrator.commands.open import draw  # noqa: PLC0415
    from orchestrator.commands.progress import Progress  # noqa: PLC0415
    from orchestrator.expose.guard.durations import parse  # noqa: PLC0415

    seconds = None if span is None else parse(span)
    where = home_of(home)
    name = installed_app(where, app)
    before = name in shown_links(where)
    exposing = begin(where, name, {})
    try:
        reached = exposing.settle(Progress(name, quiet=quiet), tell=False)
    except KeyboardInterrupt:
        take_back(exposing, before=before)
        raise
    shown = exposing.now()
    template = shown.get("share_template")
    if template is None and (reached.url or reached.problem):
        take_back(exposing, before=before)
        here = f"with `pinoctl expose {name} --no-tunnel` links lead to this machine"
        raise PinoctlError(
            f"a link to `{name}` would lead nowhere from outside: {output.clean(reached.problem) or 'its way is gone'}",
            hint="; ".join(filter(None, [output.clean(reached.hint), here])),
        )
    told_closed(name, reached)
    made = keys_of(where).share(name, seconds=seconds, once=once, label=label)
    link = str(template or shown["template"]).replace("{token}", made.token)
    if as_json:
        output.as_json({"app": name, "link": link, **described(made)})
        return 0
    if qr:
        draw(link, qr=True)
    if not quiet:
        output.say(f"`pinoctl revoke {made.id}` takes this link back")
    output.data(link)
    return 0


def take_back(exposing: Exposing, *, before: bool) -> None:
    """End an exposure that was begun for a link alone."""
    if not before:
        exposing.take_back()


def described(share: Share) -> dict[str, Any]:
    """Return what is shown of a link, its token left out."""
    return {
        "id": share.id, "app": share.app, "label": share.label, "expires": share.expires, "once": share.once,
        "used": share.used,
    }  # fmt: skip


@click.command()
@click.argument("app", required=False)
@home_option
@json_option
def shares(*, app: str | None, home: Path | None, as_json: bool) -> int:
    """List the links that were made and still let people in."""
    from orchestrator.commands.apps import installed_app  # noqa: PLC0415  # `--help` does without
    from orchestrator.commands.exposing import keys_of  # noqa: PLC0415
    from orchestrator.expose.guard.durations import rough  # noqa: PLC0415

    where = home_of(home)
    found = keys_of(where).shares(installed_app(where, app) if app is not None else None)
    if as_json:
        output.as_json([described(each) for each in found])
        return 0
    now = time.time()
    rows = [
        [
            each.id,
            each.app,
            "for good" if each.expires is None else f"for {rough(max(0.0, each.expires - now))}",
            ("used" if each.used else "once") if each.once else "-",
            output.clean(each.label) or "-",
        ]
        for each in found
    ]
    if rows:
        output.table(rows, ["ID", "APP", "OPEN", "ONCE", "LABEL"])
    else:
        output.say("no links; `pinoctl share APP` makes one")
    return 0


@click.command()
@click.argument("what", metavar="ID|APP")
@home_option
@json_option
def revoke(*, what: str, home: Path | None, as_json: bool) -> int:
    """Take a link back, or with an app's name its token and every link and session of it.

    Whoever came in by it is out at the next click; an app gets a new token, which `pinoctl open APP` prints.
    """
    from orchestrator.commands.exposing import keys_of  # noqa: PLC0415  # `--help` does without
    from orchestrator.launcher.names import installed, same_name  # noqa: PLC0415

    where = home_of(home)
    keys = keys_of(where)
    ended = [each.id for each in keys.shares() if each.id == what]
    if ended:
        keys.revoke(what)
    else:
        name = next((name for name in installed(where) if same_name(name, what)), None)
        if name is None:
            raise BadInputError(
                f"there is no link and no app `{what}`", hint="`pinoctl shares` lists links, `pinoctl status` apps"
            )
        ended = [each.id for each in keys.shares(name)]
        for each in ended:
            keys.revoke(each)
        keys.renew(name)
    if as_json:
        output.as_json({"revoked": ended, "app": None if what in ended else what})
    else:
        output.say(
            f"link `{what}` is taken back"
            if what in ended
            else f"`{what}` has a new token; nobody is let in by an old one"
        )
    return 0
