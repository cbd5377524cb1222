"""`pinoctl host`, as a program on this machine and on made-up ones."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import cli
from orchestrator.commands.host import as_data, docker_socket, lines, on_root_disk
from orchestrator.engine.home import Home
from orchestrator.hosts.detection import find_platform
from orchestrator.hosts.facts import PLATFORMS
from orchestrator.hosts.way import ways_out

from .machines import RUNPOD, VAST, machine

ROOT = Path(__file__).parent.parent.parent


def call(*arguments, **environ):
    return subprocess.run(
        [sys.executable, "-c", "from cli import main; main()", "host", *arguments],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "HOME": "/root", **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def shown(signs, home):
    platform = find_platform(signs)
    return list(lines(platform, signs, ways_out(platform, signs), Home(home)))


def test_it_shows_a_pod_without_its_key(tmp_path):
    done = call("--home", str(tmp_path), **RUNPOD)
    assert (done.returncode, done.stderr) == (0, "")
    for text in (
        "RunPod pod (`runpod`), certain",
        "RUNPOD_POD_ID: `abc123xyz`, from this process (strong)",
        "https://abc123xyz-{port}.proxy.runpod.net",
        f"home          `{tmp_path}`",
        "by pinoctl  no: nothing but a variable of this process says that this machine is pod `abc123xyz`",
    ):
        assert text in done.stdout
    assert "rpa_pod-key" not in done.stdout


def test_json_has_the_same_and_free_room(tmp_path):
    done = call("--json", "--home", str(tmp_path), **VAST)
    data = json.loads(done.stdout)
    assert (data["name"], data["confidence"], data["can_stop"]) == ("vast", "certain", False)
    assert data["ways"][0]["mapped"] == {"7860": "http://65.130.162.74:33526"}
    assert data["folders"][0]["free"] > 0
    assert "vast-key-0123" not in done.stdout


def test_overrides_are_shown_and_bad_ones_refused(tmp_path):
    done = call("--home", str(tmp_path), PINOCTL_PLATFORM="local", PINOCTL_PUBLIC_URL="https://gpu.example.org")
    assert "a machine of your own (`local`), told" in done.stdout
    assert "override      PINOCTL_PUBLIC_URL=https://gpu.example.org" in done.stdout
    bad = call("--home", str(tmp_path), PINOCTL_PLATFORM="azure")
    assert (bad.returncode, bad.stdout) == (2, "")
    assert "hint: it is one of kaggle, colab" in bad.stderr


@pytest.mark.parametrize("name", PLATFORMS)
def test_every_platform_can_be_shown(name, tmp_path):
    signs = machine({"PINOCTL_PLATFORM": name})
    rows = shown(signs, tmp_path)
    headings = {heading.strip() for heading, _ in rows}
    assert {
        "platform",
        "because",
        "home",
        "folder",
        "docker",
        "way out",
        "session",
        "idle",
        "tunnels",
        "stopping",
    } <= headings
    assert all(text for _, text in rows)
    platform = find_platform(signs)
    json.dumps(as_data(platform, signs, ways_out(platform, signs), Home(tmp_path)))


def test_what_spoke_for_others_is_shown(tmp_path):
    rows = shown(machine(RUNPOD, {"/.dockerenv": ""}), tmp_path)
    assert ("  although", "/.dockerenv: is there (weak for `container`)") in rows


@pytest.mark.parametrize(
    ("home", "on_root", "words"),
    [
        ("/root/pinokio", True, "on `/`: does not survive a stop"),
        ("/workspace/pinokio", True, "on `/`: does not survive a stop"),
        ("/workspace/pinokio", False, "on `/workspace`: survives a stop"),
    ],
)
def test_it_says_whether_the_home_survives(monkeypatch, home, on_root, words):
    monkeypatch.setattr("orchestrator.commands.host.on_root_disk", lambda _path: on_root)
    assert dict(shown(machine(RUNPOD), home))["home"].endswith(words)


def test_the_disk_of_a_folder_that_is_not_there_yet(tmp_path):
    assert on_root_disk("/pinokio/that/is/not/there")
    assert not on_root_disk("/proc/self")
    assert on_root_disk(str(tmp_path / "a/b")) == (tmp_path.stat().st_dev == Path("/").stat().st_dev)


@pytest.mark.parametrize(("platform", "warned"), [("runpod", True), ("vast", False), ("kubernetes", False)])
def test_up_warns_of_a_home_that_is_lost_when_an_app_comes_into_it(monkeypatch, tmp_path, capfd, platform, warned):
    monkeypatch.setattr("orchestrator.commands.host.on_root_disk", lambda _path: True)
    monkeypatch.setattr("orchestrator.commands.up.bring_up", lambda *_args, **_given: 0)
    for name, value in {"PINOCTL_PLATFORM": platform, "PINOCTL_PLACE": "host", "PINOCTL_IGNORE_DISK": "1"}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "app").mkdir()
    (tmp_path / "app/pinokio.js").write_text("module.exports = {}")
    for first in (True, False):
        assert cli.invoke(["up", str(tmp_path / "app"), "--home", str(tmp_path / "home")]) == 0
        said = capfd.readouterr().err
        lost = f"warning: the home `{tmp_path}/home` does not survive a stop of this machine"
        assert (lost in said) is (warned and first)
        assert ("set PINOCTL_HOME to a folder in it" in said) is (warned and first)


def test_a_socket_of_the_user_is_found(tmp_path):
    (tmp_path / "docker.sock").touch()
    found = docker_socket(machine({"XDG_RUNTIME_DIR": str(tmp_path)}))
    assert found in {str(tmp_path / "docker.sock"), "/var/run/docker.sock", "/run/podman/podman.sock"}
    assert found is not None


def test_documentation_has_a_row_and_a_page_for_each_platform():
    text = (ROOT / "docs" / "platforms.md").read_text("utf-8")
    for facts in PLATFORMS.values():
        assert all(f"`{base}`" in text for base in facts.bases)
        assert all(
            url.split("/")[2] in text for url in facts.sources if "kubernetes" not in url and "docker.com" not in url
        )
