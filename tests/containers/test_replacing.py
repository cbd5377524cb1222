"""An app whose container is to be another goes on as it was when that cannot be had, and nothing made in it is lost."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from orchestrator.places.container import code, files, names
from orchestrator.places.container.docker import Docker
from orchestrator.places.container.endpoint import look_round
from orchestrator.state.locks import app_lock
from tests.containers.lab import Lab, answers, eventually, held, ran, script

pytestmark = [pytest.mark.docker, pytest.mark.slow]

SECOND = """module.exports = { daemon: true, run: [
  { method: "shell.run", params: { message: "echo {{args.colour}} > colour.txt; python3 -m http.server {{port}} --bind 127.0.0.1",
    on: [{ event: "/http:\\\\/\\\\/[0-9.:]+/", done: true }] } },
  { method: "local.set", params: { url: "{{input.event[0]}}" } },
]}
"""  # noqa: E501  # a line as launchers have it
CHOSEN = ("--script", "second.js", "--args", '{"colour": "green"}')


@pytest.fixture
def app(shared_lab: Lab) -> Lab:
    """Bring the app up."""
    shared_lab.write(second=SECOND)
    shared_lab.up()
    return shared_lab


def identity(lab: Lab) -> tuple[str, str]:
    """Return which container it is and since when it runs."""
    about = lab.docker.api.inspect_container(lab.name)
    return str(about["Id"]), str(about["State"]["StartedAt"])


def state(lab: Lab) -> dict[str, Any]:
    found: dict[str, Any] = lab.docker.api.inspect_container(lab.name)["State"]
    return found


class TestSettings:
    def test_a_mount_that_there_is_not_changes_nothing(self, app: Lab) -> None:
        before = identity(app)
        refused = app.run(*app.up_words("--mount", "/nonexistent-folder:/x"))
        assert refused.status == 2
        assert "there is no `/nonexistent-folder`" in refused.said
        assert identity(app) == before
        assert app.settled()["state"] == "ready"
        assert app.run("up", app.app).status == 0  # what was refused is not kept
        app.check_nothing_left()

    def test_a_mount_over_what_was_made_is_refused(self, app: Lab) -> None:
        app.inside("mkdir -p out && echo picture > out/a.png && echo more > out/b.png")
        before, target = identity(app), f"/pinokio/api/{app.app}/out"
        over = app.up_words("--mount", f"{app.gate}:{target}")
        refused = app.run(*over)
        assert refused.status == 1
        assert f"`{target}/a.png` and 1 more" in refused.said
        assert "docker cp" in refused.said
        assert identity(app) == before
        assert app.inside("cat out/a.png").strip() == "picture"
        assert app.run("shell", app.app, "--", "rm", "-r", target).status == 0
        assert app.run(*over).status == 0

    def test_one_that_cannot_be_started_goes_and_the_old_one_goes_on(self, app: Lab) -> None:
        app.inside("echo mine > mine.txt")
        refused = app.run(*app.up_words("--mount", f"{app.gate}:/etc/hostname"))  # a file: only starting it shows this
        assert refused.status == 1, refused.said
        assert "keeps the settings" in refused.said
        eventually(lambda: app.ps()["state"] == "ready")  # nobody asked for it
        assert app.inside("cat mine.txt").strip() == "mine"
        app.check_nothing_left()


class TestInterrupted:
    def interrupt(self, proc: Any) -> Any:
        proc.send_signal(signal.SIGINT)
        return proc

    def test_who_only_waits_stops_nothing(self, lab: Lab) -> None:
        lab.write([ran("one"), held("two")])
        first = lab.start(*lab.up_words())
        eventually((lab.gate / "at-two").exists)
        second = lab.start(*lab.up_words())
        seen = ""
        assert second.stderr is not None
        while "waits for it" not in seen:
            seen += second.stderr.read(1) or pytest.fail(seen)
        done = lab.wait(self.interrupt(second))
        assert done.status == 130
        assert "the other command goes on" in done.said
        lab.let_go()
        assert lab.wait(first).status == 0
        assert lab.ran == ["one", "two"]

    def test_a_rebuild_beside_the_app_is_stopped_and_the_app_is_not(self, lab: Lab) -> None:
        lab.write()
        lab.up()
        before = identity(lab)
        lab.write([ran("one"), held("two")])
        proc = lab.start(*lab.up_words())
        eventually((lab.gate / "at-two").exists)
        done = lab.wait(self.interrupt(proc))
        assert done.status == 130
        assert "goes on from the last finished step" in done.said
        assert lab.container("build").status == "exited"
        assert identity(lab) == before
        assert lab.settled()["state"] == "ready"


class TestUpdates:
    @pytest.fixture
    def chosen(self, lab: Lab) -> Lab:
        """Bring the app up with another script than its menu's."""
        lab.write(second=SECOND, update=script(["rm start.js"]))
        lab.up(*CHOSEN)
        lab.inside("rm colour.txt")
        return lab

    def test_the_new_version_starts_as_the_old_one_was_started(self, chosen: Lab) -> None:
        done = chosen.run("update", chosen.app)
        assert done.status == 0, done.said
        assert chosen.inside("cat colour.txt").strip() == "green"
        again = chosen.run("rollback", chosen.app)
        assert again.status == 0, again.said

    def test_when_it_fails_the_app_goes_on_as_it_was_started(self, chosen: Lab) -> None:
        chosen.write(second=SECOND, update=script(["rm second.js start.js"]))
        chosen.up(*CHOSEN)
        chosen.inside("rm colour.txt")
        done = chosen.run("update", chosen.app)
        assert done.status == 1, done.said
        assert chosen.settled()["state"] == "ready"
        assert chosen.inside("cat colour.txt").strip() == "green"
        chosen.check_nothing_left()

    def test_interrupted_while_the_new_version_starts(self, lab: Lab) -> None:
        broken = held("start").replace("'", "") + "; sleep 600"
        lab.write(second=SECOND, update=script([f"echo '{script([broken])}' > start.js".replace("\n", "")]))
        url = lab.up()
        proc = lab.start("update", lab.app)
        eventually((lab.gate / "at-start").exists)
        proc.send_signal(signal.SIGINT)
        done = lab.wait(proc)
        assert done.status == 130, done.said
        found = eventually(lambda: (now := lab.ps())["state"] == "ready" and now)
        assert answers(found["url"]), url
        lab.check_nothing_left()

    def test_images_do_not_pile_up(self, lab: Lab) -> None:
        lab.write(update=script(["date +%N > version.txt"]))
        lab.up()
        for _ in range(2):
            assert lab.run("update", lab.app).status == 0
        lab.write([ran("ONE")])
        lab.up()
        label = {"label": f"{names.HOME}={lab.key}"}
        unnamed = [each for each in lab.docker.api.images(filters=label) if not any(
            tag != "<none>:<none>" for tag in each["RepoTags"] or ())]  # fmt: skip
        assert unnamed == []
        assert lab.run("rm", lab.app, "--yes").status == 0
        assert lab.docker.api.images(filters=label) == []


