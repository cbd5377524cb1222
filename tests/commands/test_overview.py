"""Looking at many apps in containers: the daemon is connected to once, and asked only for what is there."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from orchestrator.commands.overview import Asker, survey
from orchestrator.engine.home import Home
from orchestrator.places.container import names, place, settings
from orchestrator.places.container.docker import DockerError

APPS = ("none", "built", "down", "failed", "roomy")


class Daemon:
    """Be a daemon that notes what it is asked."""

    def __init__(self, home):
        self.asked = []
        self.api = self
        self.client = self
        self.state = {
            names.container(home, "down"): {"Running": False, "Status": "exited", "ExitCode": 0},
            names.container(home, "failed"): {"Running": False, "Status": "exited", "ExitCode": 3},
        }
        self.tags = [names.current(home, app) for app in ("built", "down", "failed")]

    def containers(self, **given):
        self.asked.append("containers")
        assert given["all"]
        return [{"Names": [f"/{name}"]} for name in self.state]

    def images(self, **_given):
        self.asked.append("images")
        return [{"Id": f"sha256:{tag}", "RepoTags": [tag], "Labels": {}} for tag in self.tags]

    def inspect_container(self, name):
        self.asked.append(name)
        return {"Id": name, "State": self.state[name]}


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path)
    for app in APPS:
        home.app(app).mkdir(parents=True)
        settings.write(home, app, settings.Settings(place="container"))
    noted = {"mode": "volume", "image": f"sha256:{names.current(home, 'built')}"}
    settings.write(home, "roomy", settings.Settings(place="container", mode="volume", installed=noted))
    return home


@pytest.fixture
def daemon(home, monkeypatch):
    made = Daemon(home)
    monkeypatch.setattr(place, "connect", lambda: made.asked.append("connect") or SimpleNamespace(api=made))
    return made


def test_the_daemon_is_asked_once_for_all(home, daemon):
    states = {view.row.name: view.state for view in survey(home)}
    assert states == {
        "none": "not installed", "built": "stopped", "down": "stopped", "roomy": "stopped",
        "failed": "failed (its container ended with status 3)",
    }  # fmt: skip
    assert daemon.asked[:3] == ["connect", "containers", "images"]
    assert sorted(daemon.asked[3:]) == sorted(daemon.state)


def test_a_daemon_that_does_not_answer_is_waited_for_once(home, monkeypatch):
    tried = []

    def hang():
        tried.append(1)
        raise DockerError("the Docker daemon does not answer within 3 s")

    monkeypatch.setattr(place, "connect", hang)
    asker = Asker(home)
    for app in APPS:
        said = asker.ask(app)
        assert said["word"] == "failed"
        assert "within 3 s" in said["reason"]
    assert tried == [1]
