from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from orchestrator.engine.environment import (
    Environment,
    ToolFacts,
    app_file_text,
    ensure_app_file,
    files,
    parse,
    prepare_home,
    set_app_values,
)
from orchestrator.engine.environment.defaults import DEFAULTS
from orchestrator.engine.environment.files import can_link, make_folders, write_atomically
from orchestrator.engine.errors import PinoctlError, ScriptError
from orchestrator.engine.home import Home


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path / "home")
    prepare_home(home, {})
    return home


@pytest.fixture
def app(home):
    folder = home.app("app")
    folder.mkdir()
    return folder


def permissions(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_home_has_everything(home):
    values = parse(home.environment.read_text())
    assert list(values) == [item.name for item in DEFAULTS if item.system]
    assert values["UV_CACHE_DIR"] == "./cache/UV_CACHE_DIR"
    assert (home.cache / "UV_CACHE_DIR").is_dir()
    names = "ENVIRONMENT api bin cache condarc drive gitconfig history key.json logs pipconfig"
    assert {entry.name for entry in home.root.iterdir()} == set(names.split())
    assert (home.root / "key.json").read_text() == "{}"
    assert permissions(home.environment) == 0o600


def test_preparing_again_keeps_what_the_user_wrote(home):
    home.environment.write_text(home.environment.read_text() + "HF_TOKEN=x\nHF_HOME=/models\n")
    before = home.environment.read_text()
    prepare_home(home, {})
    assert home.environment.read_text() == before


def test_a_cache_that_cannot_be_used_goes_back_to_its_default(home, tmp_path):
    (tmp_path / "file").write_text("")
    text = home.environment.read_text()
    text = text.replace("TMPDIR=./cache/TMPDIR\nTEMP", f"TMPDIR={tmp_path}/file\nTEMP")
    text = text.replace("UV_CACHE_DIR=./cache/UV_CACHE_DIR", f"UV_CACHE_DIR={tmp_path}/disk")
    home.environment.write_text(text)
    prepare_home(home, {})
    values = parse(home.environment.read_text())
    assert values["TMPDIR"] == "./cache/TMPDIR"
    assert values["UV_CACHE_DIR"] == f"{tmp_path}/disk"


def test_a_home_that_cannot_be_made_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PinoctlError, match="cannot be made"):
        prepare_home(Home(tmp_path / "file" / "home"), {})


def test_an_apps_file_is_made_once_and_for_its_owner_alone(home, app):
    (app / "_ENVIRONMENT").write_text("MODE=fast\nHF_HOME=./mine\nPINOKIO_SHARE_LOCAL=true\n")
    assert ensure_app_file(home, app)
    path = app / "ENVIRONMENT"
    values = parse(path.read_text())
    assert values["MODE"] == "fast"
    assert values["HF_HOME"] == "./mine"  # ours does not define it, so that models are shared unless the app says so
    assert values["PINOKIO_SHARE_LOCAL"] == "false"  # the generated part wins
    assert "TORCH_HOME" not in values
    assert permissions(path) == 0o600
    path.write_text("A=1\n")
    assert not ensure_app_file(home, app)
    assert path.read_text() == "A=1\n"


def test_an_app_inherits_the_users_own_names():
    system = {
        "HF_TOKEN": "a # b",
        "EMPTY": "",
        "TMPDIR": "./cache/TMPDIR",
        "PINOKIO_SCRIPT_DEFAULT": "false",
        "HF_HOME": "/m",
    }
    values = parse(app_file_text("", system))
    assert values["HF_TOKEN"] == "a # b"
    assert values["PINOKIO_SCRIPT_DEFAULT"] == "false"
    assert not {"EMPTY", "TMPDIR", "HF_HOME"} & values.keys()
    assert "PINOKIO_SHARE_PASSCODE" in values


def test_a_template_comes_first_and_whole():
    assert app_file_text("# mine\nA=1", {}).startswith("# mine\nA=1\n\n\n")


def test_set_edits_the_file_that_shells_read(home, app):
    (app / "pinokio").mkdir()
    ensure_app_file(home, app)
    set_app_values(home, app, {"A": "1", "PINOKIO_SHARE_LOCAL": "true"})
    set_app_values(home, app, {"A": "two words"})
    text = (app / "pinokio" / "ENVIRONMENT").read_text()
    assert parse(text)["A"] == "two words"
    assert text.count("PINOKIO_SHARE_LOCAL=") == 1
    assert "# Whether to share the app on the local network\nPINOKIO_SHARE_LOCAL=true\n" in text
    assert Environment(home, {}).shell(app / "x.json")["A"] == "two words"


