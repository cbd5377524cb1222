"""What commands say of tunnels and of the machine: taken over, kept once it was of use, and taken back."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.engine.errors import BadInputError, PinoctlError
from orchestrator.expose import accounts
from tests.expose.world import LOCAL, free_port

NGROK = """#!/bin/sh
echo "$NGROK_AUTHTOKEN" >> {tokens}
echo 'ERROR:  authentication failed: wrong token. ERR_NGROK_105' >&2
exit 1
"""


@pytest.fixture
def path(tmp_path):
    """Return a PATH with an ngrok that writes down the token that it is given."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "ngrok").write_text(NGROK.format(tokens=tmp_path / "tokens"))
    (folder / "ngrok").chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


def kept(world):
    return accounts.read(world.daemon.files.accounts)


def up(shown):
    return shown["tunnel"]["state"] == "up"


def own(port):
    """Say that a proxy on this machine leads to a port."""
    return {**LOCAL, "PINOCTL_PUBLIC_URL": f"http://127.0.0.1:{port}", "PINOCTL_GATE_PORT": str(port)}


async def test_a_token_that_the_gate_was_started_with_is_kept_as_well(world, path, tmp_path):
    token = {"NGROK_AUTHTOKEN": "FIRST"}
    await world.begin(**LOCAL, PATH=path, **token)
    await world.ask("expose", app="notes", given={"tunnel": "ngrok"}, accounts=token)
    assert kept(world) == token
    await world.end()
    await world.begin(**LOCAL, PATH=path)
    await world.shown("notes", lambda shown: shown["tunnel"]["state"] == "failed")
    await world.ask("expose", app="notes", given={"tunnel": "ngrok"})
    assert set((tmp_path / "tokens").read_text().split()) == {"FIRST"}


async def test_what_failed_is_neither_kept_nor_used(world):
    await world.app("notes")
    await world.begin(**LOCAL)
    before = await world.expose("notes")
    wrong = {"NGROK_AUTHTOKEN": "T", "PINOCTL_SSH_TUNNEL": "bad host"}
    with pytest.raises(BadInputError, match="no tunnel called `moon`"):
        await world.ask("expose", app="notes", given={"tunnel": "moon"}, accounts=wrong)
    assert kept(world) == {}
    assert not set(wrong) & set(world.daemon.surroundings.environ)
    with pytest.raises(BadInputError, match="PINOCTL_GATE_PORT"):
        await world.ask("expose", app="notes", given={}, environ={**LOCAL, "PINOCTL_GATE_PORT": "many"})
    port = free_port()
    with pytest.raises(BadInputError, match="no tunnel called `moon`"):
        await world.ask("expose", app="notes", given={"tunnel": "moon"}, environ=own(port))
    assert kept(world) == {}
    assert "PINOCTL_GATE_PORT" not in world.daemon.surroundings.environ
    after = await world.until("notes", "ready")
    assert after["link"] == before["link"], "its door is as it was"
    assert (await world.get(after["link"]))[0] == 200


async def test_an_empty_value_takes_back_what_was_brought(world):
    await world.begin(**LOCAL)
    given = {"tunnel": "none"}
    await world.ask("expose", app="notes", given=given, accounts={"NGROK_AUTHTOKEN": "T", "NGROK_DOMAIN": "d.example"})
    await world.ask("expose", app="notes", given=given, accounts={"NGROK_AUTHTOKEN": ""})
    assert kept(world) == {"NGROK_DOMAIN": "d.example"}
    with pytest.raises(BadInputError, match="`NGROK_AUTHTOKEN` is not set"):
        await world.ask("expose", app="notes", given={"tunnel": "ngrok"})


