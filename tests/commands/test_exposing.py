"""What commands say of exposing: options read, whether to expose at all, the wait for a way in, what is told of it."""

from __future__ import annotations

import itertools
import json
import os
import sys

import pytest
from click.testing import CliRunner

from orchestrator.commands import exposing
from orchestrator.commands.exposing import asked, called_for, given_exposure, hide, look, streams
from orchestrator.commands.gate import gate
from orchestrator.commands.limits import cautions, stops
from orchestrator.commands.links import NOWHERE, Link, link_of
from orchestrator.engine.errors import BadInputError
from orchestrator.engine.home import Home
from orchestrator.expose import accounts
from orchestrator.expose.exposures import Exposure, GateFiles, read, write
from tests.commands.terminal import Terminal

NOTHING = {"tunnel": None, "no_tunnel": False, "public": None, "framed": None, "stop_after_idle": None,
           "max_hours": None, "stop_what": None}  # fmt: skip


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("RUNPOD_POD_ID", "VAST_CONTAINERLABEL", "COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PINOCTL_PLATFORM", "local")
    made = Home(tmp_path / "home")
    GateFiles(made).prepare()
    return made


@pytest.mark.parametrize(
    ("options", "given"),
    [
        ({}, {}),
        ({"tunnel": "ngrok"}, {"tunnel": "ngrok"}),
        ({"no_tunnel": True}, {"tunnel": "none"}),
        ({"public": True, "framed": False}, {"public": True, "framed": False}),
        ({"stop_after_idle": "1h30m"}, {"idle_seconds": 5400.0}),
        ({"stop_after_idle": "none"}, {"idle_seconds": 0.0}),
        ({"stop_after_idle": "0"}, {"idle_seconds": 0.0}),
        ({"max_hours": "1.5", "stop_what": "machine"}, {"most_seconds": 5400.0, "at_end": "machine"}),
        ({"max_hours": "90m"}, {"most_seconds": 5400.0}),
        ({"max_hours": "0"}, {"most_seconds": 0.0}),
        ({"max_hours": "0.0"}, {"most_seconds": 0.0}),
        ({"max_hours": "none"}, {"most_seconds": 0.0}),
    ],
)
def test_options_become_what_the_gate_takes(options, given):
    assert given_exposure({**NOTHING, **options}) == given


def test_options_that_cannot_be_are_refused():
    with pytest.raises(BadInputError, match="exclude each other"):
        given_exposure({**NOTHING, "tunnel": "ngrok", "no_tunnel": True})
    with pytest.raises(BadInputError, match="`--stop-after-idle` cannot be read"):
        given_exposure({**NOTHING, "stop_after_idle": "soon"})
    for hours in ("inf", "nan", "1e9", "-1", "99999", ""):
        with pytest.raises(BadInputError, match="`--max-hours` "):
            given_exposure({**NOTHING, "max_hours": hours})
    with pytest.raises(BadInputError, match="`--tunnel` names nothing"):
        given_exposure({**NOTHING, "tunnel": " "})


@pytest.mark.parametrize(
    ("given", "shown", "said"),
    [
        ({"at_end": "machine"}, {"stop_what": "machine"}, ["does nothing without a limit"]),
        ({"at_end": "machine"}, {"stop_what": "machine", "max_seconds": 60.0}, []),
        ({"idle_seconds": 60.0}, {"stop_what": "app", "stop_after_idle": 60.0}, []),
        ({}, {"stop_what": "machine", "max_seconds": 60.0, "cannot_stop_because": "no key"}, ["money: no key"]),
    ],
)
def test_a_machine_that_will_not_be_stopped_is_told_at_once(given, shown, said):
    told = cautions("app", given, shown)
    assert len(told) == len(said)
    assert all(words in text for words, text in zip(said, told, strict=True))


def test_when_something_is_stopped_is_told_in_a_few_words():
    assert stops({"stop_what": "app"}) == "-"
    shown = {"stop_what": "machine", "stop_after_idle": 1800.0, "max_seconds": 28800.0, "stops_in": 1740.2}
    assert stops(shown) == "machine in 29m (30m unused or 8h in all)"
    assert stops({**shown, "cannot_stop_because": "no key"}).startswith("app in 29m ")
    assert stops({"stop_what": "app", "max_seconds": 60.0, "stops_in": None}) == "app after 1m in all"


