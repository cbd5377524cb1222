"""What breaks by itself or by somebody's hand while apps are exposed: service returns, and the same link works."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from orchestrator.engine.home import Home
from orchestrator.expose.client import GateClient
from tests.expose.e2e.lab import fetch, parts

pytestmark = pytest.mark.slow


def alive(pid):
    """Tell whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_killed_gate_returns_with_the_same_port_and_sessions(lab, profile):
    link = lab.up("kept")
    page = profile.open(link)
    page.shows("treasure of kept")
    before = lab.shown("kept")
    serving, supervisor = lab.gate()
    clients = lab.ssh()
    assert len(clients) == 1
    lab.kill(serving)
    lab.returns(link)
    assert lab.gate()[0] != serving
    assert lab.gate()[1] == supervisor
    lab.until(lambda: not alive(clients[0]))  # no tunnel is left over
    assert {key: lab.shown("kept")[key] for key in ("port", "link")} == {key: before[key] for key in ("port", "link")}
    page.click("a")
    page.shows("treasure of kept")
    lab.until(lambda: lab.shown("kept")["tunnel"]["state"] == "up")  # it serves before that was found out
    opened = lab.good("open", "kept")
    assert (opened.last, opened.err) == (link, "")


def test_a_gate_without_its_keeper_serves_on_and_returns_when_asked(lab, profile):
    link = lab.up("orphan")
    page = profile.open(link)
    serving, supervisor = lab.gate()
    lab.kill(supervisor)
    time.sleep(0.5)
    page.reload()
    page.shows("treasure of orphan")
    assert lab.good("status", "orphan", "--json").json["share_url"], "it answers commands"
    lab.kill(serving)
    lab.until(lambda: not alive(serving))
    assert lab.up("orphan") == link
    page.reload()
    page.shows("treasure of orphan")
    assert lab.gate()


def test_both_gate_processes_are_killed_and_up_brings_them_back(lab):
    link = lab.up("both")
    serving, supervisor = lab.gate()
    lab.kill(supervisor, serving)
    lab.until(lambda: not alive(serving))
    assert lab.good("status", "both", "--json").json["state"] == "ready", "the app does not mind"
    assert lab.up("both") == link
    assert lab.returns(link)


def test_a_killed_ssh_client_and_a_server_that_was_away(lab):
    link = lab.up("cut")
    (client,) = lab.ssh()
    lab.kill(client)
    lab.returns(link)
    assert lab.ssh() != [client]
    lab.sshd.stop()
    lab.until(lambda: lab.good("status", "cut", "--json").json["tunnel"]["state"] != "up")
    opened = lab.good("open", "cut")
    assert "treasure" in fetch(opened.last).text, "the gate itself is there"
    assert "cannot be reached from outside now" in opened.err
    time.sleep(1)
    lab.sshd.start()
    lab.returns(link)
    lab.until(lambda: lab.good("status", "cut", "--json").json["tunnel"]["state"] == "up")
    assert lab.good("open", "cut").last == link


def test_a_killed_app_is_started_again_behind_the_same_link(lab, profile):
    link = lab.up("fallen")
    page = profile.open(link)
    old = lab.server("fallen")
    lab.kill(old)
    lab.until(lambda: lab.server("fallen") != old)
    lab.returns(link)
    page.reload()
    page.shows("treasure of fallen")


def test_down_closes_the_door_and_the_next_up_opens_the_same_one(lab, profile):
    link = lab.up("again")
    page = profile.open(link)
    page.shows("treasure of again")
    lab.good("down", "again")
    assert fetch(link).status == 0
    assert lab.shown("again") == {}
    assert lab.good("up", "again", "--quiet").last == link, "how it was exposed is kept"
    page.reload()
    page.shows("treasure of again")
    assert lab.good("up", "again", "--quiet").last == link, "an exposed app is left as it is"
    gone = lab.good("rm", "again", "--yes")
    assert gone.status == 0
    assert fetch(link).status == 0
    assert "again" not in (lab.home / "gate" / "keys.json").read_text("utf-8")
    assert "again" not in (lab.home / "gate" / "exposed.json").read_text("utf-8")


