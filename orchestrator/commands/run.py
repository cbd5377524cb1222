"""`pinoctl run APP SCRIPT`: one script of an app under its agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from orchestrator.commands import output
from orchestrator.commands.options import (
    answer_options,
    given_answers,
    home_of,
    home_option,
    json_option,
    parse_args,
    quiet_option,
)

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.agent.client import Client, Listener
    from orchestrator.commands.session import Session


@click.command()
@click.argument("app")
@click.argument("script")
@click.option(
    "--args", "arguments", metavar="JSON", help="What the script gets as `args` and first `input`: an object."
)
@answer_options
@home_option
@json_option
@quiet_option
def run(
    *,
    app: str,
    script: str,
    arguments: str | None,
    answers: str | None,
    answer: tuple[str, ...],
    home: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Run one script of an app under its agent and wait for its end.

    SCRIPT is a path in the app (`download.js`) or the label of a menu item. A daemon's servers go on afterwards. The
    start script behaves as `up` does; for the install script an app that is up is stopped, and started again after it.
    Ctrl-C stops the script.
    """
    from orchestrator.commands.apps import usable_app  # noqa: PLC0415  # `--help` does without
    from orchestrator.commands.building import with_remembered  # noqa: PLC0415
    from orchestrator.commands.session import Session  # noqa: PLC0415
    from orchestrator.places.container import settings  # noqa: PLC0415

    given = parse_args(arguments)
    document, pairs = given_answers(answers, answer)
    where = home_of(home)
    name = usable_app(where, app)
    with Session(where, name, quiet=quiet) as session:
        path, args = resolved(session, script, given if isinstance(given, dict) else None)
        try:
            known = with_remembered(settings.read(where, name).answers, document, pairs)
            return execute(session, path, args, answers=document, pairs=known, as_json=as_json)
        finally:
            session.at.leave(name)


def resolved(session: Session, script: str, given: dict[str, Any] | None) -> tuple[str, dict[str, Any]]:
    """Return the path of a script that is named by path or label, and its arguments: the menu's below those given."""
    from orchestrator.commands.offers import read_offers  # noqa: PLC0415  # see above

    found = read_offers(session.home, session.app, session.client).find(script)
    return (found.path, {**found.args, **(given or {})}) if found is not None else (script, dict(given or {}))


def execute(
    session: Session,
    path: str,
    args: dict[str, Any],
    *,
    answers: Any = None,
    pairs: dict[str, Any] | None = None,
    as_json: bool = False,
) -> int:
    """Run a script and print how it ended; returns the exit status."""
    from orchestrator.commands.up import finish  # noqa: PLC0415  # see above

    def work(client: Client, listen: Listener) -> dict[str, Any]:
        return client.run(path, args, listen=listen, answers=answers, pairs=pairs, environment=session.lent())

    try:
        result = session.do(work)
    except KeyboardInterrupt:
        return interrupted(session, path)
    if "status" not in result:
        return finish(session, result, as_json=as_json)
    good = result["status"] == "end"
    if as_json:
        output.as_json({"app": session.app, "script": path, **{key: result.get(key) for key in (
            "status", "daemon", "result", "error", "step", "method", "failed_children", "log")}})  # fmt: skip
    if not good:
        _explain(session, path, result)
    elif not as_json:
        session.progress.line(f"`{path}` is done" + (", and its servers go on" if result.get("daemon") else ""))
    return 0 if good else 1


def interrupted(session: Session, path: str) -> int:
    """Stop a script whose command was interrupted."""
    output.say(f"interrupted; stopping `{path}`")
    client = session.at.find(session.app)
    if client is not None:
        with client:
            client.stop(path)
    return 130


def _explain(session: Session, path: str, result: dict[str, Any]) -> None:
    from orchestrator.engine.errors import advice  # noqa: PLC0415  # see above

    step, method = result.get("step"), result.get("method")
    at = f" at step {step}" + (f" (`{output.clean(str(method))}`)" if method else "") if isinstance(step, int) else ""
    reason = output.clean(str(result.get("error") or f"it ended with status `{result.get('status')}`"))
    session.progress.fresh_line()
    output.report(f"`{path}` failed{at}: {reason}")
    output.hint(advice(result.get("hint"), session.app))
    output.hint(f"`pinoctl logs {session.app}` shows everything (`{result.get('log')}`)")
