"""Exports and registries: images that are made, moved and run without pinoctl serve the same app."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from docker.errors import ImageNotFound

from tests.containers.building import (
    Place,
    World,
    await_page,
    fill,
    garden,
    launcher,
    move_on,
    page,
    place_in,
    refused,
    running,
    shell,
    tree,
    unlike,
    world_in,
)

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(600)]
TOKEN = "a-token-of-its-user"


@pytest.fixture
def client(daemon: docker.DockerClient, base_image: str) -> docker.DockerClient:
    """Give the daemon, the base image there."""
    assert base_image
    return daemon


@pytest.fixture
def world(tmp_path: Path, client: docker.DockerClient) -> Iterator[World]:
    with world_in(tmp_path / "world", client) as made:
        yield made


@pytest.fixture
def place(tmp_path: Path, client: docker.DockerClient) -> Iterator[Place]:
    with place_in(tmp_path / "home", client) as made:
        yield made


def forget(client: docker.DockerClient, reference: str) -> None:
    """Remove an image that may never have been made."""
    with contextlib.suppress(ImageNotFound):
        client.images.remove(reference, force=True)


def docker_build(folder: Path, reference: str, home: Path) -> str:
    """Build a folder with the plain command, and nothing of ours around."""
    home.mkdir()
    # Debian's own first: its BuildKit needs no plugin
    environ = {"PATH": f"/usr/bin:/bin:{os.environ['PATH']}", "HOME": str(home), "DOCKER_BUILDKIT": "1"}
    done = subprocess.run(
        ["docker", "build", "--progress", "plain", "--tag", reference, str(folder)], env=environ, cwd=home,
        capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-8000:]
    return done.stdout + done.stderr


@pytest.mark.network
def test_a_locked_export_is_built_by_docker_alone_and_serves_the_same_app(
    client: docker.DockerClient, world: World, place: Place, tmp_path: Path
) -> None:
    fill(world)
    made = place.pinoctl("build", garden(tmp_path / "garden", world), "--json", "-q").json()
    ours = tree(client, made["id"], "pinokio/api/garden")
    folder, reference = tmp_path / "export", f"rebuild-export-{uuid.uuid4().hex[:8]}:1"
    place.pinoctl("export", "dockerfile", "garden", "--output", folder)
    move_on(world)
    try:
        log = docker_build(folder, reference, tmp_path / "bare")
        assert "gamma" in log
        theirs = tree(client, reference, "pinokio/api/garden")
        assert unlike(ours, theirs) == []
        with running(client, reference, PINOCTL_TOKEN=TOKEN) as (container, url):
            await_page(url, token=TOKEN, holds="here is garden")
            assert refused(url) == 401
            assert "is ready" in container.logs().decode()
    finally:
        forget(client, reference)
