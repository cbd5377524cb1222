"""Exposures that are changed while they are at work: what is refused changes nothing, guards outlive doors."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest

from orchestrator import __version__
from orchestrator.engine.errors import BadInputError, PinoctlError
from orchestrator.expose import saying
from tests.expose.world import LOCAL, free_port


def exposed(world, app="notes"):
    return world.daemon._apps[app]


async def test_a_refused_limit_leaves_the_guards_at_work(world):
    await world.app("notes")
    await world.begin()
    await world.expose("notes", idle_seconds=1800.0, most_seconds=3600.0)
    with pytest.raises(BadInputError, match="too short"):
        await world.expose("notes", idle_seconds=30.0)
    shown = await world.ask("state", app="notes")
    assert (shown["stop_after_idle"], shown["max_seconds"]) == (1800.0, 3600.0)
    assert not exposed(world)._guarding.done()


async def test_a_mistyped_tunnel_leaves_the_one_that_works(world):
    await world.app("notes")
    port = free_port()
    await world.begin(**LOCAL, PINOCTL_PUBLIC_URL=f"http://127.0.0.1:{port}", PINOCTL_GATE_PORT=str(port))
    await world.ask("expose", app="notes", given={"tunnel": "own"})
    await world.shown("notes", lambda shown: shown["tunnel"]["state"] == "up")
    tunnel = exposed(world).tunnel
    for _ in range(2):
        with pytest.raises(BadInputError, match="no tunnel called `ngrokk`"):
            await world.ask("expose", app="notes", given={"tunnel": "ngrokk"})
    assert exposed(world).tunnel is tunnel
    assert (await world.ask("state", app="notes"))["tunnel"]["state"] == "up"


async def test_the_hours_count_from_up_and_from_nothing_else(world):
    await world.app("notes")
    await world.begin()
    clock = {"now": 1000.0}
    world.daemon.machinery.clock = lambda: clock["now"]
    await world.expose("notes", most_seconds=3600.0)
    clock["now"] += 3000
    await world.watch("notes").once()
    await world.expose("notes", public=False)
    assert exposed(world).exposure.meter["elapsed"] == 3000.0
    await world.ask("expose", app="notes", given={"tunnel": "none"}, restart=True)
    assert not exposed(world).exposure.meter.get("elapsed")  # it is written down by and by


async def test_the_guard_of_a_machine_goes_on_when_its_app_has_ended(world, monkeypatch):
    await world.app("notes")
    await world.begin()
    await world.expose("notes", most_seconds=3600.0, at_end="machine")
    await world.end()
    monkeypatch.setattr("orchestrator.expose.daemon.IDLE_SECONDS", 0.05)  # not while nothing is exposed yet
    await world.begin()
    shown = await world.until("notes", "ready")
    world.words["notes"] = "stopped"
    await world.shown("notes", lambda shown: shown["port"] is None)
    with pytest.raises(aiohttp.ClientConnectionError):
        await world.get(shown["url"])
    await asyncio.sleep(0.2)
    assert not world.serving.done()
    assert not exposed(world)._guarding.done()
    world.words["notes"] = "ready"
    await world.expose("notes")
    again = await world.until("notes", "ready")
    assert (await world.get(again["link"]))[0] == 200


async def test_an_up_that_failed_closes_the_door_and_keeps_the_machines_guard(world):
    await world.app("notes")
    await world.begin()
    await world.expose("notes", most_seconds=3600.0, at_end="machine")
    assert await world.ask("hide", app="notes", keep=True, failed=True) == {"hidden": True}
    assert not exposed(world)._guarding.done()
    await world.expose("other", most_seconds=3600.0)
    await world.ask("hide", app="other", keep=True, failed=True)
    assert "other" not in world.daemon._apps


async def test_what_never_began_is_taken_back(world):
    await world.app("notes")
    await world.begin()
    await world.expose("notes", public=True)
    assert await world.ask("hide", app="notes", undo=True) == {"hidden": True}
    assert json.loads(world.daemon.files.exposed.read_text())["apps"] == []
    before = await world.expose("notes")
    await world.expose("notes", public=True)
    assert await world.ask("hide", app="notes", undo=True) == {"hidden": False}
    after = await world.ask("state", app="notes")
    assert (after["public"], after["link"]) == (False, before["link"])


async def test_the_door_of_an_app_that_never_ran_waits_for_it(world):
    await world.begin()
    shown = await world.expose("notes")
    await world.until("notes", "stopped")
    await asyncio.sleep(0.2)
    status, page = await world.get(shown["link"])
    assert (status, "stopped" in page) == (503, True)
    await world.app("notes")
    await world.until("notes", "ready")
    assert (await world.get(shown["link"]))[0] == 200


async def test_every_app_of_the_home_is_stopped_before_the_machine_whatever_one_of_them_does(world, capsys):
    for name in ("bad", "hidden", "notes"):
        await world.app(name)
    await world.begin()
    stop, world.daemon._stop_app = world.daemon._stop_app, None

    def stopping(app):
        if app == "bad":
            world.words["bad"] = "stopped"
            raise PinoctlError("it does not end")
        stop(app)

    world.daemon._stop_app = stopping
    clock = {"now": 1000.0}
    world.daemon.machinery.clock = lambda: clock["now"]
    await world.expose("bad")
    await world.expose("notes", most_seconds=60.0, at_end="machine")
    for _ in range(4):
        clock["now"] += 100
        await world.watch("notes").once()
    assert {"hidden", "notes"} <= set(world.stopped)
    assert world.daemon._stopping == 0, "a stop that failed keeps no door open for ever"
    assert "it does not end" in capsys.readouterr().err


async def test_a_refused_token_is_put_right_by_the_right_one(world, tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    fake = folder / "ngrok"
    fake.write_text(
        '#!/bin/sh\necho "$NGROK_AUTHTOKEN" >> ' + str(tmp_path / "tokens") + "\n"
        "echo 'ERROR:  authentication failed: wrong token. ERR_NGROK_105' >&2\nexit 1\n"
    )
    fake.chmod(0o755)
    await world.app("notes")
    await world.begin(**LOCAL, PATH=f"{folder}:/usr/bin:/bin")
    await world.ask("expose", app="notes", given={"tunnel": "ngrok"}, accounts={"NGROK_AUTHTOKEN": "WRONG"})
    failed = await world.shown("notes", lambda shown: shown["tunnel"]["state"] == "failed")
    assert failed["tunnel"]["trying"] is False
    await world.ask("expose", app="notes", given={"tunnel": "ngrok"}, accounts={"NGROK_AUTHTOKEN": "RIGHT"})
    await world.shown("notes", lambda shown: shown["tunnel"]["state"] == "failed")
    assert (tmp_path / "tokens").read_text().split() == ["WRONG", "RIGHT"]


async def test_where_the_machine_is_reached_may_be_said_later(world):
    await world.app("notes")
    await world.begin(**LOCAL)
    await world.expose("notes")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    where = {**LOCAL, "PINOCTL_PUBLIC_URL": address, "PINOCTL_GATE_PORT": str(port)}
    shown = await world.ask("expose", app="notes", given={"tunnel": "own"}, environ=where)
    assert shown["port"] == port
    up = await world.shown("notes", lambda shown: shown["tunnel"]["state"] == "up")
    await world.until("notes", "ready")
    assert (await world.get(up["share_link"]))[0] == 200


async def test_the_gate_says_its_version_and_ends_when_it_is_asked_to(world):
    await world.app("notes")
    await world.begin()
    await world.expose("notes")
    assert (await world.ask("ping"))["version"] == __version__
    await world.ask("quit")
    await asyncio.wait_for(world.serving, 60)
    world.serving = None
    assert json.loads(world.daemon.files.exposed.read_text())["apps"][0]["active"], "the next gate goes on"


class Full:
    """A log on a disk without room."""

    def write(self, _text):
        raise OSError(28, "No space left on device")


def test_a_full_disk_keeps_nobody_from_going_on(monkeypatch):
    monkeypatch.setattr("sys.stderr", Full())
    saying.say("nobody hears this")
