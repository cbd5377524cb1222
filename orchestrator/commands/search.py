"""`pinoctl search`, `pinoctl list`: finding apps in the catalogues."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from orchestrator.commands import output
from orchestrator.commands.options import hardware_option, home_of, home_option, json_option

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from orchestrator.catalog.catalog import App
    from orchestrator.catalog.fits import Machine
    from orchestrator.catalog.planned import Planned
    from orchestrator.engine.home import Home

WIDE = 60


def _filters(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--author", metavar="NAME", help="Only apps of this author."),
        click.option("--tag", metavar="TAG", help="Only apps with this tag."),
        click.option("--category", metavar="NAME", help="Only this category: image, audio, video, llm, 3d, utility."),
        click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Show the first N only."),
    ):
        function = option(function)
    return function


@click.command("search")
@click.argument("words", nargs=-1)
@_filters
@home_option
@json_option
def search(
    *,
    words: tuple[str, ...],
    category: str | None,
    tag: str | None,
    author: str | None,
    limit: int | None,
    home: Path | None,
    as_json: bool,
) -> int:
    """Find apps by words of their names, descriptions, tags, authors and categories; the best come first."""
    from orchestrator.catalog.catalog import apps  # noqa: PLC0415  # `--help` does without
    from orchestrator.catalog.search import search as find  # noqa: PLC0415

    found = find(apps(home_of(home)), words, category=category, tag=tag, author=author)[:limit]
    if as_json:
        output.as_json([_as_json(app) for app in found])
    elif found:
        output.table(
            [[app.name, output.clean(app.author), output.clean(app.category), _about(app)] for app in found],
            ["APP", "AUTHOR", "CATEGORY", "ABOUT"],
        )
    else:
        what = "has all of these words" if words else "is of this category, tag and author"
        output.say(f"no app {what}; `pinoctl list` shows every app, `pinoctl up GIT-URL` needs no catalogue")
    return 0 if found else 1


@click.command("list")
@_filters
@click.option("--fits", is_flag=True, help="Only apps that this machine's GPU, VRAM, disk and memory allow.")
@hardware_option
@home_option
@json_option
def list_(
    *,
    category: str | None,
    tag: str | None,
    author: str | None,
    limit: int | None,
    fits: bool,
    hardware: str | None,
    home: Path | None,
    as_json: bool,
) -> int:
    """List the apps of the catalogues with what planning them told; `--fits` leaves out what cannot run here."""
    from orchestrator.catalog.catalog import apps  # noqa: PLC0415
    from orchestrator.catalog.fits import misfit  # noqa: PLC0415
    from orchestrator.catalog.planned import table  # noqa: PLC0415
    from orchestrator.catalog.search import search as find  # noqa: PLC0415

    where, rows = home_of(home), table()
    found = find(apps(where), category=category, tag=tag, author=author)
    why: dict[str, str] = {}
    if fits or hardware:
        machine = machine_of(where, hardware)
        why = {app.repo: misfit(_row(app, rows), machine, app.tags) for app in found}
    if as_json:
        output.as_json([_with_fit(app, why) for app in found][:limit])
        return 0
    shown = [app for app in found if not (fits and why.get(app.repo))]
    output.table(
        [_line(app, _row(app, rows)) for app in shown[:limit]],
        ["APP", "AUTHOR", "CATEGORY", "VRAM", "DISK", "PAGE", "PLANS"],
    )
    if fits:
        output.say(f"{len(shown)} of {len(found)} apps fit; `--json` says why the others do not", style="dim")
    return 0


def _with_fit(app: App, why: dict[str, str]) -> dict[str, Any]:
    known = app.repo in why
    return {**_as_json(app), "fits": not why[app.repo] if known else None, "why_not": why.get(app.repo) or None}


def machine_of(home: Home, hardware: str | None) -> Machine:
    """Return what counts of this machine, or of the one that `--hardware` means."""
    from orchestrator.catalog.fits import Machine  # noqa: PLC0415

    if hardware is not None:
        from orchestrator.hosts.resources.cards import load_hardware  # noqa: PLC0415

        profile = load_hardware(hardware)
        return Machine(profile.gpu, profile.vram)
    from orchestrator.engine.hardware import detect  # noqa: PLC0415
    from orchestrator.hosts.resources.resources import detect_resources  # noqa: PLC0415

    profile, resources = detect(), detect_resources(home.root)
    free = resources.disks[0].free if resources.disks else None
    return Machine(profile.gpu, profile.vram, free, resources.limits.memory)


def _row(app: App, rows: Any) -> Planned | None:
    row: Planned | None = rows.get(app.key)
    return row if row is not None and row.repo == app.repo else None


def _line(app: App, row: Planned | None) -> list[str]:
    if row is None:
        return [app.name, output.clean(app.author), output.clean(app.category), "", "", "", "unknown"]
    vram = f"{row.vram:g} GB" if row.vram else ""
    disk = f"{row.disk:g} GB" if row.disk else f"~{row.disk_estimate:g} GB" if row.disk_estimate else ""
    return [app.name, app.author, app.category, vram, disk, row.web_ui, row.verdict or row.outcome]


def _about(app: App) -> str:
    text = output.clean(app.description or ", ".join(tag for tag in app.tags if tag != app.author))
    return text if len(text) <= WIDE else text[: WIDE - 1] + "…"


def _as_json(app: App) -> dict[str, Any]:
    from orchestrator.catalog.planned import table  # noqa: PLC0415

    row = _row(app, table())
    return {**app.to_json(), "planned": row.to_json() if row is not None else None}
