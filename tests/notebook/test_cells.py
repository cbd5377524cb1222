"""The functions of a notebook, with a stand-in for Colab; everything else is real."""

from __future__ import annotations

import json
import shutil
import urllib.request

import pytest

from orchestrator import notebook
from orchestrator.engine.errors import BadInputError, PinoctlError
from orchestrator.notebook import cells
from orchestrator.notebook.colab import checked, frame_of
from tests.commands.conftest import LAUNCHER

from .conftest import git


@pytest.fixture
def drive(colab, home):
    assert not home.root.exists()
    return str(colab.drive)


@pytest.fixture
def on_the_host(monkeypatch):
    """Keep apps out of containers and the gate out of the way: the app itself is in the frame."""
    monkeypatch.setenv("PINOCTL_PLATFORM", "local")
    monkeypatch.setenv("PINOCTL_PLACE", "host")


def state(colab):
    return json.loads((colab.drive / "MyDrive/pinoctl/state.json").read_text())


def test_drive_is_mounted_and_linked(colab, home, drive, capsys):
    place = notebook.mount_drive(mountpoint=drive)
    assert place == colab.drive / "MyDrive/pinoctl"
    assert colab.mounted == [drive]
    assert home.drive.resolve() == (place / "models").resolve()
    assert state(colab)["apps"] == {}
    (home.drive / "a.bin").write_text("A")
    assert (place / "models/a.bin").read_text() == "A"
    notebook.mount_drive(mountpoint=drive)
    assert capsys.readouterr().out == ""


def test_models_of_before_are_told(colab, home, drive, capsys):
    (home.drive / "m").mkdir(parents=True)
    (home.drive / "m/a.bin").write_text("A" * (1 << 20))
    (home.drive / "m/b.bin").write_text("ours")
    (colab.drive / "MyDrive/pinoctl/models/m").mkdir(parents=True)
    (colab.drive / "MyDrive/pinoctl/models/m/b.bin").write_text("theirs")
    notebook.mount_drive(mountpoint=drive)
    said = capsys.readouterr().out
    assert "copying `m/a.bin` (1.0 MB)" in said
    assert "moved 1 files (1.0 MB)" in said
    assert "drive.local/m/b.bin` stays here: Drive has another file of that name" in said


@pytest.mark.parametrize("folder", ["", "MyDrive", "pinoctl", "/MyDrive/x", "MyDrive/../x", "MyDrive/./x", "Other/x"])
def test_folders_that_are_not_in_drive_are_refused(colab, home, folder, drive):
    with pytest.raises(BadInputError, match="no folder of its own in Drive"):
        notebook.mount_drive(folder, mountpoint=drive)
    assert colab.mounted == []


def test_shared_drives_and_deep_folders_are_fine():
    assert checked("Shareddrives/team/models//x/") == ("Shareddrives", "team", "models", "x")


@pytest.mark.parametrize("error", [ValueError("mount failed"), NotImplementedError("unsupported"), OSError("busy")])
def test_a_mount_that_fails_changes_nothing(colab, home, drive, error):
    colab.refuses = error
    with pytest.raises(PinoctlError, match=f"cannot be mounted: {error}"):
        notebook.mount_drive(mountpoint=drive)
    assert not home.drive.is_symlink()


def test_a_drive_without_its_top_is_told(colab, home, drive):
    with pytest.raises(PinoctlError, match="Shareddrives` is not there"):
        notebook.mount_drive("Shareddrives/team", mountpoint=drive)


def test_elsewhere_than_on_colab_it_says_so(home):
    with pytest.raises(PinoctlError, match="no notebook on Colab") as caught:
        notebook.mount_drive()
    assert "`pinoctl`" in caught.value.hint


def test_restoring_needs_drive(home):
    with pytest.raises(PinoctlError, match="no Drive is mounted"):
        notebook.restore()
    with pytest.raises(BadInputError, match="not kept"):
        notebook.forget("x")


@pytest.mark.parametrize(
    ("link", "frame"),
    [
        ("http://127.0.0.1:8080/?token=a%20b", (8080, "/?token=a%20b")),
        ("http://localhost:7860", (7860, "/")),
        ("http://[::1]:7860/x/y", (7860, "/x/y")),
        ("https://x.trycloudflare.com/?token=a", None),
        ("http://10.0.0.1:80/", None),
        ("", None),
    ],
)
def test_only_links_to_this_machine_are_framed(link, frame):
    assert frame_of(link) == frame


def answering(monkeypatch, answer):
    asked = []

    def call(arguments, say, environ=None):
        asked.append(list(arguments))
        return [] if arguments[0] == "status" else answer

    monkeypatch.setattr(cells, "call", call)
    return asked


