"""`pinoctl script run FILE`: one script in the foreground, without an agent."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.commands.options import (
    answer_options,
    check_script,
    hardware_option,
    home_of,
    home_option,
    parse_args,
)

if TYPE_CHECKING:
    from orchestrator.commands.foreground import Outcome


@click.group()
def script() -> None:
    """Run a single script, for programs and tests."""


@script.command("run")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--args", "arguments", metavar="JSON", help="What the script gets as `args` and first `input`: an object."
)
@answer_options
@home_option
@hardware_option
@click.option(
    "--trace", type=click.Path(path_type=Path), metavar="FILE", help="Write what every step did, as JSON lines."
)
@click.option("--stay", is_flag=True, help="Keep a daemon running until interrupted.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one line of JSON on stdout.")
def run(
    *,
    file: Path,
    arguments: str | None,
    answers: str | None,
    answer: tuple[str, ...],
    home: Path | None,
    hardware: str | None,
    trace: Path | None,
    stay: bool,
    as_json: bool,
) -> int:
    """Run one script in the foreground and exit when it has ended.

    The script's app is the folder it is in; outside the home it is linked as `<HOME>/api/<folder name>`. A daemon is
    stopped when its last step is done, unless --stay. Exit status: 0 for an end, 1 for a script error, 2 for bad input.
    """
    payload, where = parse_args(arguments), home_of(home)
    check_script(file)

    from orchestrator.engine.javascript.process import start_node  # noqa: PLC0415  # `pinoctl --help` does without all of this

    node = start_node(os.environ, str(where.root))  # boots while the engine is imported
    try:
        import asyncio  # noqa: PLC0415

        from orchestrator.commands import output  # noqa: PLC0415
        from orchestrator.commands.foreground import Job, run_script  # noqa: PLC0415

        job = Job.prepare(
            file, payload=payload, answers=answers, answer=answer, home=where, hardware=hardware, trace=trace, stay=stay
        )
        outcome: Outcome = asyncio.run(run_script(job, node=node))
    finally:
        node.kill()
    if as_json:
        output.as_json(outcome.to_json())
    if outcome.error:
        output.report(outcome.to_error())
    return outcome.exit_status
