"""`pinoctl catalog`: catalogues and apps of the user's own, and the maintainer's refresh of the table."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.commands import output
from orchestrator.commands.options import home_of, home_option, json_option
from orchestrator.engine.errors import BadInputError, PinoctlError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator.catalog.catalog import App
    from orchestrator.catalog.planned import Planned
    from orchestrator.engine.home import Home

SECONDS = 30


@click.group()
def catalog() -> None:
    """Add catalogues and apps of your own; refresh the table of planned apps (for maintainers)."""


@catalog.command("add")
@click.argument("address", metavar="URL|FILE")
@click.option("--name", metavar="NAME", help="What to call a single app, instead of its repository's name.")
@home_option
@json_option
def add(*, address: str, name: str | None, home: Path | None, as_json: bool) -> int:
    """Add a catalogue (a JSON array of apps, by http or in a file) or one app (a git URL).

    A catalogue that was added before is read again. Entries that are no good are left out, and said.
    """
    from orchestrator.catalog import added as own  # noqa: PLC0415  # `--help` does without
    from orchestrator.catalog.catalog import apps  # noqa: PLC0415

    where = home_of(home)
    whole = _is_catalogue(address)
    source, rows, problems = _catalogue(address, name) if whole else ("", [_single(address, name)], [])
    with own.changing(where) as found:
        known = apps(where)
        before = {row["key"]: row for row in found.catalogues.get(source, [])}
        if whole:
            found.catalogues[source] = rows
            left = {row["key"] for row in rows}
            problems += [
                f"`{row['name']}` is no longer in it" for key, row in sorted(before.items()) if key not in left
            ]
        else:
            found.catalogues[""] = list({**before, rows[0]["key"]: rows[0]}.values())
            old = before.get(rows[0]["key"], rows[0])["repo"]
            problems += [f"`{rows[0]['name']}` was `{old}` before"] if old != rows[0]["repo"] else []
    for problem in [*problems, *_clashes(rows, known, source or own.BY_HAND)]:
        output.say(f"warning: {output.clean(problem)}", style="yellow")
    if as_json:
        output.as_json({"source": source or None, "apps": [row["name"] for row in rows]})
    else:
        output.say(
            f"{len(rows)} app{'s' if len(rows) != 1 else ''} added: " + ", ".join(row["name"] for row in rows[:12])
        )
    return 0


def _catalogue(address: str, name: str | None) -> tuple[str, list[dict[str, Any]], list[str]]:
    """Return what a catalogue is remembered by, its rows, and what is wrong with the others."""
    from orchestrator.catalog.added import decode, parse  # noqa: PLC0415
    from orchestrator.launcher.target import hide_secrets  # noqa: PLC0415

    if name is not None:
        raise BadInputError("`--name` is for a single app", hint="leave it out for a catalogue")
    source = hide_secrets(address) if "://" in address else str(Path(address).expanduser().resolve())
    rows, problems = parse(decode(_read(address), source))
    if not rows:
        raise BadInputError(
            f"`{source}` has no app that can be used" + (f": {problems[0]}" if problems else ""),
            hint="each needs a `name` and a git URL as `repo`",
        )
    return source, rows, problems


def _clashes(rows: list[dict[str, Any]], known: Iterable[App], source: str) -> list[str]:
    from orchestrator.catalog.added import clashes  # noqa: PLC0415

    ours: list[tuple[str, str]] = []
    theirs: list[tuple[str, str]] = []
    for app in known:
        if app.source != source:
            (theirs if app.source else ours).extend((name, app.repo) for name in {app.name, app.key})
    return [
        f"`{clash}` is in {whose} catalogue with another repository; give `author/{clash}`"
        for whose, taken in (("pinoctl's", ours), ("another", theirs))
        for clash in clashes(rows, taken)
    ]


def _is_catalogue(address: str) -> bool:
    if "://" not in address:
        return Path(address).expanduser().is_file()
    path = address.partition("?")[0].partition("#")[0]
    return path.endswith(".json") and address.startswith(("http://", "https://", "file://"))


def _single(address: str, name: str | None) -> dict[str, Any]:
    from orchestrator.catalog.added import parse  # noqa: PLC0415
    from orchestrator.launcher.target import hide_secrets, parse_target  # noqa: PLC0415

    target = parse_target(address, cwd=Path.cwd())
    if target.ref is not None:
        raise BadInputError(
            f"`{hide_secrets(address)}` names a ref, and a catalogue keeps repositories only",
            hint=f"leave `@{target.ref}` out here; `pinoctl up NAME@{target.ref}` takes it",
        )
    if target.kind != "url" or target.url is None:
        raise BadInputError(
            f"`{address}` is neither a catalogue nor a git URL", hint="give a JSON file, its address, or a git URL"
        )
    if hide_secrets(target.url) != target.url and not target.url.startswith("git@"):
        raise BadInputError("the URL holds a password or token, which a catalogue must not keep",
                            hint="leave it out, and set up git's credentials")  # fmt: skip
    rows, problems = parse([{"name": name or target.name, "repo": target.url}])
    if not rows:
        raise BadInputError(problems[0].partition(": ")[2], hint="give a name with `--name`")
    return rows[0]


def _read(address: str) -> bytes:
    from orchestrator.catalog.added import MOST_BYTES, read_file  # noqa: PLC0415

    if "://" not in address or address.startswith("file://"):
        try:
            return read_file(Path(address.removeprefix("file://")).expanduser())
        except OSError as error:
            raise BadInputError(f"`{address}` cannot be read: {error.strerror}") from error
    import requests  # noqa: PLC0415  # takes longer to load than the rest

    from orchestrator.launcher.target import hide_secrets  # noqa: PLC0415

    try:
        with requests.get(address, timeout=SECONDS, stream=True) as answer:
            answer.raise_for_status()
            data = bytearray()
            for part in answer.iter_content(65536):
                data += part
                if len(data) > MOST_BYTES:
                    break
            return bytes(data)
    except requests.RequestException as error:
        status = getattr(error.response, "status_code", None)
        why = f"the server answers {status}" if status else type(error).__name__
        raise PinoctlError(
            f"`{hide_secrets(address)}` cannot be had: {why}", hint="check the address and the network"
        ) from error


@catalog.command("remove")
@click.argument("address", metavar="URL|NAME")
@home_option
def remove(*, address: str, home: Path | None) -> int:
    """Take out a catalogue by its address, or a single app by its name; what is installed stays."""
    from orchestrator.catalog.added import changing  # noqa: PLC0415

    with changing(home_of(home)) as found:
        source = address if address in found.catalogues else str(Path(address).expanduser().resolve())
        singles = found.catalogues.get("", [])
        left = [row for row in singles if address.casefold() != row["key"] and address != row["repo"]]
        if address and source in found.catalogues:
            del found.catalogues[source]
        elif len(left) < len(singles):
            found.catalogues[""] = left
        else:
            raise BadInputError(f"`{address}` was not added", hint="`pinoctl catalog list` shows what was")
    return 0


@catalog.command("list")
@home_option
@json_option
def list_(*, home: Path | None, as_json: bool) -> int:
    """List the catalogues, ours and those that were added, with how many apps each has."""
    rows = _catalogues(home_of(home))
    if as_json:
        output.as_json([{"source": source, "apps": count} for source, count in rows])
    else:
        output.table([[source, str(count)] for source, count in rows], ["CATALOGUE", "APPS"])
    return 0


def _catalogues(home: Home) -> list[tuple[str, int]]:
    from orchestrator.catalog.added import BY_HAND, read_added  # noqa: PLC0415
    from orchestrator.catalog.catalog import shipped  # noqa: PLC0415

    added = read_added(home).catalogues
    return [
        ("pinoctl", len(shipped())),
        *((source or BY_HAND, len(rows)) for source, rows in added.items() if rows),
    ]


@catalog.command("refresh")
@click.option("--only", multiple=True, metavar="APP", help="Only this app; may be repeated.")
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 when the table would change.")
@click.option("--output", "target", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write the table there, instead of the one that pinoctl was installed with.")  # fmt: skip
@click.option("--jobs", type=click.IntRange(1, 64), default=8, show_default=True, help="Repositories fetched at once.")
@home_option
def refresh(*, only: tuple[str, ...], check: bool, target: Path | None, jobs: int, home: Path | None) -> int:
    """Fetch the launchers of pinoctl's catalogue, plan them for Linux with an NVIDIA card, and rewrite the table.

    For maintainers. Launchers are kept in `<HOME>/cache/launchers`; what changed is printed, one line per app.
    """
    from orchestrator.catalog import planned  # noqa: PLC0415
    from orchestrator.catalog.catalog import choose, shipped  # noqa: PLC0415
    from orchestrator.commands.catalog_refresh import fetch_all, plan_all  # noqa: PLC0415
    from orchestrator.hosts.resources.cards import load_hardware  # noqa: PLC0415

    file = target or planned.TABLE
    old = _table(file)
    apps = shipped()
    if only:
        named = [choose(name) for name in only]
        unknown = [name for name, app in zip(only, named, strict=True) if app is None]
        if unknown:
            raise BadInputError(f"`{unknown[0]}` is not in pinoctl's catalogue", hint="`pinoctl search` finds its name")
        apps = tuple(app for app in named if app is not None)
    folder = home_of(home).cache / "launchers"
    problems = fetch_all(apps, folder, jobs=jobs, say=lambda text: output.say(output.clean(text), style="dim"))
    if len(problems) == len(apps) > 1:
        raise PinoctlError(
            f"no launcher could be fetched: {problems[apps[0].key]}", hint="check the network; the table is as it was"
        )
    fresh = plan_all(apps, folder, problems, load_hardware("rtx4090"), old or _table(planned.TABLE))
    new = {**(old if only else {}), **fresh}
    found = planned.changes(old, new)
    for line in found:
        output.data(output.clean(line))
    counts = Counter(row.outcome for row in new.values())
    summary = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
    output.say(f"{len(new)} apps: {summary}; {len(found)} changed")
    if check:
        return 1 if found else 0
    temporary = file.with_name(f".{file.name}.new")
    try:
        temporary.write_text(planned.render(new.values()), "utf-8")
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
    return 0


def _table(file: Path) -> Mapping[str, Planned]:
    from orchestrator.catalog.planned import parse  # noqa: PLC0415

    try:
        return parse(file.read_text("utf-8")) if file.exists() else {}
    except (ValueError, TypeError, AttributeError) as error:
        raise BadInputError(
            f"`{file}` is not a table of planned apps: {error}", hint="delete it, and it is made anew"
        ) from error