async def test_what_is_forgotten_is_used_no_more(world):
    port = free_port()
    await world.begin(**LOCAL)
    said = {"accounts": {"NGROK_AUTHTOKEN": "T"}, "environ": own(port)}
    await world.ask("expose", app="notes", given={"tunnel": "own"}, **said)
    assert set(kept(world)) == {"NGROK_AUTHTOKEN", *own(port)}
    names = ["NGROK_AUTHTOKEN", "NGROK_DOMAIN", "PINOCTL_PUBLIC_URL"]
    assert await world.ask("forget", names=names) == {"forgotten": ["NGROK_AUTHTOKEN", "PINOCTL_PUBLIC_URL"]}
    assert set(kept(world)) == {"PINOCTL_PLATFORM", "PINOCTL_GATE_PORT"}
    assert await world.shown("notes", up), "what is at work goes on"
    for tunnel, why in (("ngrok", "is not set"), ("own", "no URL of its own")):
        with pytest.raises(BadInputError, match=why):
            await world.ask("expose", app="other", given={"tunnel": tunnel})


async def test_where_the_machine_is_reached_is_kept_for_as_long_as_an_app_is_exposed(world):
    port = free_port()
    await world.app("notes")
    await world.begin(**LOCAL)
    await world.ask("expose", app="notes", given={"tunnel": "own"}, environ=own(port))
    await world.shown("notes", up)
    await world.end()
    await world.begin()
    shown = await world.shown("notes", up)
    assert shown["port"] == port
    await world.ask("hide", app="notes", keep=True)
    assert kept(world) == own(port), "the app is down, not hidden"
    await world.ask("hide", app="notes")
    assert kept(world) == {}


async def test_a_file_that_makes_no_sense_keeps_no_gate_from_coming_up(world, capsys):
    await world.app("notes")
    await world.begin(**LOCAL)
    await world.expose("notes")
    await world.end()
    accounts.keep(world.daemon.files.accounts, {"PINOCTL_GATE_PORT": "many"})
    await world.begin()
    shown = await world.until("notes", "ready")
    assert (await world.get(shown["link"]))[0] == 200
    assert "`PINOCTL_GATE_PORT` must be a port" in capsys.readouterr().err


async def test_a_door_whose_way_is_gone_stays_and_is_tried_again(world):
    port = free_port()
    await world.app("notes")
    await world.begin(**own(port))
    await world.ask("expose", app="notes", given={"tunnel": "own"})
    await world.shown("notes", up)
    await world.end()
    thief = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", port)
    await world.begin()
    shown = await world.shown("notes", lambda shown: shown["tunnel"]["state"] == "failed")
    assert f"cannot listen on port {port}" in shown["tunnel"]["reason"]
    assert shown["tunnel"]["trying"]
    assert (await world.get((await world.until("notes", "ready"))["link"]))[0] == 200, "on this machine it is there"
    thief.close()
    await thief.wait_closed()
    back = await world.shown("notes", up)
    assert back["port"] == port


async def test_a_door_without_its_token_waits_for_it(world, path, tmp_path):
    token = {"NGROK_AUTHTOKEN": "T"}
    await world.begin(**LOCAL, PATH=path)
    await world.ask("expose", app="notes", given={"tunnel": "ngrok"}, accounts=token)
    await world.end()
    accounts.keep(world.daemon.files.accounts, {"NGROK_AUTHTOKEN": ""})
    (tmp_path / "tokens").unlink(missing_ok=True)
    await world.begin()
    shown = await world.ask("state", app="notes")
    assert "`NGROK_AUTHTOKEN` is not set" in shown["tunnel"]["reason"]
    assert "dashboard.ngrok.com" in shown["tunnel"]["hint"]
    assert not (tmp_path / "tokens").exists()
    await world.expose("other")
    with pytest.raises(PinoctlError, match="is not set"):
        await world.ask("expose", app="other", given={"tunnel": "ngrok"})
    await world.ask("expose", app="other", given={"tunnel": "none"}, accounts=token)
    while not (tmp_path / "tokens").exists():  # noqa: ASYNC110  # another process writes it
        await asyncio.sleep(0.01)
