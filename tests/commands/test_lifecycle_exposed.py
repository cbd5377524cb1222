"""Exposed apps as commands tell of them, on a real launcher: watched only, out of reach, without their gate."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import time

import pytest

from orchestrator.engine.home import Home
from orchestrator.expose.client import GateClient
from tests.commands.conftest import page, processes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

REFUSED = """#!/bin/sh
echo "ERROR:  authentication failed: The authtoken you specified is an ngrok v1 authtoken."
echo "ERROR:  ERR_NGROK_105"
exit 1
"""


@pytest.fixture
def run(pinoctl, tmp_path):
    """Return the program on a machine of its user's own, with an ngrok that no token is good enough for."""
    (tmp_path / "bin").mkdir()
    ngrok = tmp_path / "bin" / "ngrok"
    ngrok.write_text(REFUSED)
    ngrok.chmod(0o755)
    path = f"{ngrok.parent}:{os.environ['PATH']}"
    kill_gate(pinoctl.home)  # the program is looked for on the gate's PATH

    def call(*arguments, platform="local", **env):
        return pinoctl(*arguments, PINOCTL_PLATFORM=platform, PATH=path, NGROK_AUTHTOKEN="tok-en", **env)

    return call


def kill_gate(home):
    """Kill a home's gate until nothing is left of it: the first of its processes starts the other one again."""
    while found := processes(home, "orchestrator.commands.gate_process"):
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    while GateClient(Home(home)).ask("ping") is not None:
        time.sleep(0.02)


def test_limits_alone_expose_nothing_and_a_dead_gate_is_told(run, pinoctl, launcher, tmp_path):
    up = run("up", launcher("watched"), "--max-hours", "3", "--json")
    assert (up.status, up.json["share_url"], up.json["share_link"], up.json["share_problem"]) == (0, None, None, None)
    link = up.json["local_link"]
    assert "`watched` is watched, not exposed" in up.err
    assert "hello" in page(link)
    (shown,) = run("gate", "status", "--json").json
    assert (shown["tunnel"]["state"], shown["max_seconds"]) == ("none", 3 * 3600)

    for name in ("new.png", "new.svg", "old.svg"):
        (tmp_path / "old.svg").touch(0o644)
        drawn = run("open", "watched", "--png" if name.endswith("png") else "--svg", tmp_path / name)
        assert (drawn.status, drawn.last) == (0, link)
    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("new.png", "new.svg", "old.svg")}
    assert modes == {"new.png": 0o600, "new.svg": 0o600, "old.svg": 0o644}
    nowhere = run("open", "watched", "--png", tmp_path / "none" / "x.png")
    assert (nowhere.status, "no such file or directory" in nowhere.err) == (2, True)

    kill_gate(pinoctl.home)
    (gone,) = run("gate", "status", "--json").json
    assert (gone["app"], gone["share_url"]) == ("watched", None)
    for command in (["gate", "status"], ["status"]):
        assert "warning: the gate does not run; `pinoctl open watched` or `up watched` starts it" in run(*command).err
    assert "the gate does not run" in run("status", "watched", "--json").json["warning"]
    back = run("open", "watched")
    assert (back.status, back.last) == (0, link)
    assert "hello" in page(link)
    assert run("rm", "watched", "--yes").status == 0


def test_a_way_that_was_asked_for_and_does_not_work_is_a_failure(run, launcher):
    folder = launcher("away")
    asked = run("up", folder, "--tunnel", "ngrok", "--json", platform="colab")
    assert asked.status == 1
    assert (asked.json["state"], asked.json["share_link"]) == ("ready", None)
    assert "ERR_NGROK_105" in asked.json["share_problem"]
    assert asked.json["local_link"].startswith("http://127.0.0.1:")
    assert asked.err.index("warning: Google Colab allows tunnels only with paid") < asked.err.index(
        "install.js step 1 of 3"
    )
    assert asked.err.count("hint: Set `NGROK_AUTHTOKEN` to the token of") == 1
    again = run("up", "away", platform="colab")
    assert (again.status, again.last) == (0, asked.json["local_link"]), "the app is ready, and this asked for no more"
    assert "cannot be reached from outside now" in again.err
    assert "hint: Set `NGROK_AUTHTOKEN`" in run("open", "away").err

    run("hide", "away")
    for already in (False, True):
        if already:
            run("expose", "away", "--tunnel", "ngrok")
        shared = run("share", "away", "--for", "1h", platform="colab")
        assert shared.status == 1
        assert "would lead nowhere" in shared.err
        assert [each["app"] for each in run("gate", "status", "--json").json] == ["away"] * already
    here = run("expose", "away", "--no-tunnel")
    shared = run("share", "away", "--for", "1h")
    assert (here.status, shared.status) == (0, 0)
    assert "hello" in page(shared.last)
    assert "is open to this machine alone" in shared.err
    assert run("rm", "away", "--yes").status == 0
