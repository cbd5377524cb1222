"""`pinoctl down` and `pinoctl restart`: stop an app with everything it started, and start it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.commands import output
from orchestrator.commands.options import answer_options, given_answers, home_of, home_option, json_option, quiet_option
from orchestrator.engine.errors import BadInputError, PinoctlError

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.argument("app", required=False)
@click.option("--all", "everything", is_flag=True, help="Stop every app of the home.")
@home_option
@json_option
def down(*, app: str | None, everything: bool, home: Path | None, as_json: bool) -> int:
    """Stop an app and everything it started; what it installed stays.

    Stopping an app that does not run is no error. With --json an array of what was stopped.
    """
    from orchestrator.commands.apps import installed_app  # noqa: PLC0415  # `--help` does without
    from orchestrator.commands.exposing import hide  # noqa: PLC0415
    from orchestrator.commands.overview import known_apps, survey  # noqa: PLC0415
    from orchestrator.commands.placing import stop_everywhere  # noqa: PLC0415
    from orchestrator.launcher.names import same_name  # noqa: PLC0415

    if (app is None) != everything:
        raise BadInputError(
            "`down` needs an app or `--all`" if app is None else "`--all` and an app exclude each other",
            hint="`pinoctl status` lists the apps",
        )
    where = home_of(home)
    known = known_apps(where)
    names = known if app is None else [name for name in known if same_name(name, app)] or [installed_app(where, app)]
    stopped, failed = [], False
    for name in names:
        try:
            hide(where, name, keep=True)
        except PinoctlError as error:  # a gate that hangs is no reason to let the app run
            output.report(error)
            failed = True
        try:
            was = stop_everywhere(where, name)
        except PinoctlError as error:  # the others are stopped all the same
            output.report(error)
            failed = True
            continue
        stopped.append({"app": name, "stopped": was})
        if not as_json:
            output.say(f"`{name}` is stopped" if was else f"`{name}` was not running")
    states = {view.row.name: view.state for view in survey(where)}
    if as_json:
        output.as_json([{**each, "state": states.get(str(each["app"]))} for each in stopped])
    return 1 if failed else 0


@click.command()
@click.argument("app")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="How long the app may take to get ready.",
)
@answer_options
@home_option
@json_option
@quiet_option
def restart(
    *,
    app: str,
    timeout: float | None,
    answers: str | None,
    answer: tuple[str, ...],
    home: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Stop an app and start it again; ends with its URL as `up` does."""
    from orchestrator.commands.apps import usable_app  # noqa: PLC0415  # `--help` does without
    from orchestrator.commands.up import Wish, bring_up  # noqa: PLC0415
    from orchestrator.places.choosing import place_of  # noqa: PLC0415

    document, pairs = given_answers(answers, answer)
    where = home_of(home)
    name = usable_app(where, app)
    place_of(where, name).stop(name)
    return bring_up(where, name, Wish(answers=document, pairs=pairs, timeout=timeout), as_json=as_json, quiet=quiet)