def test_set_needs_a_file_and_a_name(home, app):
    with pytest.raises(ScriptError, match="does not exist"):
        set_app_values(home, app, {"A": "1"})
    ensure_app_file(home, app)
    with pytest.raises(ScriptError, match="cannot be a variable"):
        set_app_values(home, app, {"A=1\nB": "2"})


def test_writing_replaces_and_follows_links(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_atomically(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"
    assert permissions(tmp_path / "real") == 0o600
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["link", "real"]


def test_changes_are_seen_at_once(home, app):
    environment = Environment(home, {})
    assert "A" not in environment.template(app / "x.json")
    ensure_app_file(home, app)
    for value in ("1", "2", "3"):
        set_app_values(home, app, {"A": value})
        assert environment.template(app / "x.json")["A"] == value
        assert environment.shell(app / "x.json")["A"] == value
    (app / "ENVIRONMENT").unlink()
    assert "A" not in environment.shell(app / "x.json")


def test_changed_facts_are_seen_at_once(home):
    facts = [ToolFacts()]
    environment = Environment(home, {}, lambda: facts[0])
    assert "CUDA_HOME" not in environment.template(None)
    facts[0] = ToolFacts(cuda_home="/cuda")
    assert environment.template(None)["CUDA_HOME"] == "/cuda"


def test_what_a_caller_changes_stays_with_him(home):
    environment = Environment(home, {})
    environment.template(None)["X"] = "1"
    environment.shell(None)["X"] = "1"
    assert "X" not in environment.template(None)
    assert "X" not in environment.shell(None)


def test_scripts_outside_apps_have_no_file_of_their_own(home, tmp_path):
    (tmp_path / "ENVIRONMENT").write_text("A=1")
    assert "A" not in Environment(home, {}).shell(tmp_path / "x.json")


def test_folders_that_files_name_are_made_for_shells_only(home, app, tmp_path):
    (app / "ENVIRONMENT").write_text(f"M=./models\nN=notes\nCONDARC=./rc\nT={tmp_path}/away/deep\n")
    environment = Environment(home, {})
    environment.template(app / "x.json")
    assert not (app / "models").exists()
    environment.shell(app / "x.json")
    assert (app / "models").is_dir()
    assert (tmp_path / "away" / "deep").is_dir()
    assert not (app / "rc").exists()
    (app / "models").rmdir()
    environment.shell(app / "x.json")
    assert (app / "models").is_dir()


def test_folders_that_cannot_be_made_are_warned_about(home, app):
    (app / "file").write_text("")
    (app / "ENVIRONMENT").write_text("M=./file/below\n")
    warnings = []
    Environment(home, {}).shell(app / "x.json", warn=warnings.append)
    assert len(warnings) == 1
    assert "the value of `M`, cannot be made" in warnings[0]
    assert make_folders({"M": str(app / "file")}) == []


def test_hard_links_are_tried(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert can_link(tmp_path / "a", tmp_path / "b")
    assert list((tmp_path / "b").iterdir()) == []

    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    assert not can_link(tmp_path / "a", tmp_path / "b")
    assert can_link(tmp_path / "gone", tmp_path / "b")


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second file system")
def test_uv_copies_where_it_cannot_link(home):
    elsewhere = Path("/dev/shm") / f"pinoctl-test-{os.getpid()}"
    elsewhere.mkdir()
    try:
        if elsewhere.stat().st_dev == home.root.stat().st_dev:
            pytest.skip("the temporary folder is on the same file system")
        home.app("far").symlink_to(elsewhere)
        home.app("near").mkdir()
        environment = Environment(home, {})
        assert environment.shell(home.app("far") / "x.json")["UV_LINK_MODE"] == "copy"
        assert "UV_LINK_MODE" not in environment.shell(home.app("near") / "x.json")
    finally:
        elsewhere.rmdir()


def test_nothing_is_read_while_nothing_changed(home, app, monkeypatch):
    ensure_app_file(home, app)
    environment = Environment(home, dict(os.environ))
    environment.template(app / "x.json")
    monkeypatch.setattr(files, "_read_regular", lambda _: pytest.fail("read again"))
    environment.template(app / "x.json")
    (app / "ENVIRONMENT").write_text("A=2\n")
    with pytest.raises(pytest.fail.Exception, match="read again"):  # the check sees what it is meant to see
        environment.template(app / "x.json")