class TestLookingIn:
    def test_a_stopped_app_stays_stopped(self, app: Lab) -> None:
        app.run("down", app.app)
        assert app.run("shell", app.app, "--", "true").status == 0
        assert not state(app)["Running"]
        assert app.run("run", app.app, "second.js").status == 0
        assert state(app)["Running"]  # its server goes on

    def test_a_paused_one_is_told_of_and_goes_on(self, app: Lab) -> None:
        app.container().pause()
        found = app.ps()
        assert found["phase"] == "failed"
        assert "paused" in found["reason"]
        app.up()
        assert app.settled()["state"] == "ready"

    def test_one_that_ends_again_and_again_is_told_of(self, lab: Lab) -> None:
        lab.write()
        lab.up()
        lab.container().stop(timeout=10)
        program = f"{code.PLACE}/orchestrator/agent/container.py"
        broken = b"import sys\nsys.exit('error: it is broken')\n"
        files.write(Docker(lab.docker, look_round({})), lab.name, program, broken, below=code.PLACE)
        lab.container().start()
        found = eventually(lambda: (now := lab.ps())["phase"] == "failed" and now)
        assert "ends again and again" in found["reason"]
        done = lab.run("up", lab.app)
        assert done.status == 1
        assert "it is broken" in done.said
        assert lab.run("down", lab.app).status == 0
        assert not state(lab)["Running"]


class TestVariables:
    def test_of_the_user_reach_every_script_and_outlive_a_restart(self, lab: Lab) -> None:
        note = "echo $NPM_CONFIG_REGISTRY $HF_TOKEN"
        start = script([f"{note} > start.txt"]).replace("run:", "daemon: true, run:")
        lab._environ |= {"NPM_CONFIG_REGISTRY": "http://registry.example/", "HF_TOKEN": "hf_0123456789"}
        lab.write(start=start, tool=script([f"{note} > tool.txt"]), update=script([f"{note} > /gate/update.txt"]))
        assert lab.run(*lab.up_words()).status == 0
        assert lab.run("run", lab.app, "tool.js").status == 0
        assert lab.run("update", lab.app).status == 0
        both = "http://registry.example/ hf_0123456789"
        assert lab.inside("cat start.txt tool.txt").splitlines() == [both, both]
        assert (lab.gate / "update.txt").read_text().strip() == both
        lab.inside("rm start.txt")
        lab.container().restart(timeout=10)
        eventually(lambda: "start.txt" in lab.inside("ls"))
        assert eventually(lambda: lab.inside("cat start.txt").strip()) == "http://registry.example/"


def test_moved_to_the_host_and_back(lab: Lab) -> None:
    lab.write([{"message": "echo installed"}])
    lab.run("up", str(lab.source), "--place", "host")
    on_host = lab.settled()
    assert (on_host["place"], on_host["state"]) == ("host", "ready")
    refused = lab.run("up", lab.app, "--memory", "600m")
    assert refused.status == 2
    assert "`--memory` is for containers" in refused.said
    moved = lab.run("up", lab.app, "--place", "container")
    assert moved.status == 0, moved.said
    assert "is stopped on the host" in moved.said
    assert not answers(on_host["url"])
    back = lab.run("up", lab.app, "--place", "host")
    assert back.status == 0, back.said
    assert "stopped in its container" in back.said
    assert not state(lab)["Running"]
    lab.container().start()  # by somebody else
    assert lab.run("down", lab.app).status == 0
    assert not state(lab)["Running"]
    assert lab.run("rm", lab.app, "--yes").status == 0
    assert lab.containers() == []
    assert lab.images("image") == []


def test_reset_waits_for_nobody_and_stops_first(lab: Lab) -> None:
    lab.write()
    lab.up()
    with app_lock(lab.home, lab.app, "updated"):
        refused = lab.run("reset", lab.app, "--yes")
        assert refused.status == 1
        assert "is being updated" in refused.said
    assert lab.settled()["state"] == "ready"
    assert lab.run("reset", lab.app, "--yes").status == 0
    assert lab.containers() == []
