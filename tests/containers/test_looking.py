"""Looking at an app in a container from outside: its menu, its events and its log as they are true on this machine."""

from __future__ import annotations

import json

import pytest

from orchestrator.places.container import names
from tests.containers.lab import Lab, answers, script

pytestmark = [pytest.mark.docker, pytest.mark.slow]

MENU = """module.exports = {
  menu: async (kernel, info) => {
    const local = info.local("start.js")
    if (local && local.url) return [{ default: true, text: "Open", href: local.url }]
    return info.exists("done.txt") ? [{ default: true, text: "Start", href: "start.js" }]
      : [{ default: true, text: "Install", href: "install.js" }]
  },
}
"""


def test_urls_can_be_reached_and_logs_come_as_they_are_written(lab: Lab) -> None:
    lab.write(pinokio=MENU, say=script(["echo said-$((40 + 2))"]))
    url = lab.up()

    assert lab.run("env", lab.app, "COLOUR=blue").said.count(names.own_volume(lab.home, lab.app)) == 1
    kept = json.loads(lab.run("env", lab.app, "--json").out)
    assert kept["volume"] == names.own_volume(lab.home, lab.app)
    assert "COLOUR=blue" in lab.inside(f"cat {kept['file']}")

    [offer] = json.loads(lab.run("menu", lab.app, "--json").out)["items"]
    assert offer["href"].rstrip("/") == url.rstrip("/")
    assert offer["href"] in lab.run("menu", lab.app).out
    events = [json.loads(line) for line in lab.run("logs", lab.app, "--events").out.splitlines()]
    ready = [event["url"] for event in events if event["kind"] == "ready"]
    assert ready
    assert all(map(answers, ready))

    following = lab.start("logs", lab.app, "-f", "-n", "1")
    happening = lab.start("logs", lab.app, "-f", "-n", "1", "--events")
    assert following.stdout is not None
    assert happening.stdout is not None
    assert following.stdout.readline()  # what there was: from here on they follow
    assert happening.stdout.readline()
    assert lab.run("run", lab.app, "say.js").status == 0
    while "said-42" not in (line := following.stdout.readline()):
        assert line
    while "say.js" not in (line := happening.stdout.readline()):
        assert line
    for proc in (following, happening):
        proc.terminate()