def test_other_options_are_left_to_others():
    assert asked({**NOTHING, "public": True, "memory": "4g"}) == ({"public": True}, {"memory": "4g"})


@pytest.mark.parametrize(
    ("given", "where", "tunnel"),
    [
        ({}, "own", None),
        ({}, "kept", "as it was"),
        ({}, "rented", "as it was"),
        ({"tunnel": "none"}, "own", None),
        ({"tunnel": "none"}, "rented", "none"),
        ({"tunnel": "auto"}, "own", "auto"),
        ({"public": True}, "own", "as it was"),
        ({"framed": True}, "own", "as it was"),
        ({"public": True, "tunnel": "none"}, "own", "none"),
        ({"most_seconds": 60.0}, "own", "none"),
        ({"idle_seconds": 60.0, "at_end": "machine"}, "own", "none"),
        ({"at_end": "app"}, "own", "none"),
        ({"public": False}, "own", None),
        ({"most_seconds": 60.0, "tunnel": "auto"}, "own", "auto"),
        ({"most_seconds": 60.0, "public": True}, "own", "as it was"),
        ({"most_seconds": 60.0}, "kept", "as it was"),
        ({"most_seconds": 60.0}, "rented", "as it was"),
    ],
)
def test_apps_are_exposed_when_asked_for_or_where_nobody_sits_at_the_machine(home, monkeypatch, given, where, tunnel):
    if where == "kept":
        write(GateFiles(home).exposed, {"app": Exposure("app", active=False)})
    if where == "rented":
        monkeypatch.setenv("PINOCTL_PLATFORM", "vast")
    found = called_for(home, "app", given)
    assert (None if found is None else found.get("tunnel", "as it was")) == tunnel
    assert found is None or {**found, **given} == found, "nothing of what was given is lost"


class Lines:
    def __init__(self):
        self.said = []

    def line(self, text, _style=None):
        self.said.append(text)


def shown(state, says="", **more):
    return {"link": "http://127.0.0.1:1/?token=t", "tunnel": {"state": state, "says": says, "reason": says}, **more}


def test_it_waits_until_there_is_a_way_in_and_tells_what_happens():
    states = iter(
        [shown("connecting", "through a"), shown("connecting", "through a"), shown("connecting", "a failed"),
         shown("up", "b is up", share_url="https://b.example", share_link="https://b.example/?token=t")]
    )  # fmt: skip
    lines, slept = Lines(), []
    link = exposing._settle(lambda: next(states), shown("connecting"), lines, clock=lambda: 0.0, sleep=slept.append)
    assert (link.best, link.share, link.local) == (*["https://b.example/?token=t"] * 2, "http://127.0.0.1:1/?token=t")
    assert lines.said == ["through a", "a failed", "b is up"]
    assert len(slept) == 4


def test_it_does_not_wait_for_ever_nor_where_nothing_comes():
    clock = itertools.count(0, 10)
    link = exposing._settle(
        lambda: shown("connecting", "slow"),
        shown("connecting"),
        Lines(),
        clock=lambda: next(clock),
        sleep=lambda _s: None,
    )
    assert (link.url, link.share, link.best) == (None, None, "http://127.0.0.1:1/?token=t")
    for state in ("none", "failed"):
        assert exposing._settle(dict, shown(state), Lines(), sleep=pytest.fail).url is None


def test_what_is_told_of_a_link():
    assert link_of({}) == Link()
    assert set(NOWHERE.to_json().values()) == {None}
    failed = {"state": "failed", "provider": "ngrok", "reason": "refused", "hint": "take another token", "trying": True}
    link = link_of({"link": "http://127.0.0.1:1/?token=t", "share_url": None, "share_link": None, "tunnel": failed})
    assert (link.hint, link.trying) == ("take another token", True)
    assert link.to_json() == {
        "share_url": None, "share_link": None, "share_problem": "refused",
        "local_link": "http://127.0.0.1:1/?token=t", "tunnel": "ngrok",
    }  # fmt: skip


@pytest.mark.parametrize(("state", "problem"), [("connecting", True), ("reconnecting", True), ("none", False)])
def test_only_what_should_be_reached_is_missed(state, problem):
    assert bool(link_of({"tunnel": {"state": state, "reason": ""}}).problem) is problem
    assert not link_of({"tunnel": {"state": state}, "share_url": "https://a.example"}).problem


