"""What is told of the guard: its limits, what is left of them, what it stopped, and what it could not stop."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from dataclasses import replace

import pytest
from click.testing import CliRunner

from orchestrator.agent.files import AgentFiles
from orchestrator.commands.gate import status as gate_status
from orchestrator.commands.status import status as app_status
from orchestrator.expose.exposures import read
from orchestrator.expose.gate.audit import read as read_audit
from orchestrator.hosts.detection import find_platform
from orchestrator.hosts.signs import Signs
from orchestrator.hosts.stopping import STUDIO_FOLDER

SDK = """\
class Studio:
    id = "i"
    def __init__(self, create_ok):
        pass
    def stop(self):
        WHAT
"""


@pytest.fixture
async def clock(world):
    await world.app("notes")
    await world.begin()
    now = {"now": 1000.0}
    world.daemon.machinery.clock = lambda: now["now"]
    return now


async def look(world, clock, seconds):
    """Let time pass, and the guard look."""
    exposed = world.daemon._apps["notes"]
    while exposed._watch.verdict is None or not exposed.worked:  # its own first look, and the one at the app
        await world.ask("ping")
    clock["now"] += seconds
    await world.watch("notes").once()
    return await world.ask("state", app="notes")


def be_studio(world, folder, stop):
    """Have the gate find itself in a studio with a package that stops it so, for a Python that is really run."""
    (folder / "lightning_sdk.py").write_text(SDK.replace("WHAT", stop))
    (folder / "python3").write_text(f'#!/bin/sh\nPYTHONPATH="{folder}" exec "{sys.executable}" "$@"\n')
    (folder / "python3").chmod(0o755)
    environ = {"PATH": f"{folder}:/usr/bin:/bin", "LIGHTNING_CLOUD_SPACE_ID": "i"}
    signs = Signs(environ, STUDIO_FOLDER.__eq__, lambda _path: None)
    machinery = world.daemon.machinery
    machinery.surroundings = replace(
        machinery.surroundings, platform=find_platform(signs), signs=signs, environ=environ
    )


async def test_a_machine_that_could_not_be_stopped_is_told_as_long_as_it_costs(world, clock, tmp_path):
    be_studio(world, tmp_path, "raise RuntimeError('no login')")
    shown = await world.expose("notes", most_seconds=60.0, at_end="machine")
    assert shown["cannot_stop_because"] is None
    assert "will be stopped" in (await look(world, clock, 100))["warning"]
    shown = await look(world, clock, 100)
    assert shown["warning"].startswith("the machine still runs and costs money, ")
    assert "RuntimeError: no login; pinoctl tries again" in shown["warning"]
    entries = [entry for entry in read_audit(world.daemon.files.audit) if entry["event"] == "machine not stopped"]
    assert [(entry["app"], entry["why"]) for entry in entries] == [("notes", shown["warning"])]
    for _ in range(2):  # one look is let pass between two tries
        await look(world, clock, 15)
    entries = [entry["event"] for entry in read_audit(world.daemon.files.audit)]
    assert entries.count("machine not stopped") == 2
    be_studio(world, tmp_path, "pass")
    for _ in range(4):
        await look(world, clock, 15)
    last = read_audit(world.daemon.files.audit)[-1]
    assert (last["event"], last["why"]) == ("stopped", "the machine was stopped: running for 5m of 1m")
    assert (await world.ask("state", app="notes"))["warning"] is None


async def test_a_machine_that_nothing_can_stop_is_told_before_and_after(world, clock):
    shown = await world.expose("notes", most_seconds=60.0, at_end="machine")
    assert "a machine of your own cannot be stopped from inside" in shown["cannot_stop_because"]
    warning = (await look(world, clock, 100))["warning"]
    assert warning.startswith("`notes` will be stopped in ")
    assert "; the machine goes on and costs money: a machine of your own cannot" in warning
    await look(world, clock, 100)
    shown = await world.ask("state", app="notes")
    assert shown["warning"].startswith(
        "the machine still runs and costs money: a machine of your own cannot be stopped"
    )
    last = read_audit(world.daemon.files.audit)[-1]
    assert last["event"] == "machine not stopped"
    assert last["why"] == f"{shown['warning']}; the app was stopped: running for 3m of 1m"
    again = await world.expose("notes", at_end="app")
    assert (again["cannot_stop_because"], again["warning"]) == (None, None)
    assert (await world.expose("notes", at_end="machine", most_seconds=0.0))["cannot_stop_because"] is None


async def test_the_warning_counts_down_and_ends_with_the_app(world, clock):
    await world.expose("notes", most_seconds=600.0)
    assert "will be stopped in 1m40s: " in (await look(world, clock, 500))["warning"]
    clock["now"] += 10
    shown = await world.ask("state", app="notes")
    assert "will be stopped in 1m30s: " in shown["warning"]
    assert shown["stops_in"] == 90
    shown = await look(world, clock, 100)
    assert world.stopped == ["notes"]
    assert (shown["warning"], shown["stops_in"], shown["stops_at"]) == (None, None, None)


async def test_limits_and_what_is_left_of_them_are_shown(world, clock):
    await world.expose("notes", most_seconds=600.0, idle_seconds=300.0, at_end="machine")
    shown = await look(world, clock, 15)
    assert (shown["max_seconds"], shown["stop_after_idle"], shown["stop_what"]) == (600.0, 300.0, "machine")
    assert 285 <= shown["stops_in"] <= 300
    none = await world.expose("notes", most_seconds=0.0, idle_seconds=0.0)
    assert (none["max_seconds"], none["stops_in"], none["stops_at"]) == (None, None, None)


async def test_why_the_guard_stopped_an_app_is_kept_until_it_is_exposed_again(world, clock):
    await world.expose("notes", most_seconds=60.0)
    for _ in range(2):
        await look(world, clock, 100)
    assert read(world.daemon.files.exposed)["notes"].stopped == "running for 3m of 1m"
    while (kept := read(world.daemon.files.exposed)["notes"]).active:  # its door closes
        await world.ask("list")
    assert kept.stopped == "running for 3m of 1m"
    await world.expose("notes")
    assert read(world.daemon.files.exposed)["notes"].stopped == ""


async def told(world, command, *arguments):
    """Run a command; return what it printed, on stdout and on stderr."""
    arguments = [*arguments, "--home", str(world.home.root)]
    done = await asyncio.to_thread(CliRunner().invoke, command, arguments, standalone_mode=False)
    assert done.exception is None
    return done.stdout, done.stderr


async def test_commands_tell_what_the_guard_will_do_and_what_it_did(world, clock):
    world.home.app("notes").mkdir(parents=True)
    state = AgentFiles(world.home, "notes").state
    state.parent.mkdir(parents=True)
    state.write_text('{"word": "stopped"}')
    await world.expose("notes", most_seconds=3600.0, idle_seconds=1800.0)
    await look(world, clock, 60)
    out, _ = await told(world, gate_status)
    assert out.splitlines()[0].endswith("STOPS")
    assert re.search(r" app in (29|30)m \(30m unused or 1h in all\)$", out.splitlines()[1])
    shown = json.loads((await told(world, gate_status, "--json"))[0])[0]
    assert (shown["stop_what"], shown["stops_at"] > time.time()) == ("app", True)
    await world.expose("notes", at_end="machine")
    assert "warning: when `notes` is stopped by itself, the machine goes on" in (await told(world, gate_status))[1]
    for seconds in (3600, 100):
        await look(world, clock, seconds)
    row = json.loads((await told(world, app_status, "notes", "--json"))[0])
    assert (row["phase"], row["reason"]) == ("stopped", "by its guard: running for 1h3m of 1h")
    assert " stopped (by its guard: running for 1h3m of 1h) " in (await told(world, app_status, "notes"))[0]
    await world.ask("hide", app="notes", keep=True, failed=True)
    assert "127.0.0.1:0" not in (await told(world, gate_status))[0]


async def test_a_guard_that_sees_nothing_says_so_until_it_does(world, clock):
    await world.expose("notes", idle_seconds=3600.0)
    watch = world.daemon._apps["notes"]._watch

    async def broken():
        raise OSError("no such socket")

    await look(world, clock, 15)
    sample, watch._sample = watch._sample, broken
    told = "the guard cannot see whether the app is used: no such socket"
    assert (await look(world, clock, 15))["warning"] == told
    watch._sample = sample
    assert (await look(world, clock, 15))["warning"] is None


async def test_an_app_whose_door_is_closed_has_no_address_here(world, clock):
    await world.expose("notes", most_seconds=3600.0, at_end="machine")
    await world.ask("hide", app="notes", keep=True, failed=True)
    shown = await world.ask("state", app="notes")
    assert [shown[key] for key in ("port", "url", "link", "template")] == [None] * 4
