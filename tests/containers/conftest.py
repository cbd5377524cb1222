"""What the tests with real containers share: the daemon, a base image, and a home for each test that leaves nothing."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.containers.lab import ROOTFS, Lab

if TYPE_CHECKING:
    from tests.containers.building import Place, World

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def daemon() -> Iterator[Any]:
    """Connect to the machine's daemon; a test that needs one fails where there is none."""
    import docker  # noqa: PLC0415  # slow to import

    client = docker.from_env(timeout=600)
    client.ping()
    yield client
    client.close()


@pytest.fixture(scope="session")
def base_tag(daemon: Any) -> str:
    """Have pinoctl's base image, made on a bare Debian where it is not there yet, and return its name."""
    with Path(tempfile.gettempdir(), "pinoctl-tests-base.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one worker makes it
        subprocess.run([ROOT / "images" / "rootfs.sh", ROOTFS], check=True, timeout=600)
        command = [sys.executable, "-m", "cli", "image", "build", "--base", ROOTFS]
        environ = {**os.environ, "PINOCTL_BASE_IMAGE": ROOTFS}
        said = subprocess.check_output(command, cwd=ROOT, env=environ, timeout=900, text=True)
    return said.split()[-1]


@pytest.fixture(scope="session")
def base_image(base_tag: str) -> str:
    """Return the name of the image that the base image begins with."""
    return ROOTFS


@pytest.fixture
def lab(daemon: Any, base_image: str, tmp_path: Path) -> Iterator[Lab]:
    """Give a home of its own, with the app of `Lab.write`, and remove what came of it."""
    made = Lab(daemon, tmp_path, f"faults-{uuid.uuid4().hex[:8]}")
    yield made
    made.clean()


@pytest.fixture(scope="module")
def shared_lab(daemon: Any, base_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Give one home to the tests of a file, each of which brings the app up before it does harm."""
    made = Lab(daemon, tmp_path_factory.mktemp("shared"), f"faults-{uuid.uuid4().hex[:8]}")
    made.write()
    yield made
    made.clean()


@pytest.fixture
def client(daemon: Any, base_image: str) -> Any:
    """Give the daemon, the base image there."""
    assert base_image
    return daemon


@pytest.fixture
def world(tmp_path: Path, client: Any) -> Iterator[World]:
    """Give an index and git repositories that can move on, and remove what came of them."""
    from tests.containers.building import world_in  # noqa: PLC0415  # imports a lot

    with world_in(tmp_path / "world", client) as made:
        yield made


@pytest.fixture
def place(tmp_path: Path, client: Any) -> Iterator[Place]:
    """Give a home of its own for builds, and remove what came of it."""
    from tests.containers.building import place_in  # noqa: PLC0415  # as above

    with place_in(tmp_path / "home", client) as made:
        yield made
