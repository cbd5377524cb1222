"""What others do with Docker behind our back: `ps` tells the truth, the next `up` converges, nothing is left over."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.places.container import names
from tests.containers.lab import Lab, eventually, held, ran, script
from tests.containers.own_daemon import OwnDaemon

pytestmark = [pytest.mark.docker, pytest.mark.slow]

STEPS = ["one", "two", "three"]


@pytest.fixture
def app(shared_lab: Lab) -> Lab:
    """Bring the app up, with a file of its user's in it."""
    shared_lab.write()
    shared_lab.up()
    shared_lab.inside("echo mine > mine.txt")
    return shared_lab


def converges(lab: Lab, *, kept: bool = True) -> None:
    """See that the app is brought up again, with its user's files where they can be there."""
    url = lab.up()
    assert ("mine.txt" in lab.inside("ls").split()) is kept
    lab.check_ready(url)
    lab.check_nothing_left()


def test_stopped(app: Lab) -> None:
    app.container().stop()
    assert app.ps()["state"] == "stopped"
    converges(app)


def test_killed(app: Lab) -> None:
    app.container().kill()
    assert app.ps()["state"] == "stopped"
    converges(app)


def test_removed(app: Lab) -> None:
    app.container().remove(force=True)
    assert app.ps()["state"] == "stopped"
    converges(app, kept=False)


def test_restarted(app: Lab) -> None:
    app.container().restart()
    found = eventually(lambda: (seen := app.ps())["state"] == "ready" and seen)
    app.check_ready(found["url"])  # its ports are others now
    converges(app)


def test_image_deleted(app: Lab) -> None:
    app.docker.images.remove(names.current(app.home, app.app), force=True)
    assert app.settled()["state"] == "ready"
    converges(app)
    assert app.ran == STEPS  # it came from the checkpoint


def test_image_and_container_deleted(app: Lab) -> None:
    app.container().remove(force=True)
    app.docker.images.remove(names.current(app.home, app.app), force=True)
    assert app.ps()["state"] == "not installed"
    converges(app, kept=False)
    assert app.ran == STEPS


def test_checkpoints_deleted(lab: Lab) -> None:
    lab.write()
    lab.up()
    for image in lab.images("checkpoint"):
        for tag in image.tags:
            lab.docker.images.remove(tag, force=True)
    assert lab.settled()["state"] == "ready"
    converges(lab, kept=False)
    assert lab.ran == STEPS
    lab.inside("echo mine > mine.txt")
    lab.write([ran("one"), ran("two"), ran("three"), ran("four")])
    converges(lab)
    assert lab.inside("cat ran.txt").split() == [*STEPS, "four"]


def test_everything_deleted(lab: Lab) -> None:
    lab.write()
    lab.up()
    lab.container().remove(force=True)
    for _ in range(2):
        for image in lab.images():
            lab.docker.images.remove(image.id, force=True)
    lab.docker.volumes.get(names.volume(lab.home)).remove()
    assert lab.ps()["state"] == "not installed"
    converges(lab, kept=False)
    assert lab.inside("cat ran.txt").split() == STEPS


def test_volume_deleted(app: Lab) -> None:
    app.container().remove(force=True)
    app.docker.volumes.get(names.volume(app.home)).remove()
    assert app.ps()["state"] == "stopped"
    converges(app, kept=False)


def test_two_at_once_where_the_container_is_gone(app: Lab) -> None:
    app.container().remove(force=True)
    done = [app.wait(proc) for proc in [app.start(*app.up_words()) for _ in range(2)]]
    assert [each.status for each in done] == [0, 0], [each.said for each in done]
    converges(app, kept=False)


def test_looking_on_does_not_disturb_an_update(app: Lab) -> None:
    app.write(update=script([held("update")]))
    app.up()
    proc = app.start("update", app.app)
    eventually((app.gate / "at-update").exists)
    assert app.settled()["state"] == "ready"
    app.let_go()
    while proc.poll() is None:
        app.ps()
    done = app.wait(proc)
    assert done.status == 0, done.said
    assert app.ran[-1] == "update"
    converges(app)


