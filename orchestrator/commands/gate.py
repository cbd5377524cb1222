"""`pinoctl gate`: what is exposed, how, and who came."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import click

from orchestrator.commands import output
from orchestrator.commands.options import home_of, home_option, json_option
from orchestrator.engine.errors import BadInputError

if TYPE_CHECKING:
    from pathlib import Path


@click.group()
def gate() -> None:
    """Look at the gate, which stands between apps and everyone beyond this machine."""


@gate.command()
@home_option
@json_option
def status(*, home: Path | None, as_json: bool) -> int:
    """Show the exposed apps: their addresses, tunnels, and how long until something is stopped."""
    from orchestrator.commands.limits import costs, stops  # noqa: PLC0415  # `--help` does without
    from orchestrator.commands.links import shown_links  # noqa: PLC0415  # as above

    found = list(shown_links(home_of(home)).values())
    if as_json:
        secret = {"link", "share_link", "template", "share_template"}
        output.as_json([{key: value for key, value in each.items() if key not in secret} for each in found])
        return 0
    if not found:
        output.say("nothing is exposed; `pinoctl expose APP` or `pinoctl up APP --tunnel auto` does it")
        return 0
    rows = []
    for each in found:
        tunnel = each.get("tunnel") or {}
        way = " ".join(str(part) for part in (tunnel.get("provider"), tunnel.get("state")) if part) or "-"
        who = "everyone" if each.get("public") else "with a token"
        address = str(each.get("share_url") or each.get("url") or "-")
        rows.append([str(each["app"]), str(each["state"]), way, address, who, stops(each)])
    output.table(rows, ["APP", "STATE", "TUNNEL", "ADDRESS", "WHO", "STOPS"])
    for each in found:
        if each.get("warning"):
            output.say(f"warning: {each['warning']}", style="yellow")
        elif each.get("cannot_stop_because"):
            output.say(f"warning: {costs(each['app'], each['cannot_stop_because'])}", style="yellow")
    return 0


@gate.command()
@click.option("-n", "--lines", type=click.IntRange(min=1), default=50, metavar="N", show_default=True, help="How many.")
@home_option
@json_option
def log(*, lines: int, home: Path | None, as_json: bool) -> int:
    """Show who entered, who was refused, and which links were made or taken back."""
    from orchestrator.expose.exposures import GateFiles  # noqa: PLC0415  # `--help` does without
    from orchestrator.expose.gate.audit import read  # noqa: PLC0415

    entries = read(GateFiles(home_of(home)).audit, lines)
    if as_json:
        output.as_json(entries)
        return 0
    for entry in entries:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(entry.get("time") or 0)))
        rest = " ".join(
            f"{key}={output.clean(str(value))}" for key, value in entry.items() if key not in {"time", "event"}
        )
        output.data(f"{at} {output.clean(str(entry.get('event')))} {rest}")
    if not entries:
        output.say("nobody came yet")
    return 0


@gate.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@home_option
@json_option
def forget(*, names: tuple[str, ...], home: Path | None, as_json: bool) -> int:
    """Forget tokens and settings of tunnels, and what was said of this machine; without NAME, show which are kept."""
    from orchestrator.expose import accounts  # noqa: PLC0415  # `--help` does without
    from orchestrator.expose.client import GateClient  # noqa: PLC0415

    client = GateClient(home_of(home))
    if unknown := [name for name in names if name not in accounts.KEPT]:
        hint = f"it keeps {', '.join(f'`{name}`' for name in sorted(accounts.KEPT))}"
        raise BadInputError(f"`{unknown[0]}` is nothing that the gate keeps", hint=hint)
    before = accounts.read(client.files.accounts)
    wanted = sorted({*names, *(accounts.SAME if set(names) & set(accounts.SAME) else ())})
    if wanted and client.ask("forget", names=wanted) is None:
        accounts.keep(client.files.accounts, dict.fromkeys(wanted, ""))
    gone = [name for name in wanted if name in before]
    kept = sorted(set(before) - set(gone))
    if as_json:
        output.as_json({"forgotten": gone, "kept": kept})
        return 0
    if names:
        output.say(f"forgotten: {', '.join(gone)}" if gone else "none of these was kept")
    else:
        output.say(f"kept: {', '.join(kept)}" if kept else "nothing is kept")
    for name in wanted:
        if os.environ.get(name):
            output.hint(f"`{name}` is set here, so the next command that exposes an app brings it again")
    return 0
