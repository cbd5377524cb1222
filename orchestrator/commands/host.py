"""`pinoctl host`: which platform this machine is on, why that is thought, and what follows from it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.commands import output
from orchestrator.commands.options import home_of, home_option, json_option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.engine.home import Home
    from orchestrator.hosts.platform import Folder, Platform
    from orchestrator.hosts.signs import Signs
    from orchestrator.hosts.way import Way

OVERRIDES = ("PINOCTL_PLATFORM", "PINOCTL_HOME", "PINOCTL_GATE_PORT", "PINOCTL_PUBLIC_URL")
SOCKETS = ("/var/run/docker.sock", "/run/podman/podman.sock")


@click.command()
@home_option
@json_option
def host(*, home: Path | None, as_json: bool) -> int:
    """Show where this is: the cloud or machine with the evidence, its folders, Docker, ways to a URL, limits, rules.

    Asks nobody and changes nothing. PINOCTL_PLATFORM, PINOCTL_GATE_PORT and PINOCTL_PUBLIC_URL put a wrong guess right.
    """
    from orchestrator.hosts.detection import find_platform  # noqa: PLC0415  # `--help` does without all of this
    from orchestrator.hosts.signs import signs_here  # noqa: PLC0415
    from orchestrator.hosts.way import ways_out  # noqa: PLC0415

    signs = signs_here()
    platform = find_platform(signs)
    ways, where = ways_out(platform, signs), home_of(home)
    if as_json:
        output.as_json(as_data(platform, signs, ways, where))
        return 0
    rows = list(lines(platform, signs, ways, where))
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        output.data(f"{name:<{width}}  {output.clean(text)}".rstrip())
    return 0


def as_data(platform: Platform, signs: Signs, ways: tuple[Way, ...], home: Home) -> dict[str, Any]:
    """Return everything as plain data, with the free bytes of each folder that is there."""
    from orchestrator.hosts.stopping import can_stop  # noqa: PLC0415

    data = platform.to_json()
    for folder in data["folders"]:
        folder["free"] = free_bytes(folder["path"])
    why_not = can_stop(platform, signs)
    kept = home_folder(platform, home)
    return {
        **data,
        "home": str(home.root),
        "home_folder": None if kept is None else kept.path,
        "home_survives_stop": None if kept is None else kept.stop,
        "docker": {**data["docker"], "socket": docker_socket(signs)},
        "ways": [way.to_json() for way in ways],
        "can_stop": not why_not,
        "cannot_stop_because": why_not or None,
        "overrides": {name: value for name in OVERRIDES if (value := signs.environ.get(name))},
    }


def lines(platform: Platform, signs: Signs, ways: tuple[Way, ...], home: Home) -> Iterator[tuple[str, str]]:
    """Yield what is shown to people: a heading and a text each."""
    from orchestrator.hosts.homes import lasting  # noqa: PLC0415
    from orchestrator.hosts.stopping import can_stop  # noqa: PLC0415

    facts = platform.facts
    yield "platform", f"{facts.title} (`{facts.name}`), {platform.confidence}"
    for each in platform.evidence:
        yield "  because", f"{each.sign}: {each.says} ({'strong' if each.strong else 'weak'})"
    if not platform.evidence:
        told = platform.confidence == "told"
        yield "  because", "PINOCTL_PLATFORM says so" if told else "nothing speaks for anything else"
    for name, each in platform.against:
        yield "  although", f"{each.sign}: {each.says} ({'strong' if each.strong else 'weak'} for `{name}`)"
    kept = home_folder(platform, home)
    lasts = f", on `{kept.path}`: {lasting(kept)}" if kept is not None else ""
    yield "home", f"`{home.root}`{_room(str(home.root))}{lasts}"
    for folder in facts.folders:
        yield "folder", _folder(folder)
    socket = docker_socket(signs)
    found = f"; a socket is at `{socket}`" if socket else ""
    yield "docker", f"{facts.docker.works}: {facts.docker.why}{found}"
    for way in ways:
        yield "way out", _way(way)
    yield "session", facts.session
    yield "idle", facts.idle
    yield "tunnels", f"allowed: {facts.tunnels}"
    for policy in facts.policies:
        yield "rule", policy
    yield "stopping", facts.stopping
    why_not = can_stop(platform, signs)
    yield "  by pinoctl", f"no: {why_not}" if why_not else "yes"
    for name in OVERRIDES:
        if value := signs.environ.get(name):
            yield "override", f"{name}={value}"


def home_folder(platform: Platform, home: Home) -> Folder | None:
    """Return the folder of the platform that a home lies in, None where nothing is known of it."""
    from orchestrator.hosts.homes import folder_of  # noqa: PLC0415

    path = os.path.realpath(home.root)
    return folder_of(platform.facts, path, on_root=on_root_disk(path))


def on_root_disk(path: str) -> bool:
    """Tell whether a folder is on the disk of `/`, or would be made there."""
    there = Path(path)
    while not there.exists():
        there = there.parent
    return there.stat().st_dev == Path("/").stat().st_dev


def warn_of_loss(home: Home) -> None:
    """Say so where a rented machine's home does not survive that the machine is stopped."""
    from orchestrator.expose.surroundings import NOT_RENTED  # noqa: PLC0415
    from orchestrator.hosts.detection import find_platform  # noqa: PLC0415
    from orchestrator.hosts.homes import better_place  # noqa: PLC0415
    from orchestrator.hosts.platform import NO  # noqa: PLC0415
    from orchestrator.hosts.signs import signs_here  # noqa: PLC0415

    platform = find_platform(signs_here())
    kept = home_folder(platform, home) if platform.name not in NOT_RENTED else None
    if kept is None or kept.stop != NO or home.drive.is_symlink():  # models and what finds apps again are elsewhere
        return
    output.say(f"warning: the home `{home.root}` does not survive a stop of this machine", style="yellow")
    output.hint(better_place(platform.facts, os.path.realpath(home.root)))


def _folder(folder: Folder) -> str:
    words = f"`{folder.path}`{_room(folder.path)}: survives a restart: {folder.restart}, a stop: {folder.stop}, "
    words += f"deletion: {folder.deletion}"
    return "; ".join(filter(None, [words, folder.limit and f"limit: {folder.limit}", folder.note]))


def _way(way: Way) -> str:
    if way.kind != "url":
        return f"{way.kind}: {way.note}"
    urls = [f"{url} (port {port})" for port, url in way.mapped if way.ports is None or port in way.ports]
    text = ", ".join(urls) or way.template
    taken = f"; in use: {', '.join(map(str, way.busy))}" if way.busy else ""
    shared = "; one port for all apps" if way.one_port else ""
    return "; ".join(filter(None, (f"{way.name}: {text}{taken}{shared}", way.hint, way.note)))


def docker_socket(signs: Signs) -> str | None:
    """Return the socket of a Docker or Podman daemon that this process could use, None when there is none."""
    user = signs.environ.get("XDG_RUNTIME_DIR", "")
    mine = (f"{user}/docker.sock", f"{user}/podman/podman.sock") if user.startswith("/") else ()
    return next((path for path in (*SOCKETS, *mine) if os.access(path, os.W_OK)), None)


def free_bytes(path: str) -> int | None:
    """Return the free bytes of the disk that a folder is on, or would be made on; None when that cannot be told."""
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return None


def _room(path: str) -> str:
    from orchestrator.hosts.resources.room import size  # noqa: PLC0415

    place = Path(path)
    if not place.exists():
        return " (not there)"
    free = free_bytes(path)
    return "" if free is None else f" ({size(free)} free)"