def test_the_frame_shows_the_gate_with_its_token(colab, home, monkeypatch, capsys):
    answer = {"app": "demo", "url": "http://127.0.0.1:7860", "local_link": "http://127.0.0.1:42100/?token=t"}
    asked = answering(monkeypatch, answer)
    assert notebook.up("demo", height=600, timeout=60) == {"app": "demo", "url": "http://127.0.0.1:7860"}
    assert asked == [["up", "demo", "--home", str(home.root), "--no-tunnel", "--framed", "--timeout", "60"]]
    assert colab.frames == [(42100, "/?token=t", "600")]
    assert "token" not in capsys.readouterr().out


def test_a_tunnel_that_is_asked_for_is_printed_not_framed(colab, home, monkeypatch, capsys):
    asked = answering(monkeypatch, {"app": "demo", "share_link": "https://x.ngrok.app/?token=t"})
    notebook.up("demo", tunnel="ngrok")
    assert "--tunnel" in asked[0]
    assert colab.frames == []
    assert capsys.readouterr().out == "https://x.ngrok.app/?token=t\n"


def test_without_colab_or_frame_the_link_is_printed(home, monkeypatch, capsys):
    asked = answering(monkeypatch, {"app": "demo", "url": "http://127.0.0.1:7860"})
    notebook.up("demo")
    assert asked[0] == ["up", "demo", "--home", str(home.root)]
    assert capsys.readouterr().out == "http://127.0.0.1:7860\n"


def test_a_failed_app_is_an_error_but_kept(colab, home, monkeypatch, drive):
    notebook.mount_drive(mountpoint=drive)
    answering(monkeypatch, {"app": "demo", "failed": {"step": 2}})
    with pytest.raises(PinoctlError, match="`demo` did not come up"):
        notebook.up("demo")
    answering(monkeypatch, None)
    with pytest.raises(PinoctlError, match="gave no answer"):
        notebook.up("demo")


def test_running_apps_keep_models_where_they_are(colab, home, monkeypatch, drive):
    home.api.mkdir(parents=True)
    rows = [{"app": "a", "phase": "ready"}, {"app": "b", "phase": "stopped"}, {"app": "c", "phase": "installing"}]
    monkeypatch.setattr(cells, "call", lambda *_: rows)
    with pytest.raises(PinoctlError, match="`a`, `c` would lose models"):
        notebook.mount_drive(mountpoint=drive)
    assert colab.mounted == []


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("on_the_host")
def test_an_app_is_found_again_after_a_reset(colab, home, repository, drive, capsys):
    """A real app under a real agent: up, the machine is lost, all comes back at the same commit."""
    remote = repository("demo", LAUNCHER)
    commit = git(remote, "rev-parse", "HEAD")
    try:
        notebook.mount_drive(mountpoint=drive)
        result = notebook.up(
            f"file://{remote}", name="demo", frame=False, answers={"title": "Lab", "api_key": "k_secret"}
        )
        with urllib.request.urlopen(result["url"], timeout=60) as answer:
            assert b"hello from" in answer.read()
        said = capsys.readouterr().out
        assert "install.js step" in said
        assert said.endswith(f"{result['url']}\n")
        assert [each["app"] for each in notebook.status()] == ["demo"]
        assert "demo: ready" in capsys.readouterr().out
        (home.drive / "model.bin").write_text("M")
        assert [each["stopped"] for each in notebook.down("demo")] == [True]
    finally:
        notebook.down()
    kept = state(colab)["apps"]["demo"]
    assert (kept["url"], kept["commit"], kept["branch"]) == (f"file://{remote}", commit, "main")
    assert kept["answers"] == {"title": "Lab"}
    assert "k_secret" not in (colab.drive / "MyDrive/pinoctl/state.json").read_text()

    shutil.rmtree(home.root)
    repository("demo", {"start.js": "module.exports = {run: [{method: 'no.such'}]}"})
    capsys.readouterr()
    notebook.mount_drive(mountpoint=drive)
    assert "kept from before: demo" in capsys.readouterr().out
    assert (home.drive / "model.bin").read_text() == "M"
    assert notebook.restore() == ["demo"]
    assert f"`demo` is back at {commit[:7]}" in capsys.readouterr().out
    assert notebook.restore() == []
    try:
        again = notebook.up("demo", frame=False)
        assert again["state"] == "ready"
        assert git(home.app("demo"), "rev-parse", "HEAD") == commit
    finally:
        notebook.down()
    notebook.forget("DEMO")
    assert state(colab)["apps"] == {}
