"""`pinoctl update APP`: the launcher's own update script; a failed one changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from orchestrator.commands import output
from orchestrator.commands.options import answer_options, given_answers, home_of, home_option, json_option, quiet_option

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.agent.client import Client, Listener


@click.command()
@click.argument("app")
@answer_options
@home_option
@json_option
@quiet_option
def update(
    *, app: str, answers: str | None, answer: tuple[str, ...], home: Path | None, as_json: bool, quiet: bool
) -> int:
    """Update an app with its launcher's update script.

    An app that runs is stopped for it and started again. When the update fails, the version before it is put back.
    """
    from orchestrator.commands.apps import usable_app  # noqa: PLC0415  # `--help` does without
    from orchestrator.commands.session import Session  # noqa: PLC0415
    from orchestrator.commands.up import finish  # noqa: PLC0415

    document, pairs = given_answers(answers, answer)
    where = home_of(home)
    name = usable_app(where, app)

    def work(client: Client, listen: Listener) -> dict[str, Any]:
        return client.update(listen=listen, answers=document, pairs=pairs)

    with Session(where, name, quiet=quiet) as session:
        try:
            result = session.do(work)
        except KeyboardInterrupt:
            output.say(f"interrupted; the update of `{name}` goes on, `pinoctl logs -f {name}` shows it")
            return 130
        if not result.get("failed"):
            session.progress.line(f"`{name}` is updated")
        broken = str(result.get("state")).startswith("failed")  # then it is the start that failed, not the update
        return finish(
            session, {**result, "url": result.get("url")}, as_json=as_json, retry="up" if broken else "update"
        )