def test_two_apps_at_once_and_the_end_of_the_gate(lab):
    one, two = lab.up("one", "--tunnel", lab.any), lab.up("two", "--tunnel", lab.any)
    lab.returns(one)
    lab.returns(two)
    assert {row["app"] for row in lab.good("gate", "status", "--json").json} >= {"one", "two"}
    serving, supervisor = lab.gate()
    lab.good("hide", "one")
    assert fetch(one).status == 0
    lab.returns(two)
    lab.good("down", "two")
    lab.until(lambda: not alive(serving) and not alive(supervisor))
    assert "nothing is exposed" in lab.good("gate", "status").err


def test_a_port_that_was_taken_meanwhile(lab):
    link = lab.up("moved")
    port = lab.shown("moved")["port"]
    lab.good("down", "moved")
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief.bind(("127.0.0.1", port))
        thief.listen()
        assert lab.good("up", "moved", "--quiet").last == link, "the tunnel leads to the new port"
        assert lab.shown("moved")["port"] != port
        lab.returns(link)


@pytest.mark.parametrize("torn", ['{"version": 1, "apps": [{"app": "to', "", "[]", '{"apps": [{"app": 5}]}'])
def test_a_torn_list_of_exposed_apps(lab, torn):
    link = lab.up("torn")
    serving = lab.gate()[0]
    lab.good("down", "torn")
    lab.until(lambda: not alive(serving))
    (lab.home / "gate" / "exposed.json").write_text(torn, "utf-8")
    ran = lab.good("up", "torn", "--tunnel", lab.fixed)
    assert f"`{lab.home}/gate/exposed.json` cannot be read" in ran.err
    assert ran.last == link, "how it was exposed is lost, its token is not"
    assert json.loads((lab.home / "gate" / "exposed.json").read_text("utf-8"))["apps"]


def test_torn_keys_are_told_and_nobody_gets_in(lab):
    link = lab.up("locked")
    keys = lab.home / "gate" / "keys.json"
    good = keys.read_bytes()
    try:
        keys.write_bytes(good[: len(good) // 2])
        for words in (("share", "locked"), ("shares",), ("people", "list"), ("revoke", "locked")):
            ran = lab(*words)
            assert ran.status != 0, words
            assert str(keys) in ran.err, (words, ran.err)
            assert "Traceback" not in ran.err
            assert "hint:" in ran.err
        lab.kill(*reversed(lab.gate()))
        ran = lab("up", "locked", "--quiet")
        assert ran.status != 0
        assert str(keys) in ran.err, ran.err
        assert "treasure" not in fetch(link).text
    finally:
        keys.write_bytes(good)
    assert lab.up("locked") == link
    lab.returns(link)
    assert keys.stat().st_mode & 0o777 == 0o600
    assert parts(link)[1] in good.decode()


def test_a_gate_that_ends_of_itself_just_when_it_is_asked(lab):
    link = lab.up("late-again")
    lab.up("company", "--no-tunnel")  # or the gate might end before it is asked at all
    lab.good("hide", "late-again", "--forget")
    serving, _ = lab.gate()
    client = GateClient(Home(lab.home))
    asked = []

    def ask(op, **request):
        if op == "expose" and not asked:  # it ends between two questions, as with the last app at every `down`
            asked.append(op)
            os.kill(serving, signal.SIGTERM)
            lab.until(lambda: not alive(serving))
        return GateClient.ask(client, op, **request)

    client.ask = ask
    with pytest.MonkeyPatch.context() as patched:
        for name, value in lab.environment().items():
            patched.setenv(name, value)
        client.need("expose", app="late-again", given={"tunnel": lab.fixed})
    assert asked
    assert lab.gate()[0] != serving
    assert parts(lab.until(lambda: lab.good("open", "late-again").last))[1] != parts(link)[1], "its token is a new one"