def test_down_without_a_gate_keeps_the_door_closed_for_the_next_one(home):
    write(GateFiles(home).exposed, {"app": Exposure("app"), "other": Exposure("other")})
    assert not hide(home, "app", keep=True)
    assert {name: each.active for name, each in read(GateFiles(home).exposed).items()} == {"app": False, "other": True}


def test_apps_that_need_event_streams(home):
    assert not streams(home, "comfyui")
    assert streams(home, "an-app-that-nobody-knows"), "better safe: many of them are Gradio apps"


ASK = """
import json, sys
from pathlib import Path
from orchestrator.commands.exposing import _typed
from orchestrator.engine.home import Home
print(json.dumps(_typed(Home(Path(sys.argv[1])), sys.argv[2], {})), "is what was typed")
"""


def asking(home, tunnel, folder):
    environ = {"HOME": str(folder), "PATH": "/usr/bin:/bin", "TERM": "dumb"}
    return Terminal([sys.executable, "-c", ASK, str(home.root), tunnel], {**os.environ, **environ})


@pytest.mark.parametrize(
    ("tunnel", "asked_for", "kept"),
    [
        ("NGROK", ["NGROK_AUTHTOKEN"], {}),
        ("cloudflared-named", ["CLOUDFLARED_TOKEN"], {}),
        ("cloudflared-named", [], {"TUNNEL_TOKEN": "t"}),
        ("frp", ["PINOCTL_FRP_SERVER", "PINOCTL_FRP_URL"], {}),
        ("frp", ["PINOCTL_FRP_SERVER"], {"PINOCTL_FRP_REMOTE_PORT": "7000"}),
        ("auto", [], {}),
    ],
)
def test_a_person_is_asked_for_what_the_wanted_tunnel_cannot_do_without(home, tmp_path, tunnel, asked_for, kept):
    accounts.keep(GateFiles(home).accounts, kept)
    person = asking(home, tunnel, tmp_path)
    for name in asked_for:
        person.expect(f"{name} (kept in HOME/gate, for you only)")
        person.type("brought\n")
    told = person.expect("is what was typed")
    assert json.dumps(dict.fromkeys(asked_for, "brought")) in told
    assert person.end() == 0


def test_ngroks_own_token_spares_the_question(home, tmp_path):
    folder = tmp_path / ".config" / "ngrok"
    folder.mkdir(parents=True)
    (folder / "ngrok.yml").write_text("agent:\n  authtoken: 2abc\n")
    person = asking(home, "ngrok", tmp_path)
    assert '{"NGROK_AUTHTOKEN": "2abc"}' in person.expect("is what was typed")
    assert person.end() == 0


def test_what_is_kept_is_shown_by_name_and_forgotten(home, monkeypatch):
    path = GateFiles(home).accounts
    accounts.keep(path, {"NGROK_AUTHTOKEN": "2abc", "CLOUDFLARED_TOKEN": "3def", "PINOCTL_GATE_PORT": "7860"})
    monkeypatch.setenv("TUNNEL_TOKEN", "4ghi")

    def forget(*names):
        ran = CliRunner().invoke(gate, ["forget", *names, "--home", str(home.root)])
        assert "2abc" not in ran.output
        return ran

    assert "kept: CLOUDFLARED_TOKEN, NGROK_AUTHTOKEN, PINOCTL_GATE_PORT" in forget().output
    told = forget("TUNNEL_TOKEN", "PINOCTL_GATE_PORT").output
    assert "forgotten: CLOUDFLARED_TOKEN, PINOCTL_GATE_PORT" in told
    assert "`TUNNEL_TOKEN` is set here" in told
    assert accounts.read(path) == {"NGROK_AUTHTOKEN": "2abc"}
    assert "none of these" in forget("PINOCTL_FRP_TOKEN").output
    refused = forget("PATH").exception
    assert isinstance(refused, BadInputError)
    assert "`NGROK_AUTHTOKEN`" in refused.hint


def test_how_an_app_is_that_has_no_agent(home):
    assert look(home, "nothing") == {"word": "stopped"}
    folder = home.logs / "app"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text('{"word": "failed", "reason": "no memory"}')
    assert look(home, "app") == {"word": "failed", "reason": "no memory"}
