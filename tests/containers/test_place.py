"""Containers as a place, without a daemon: what is believed of what was noted."""

from __future__ import annotations

import pytest

from orchestrator.engine.home import Home
from orchestrator.places.container import images, settings
from orchestrator.places.container.place import ContainerPlace, is_log


class TestImage:
    @pytest.fixture
    def place(self, tmp_path, monkeypatch):
        home = Home(tmp_path)
        monkeypatch.setattr(images, "by_reference", lambda _docker, image: object() if image == "sha256:1" else None)
        monkeypatch.setattr(ContainerPlace, "docker", None)
        return ContainerPlace(home)

    @pytest.mark.parametrize(("noted", "found"), [("sha256:1", "sha256:1"), ("sha256:gone", None), (None, None)])
    def test_of_volume_mode_is_one_that_is_there(self, place, noted, found):
        installed = {"mode": "volume", **({"image": noted} if noted else {})}
        settings.write(place.home, "app", settings.Settings(mode="volume", installed=installed))
        assert place.image("app") == found


@pytest.mark.parametrize("name", ["terminal.log", "terminal-123.log", "journal.jsonl", "journal.jsonl.1"])
def test_logs_come_out_of_containers(name):
    assert is_log(name)


@pytest.mark.parametrize(
    "name", ["place.json", "pinoctl.lock.json", "state.json", "terminal-x.log", "terminal.log\n", "../terminal.log", ""]
)
def test_nothing_else_does(name):
    assert not is_log(name)
