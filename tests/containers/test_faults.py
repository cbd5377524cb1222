"""A build that is killed, broken off, short of room or memory: `ps` tells the truth, and the next `up` converges."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator.places.container import names
from tests.containers.lab import START, Lab, eventually, failing, held, ran, script

pytestmark = [pytest.mark.docker, pytest.mark.slow]

STEPS = ["one", "two", "three"]
BROKEN = failing("printf 'bro%s\\n' ken", "broken")

BEFORE, BUILT = {"not installed"}, {"stopped", "starting", "ready"}
ASKED = {"installing", "starting", "not installed", "stopped"}  # the last where the installation is done by now

# Moments at which a build is killed, and what `ps` may say then: the container that installs goes on by itself.
# Each list is one build, killed once at each of its moments.
BUILDS = {
    "beginning": {
        "code volume": ("after POST /containers/create$", BEFORE),
        "build container made": (r"after POST /containers/create\?name=.*-build$", {"failed"}),
        "launcher half there": ("before PUT /containers/.*/archive 2", {"failed"}),
        "build container started": ("after POST /containers/[0-9a-f]+/start$", ASKED),
        "before a checkpoint": ("before POST /commit.*checkpoint-", ASKED),
        "saved, not finished": ("before DELETE /containers/.*v=True", {"failed"}),
        "after the last commit": ("after POST /commit.*tag=[0-9a-f]{8}&", {"stopped"}),
    },
    "middle": {
        "after a checkpoint": ("after POST /commit.*checkpoint-", ASKED),
        "installed, not saved": ("after POST /containers/[0-9a-f]+/wait", {"failed"}),
        "before the last commit": ("before POST /commit.*tag=[0-9a-f]{8}&", BEFORE),
        "container made": (r"after POST /containers/create\?name=.*-[0-9a-f]{8}$", {"stopped"}),
    },
    "end": {
        "during a checkpoint": ("during POST /commit.*checkpoint-", ASKED),
        "finishing": ("before PUT /containers/.*/archive.path=%2Fopt%2Fpinoctl", BEFORE),
        "during the last commit": ("during POST /commit.*tag=[0-9a-f]{8}&", BEFORE | {"stopped"}),
        "container started": ("after POST /containers/[0-9a-f]+/start$", BUILT),
    },
}


@pytest.mark.parametrize("build", BUILDS)
def test_killed_while_it_builds(lab: Lab, build: str) -> None:
    lab.write()
    for moment, (where, states) in BUILDS[build].items():
        died = lab.run(*lab.up_words(), die=where)
        assert died.status == -signal.SIGKILL, f"it never came to this moment: {moment}, {died.said}"
        assert lab.ps()["phase"] in states, moment
    url = lab.up()
    assert lab.ran == STEPS  # none twice, wherever it ran
    assert lab.inside("cat ran.txt").split() == STEPS
    lab.check_ready(url)
    lab.check_nothing_left()


# The app's container is replaced, since its limits changed: each list is killed one after the other.
REPLACEMENTS = {
    "before it": {
        "before the next is made": r"before POST /containers/create\?name=.*-next$",
        "the next is made": r"after POST /containers/create\?name=.*-next$",
        "carrying": "before PUT /containers/.*/archive",
        "carried": r"before POST /containers/.*/rename\?name=.*-old$",
    },
    "at it": {"between the renames": r"after POST /containers/.*/rename\?name=.*-old$"},
    "after it": {
        "renamed": r"after POST /containers/.*/rename\?name=.*-[0-9a-f]{8}$",
        "the old one is gone": "after DELETE /containers/",
    },
}


@pytest.fixture(scope="module")
def limits() -> Iterator[str]:
    """Give limits that the app does not have yet."""
    return (f"{size}m" for size in range(1000, 2000, 7))


@pytest.mark.parametrize("when", REPLACEMENTS)
def test_killed_while_the_container_is_replaced(shared_lab: Lab, limits: Iterator[str], when: str) -> None:
    lab = shared_lab
    lab.up()
    lab.inside(f"mkdir -p outputs; echo mine > 'outputs/{when}.txt'; echo also > ~/.settings")
    for moment, where in REPLACEMENTS[when].items():
        died = lab.run(*lab.up_words("--memory", next(limits)), die=where)
        assert died.status == -signal.SIGKILL, f"it never came to this moment: {moment}, {died.said}"
        assert lab.settled()["phase"] in {"stopped", "ready"}, moment
    url = lab.up()
    assert lab.inside(f"cat 'outputs/{when}.txt' ~/.settings").split() == ["mine", "also"]
    lab.check_ready(url)
    lab.check_nothing_left()
    assert lab.ran == STEPS


UPDATES = {
    "beside it": {
        "update container made": r"after POST /containers/create\?name=.*-build$",
        "it runs": "after POST /containers/[0-9a-f]+/start$",
        "saved": "after POST /commit.*-updated&",
        "finished": "after POST /commit.*-next&",
    },
    "switching": {
        "carried over": "after POST /containers/[0-9a-f]+/start$ 2",
        "between the renames": r"after POST /containers/.*/rename\?name=.*-old$",
    },
    "switched": {
        "renamed": r"after POST /containers/.*/rename\?name=.*-[0-9a-f]{8}$",
        "named": r"after POST /images/.*/tag.*tag=[0-9a-f]{8}(&|$)",
    },
}


@pytest.mark.parametrize("when", UPDATES)
def test_killed_while_it_updates(shared_lab: Lab, when: str) -> None:
    lab = shared_lab
    lab.write(update=script([f"echo '{when}' > version.txt"]))
    lab.up()
    lab.inside(f"echo mine > 'kept {when}.txt'")
    for moment, where in UPDATES[when].items():
        died = lab.run("update", lab.app, die=where)
        assert died.status == -signal.SIGKILL, f"it never came to this moment: {moment}, {died.said}"
        assert lab.ps()["phase"] in {"ready", "stopped", "starting"}, moment
    url = lab.up()
    assert lab.inside(f"cat 'kept {when}.txt'") == "mine\n"
    lab.check_ready(url)
    lab.check_nothing_left()
    again = lab.run("update", lab.app)
    assert again.status == 0, again.said
    assert lab.inside("cat version.txt") == f"{when}\n"
    lab.check_nothing_left()


def test_killed_when_a_changed_launcher_is_installed(lab: Lab) -> None:
    """What the app runs from then is not taken for the image of the changed launcher."""
    lab.write()
    lab.up()
    lab.write([ran("one"), ran("two"), ran("changed")])
    died = lab.run(*lab.up_words(), die="before POST /commit.*tag=[0-9a-f]{8}&")
    assert died.status == -signal.SIGKILL, died.said
    url = lab.up()
    assert lab.inside("cat ran.txt").split() == ["one", "two", "changed"]
    assert lab.ran.count("changed") == 1
    lab.check_ready(url)
    lab.check_nothing_left()


def test_ctrl_c_while_it_installs(lab: Lab) -> None:
    lab.write([ran("one"), held("two"), ran("three")])
    proc = lab.start(*lab.up_words())
    eventually((lab.gate / "at-two").exists)
    proc.send_signal(signal.SIGINT)
    done = lab.wait(proc)
    assert done.status == 130, done.said
    assert "goes on from the last finished step" in done.said
    assert lab.ps()["phase"] in {"failed", "stopped", "not installed"}
    lab.let_go()
    url = lab.up()
    assert lab.ran == STEPS
    lab.check_ready(url)
    lab.check_nothing_left()


def test_a_launcher_that_changed_while_nobody_looked(lab: Lab) -> None:
    """The container that a killed command left goes on with the launcher as it was, until the next `up`."""
    lab.write([ran("one"), held("two"), ran("old")])
    proc = lab.start(*lab.up_words())
    eventually((lab.gate / "at-two").exists)
    proc.kill()
    lab.wait(proc)
    lab.write([ran("one"), held("two"), ran("new")])
    lab.let_go()
    lab.check_ready(lab.up())
    done = lab.inside("cat ran.txt").split()
    assert (done[0], done[-1], "old" in done) == ("one", "new", False)
    lab.check_nothing_left()


def test_two_at_once(lab: Lab) -> None:
    lab.write([ran("one"), held("two"), ran("three")])
    first = lab.start(*lab.up_words())
    eventually((lab.gate / "at-two").exists)
    second = lab.start(*lab.up_words())
    lab.let_go()
    done = [lab.wait(proc) for proc in (first, second)]
    assert [each.status for each in done] == [0, 0], [each.said for each in done]
    assert done[0].url == done[1].url
    assert lab.ran == STEPS
    lab.check_ready(done[0].url)
    lab.check_nothing_left()


def test_a_failing_step_is_mended(lab: Lab) -> None:
    lab.write([ran("one"), ran("two"), BROKEN, ran("four")])
    done = lab.run(*lab.up_words())
    assert done.status == 1
    assert "step 3" in done.said
    assert lab.settled()["phase"] == "failed"
    lab.write([ran("one"), ran("two"), ran("mended"), ran("four")])
    url = lab.up()
    assert lab.ran == ["one", "two", "mended", "four"]
    lab.check_ready(url)
    lab.check_nothing_left()


def test_a_failed_container_is_kept_to_look_at(lab: Lab) -> None:
    lab.write([ran("one"), BROKEN])
    done = lab.run(*lab.up_words("--keep-failed"))
    assert done.status == 1
    assert lab.container("build").status == "running"
    assert lab.exec("cat", f"/pinokio/api/{lab.app}/ran.txt", what="build")[1] == b"one\n"
    lab.write([ran("one"), ran("mended")])
    lab.check_ready(lab.up())
    assert lab.ran == ["one", "mended"]
    lab.check_nothing_left()


@pytest.fixture
def small_volume(lab: Lab) -> Iterator[Any]:
    """Make a volume with room for a megabyte."""
    options = {"type": "tmpfs", "device": "tmpfs", "o": "size=1m,uid=1000,gid=1000"}
    made = lab.docker.volumes.create(f"{lab.app}-small", driver="local", driver_opts=options)
    yield made
    lab.clean()
    made.remove(force=True)


def test_full_disk(lab: Lab, small_volume: Any) -> None:
    size = lab.gate / "size"
    size.write_text("4000000")
    fill = failing('head -c "$(cat /gate/size)" /dev/zero > /full/file', "No space left on device")
    lab.write([ran("one"), fill, ran("three")])
    done = lab.run(*lab.up_words("--mount", f"{small_volume.name}:/full"))
    assert done.status == 1
    assert "No space left on device" in done.said
    assert lab.settled()["phase"] == "failed"
    size.write_text("40000")
    url = lab.up("--mount", f"{small_volume.name}:/full")
    assert lab.ran == ["one", "three"]
    lab.check_ready(url)


def test_out_of_memory(lab: Lab) -> None:
    hungry = "python3 -c 'import os; held = bytearray(400 << 20); print(len(held))' && "
    lab.write(start=START.replace('message: "', f'message: "{hungry}'))
    done = lab.run(*lab.up_words("--memory", "200m"))
    assert done.status == 1
    assert lab.settled()["phase"] == "failed"
    assert "memory" in done.said
    url = lab.up("--memory", "1g")
    lab.check_ready(url)
    lab.check_nothing_left()
    assert lab.ran == STEPS


def test_labels_tell_whose_everything_is(lab: Lab) -> None:
    """Else nothing that a kill leaves could ever be found again."""
    lab.write([ran("one"), held("two")])
    proc = lab.start(*lab.up_words())
    eventually((lab.gate / "at-two").exists)
    assert lab.container("build").labels[names.HOME] == lab.key
    lab.let_go()
    assert lab.wait(proc).status == 0
    kinds = {image.labels[names.KIND] for image in lab.images()}
    assert kinds == {"checkpoint", "image"}
