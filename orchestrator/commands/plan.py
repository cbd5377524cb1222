"""`pinoctl plan TARGET...`: what would run here, without executing anything of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.commands import output
from orchestrator.commands.options import hardware_option, home_of, home_option, json_option

if TYPE_CHECKING:
    from orchestrator.engine.hardware import HardwareProfile
    from orchestrator.engine.home import Home
    from orchestrator.plan.plan import AppPlan
    from orchestrator.plan.verdict import Room


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...")
@click.option("--every-script", is_flag=True, help="Plan every script of the app, not only install and start.")
@hardware_option
@click.option(
    "--trace",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write `DIR/<app>/<script>.jsonl` for every planned script.",
)
@home_option
@json_option
def plan(
    *,
    targets: tuple[str, ...],
    every_script: bool,
    hardware: str | None,
    trace: Path | None,
    home: Path | None,
    as_json: bool,
) -> int:
    """Show what apps would do here, step by step, and whether they would run: nothing of them is executed.

    TARGET is an app's name, a git URL, a folder, or one script. Launchers that are not installed are fetched into a
    temporary folder. Exit status: 0 when every target was planned, whatever the verdict; 1 when one could not be.
    """
    import asyncio  # noqa: PLC0415  # `--help` does without all of this

    profile = _profile(hardware)
    where = home_of(home)
    return asyncio.run(
        _plan(
            list(targets),
            where,
            profile,
            _room(where, hardware),
            every_script=every_script,
            trace=trace,
            as_json=as_json,
        )
    )


def _profile(hardware: str | None) -> HardwareProfile:
    if hardware is not None:
        from orchestrator.hosts.resources.cards import load_hardware  # noqa: PLC0415

        return load_hardware(hardware)
    from orchestrator.engine.hardware import detect  # noqa: PLC0415

    return detect()


def _room(home: Home, hardware: str | None) -> Room:
    """Return what this machine has left; of another machine nobody knows."""
    from orchestrator.plan.verdict import Room  # noqa: PLC0415

    if hardware is not None:
        return Room()
    from orchestrator.hosts.resources.resources import detect_resources  # noqa: PLC0415

    resources = detect_resources(home.root)
    return Room(resources.disks[0].free if resources.disks else None, resources.limits.memory)


async def _plan(
    targets: list[str],
    home: Home,
    profile: HardwareProfile,
    room: Room,
    *,
    every_script: bool,
    trace: Path | None,
    as_json: bool,
) -> int:
    from orchestrator.plan.planner import Planner  # noqa: PLC0415
    from orchestrator.plan.report import as_json as to_json  # noqa: PLC0415
    from orchestrator.plan.staging import Stage  # noqa: PLC0415
    from orchestrator.plan.traces import write_traces  # noqa: PLC0415

    stage = Stage(home, progress=lambda line: output.say(output.clean(line), style="dim"))
    failed = False
    try:
        staged = stage.put(targets, cwd=Path.cwd())
        planner = Planner(profile, room, every_script=every_script)
        count = 0
        async for found in planner.plans(staged):
            count += 1
            if trace is not None:
                write_traces(trace, found)
            failed = failed or found.problem is not None
            if as_json:
                output.as_json(to_json(found, profile))
            else:
                _print(found, profile, first=count == 1)
            if len(staged) > 1:
                output.say(f"{count} of {len(staged)}: {output.clean(found.name)}: {_outcome(found)}", style="dim")
    finally:
        stage.close()
    return 1 if failed else 0


def _outcome(found: AppPlan) -> str:
    return "cannot be planned" if found.problem is not None else found.verdict.state


def _print(found: AppPlan, profile: HardwareProfile, *, first: bool) -> None:
    import sys  # noqa: PLC0415

    from orchestrator.plan.report import lines  # noqa: PLC0415

    if not first:
        output.data("")
    for text, style in lines(found, profile):
        clean = output.clean(text)
        output.data(output.paint(clean, style, sys.stdout) if style else clean)
