"""What images are called: by commands that push them, and by those that say which one there is."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docker.errors import ImageNotFound

import cli
from orchestrator.engine.home import Home
from orchestrator.places.container import base_image, names
from orchestrator.places.container.base_image import Base
from orchestrator.places.container.docker import Docker, connect
from orchestrator.places.container.images import tag, untag

pytestmark = [pytest.mark.docker, pytest.mark.slow]
NOBODY = "127.0.0.1:1"  # where no registry is


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Give a home with one app."""
    made = Home(tmp_path / "home")
    made.app("plain").mkdir(parents=True)
    monkeypatch.setenv("PINOCTL_HOME", str(made.root))
    return made


@pytest.fixture
def docker(home: Home, base_tag: str) -> Iterator[Docker]:
    """Connect to the daemon, with an image for the app of the home."""
    connected = connect()
    tag(connected, base_tag, names.current(home, "plain"))
    yield connected
    untag(connected, names.current(home, "plain"))
    connected.close()


def image_of(docker: Docker, reference: str) -> Any:
    with contextlib.suppress(ImageNotFound):
        return docker.api.inspect_image(reference)["Id"]
    return None


def test_a_push_that_fails_says_so_in_json_and_leaves_no_name(docker: Docker, capsys: pytest.CaptureFixture) -> None:
    reference = f"{NOBODY}/me/{uuid.uuid4().hex[:8]}:1"
    assert cli.invoke(["image", "push", "plain", reference, "--json", "-q"]) == 1
    said = capsys.readouterr()
    answer = json.loads(said.out)
    assert (answer["image"], answer["digest"]) == (reference, None)
    assert "cannot be pushed" in answer["error"]
    assert image_of(docker, reference) is None


def test_a_push_that_fails_takes_no_name_away(docker: Docker, base_image: str) -> None:
    reference = f"{NOBODY}/me/{uuid.uuid4().hex[:8]}:1"
    tag(docker, base_image, reference)
    try:
        assert cli.invoke(["image", "push", "plain", reference, "-q"]) == 1
        assert image_of(docker, reference) == image_of(docker, base_image)
    finally:
        untag(docker, reference)


def test_a_base_image_is_called_as_its_variant_though_another_is_the_same(docker: Docker, base_image: str) -> None:
    usual, other = Base(base_image, "cpu"), Base(base_image, f"0.{uuid.uuid4().int % 10**9}")
    name = ensured(docker, usual)
    again = name.replace(usual.variant, other.variant)
    tag(docker, name, again)
    try:
        assert ensured(docker, other) == again
        assert ensured(docker, usual) == name
    finally:
        untag(docker, again)


def ensured(docker: Docker, base: Base) -> str:
    return str(base_image.ensure(docker, base, say=lambda _line: None)["Tag"])
