"""What is said of containers while the daemon is away, or could not start them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import cli
from orchestrator.agent.files import AgentFiles
from orchestrator.engine.home import Home
from orchestrator.places.container import place as places
from orchestrator.places.container import settings
from orchestrator.places.container.living import why_of
from orchestrator.places.container.place import ContainerPlace


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Give a home with one app in a container, and no daemon."""
    made = Home(tmp_path / "home")
    made.app("plain").mkdir(parents=True)
    settings.write(made, "plain", settings.Settings(place="container"))
    monkeypatch.setenv("PINOCTL_HOME", str(made.root))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    return made


@pytest.mark.parametrize("words", [[], ["--tail", "1"]])
def test_a_log_that_was_copied_is_shown_while_the_daemon_is_away(
    home: Home, capfdbinary: pytest.CaptureFixture[bytes], words: list[str]
) -> None:
    files = AgentFiles(home, "plain")
    files.folder.mkdir(parents=True)
    files.terminal.write_text("it said this\n")
    assert cli.invoke(["logs", "plain", *words]) == 0
    shown = capfdbinary.readouterr()
    assert shown.out == b"it said this\n"
    assert b"warning: this is the copy that was made last: " in shown.err


@pytest.mark.parametrize("words", [[], ["--events"], ["--follow"], ["--build"]])
def test_without_a_copy_the_daemon_is_what_is_missing(
    home: Home, capfdbinary: pytest.CaptureFixture[bytes], words: list[str]
) -> None:
    files = AgentFiles(home, "plain")
    files.folder.mkdir(parents=True)
    if words == ["--follow"]:  # nothing new would ever come
        files.terminal.write_text("it said this\n")
    assert cli.invoke(["logs", "plain", *words]) == 1
    shown = capfdbinary.readouterr()
    assert shown.out == b""
    assert b"error: Docker cannot be used" in shown.err


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("", ""),
        (None, ""),
        ("mount: no space left on device\nmore", "mount: no space left on device"),
        ("\x1b[2Jx\n", "[2Jx"),
    ],
)
def test_the_daemons_own_reason_is_one_clean_line(error: str | None, said: str) -> None:
    assert why_of({"Error": error}) == said


def test_what_could_not_be_started_says_why(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    state: dict[str, Any] = {"Status": "exited", "Running": False, "ExitCode": 128, "Error": "no space left on device"}
    monkeypatch.setattr(places, "find", lambda _docker, _name: {"Id": "1", "State": state})
    monkeypatch.setattr(ContainerPlace, "docker", None)
    monkeypatch.setattr(ContainerPlace, "_has_image", lambda _place, _app: True)
    said = ContainerPlace(home).status("plain")
    assert said["reason"] == "its container ended with status 128: no space left on device"
