"""A platform with two ways to the gate: the next is taken where the best leads elsewhere, and it is said why."""

from __future__ import annotations

import asyncio
import functools
import json
from dataclasses import replace

import pytest

from orchestrator.expose import telling
from orchestrator.expose.tunnels import supervisor
from orchestrator.hosts.web import Response
from tests.expose import world as worlds
from tests.expose.test_ports import TUNNEL, exposed, path, up
from tests.expose.world import free_port

__all__ = ["path"]  # a fixture
NOWHERE = "http://127.0.0.1:1/{port}"
GATE = "http://127.0.0.1:{port}"
DECLARE = "declare the gate's port as HTTP (Edit Pod > Expose HTTP Ports), which resets the pod"


@pytest.fixture(autouse=True)
def proxy(monkeypatch):
    """Let RunPod's proxy lead nowhere, at once; returns what makes it lead to the gate, or to another address."""
    monkeypatch.setattr(supervisor, "Timing", functools.partial(supervisor.Timing, own=0.05))
    before, template = worlds.surroundings, [NOWHERE]

    def here(home, **environ):
        found = before(home, **environ)
        ways = [
            replace(way, bind="127.0.0.1", template=template[0] if way.template else "", busy=()) for way in found.ways
        ]
        return replace(found, ways=tuple(ways))

    monkeypatch.setattr(worlds, "surroundings", here)
    return lambda url=GATE: template.__setitem__(0, url)


def runpod(*ports, **more):
    """Describe a pod whose address is this machine, with these TCP ports."""
    mapped = {f"RUNPOD_TCP_PORT_{port}": str(port) for port in ports}
    pod = {"PINOCTL_PLATFORM": "runpod", "RUNPOD_POD_ID": "abc123def", "RUNPOD_PUBLIC_IP": "127.0.0.1"}
    return {**pod, **mapped, **more}


async def own(world, app="notes", tunnel="own"):
    await world.ask("expose", app=app, given={"tunnel": tunnel})
    await world.until(app, "ready")
    return await world.shown(app, up)


async def test_the_next_way_is_taken_where_the_best_leads_nowhere(world):
    await world.app("notes")
    port, other = sorted((free_port(), free_port()))
    await world.begin(**runpod(port, other))
    shown = await own(world)
    assert (shown["share_url"], shown["port"]) == (f"http://127.0.0.1:{port}", port)
    assert "without encryption" in shown["tunnel"]["caveat"]
    assert (await world.get(shown["share_link"])) == (200, "notes /")
    assert not exposed(world).gate.trust.proxies, "nobody stands before a TCP port, who could say who asks"


async def test_the_best_way_is_kept_where_it_leads_here(world, proxy):
    await world.app("notes")
    proxy()
    port = free_port()
    await world.begin(**runpod(port))
    shown = await own(world)
    assert shown["port"] != port
    assert exposed(world).gate.trust.proxies
    assert DECLARE not in json.dumps(shown), "it is declared"


async def test_apps_that_share_a_port_go_by_the_next_way_together(world):
    port = free_port()
    await world.begin(**runpod(port, PINOCTL_GATE_PORT=str(port)))
    for app in ("one", "two"):
        await world.app(app)
        shown = await own(world, app)
        assert shown["share_url"] == f"http://127.0.0.1:{port}"
        assert await world.get(shown["share_link"]) == (200, f"{app} /")
    assert exposed(world, "one").gate is exposed(world, "two").gate
    assert not exposed(world, "one").gate.trust.proxies


async def test_a_tunnel_of_the_users_comes_before_a_port_that_strangers_share(world, path):
    await world.app("notes")
    port = free_port()
    await world.begin(**runpod(port, PATH=path, PINOCTL_SSH_TUNNEL=TUNNEL))
    await world.ask("expose", app="notes", given={"tunnel": "auto"})
    shown = await world.shown("notes", lambda shown: up(shown) and shown["port"] == port)
    assert shown["tunnel"]["provider"] == TUNNEL


async def test_nobody_is_told_that_it_failed_before_the_next_way_was_tried(world, proxy):
    busy = asyncio.Event()

    async def nowhere(_reader, writer):
        await busy.wait()
        writer.close()

    await world.app("notes")
    async with await asyncio.start_server(nowhere, "127.0.0.1", 0) as server:
        proxy(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/{{port}}")
        await world.begin(**runpod(free_port()))
        await world.ask("expose", app="notes", given={"tunnel": "own"})
        await world.daemon._work.acquire()  # somebody else's command is at work
        busy.set()
        while not exposed(world).moving:  # noqa: ASYNC110  # as another process would see it
            await asyncio.sleep(0.01)
        while exposed(world).tunnel.state.status != "failed":  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.01)
        assert (await world.ask("state", app="notes"))["tunnel"]["state"] == "connecting"
        world.daemon._work.release()
        await world.shown("notes", up)
        assert not exposed(world).moving


async def test_all_ways_that_failed_are_told_with_what_to_do_and_tried_again_from_the_best_on(world):
    await world.app("notes")
    port = free_port()
    await world.begin(**{**runpod(port), f"RUNPOD_TCP_PORT_{port}": "1"})
    await world.ask("expose", app="notes", given={"tunnel": "own"})
    failed = await world.shown(
        "notes", lambda shown: shown["port"] == port and shown["tunnel"]["state"] == "failed" and shown["tunnel"]
    )
    for text in ("`RunPod proxy`: `http://127.0.0.1:1/", "`http://127.0.0.1:1` does not lead to the gate"):
        assert text in failed["tunnel"]["reason"]
    assert failed["tunnel"]["hint"] == DECLARE
    machinery = world.daemon.machinery
    best, *others = machinery.surroundings.ways
    ways = (replace(best, template=GATE), *others)  # somebody did it
    machinery.surroundings = replace(machinery.surroundings, ways=ways)
    while exposed(world).way.name != "RunPod proxy":  # what is connecting at this moment is left to that
        await world.ask("expose", app="notes", given={"tunnel": "own"})
    await world.shown("notes", up)


async def test_a_way_that_leads_nowhere_and_is_the_only_one_says_what_to_do(world):
    await world.app("notes")
    await world.begin(**runpod())
    await world.ask("expose", app="notes", given={"tunnel": "own"})
    failed = await world.shown("notes", lambda shown: shown["tunnel"]["state"] == "failed")
    assert failed["tunnel"]["hint"] == DECLARE


@pytest.mark.parametrize("declared", [[], ["8888/http", "22/tcp"]])
async def test_a_way_without_a_declared_port_is_not_tried_at_all(world, monkeypatch, capsys, declared):
    async def provider(_request):
        return Response(200, json.dumps({"ports": declared}))

    monkeypatch.setattr(telling, "ask", provider)
    await world.app("notes")
    port = free_port()
    await world.begin(**runpod(port, RUNPOD_API_KEY="rpa_key", PINOCTL_GATE_PORT=str(port)))
    assert (await own(world))["share_url"] == f"http://127.0.0.1:{port}"
    assert "does not lead" not in capsys.readouterr().err
