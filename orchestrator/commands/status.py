"""`pinoctl status [APP]`: which apps there are, how they are, where they answer and what they use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from orchestrator.commands import output
from orchestrator.commands.options import home_of, home_option, json_option

if TYPE_CHECKING:
    from collections.abc import Mapping
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
    from orchestrator.commands.links import link_of, shown_links, warn  # noqa: PLC0415
    from orchestrator.commands.overview import survey  # noqa: PLC0415
    from orchestrator.engine.errors import PinoctlError  # noqa: PLC0415
    from orchestrator.expose.exposures import Exposure, GateFiles, read  # noqa: PLC0415

    where = home_of(home)
    kept = read(GateFiles(where).exposed)
    views = [
        view.stopped_by(kept.get(view.row.name, Exposure("")).stopped)
        for view in survey(where, [installed_app(where, app)] if app is not None else None)
    ]
    try:
        links = shown_links(where, patience=2.0)
    except PinoctlError as error:
        output.say(f"warning: {error}; how apps are reached from outside is not shown", style="yellow")
        links = {}
    if as_json:
        rows = [{**view.to_json(), **_outside(links.get(view.row.name))} for view in views]
        output.as_json(rows[0] if app is not None and rows else rows)
    elif views:
        output.table(
            [_row(view, links.get(view.row.name), whole=app is not None) for view in views],
            ["APP", "STATE", "PLACE", "URL", "CPU", "MEMORY", "GPU MEMORY"],
        )
        for view in views:
            shown = links.get(view.row.name) or {}
            if shown.get("gone"):
                output.say(f"warning: {shown['warning']}", style="yellow")
            elif view.row.url:
                warn(view.row.name, link_of(shown))
    else:
        output.say(f"no app in `{where.root}`; `pinoctl up APP` installs and starts one")
    return 0


ps = status


def _outside(shown: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what is told of an exposed app: its address without the token, and its tunnel."""
    tunnel = (shown or {}).get("tunnel") or {}
    return {
        "share_url": (shown or {}).get("share_url"),
        "tunnel": {key: tunnel.get(key) for key in ("provider", "state", "reason", "hint", "since", "tries")}
        if shown
        else None,
        "public": bool((shown or {}).get("public")),
        "warning": (shown or {}).get("warning"),
    }


def _row(view: View, shown: Mapping[str, Any] | None, *, whole: bool) -> list[str]:
    usage = view.live.get("usage") or {}
    cpu, memory, gpu = usage.get("cpu"), usage.get("memory"), usage.get("gpu_memory")
    state = output.clean(view.state)
    return [
        view.row.name,
        state if whole else shortened(state),
        view.row.place,
        str((shown or {}).get("share_url") or view.row.url or "-"),
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
