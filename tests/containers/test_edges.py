"""What is refused, and what is said, where containers and images meet what is not pinoctl's, is gone or was never."""

from __future__ import annotations

import io
import os
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from orchestrator.engine.errors import PinoctlError
from orchestrator.engine.home import Home
from orchestrator.places.container import settings, streams, terminal
from orchestrator.places.container.docker import DockerError
from orchestrator.places.container.updating import Updating
from tests.containers.lab import ROOTFS, Lab, ran


def test_a_command_whose_connection_broke_did_not_succeed(monkeypatch):
    api = SimpleNamespace(
        exec_create=lambda *_, **__: {"Id": "e"},
        exec_start=lambda *_, **__: io.BytesIO(),
        exec_inspect=lambda _id: {"ExitCode": None, "Running": True},
    )
    monkeypatch.setattr(terminal, "_join", lambda *_, **__: None)
    monkeypatch.setattr(streams, "PAUSES", (0.0,))
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(DockerError, match="broke before the command ended"):
        terminal.execute(SimpleNamespace(api=api), "c", ["true"], folder="/", environment={})


def test_what_a_command_said_before_we_listened_is_shown(monkeypatch, capfdbinary):
    near, far = socket.socketpair()
    far.close()
    with near, Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        terminal._join(near, b"\1\0\0\0\0\0\0\4said", framed=True)
    assert capfdbinary.readouterr().out == b"said"


def test_an_app_on_the_volume_says_why_it_cannot_go_back(tmp_path):
    home = Home(tmp_path)
    settings.write(home, "app", settings.Settings(place="container", mode="volume"))
    updating = Updating(SimpleNamespace(home=home, docker=None), "app", profile=None, say=print, listen=print)
    with pytest.raises(PinoctlError, match="on the volume, which keeps no earlier version"):
        updating.back({})


@pytest.mark.docker
@pytest.mark.slow
class TestLab:
    def test_images_that_are_not_ours_stay_ours_to_leave_alone(self, lab: Lab) -> None:
        refused = lab.run("image", "rm", "--yes", ROOTFS)
        assert (refused.status, "is not pinoctl's" in refused.said) == (2, True)
        assert lab.docker.images.get(ROOTFS)
        unknown = lab.run("image", "list", "no-such-app-at-all")
        assert (unknown.status, "there is no image of" in unknown.said) == (2, True)

    def test_what_a_launcher_has_no_more_is_not_in_its_next_image(self, lab: Lab) -> None:
        lab.write([ran("one"), ran("two")])
        (lab.source / "README.md").write_text("old")
        (lab.source / "sub").mkdir()
        (lab.source / "sub" / "kept.txt").write_text("kept")
        lab.up()
        lab.inside("test -e README.md && test -e sub/kept.txt")
        (lab.source / "README.md").unlink()
        lab.up()
        assert lab.ran == ["one", "two"]  # its next image is made from a checkpoint
        lab.inside("test ! -e README.md && test -e sub/kept.txt")
