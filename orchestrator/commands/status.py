"""`pinoctl status [APP]`: which apps there are, how they are, where they answer and what they use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from orchestrator.commands import output
from orchestrator.commands.options import home_of, home_option, json_option

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.commands.overview import View

WIDEST: Final = 60


@click.command()
@click.argument("app", required=False)
@home_option
@json_option
def status(*, app: str | None, home: Path | None, as_json: bool) -> int:
    """Show apps with their state, URL and use of the machine.

    The state is one of: not installed, installing, stopped, starting, ready, failed. With --json an array, or with APP
    one object.
    """
    from orchestrator.commands.apps import installed_app  # noqa: PLC0415  # `--help` does without
    from orchestrator.commands.overview import survey  # noqa: PLC0415

    where = home_of(home)
    views = survey(where, [installed_app(where, app)] if app is not None else None)
    if as_json:
        output.as_json(views[0].to_json() if app is not None and views else [view.to_json() for view in views])
    elif views:
        output.table(
            [_row(view, whole=app is not None) for view in views],
            ["APP", "STATE", "URL", "CPU", "MEMORY", "GPU MEMORY"],
        )
    else:
        output.say(f"no app in `{where.root}`; `pinoctl up APP` installs and starts one")
    return 0


ps = status


def _row(view: View, *, whole: bool) -> list[str]:
    usage = view.live.get("usage") or {}
    cpu, memory, gpu = usage.get("cpu"), usage.get("memory"), usage.get("gpu_memory")
    state = output.clean(view.state)
    return [
        view.row.name,
        state if whole else shortened(state),
        view.row.url or "-",
        f"{cpu:.0f} %" if cpu is not None else "-",
        size(memory),
        size(gpu),
    ]


def shortened(text: str) -> str:
    """Cut a state that would push the table off the screen; one app's status and `--json` have it whole."""
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"


def size(count: float | None) -> str:
    """Write a number of bytes for people, `-` for None."""
    if count is None:
        return "-"
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:  # noqa: PLR2004  # the next unit
            return f"{count:.0f} {unit}" if unit in {"B", "KB", "MB"} else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
