"""What is kept in Drive, and how an app comes back from it."""

from __future__ import annotations

import json
import os

import pytest

from orchestrator.engine.environment.files import ensure_app_file, prepare_home, read_text, set_app_values
from orchestrator.engine.errors import PinoctlError
from orchestrator.launcher.fetch import fetch
from orchestrator.launcher.target import Target
from orchestrator.notebook import keeping
from orchestrator.notebook.keeping import Kept, State, gather, restore_app, restore_environment, without_password
from orchestrator.places.container import settings

from .conftest import git

FILES = {"pinokio.js": "module.exports = {title: 'T'}", "start.js": "module.exports = {run: []}"}


@pytest.fixture
def app(home, repository):
    """Install an app from a repository, with settings, answers and variables, some of them secret."""
    remote = repository("demo", FILES)
    prepare_home(home, os.environ)
    fetch(Target("url", "", "demo", url=f"file://{remote}"), home, name="demo")
    ensure_app_file(home, home.app("demo"))
    set_app_values(
        home, home.app("demo"),
        {"MODEL": "small one", "HF_TOKEN": "hf_secret", "INDEX": "https://u:pw_secret@host/simple"},
    )  # fmt: skip
    settings.write(
        home,
        "demo",
        settings.Settings(place="host", mounts=("/a:/b",), answers={"size": "xl"}, installed={"image": "x"}),
    )
    return remote


def say(_):
    pass


def test_what_is_kept_has_no_secrets(home, app, tmp_path):
    state = gather(
        home, State(), {"demo": {"title": "Lab", "api_key": "key_secret", "mirror": "http://u:pw_secret@h/"}}
    )
    kept = state.apps["demo"]
    assert kept == Kept(
        "demo", f"file://{app}", git(app, "rev-parse", "HEAD"), "main",
        {"place": "host", "mounts": ("/a:/b",)}, {"size": "xl", "title": "Lab"}, {"MODEL": "small one"},
    )  # fmt: skip
    keeping.write(tmp_path / "state.json", state)
    text = (tmp_path / "state.json").read_text()
    assert "secret" not in text
    assert sorted(path.name for path in tmp_path.iterdir() if "state" in path.name) == ["state.json"]
    assert keeping.read(tmp_path / "state.json").apps["demo"].environment == {"MODEL": "small one"}


def test_an_app_comes_back_at_its_commit_on_its_branch(home, app, repository, tmp_path):
    keeping.write(tmp_path / "state.json", gather(home, State()))
    before = git(app, "rev-parse", "HEAD")
    repository("demo", {"start.js": "module.exports = {run: [], daemon: true}"})
    home.root.rename(tmp_path / "gone")
    prepare_home(home, os.environ)
    kept = keeping.read(tmp_path / "state.json").apps["demo"]
    assert restore_app(home, kept, environment=os.environ, say=say)
    place = home.app("demo")
    assert git(place, "rev-parse", "HEAD") == before != git(app, "rev-parse", "HEAD")
    assert git(place, "symbolic-ref", "--short", "HEAD") == "main"
    assert (place / "start.js").read_text() == FILES["start.js"]
    assert "MODEL=small one" in read_text(place / "ENVIRONMENT").replace('"', "").replace("'", "")
    chosen = settings.read(home, "demo")
    assert (chosen.place, chosen.mounts, chosen.installed) == ("host", ("/a:/b",), {})
    git(place, "pull", "--ff-only")
    assert git(place, "rev-parse", "HEAD") == git(app, "rev-parse", "HEAD")
    assert not restore_app(home, kept, environment=os.environ, say=say), "what is here is left alone"


def test_apps_that_are_not_here_stay_kept_and_answers_of_before_too(home, app):
    before = State({"other": Kept("other", "https://h/o"), "demo": Kept("demo", answers={"title": "old"})})
    state = gather(home, before)
    assert state.apps["other"] == before.apps["other"]
    assert state.apps["demo"].answers == {"size": "xl", "title": "old"}


def test_a_folder_of_the_machine_is_told_apart(home, tmp_path):
    home.api.mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    home.app("mine").symlink_to(tmp_path / "mine")
    kept = gather(home, State()).apps["mine"]
    assert (kept.url, kept.commit) == ("", None)
    home.app("mine").unlink()
    assert not restore_app(home, kept, environment=os.environ, say=say)


def test_changed_variables_of_the_home_come_back(home):
    prepare_home(home, os.environ)
    text = home.environment.read_text()
    home.environment.write_text(text + "SPEED=fast\nMY_TOKEN=t_secret\n")
    state = gather(home, State())
    assert state.environment == {"SPEED": "fast"}
    home.environment.write_text(text)
    restore_environment(home, state.environment)
    assert home.environment.read_text().rstrip().endswith("SPEED=fast")
    mode = home.environment.stat().st_mode
    restore_environment(home, state.environment)
    assert home.environment.stat().st_mode == mode


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"version": 1}',
        '{"version": 1, "apps": {"a": {"x": 1}}, "environment": {}}',
        '{"version": 1, "apps": [], "environment": {}}',
    ],
)
def test_a_file_that_cannot_be_understood_is_not_overwritten(tmp_path, text):
    file = tmp_path / "state.json"
    file.write_text(text)
    with pytest.raises(PinoctlError, match="cannot be read") as caught:
        keeping.read(file)
    assert "models beside it stay" in caught.value.hint
    assert file.read_text() == text


def test_other_versions_are_told_and_bad_names_left_out(tmp_path):
    file = tmp_path / "state.json"
    file.write_text('{"version": 2}')
    with pytest.raises(PinoctlError, match="another version"):
        keeping.read(file)
    file.write_text(
        json.dumps({"version": 1, "apps": {"../evil": {}, "good": {"url": "https://h/g"}}, "environment": {}})
    )
    assert set(keeping.read(file).apps) == {"good"}
    assert keeping.read(tmp_path / "none.json") == State()


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("https://github.com/o/n", "https://github.com/o/n"),
        ("https://ghp_x@github.com/o/n.git", "https://github.com/o/n.git"),
        ("https://u:p@host:8443/o/n", "https://host:8443/o/n"),
        ("ssh://git@host/o/n", "ssh://git@host/o/n"),
        ("ssh://git:pw@host/o/n", "ssh://git@host/o/n"),
        ("git@github.com:o/n.git", "git@github.com:o/n.git"),
        ("https://[bad", ""),
    ],
)
def test_addresses_lose_their_passwords(url, clean):
    assert without_password(url) == clean
