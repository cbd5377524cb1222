"""The gate's process without being one: exposures begun, kept, shown and ended, in front of real servers."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest

from orchestrator.engine.errors import BadInputError, PinoctlError
from orchestrator.expose.gate.trust import seen_through
from orchestrator.expose.listening import trust_of
from tests.expose.world import LOCAL, free_port


async def test_an_exposed_app_opens_with_its_link_and_with_nothing_else(world):
    await world.app("notes", page="/ui?theme=dark")
    await world.begin()
    await world.expose("notes")
    shown = await world.until("notes", "ready")
    assert shown["share_url"] is None
    assert shown["tunnel"]["state"] == "none"
    assert shown["link"].startswith(f"{shown['url']}/ui?theme=dark&token=")
    assert await world.get(shown["link"]) == (200, "notes /ui?theme=dark")
    status, page = await world.get(shown["url"] + "/ui")
    assert status == 401
    assert "notes /ui" not in page


async def test_everything_is_kept_over_a_restart(world):
    await world.app("notes")
    await world.begin()
    await world.expose("notes", public=False, idle_seconds=3600.0)
    before = await world.until("notes", "ready")
    await world.end()
    assert not world.daemon.files.socket.exists()
    await world.begin()
    after = await world.until("notes", "ready")
    assert after["link"] == before["link"]
    assert after["stop_after_idle"] == 3600.0
    assert (await world.get(before["link"]))[0] == 200


async def test_a_port_that_was_taken_meanwhile_is_no_reason_to_stay_away(world):
    await world.app("notes")
    await world.begin()
    before = await world.expose("notes")
    await world.end()
    thief = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", before["port"])
    await world.begin()
    after = await world.until("notes", "ready")
    assert after["port"] != before["port"]
    assert (await world.get(after["link"]))[0] == 200
    thief.close()


async def test_hiding_closes_the_door_and_down_keeps_how_it_was(world):
    await world.app("notes")
    await world.begin()
    shown = await world.expose("notes", public=True)
    assert (await world.ask("hide", app="notes", keep=True)) == {"hidden": True}
    with pytest.raises(aiohttp.ClientConnectionError):
        await world.get(shown["url"])
    kept = json.loads(world.daemon.files.exposed.read_text())["apps"]
    assert [(row["app"], row["public"], row["active"]) for row in kept] == [("notes", True, False)]
    again = await world.ask("expose", app="notes", given={})
    assert (again["public"], again["port"]) == (True, shown["port"])
    assert (await world.ask("hide", app="notes")) == {"hidden": True}
    assert json.loads(world.daemon.files.exposed.read_text())["apps"] == []
    assert (await world.ask("hide", app="notes")) == {"hidden": False}


async def test_forgetting_ends_the_token(world):
    await world.app("notes")
    await world.begin()
    before = await world.expose("notes")
    await world.ask("hide", app="notes", forget=True)
    after = await world.expose("notes")
    assert before["link"].partition("token=")[2] != after["link"].partition("token=")[2]


async def test_an_app_that_is_stopped_loses_its_door_after_a_while_and_the_gate_ends(world, monkeypatch):
    await world.app("notes")
    await world.begin()
    await world.expose("notes")
    await world.end()
    monkeypatch.setattr("orchestrator.expose.daemon.IDLE_SECONDS", 0.05)  # not while nothing is exposed yet
    await world.begin()
    await world.until("notes", "ready")
    world.words["notes"] = "stopped"
    await asyncio.wait_for(world.serving, 60)
    assert not json.loads(world.daemon.files.exposed.read_text())["apps"][0]["active"]
    world.serving = None


async def test_public_apps_need_no_token_and_it_is_said(world):
    await world.app("notes")
    await world.begin()
    await world.expose("notes", public=True)
    shown = await world.until("notes", "ready")
    assert shown["link"] == shown["url"] + "/"
    assert await world.get(shown["url"]) == (200, "notes /")
    await world.expose("notes", public=False)
    assert (await world.get(shown["url"]))[0] == 401, "closed at the next request"


async def test_one_port_leads_to_all_apps_where_the_platform_has_only_one(world):
    await world.app("one")
    await world.app("two")
    port = free_port()
    await world.begin(**LOCAL, PINOCTL_PUBLIC_URL="http://127.0.0.1:1", PINOCTL_GATE_PORT=str(port))
    first, second = await world.expose("one"), await world.expose("two")
    assert first["port"] == second["port"] == port
    assert "/.pinoctl/go/one?token=" in first["link"]
    for app in ("one", "two"):
        await world.until(app, "ready")
    assert (await world.get(first["link"]))[1] == "one /"
    assert (await world.get(second["link"]))[1] == "two /"
    assert (await world.get(first["url"]))[0] == 401


async def test_the_platforms_own_url_is_a_tunnel_that_is_proved(world):
    await world.app("notes")
    port = free_port()
    await world.begin(**LOCAL, PINOCTL_PUBLIC_URL=f"http://127.0.0.1:{port}", PINOCTL_GATE_PORT=str(port))
    await world.ask("expose", app="notes", given={"tunnel": "own"})
    shown = await world.shown("notes", lambda shown: shown["tunnel"]["state"] == "up")
    assert shown["share_url"] == f"http://127.0.0.1:{port}"
    await world.until("notes", "ready")
    assert (await world.get(shown["share_link"]))[0] == 200
    assert shown["tunnel"]["provider"] == "own"


async def test_what_cannot_be_is_refused_and_nothing_is_left_of_it(world):
    await world.begin()
    with pytest.raises(BadInputError, match="no tunnel called `moon`"):
        await world.expose("notes", tunnel="moon")
    assert await world.ask("list") == {"apps": []}
    with pytest.raises(PinoctlError, match="names no app"):
        await world.ask("expose", given={})
    with pytest.raises(BadInputError, match="knows no `dance`"):
        await world.ask("dance")
    with pytest.raises(BadInputError, match="too short"):
        await world.expose("notes", idle_seconds=1.0)
    assert await world.ask("list") == {"apps": []}


async def test_hours_that_are_used_up_stop_the_app_after_a_warning(world):
    await world.app("notes")
    await world.begin()
    clock = {"now": 1000.0}
    world.daemon.machinery.clock = lambda: clock["now"]
    await world.expose("notes", most_seconds=600.0)
    watch = world.watch("notes")
    clock["now"] += 500
    await watch.once()
    assert "will be stopped" in (await world.ask("state", app="notes"))["warning"]
    clock["now"] += 200
    await watch.once()
    assert world.stopped == ["notes"]


async def test_a_machine_that_cannot_be_stopped_still_has_its_apps_stopped(world, capsys):
    await world.app("notes")
    await world.app("other")
    await world.begin()
    clock = {"now": 1000.0}
    world.daemon.machinery.clock = lambda: clock["now"]
    await world.expose("other")
    await world.expose("notes", most_seconds=60.0, at_end="machine")
    watch = world.watch("notes")
    for _ in range(2):  # a warning, then the stop
        clock["now"] += 100
        await watch.once()
    assert watch.stopped
    assert sorted(world.stopped) == ["notes", "other"]
    assert "still runs and costs money" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("provider", "peer", "secure"),
    [
        ("ngrok", "9.9.9.9", True),
        ("cloudflared-quick", "8.8.8.8", True),
        ("localtunnel", "127.0.0.1", True),
        ("ssh:me@host", "127.0.0.1", True),
    ],
)
def test_a_visitors_own_word_about_itself_counts_for_nothing(tmp_path, provider, peer, secure):
    trust = trust_of(provider, "https://app.example")
    headers = (("host", "app.example"), ("x-forwarded-for", "7.7.7.7, 9.9.9.9"), ("cf-connecting-ip", "8.8.8.8"))
    seen = seen_through(trust, "127.0.0.1", headers, tls=False)
    assert (seen.peer, seen.secure, seen.host) == (peer, secure, "app.example")
    here = seen_through(trust, "127.0.0.1", (("host", "127.0.0.1:4000"),), tls=False)
    assert not here.secure, "who asks on this machine itself does so in the clear"
