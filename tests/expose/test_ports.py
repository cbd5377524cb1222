"""Which ports the gate takes: the platform's while there are some, one for each tunnel, and whom it trusts there."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from orchestrator.engine.errors import BadInputError, PinoctlError
from orchestrator.expose import listening
from orchestrator.expose.gate.audit import read
from orchestrator.expose.gate.trust import Trust
from tests.expose import world as worlds
from tests.expose.world import LOCAL, free_port

# What stands in for ssh leads nowhere: it prints the port that it was given as the URL.
SSH = """#!/bin/sh
for word in "$@"; do case "$word" in 80:127.0.0.1:*) echo "http://127.0.0.1:${word##*:}";; esac; done
exec sleep 600
"""
TUNNEL = "ssh:me@127.0.0.1:22/80"


@pytest.fixture
def path(tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "ssh").write_text(SSH)
    (folder / "ssh").chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


def vast(*ports, path="/usr/bin:/bin"):
    """Describe a machine of Vast.ai whose address is this one, with these ports."""
    mapped = {f"VAST_TCP_PORT_{port}": str(port) for port in ports}
    return {
        "PATH": path,
        "PINOCTL_PLATFORM": "vast",
        "PUBLIC_IPADDR": "127.0.0.1",
        "PINOCTL_SSH_TUNNEL": TUNNEL,
        **mapped,
    }


def up(shown):
    return shown["tunnel"]["state"] == "up"


def exposed(world, app="notes"):
    return world.daemon._apps[app]


@pytest.fixture
def certificate(tmp_path, monkeypatch):
    """Let the machine have a certificate that signs itself."""
    if shutil.which("openssl") is None:
        pytest.skip("certificates are made with openssl")
    pair = (str(tmp_path / "crt"), str(tmp_path / "key"))
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run(
        [*made, "-out", pair[0], "-keyout", pair[1], "-days", "2", "-subj", "/CN=127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    before = worlds.surroundings

    def with_certificate(home, **environ):
        found = before(home, **environ)
        mapped = tuple((port, url.replace("http:", "https:")) for port, url in found.way.mapped)
        return replace(found, ways=(replace(found.way, mapped=mapped, https=True, certificate=pair),))

    monkeypatch.setattr(worlds, "surroundings", with_certificate)
    return pair


async def test_a_tunnel_of_a_machine_with_a_certificate_leads_to_a_plain_port(world, path, certificate):
    await world.app("notes")
    port = free_port()
    await world.begin(**vast(port, path=path))
    await world.ask("expose", app="notes", given={"tunnel": "auto"})
    shown = await world.shown("notes", up)
    assert shown["tunnel"]["provider"] == TUNNEL, "before an address that strangers share"
    assert shown["share_url"] == f"http://127.0.0.1:{shown['tunnel']['port']}"
    assert shown["url"] == f"https://127.0.0.1:{port}"
    await world.until("notes", "ready")
    assert (await world.get(shown["share_link"])) == (200, "notes /")


async def test_the_address_of_a_machine_with_a_certificate_is_proved_by_the_nonce(world, certificate):
    await world.app("notes")
    port = free_port()
    await world.begin(**vast(port))
    await world.ask("expose", app="notes", given={"tunnel": "own"})
    shown = await world.shown("notes", up)
    assert shown["share_url"] == f"https://127.0.0.1:{port}"
    wrong = free_port()
    await world.end()
    await world.begin(**{**vast(port), f"VAST_TCP_PORT_{port}": str(wrong)})
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(world.shown("notes", up), 0.5)


async def test_a_certificate_is_looked_at_again_for_as_long_as_its_port_is_open(world, certificate, monkeypatch):
    looked, loop = asyncio.Event(), asyncio.get_running_loop()
    monkeypatch.setattr(listening, "REFRESH_SECONDS", 0.01)
    monkeypatch.setattr(listening.Certificates, "refresh", lambda _self: loop.call_soon_threadsafe(looked.set))
    await world.app("notes")
    await world.begin(**vast(free_port()))
    await world.ask("expose", app="notes", given={"tunnel": "own"})
    await asyncio.wait_for(looked.wait(), 60)
    gate = exposed(world).gate
    _, kept = gate._beside
    await world.ask("hide", app="notes")
    assert kept.cancelled()
    assert gate.port == 0


async def test_a_certificate_that_cannot_be_used_is_told_where_a_tunnel_stands_in(world, path, certificate):
    Path(certificate[0]).write_text("no certificate")  # noqa: ASYNC240  # a small file of this test
    await world.app("notes")
    port = free_port()
    await world.begin(**vast(port, path=path))
    await world.ask("expose", app="notes", given={"tunnel": "auto"})
    shown = await world.shown("notes", up)
    why = f"Vast.ai port cannot be used for `notes`: the certificate `{certificate[0]}`"
    assert shown["tunnel"]["provider"] == TUNNEL
    assert why in shown["tunnel"]["caveat"]
    assert why in shown["tunnel"]["says"]
    with pytest.raises(PinoctlError, match=r"Vast\.ai port cannot be used for `notes`") as caught:
        await world.ask("expose", app="notes", given={"tunnel": "own"})
    assert "renew the machine's certificate" in caught.value.hint


@pytest.mark.parametrize("tunnel", ["auto", "none", TUNNEL])
async def test_ports_that_are_used_up_are_no_reason_to_fail(world, path, tunnel):
    await world.app("notes")
    thief = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
    port = thief.sockets[0].getsockname()[1]
    await world.begin(**vast(port, path=path))
    shown = await world.ask("expose", app="notes", given={"tunnel": tunnel})
    await world.until("notes", "ready")
    if tunnel != "none":
        shown = await world.shown("notes", up)
        assert shown["tunnel"]["provider"] == TUNNEL
        if tunnel == "auto":
            assert f"cannot listen on port {port}" in shown["tunnel"]["says"], "and this is not kept from anybody"
        assert (await world.get(shown["share_link"]))[0] == 200
    assert (await world.get(shown["link"]))[0] == 200
    assert exposed(world).gate._server.sockets[0].getsockname()[0] == "127.0.0.1"
    with pytest.raises(PinoctlError, match=r"Vast\.ai port cannot be used for `notes`: cannot listen on port"):
        await world.ask("expose", app="notes", given={"tunnel": "own"})
    assert (await world.get(shown["link"]))[0] == 200, "what is refused changes nothing"
    thief.close()


async def test_the_third_app_of_two_ports_goes_by_a_tunnel_and_the_own_way_is_taken_when_it_is_free(world, path):
    ports = (free_port(), free_port())
    await world.begin(**{**vast(*ports, path=path), "PINOCTL_SSH_TUNNEL": ""})
    for app in ("one", "two", "three"):
        await world.app(app)
    first, second = [await world.ask("expose", app=app, given={"tunnel": "own"}) for app in ("one", "two")]
    assert {first["port"], second["port"]} == set(ports)
    await world.ask("expose", app="three", given={"tunnel": TUNNEL})
    third = await world.shown("three", up)
    assert third["port"] not in ports
    await world.ask("hide", app="one")
    await world.ask("expose", app="three", given={"tunnel": "own"})
    third = await world.shown("three", up)
    assert third["port"] == first["port"]
    assert third["share_url"].endswith(f":{first['port']}")


async def test_each_tunnel_has_a_trust_of_its_own_that_ends_with_it(world, path):
    for app in ("one", "two"):
        await world.app(app)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    await world.begin(**LOCAL, PATH=path, PINOCTL_PUBLIC_URL=url, PINOCTL_GATE_PORT=str(port))
    for app, tunnel in (("one", "own"), ("two", TUNNEL)):
        await world.ask("expose", app=app, given={"tunnel": tunnel})
        await world.shown(app, up)
    one, two = exposed(world, "one"), exposed(world, "two")
    assert one.gate.trust.proxies
    assert (one.gate.trust.public, one.gate.trust.forwarded_host) == (f"127.0.0.1:{port}", True)
    assert two.door.trust == Trust((), public=f"127.0.0.1:{two.door.port}")
    two._tell(replace(two.tunnel.state, status="reconnecting"))
    assert two.door.trust == Trust(())
    door = two.door
    await two.unreach()
    assert (two.door, door.port) == (None, 0)


@pytest.mark.parametrize(
    ("environ", "peer"),
    [({}, "127.0.0.1"), ({"PINOCTL_TRUSTED_PROXY": "127.0.0.1"}, "6.6.6.6")],
)
async def test_on_the_port_for_this_machine_nobody_is_believed_who_was_not_named(world, environ, peer):
    await world.app("notes")
    await world.begin(**LOCAL, **environ)
    await world.expose("notes")
    shown = await world.until("notes", "ready")
    assert (await world.get(shown["link"], **{"X-Forwarded-For": "6.6.6.6"}))[0] == 200
    assert [each["peer"] for each in read(world.daemon.files.audit) if each["event"] == "entered"] == [peer]


async def test_a_settled_port_is_the_tunnels_where_the_platform_leads_nowhere(world, path):
    await world.app("notes")
    port = free_port()
    await world.begin(**LOCAL, PATH=path, PINOCTL_GATE_PORT=str(port))
    await world.ask("expose", app="notes", given={"tunnel": TUNNEL})
    assert (await world.shown("notes", up))["tunnel"]["port"] == port
    await world.expose("notes")
    assert exposed(world).door is None
    await world.ask("hide", app="notes")
    assert (await world.expose("notes"))["port"] == port, "behind a proxy of the user's"


async def test_an_app_in_a_frame_of_a_notebook_gets_a_cookie_that_frames_send(world):
    await world.app("notes")
    await world.begin(PINOCTL_PLATFORM="colab")
    await world.expose("notes", framed=True)
    shown = await world.until("notes", "ready")
    async with (
        aiohttp.ClientSession() as session,
        session.get(shown["link"], headers={"Accept": "text/html"}, allow_redirects=False) as answer,
    ):
        assert answer.status == 303
        assert answer.headers["Set-Cookie"].endswith("; SameSite=None; Secure; Partitioned")


async def test_the_ports_are_the_same_after_a_restart(world, path):
    await world.app("notes")
    await world.begin(**LOCAL, PATH=path)
    await world.ask("expose", app="notes", given={"tunnel": TUNNEL})
    before = await world.shown("notes", up)
    await world.end()
    await world.begin()
    after = await world.shown("notes", up)
    assert (after["port"], after["tunnel"]["port"]) == (before["port"], before["tunnel"]["port"])


async def test_a_hidden_app_loses_its_open_sockets_on_the_port_for_all_and_the_others_do_not(world):
    async def echo(connection):
        with contextlib.suppress(ConnectionClosed):
            async for message in connection:
                await connection.send(message)

    port = free_port()
    address = f"ws://127.0.0.1:{port}/"
    await world.begin(**LOCAL, PINOCTL_PUBLIC_URL=f"http://127.0.0.1:{port}", PINOCTL_GATE_PORT=str(port))
    async with serve(echo, "127.0.0.1", 0, open_timeout=60) as server:
        there = next(iter(server.sockets)).getsockname()[1]
        sockets = {}
        for app in ("one", "two"):
            world.words[app], world.urls[app] = "ready", f"http://127.0.0.1:{there}/"
            await world.expose(app)
            await world.until(app, "ready")
            bearer = {"Authorization": f"Bearer {world.daemon.keys.token(app)}"}
            sockets[app] = await connect(address, additional_headers=bearer, proxy=None, open_timeout=60)
        await world.ask("hide", app="one")
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(sockets["one"].recv(), 60)
        await sockets["two"].send("still there")
        assert await asyncio.wait_for(sockets["two"].recv(), 60) == "still there"
        await sockets["two"].close()


async def test_public_and_closed_apps_do_not_share_a_port(world):
    for app in ("one", "two"):
        await world.app(app)
    port = free_port()
    await world.begin(**LOCAL, PINOCTL_PUBLIC_URL=f"http://127.0.0.1:{port}", PINOCTL_GATE_PORT=str(port))
    await world.expose("one")
    with pytest.raises(BadInputError, match="`two` would share one port with `one`, and only one side"):
        await world.expose("two", public=True)
    await world.expose("two")
    with pytest.raises(BadInputError, match="only one side"):
        await world.expose("two", public=True)
    assert not (await world.ask("state", app="two"))["public"]
    await world.ask("hide", app="one")
    assert (await world.expose("two", public=True))["public"]


async def test_the_port_for_all_offers_those_that_are_there_only(world, path):
    for app in ("one", "two"):
        await world.app(app)
    port = free_port()
    await world.begin(**LOCAL, PATH=path, PINOCTL_PUBLIC_URL=f"http://127.0.0.1:{port}", PINOCTL_GATE_PORT=str(port))
    first = await world.ask("expose", app="one", given={"tunnel": "own"})
    await world.ask("expose", app="two", given={"tunnel": TUNNEL, "public": True})
    await world.until("two", "ready")
    status, page = await world.get(first["url"])
    assert status == 401, "the public one has a way of its own"
    assert "two /" not in page


async def test_a_platform_whose_terms_forbid_tunnels_names_its_own_way(world):
    await world.app("notes")
    await world.begin(PINOCTL_PLATFORM="colab")
    shown = (await world.ask("expose", app="notes", given={"tunnel": "auto"}))["tunnel"]
    assert shown["state"] == "failed"
    assert shown["reason"] == "Google Colab allows tunnels only with paid compute units"
    assert "from orchestrator.notebook import up" in shown["hint"]
