"""`pinoctl info APP`: everything the catalogue and the table of planned apps know of an app."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from orchestrator.commands import output
from orchestrator.commands.options import home_of, home_option, json_option
from orchestrator.engine.errors import BadInputError

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.catalog.catalog import App
    from orchestrator.catalog.planned import Planned
    from orchestrator.engine.home import Home


@click.command("info")
@click.argument("app")
@home_option
@json_option
def info(*, app: str, home: Path | None, as_json: bool) -> int:
    """Show what is known of an app: what it is, what it needs, what planning it told, whether it is installed.

    APP is a name of the catalogue, `author/name`, a git URL, or the name of an installed app.
    """
    from orchestrator.catalog.catalog import apps, choose, close  # noqa: PLC0415  # `--help` does without
    from orchestrator.catalog.planned import table  # noqa: PLC0415
    from orchestrator.launcher.names import find_installed, listing  # noqa: PLC0415

    where = home_of(home)
    known = apps(where)
    here = find_installed(where, app)
    if here is not None:  # what is installed under the name, even where the catalogue has another app of that name
        found = _by_remote(where, here, known)
    else:
        found = _by_address(app, known) if "://" in app else choose(app, known)
        here = _installed_as(where, found) if found is not None else None
    if found is None and here is None:
        near = close(app, known)
        raise BadInputError(
            f"`{app}` is neither in a catalogue nor installed",
            hint=f"did you mean {listing(near)}?" if near else "`pinoctl search WORDS` finds apps",
        )
    row = table().get(found.key) if found is not None else None
    row = row if found is not None and row is not None and row.repo == found.repo else None
    if as_json:
        output.as_json({**(found.to_json() if found else {"name": here, "repo": None}), "installed": here,
                        "planned": row.to_json() if row else None})  # fmt: skip
        return 0
    for name, text in _lines(found, here, row):
        if text:
            output.data(f"{name:<12} {output.clean(text)}")
    return 0


def _by_address(url: str, known: tuple[App, ...]) -> App | None:
    from orchestrator.launcher.target import same_remote  # noqa: PLC0415

    return next((each for each in known if same_remote(each.repo, url)), None)


def _installed_as(home: Home, app: App) -> str | None:
    """Return the name under which an app of the catalogue is installed."""
    from orchestrator.engine.repositories import remote_of  # noqa: PLC0415
    from orchestrator.launcher.names import installed  # noqa: PLC0415
    from orchestrator.launcher.target import same_remote  # noqa: PLC0415

    return next((name for name in installed(home) if same_remote(app.repo, remote_of(home.app(name)))), None)


def _by_remote(home: Home, name: str, known: tuple[App, ...]) -> App | None:
    from orchestrator.engine.repositories import remote_of  # noqa: PLC0415

    remote = remote_of(home.app(name))
    return _by_address(remote, known) if remote is not None else None


def _lines(app: App | None, here: str | None, row: Planned | None) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    if app is not None:
        lines += [("name", app.name), ("about", app.description), ("author", app.author), ("category", app.category),
                  ("tags", ", ".join(app.tags)), ("repository", app.repo), ("catalogue", app.source)]  # fmt: skip
    else:
        lines += [("name", here or "")]
    lines.append(("installed", f"yes, as {here}" if here else "no"))
    if row is None:
        return [*lines, ("planned", "no: `pinoctl plan` tells what it would do here")]
    return [*lines, *_planned(row)]


def _planned(row: Planned) -> list[tuple[str, str]]:
    def gigabytes(value: Any) -> str:
        return f"{value:g} GB" if value else ""

    outcome = row.outcome + (f": {row.reason}" if row.reason else "")
    return [
        ("planned", outcome + (f" (commit {row.commit[:12]})" if row.commit else "")),
        ("verdict", f"{row.verdict} (Linux, NVIDIA)" if row.verdict else ""),
        *(("", text) for text in row.against),
        ("install", row.install),
        ("start", row.start),
        ("page", row.web_ui),
        ("Python", row.python),
        ("torch", " ".join(filter(None, [row.torch, f"CUDA {row.cuda}" if row.cuda else ""]))),
        ("GPU", ", ".join(row.gpus)),
        ("platforms", ", ".join(row.platforms)),
        ("VRAM", gigabytes(row.vram)),
        ("memory", gigabytes(row.ram)),
        ("disk", gigabytes(row.disk) or (f"about {gigabytes(row.disk_estimate)}" if row.disk_estimate else "")),
        ("conda", "yes" if row.conda else ""),
        ("compiles", "CUDA code: needs nvcc" if row.source_build else ""),
        ("asks", ", ".join(row.asks)),
    ]