@pytest.mark.parametrize("how", ["stop", "remove"])
def test_build_container_is_taken_away(lab: Lab, how: str) -> None:
    lab.write([ran("one"), held("two"), ran("three")])
    proc = lab.start(*lab.up_words())
    eventually((lab.gate / "at-two").exists)
    container = lab.container("build")
    container.stop(timeout=1) if how == "stop" else container.remove(force=True, v=True)
    done = lab.wait(proc)
    assert done.status == 1
    assert "error: " in done.said
    assert lab.ps()["phase"] in {"failed", "not installed"}
    lab.let_go()
    converges(lab, kept=False)
    assert lab.inside("cat ran.txt").split() == STEPS


# With a daemon of our own.


@pytest.fixture(scope="module")
def own(daemon: Any, base_image: str, base_tag: str) -> Iterator[OwnDaemon]:
    """Run a daemon with the base image in it."""
    folder = Path(tempfile.mkdtemp(prefix="pinod-", dir="/tmp"))  # a socket's path may not be long
    made = OwnDaemon(folder)
    try:
        made.start()
        made.load(daemon, [base_image, base_tag])
        yield made
    finally:
        made.close()


@pytest.fixture
def own_lab(own: OwnDaemon, tmp_path: Path) -> Iterator[Lab]:
    """Give a home whose apps live in the daemon of our own."""
    client = own.client()
    made = Lab(client, tmp_path, f"faults-{uuid.uuid4().hex[:8]}", host=own.host)
    yield made
    made.clean()
    client.close()


def test_daemon_dies_while_it_builds(own: OwnDaemon, own_lab: Lab) -> None:
    lab = own_lab
    lab.write([ran("one"), held("two"), ran("three")])
    proc = lab.start(*lab.up_words())
    eventually((lab.gate / "at-two").exists)
    own.kill()
    done = lab.wait(proc)
    assert done.status == 1
    assert "Docker" in done.said
    seen = lab.ps()
    assert seen["phase"] == "failed"
    assert "Docker" in seen["reason"]
    own.start()
    assert lab.ps()["phase"] in {"failed", "not installed", "installing", "starting"}
    lab.let_go()
    converges(lab, kept=False)
    assert lab.inside("cat ran.txt").split() == STEPS


@pytest.mark.parametrize("how", ["restart", "crash"])
def test_daemon_is_restarted_under_a_running_app(own: OwnDaemon, own_lab: Lab, how: str) -> None:
    lab = own_lab
    lab.write()
    lab.up()
    lab.inside("echo mine > mine.txt")
    own.stop() if how == "restart" else own.kill()
    seen = lab.ps()
    assert (seen["phase"], seen["url"]) == ("failed", None)
    own.start()
    if how == "restart":
        found = eventually(lambda: (now := lab.ps())["state"] == "ready" and now)
        lab.check_ready(found["url"])  # nobody asked for it
    else:  # old engines stop what outlived them, and take that for somebody's wish
        assert lab.ps()["phase"] in {"stopped", "starting", "ready"}
    converges(lab)


def test_disk_of_the_daemon_is_full(own: OwnDaemon, own_lab: Lab) -> None:
    lab = own_lab
    lab.write([ran("one"), held("two"), ran("three")])
    proc = lab.start(*lab.up_words())
    eventually((lab.gate / "at-two").exists)
    with own.full():
        lab.let_go()
        done = lab.wait(proc)
        assert done.status == 1, done.said
        assert "no space left on device" in done.said.lower()
        assert lab.ps()["phase"] in {"failed", "not installed", "installing", "starting", "stopped"}
    assert shutil.disk_usage(own.data).free > 1 << 30
    converges(lab, kept=False)
    done_steps = lab.inside("cat ran.txt").split()
    assert list(dict.fromkeys(done_steps)) == STEPS  # nothing could be noted of the step that met the full disk
