"""`pinoctl menu APP`: what an app's launcher offers in its present state (spec 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from orchestrator.commands import output
from orchestrator.commands.options import home_of, home_option, json_option

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from orchestrator.commands.offers import Offers
    from orchestrator.launcher.menu import MenuItem
    from orchestrator.launcher.scripts import Script


@click.command()
@click.argument("app")
@home_option
@json_option
def menu(*, app: str, home: Path | None, as_json: bool) -> int:
    """Show what an app's launcher offers now: its scripts with their roles, and the pages that it links to.

    Scripts are run with `pinoctl run APP SCRIPT`, ways to start chosen with `pinoctl up APP --script SCRIPT`.
    """
    from orchestrator.commands.apps import usable_app  # noqa: PLC0415  # `--help` does without
    from orchestrator.commands.offers import read_offers  # noqa: PLC0415
    from orchestrator.places.choosing import place_of  # noqa: PLC0415

    where = home_of(home)
    name = usable_app(where, app)
    place = place_of(where, name)
    client = place.find(name)
    offers = read_offers(where, name, client)
    if client is not None:
        client.close()
    hrefs = place.reachable(name, "\0".join(item.href or "" for item in offers.launcher.menu.items)).split("\0")
    if offers.error:
        output.say(
            f"warning: the menu of `{name}` cannot be evaluated, this is from its files: {output.clean(offers.error)}",
            style="yellow",
        )
    if as_json:
        output.as_json(_as_json(name, offers, hrefs))
        return 0
    _print(name, offers, hrefs)
    return 0


def _as_json(name: str, offers: Offers, hrefs: Sequence[str]) -> dict[str, Any]:
    launcher, scripts = offers.launcher, offers.launcher.scripts
    roles = {
        "install": scripts.install,
        "start": scripts.start,
        "update": scripts.update,
        "reset": scripts.reset,
        "link": scripts.link,
    }
    return {
        "app": name, "title": launcher.metadata.title, "description": launcher.metadata.description,
        "stage": scripts.stage,
        **{role: _script(script) if script else None for role, script in roles.items()},
        "variants": [_script(script) for script in scripts.variants],
        "items": [
            {**_item(item, offers), "href": href or item.href}
            for item, href in zip(launcher.menu.items, hrefs, strict=False)
        ],
        "error": offers.error or None,
    }  # fmt: skip


def _script(script: Script) -> dict[str, Any]:
    return {
        "script": script.path,
        "args": dict(script.args),
        "text": script.text,
        "confirm": script.confirm,
        "destructive": script.destructive,
    }


def _item(item: MenuItem, offers: Offers) -> dict[str, Any]:
    return {"kind": item.kind, "text": item.text, "script": item.script, "args": dict(item.args),
            "default": item.default,
            "depth": item.depth, "confirm": item.confirm, "running": item.script in offers.running}  # fmt: skip


def _print(name: str, offers: Offers, hrefs: Sequence[str]) -> None:
    launcher, scripts = offers.launcher, offers.launcher.scripts
    if launcher.metadata.title:
        output.say(output.clean(launcher.metadata.title), style="bold")
    roles: dict[str, list[str]] = {}
    for role in ("install", "start", "update", "reset", "link"):
        script = getattr(scripts, role)
        if script is not None:
            roles.setdefault(script.path, []).append(role)
    rows, shown = [], set()
    for item, href in zip(launcher.menu.items, hrefs, strict=False):
        target = item.script or (href if item.kind == "url" else "") or ""
        what = ", ".join(roles.get(item.script or "", [])) or item.kind
        notes = [word for word, so in (("default", item.default), ("running", item.script in offers.running)) if so]
        rows.append([output.clean("  " * item.depth + item.text), output.clean(target), what, ", ".join(notes)])
        shown.add(item.script)
    rows += [["", path, ", ".join(names), ""] for path, names in roles.items() if path not in shown]
    if rows:
        output.table(rows, ["OFFER", "SCRIPT OR PAGE", "ROLE", ""])
    else:
        output.say(f"`{name}` offers nothing: it has no menu and no install or start script")
