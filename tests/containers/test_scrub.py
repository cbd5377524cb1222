"""Keeping secrets out of images: files that hold one move to the private part of the volume, links stay."""

from __future__ import annotations

import os
import stat
import time

import pytest

from orchestrator.agent.scrub import LARGEST, scrub

SECRET = "hf_abcdefgh"


@pytest.fixture
def app(tmp_path):
    folder = tmp_path / "app"
    folder.mkdir()
    return folder


@pytest.fixture
def private(tmp_path):
    return tmp_path / "private"


def put(path, content=f"token={SECRET}\n", mode=0o644):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    return path


def below(private, path):
    return private / str(path).lstrip("/")


def test_a_file_with_a_secret_is_replaced_by_a_link_to_it(app, private):
    file = put(app / "conf" / ".env", mode=0o640)
    assert scrub([app], [SECRET], private) == [file]
    assert file.is_symlink()
    assert file.read_text() == f"token={SECRET}\n"
    moved = below(private, file)
    assert file.readlink() == moved
    assert stat.S_IMODE(moved.stat().st_mode) == 0o600
    assert stat.S_IMODE(moved.parent.stat().st_mode) & 0o077 == 0 or stat.S_IMODE(private.stat().st_mode) == 0o700
    assert [each.name for each in file.parent.iterdir()] == [".env"]


def test_nothing_below_the_roots_holds_it_any_more(app, private):
    for name in ("a", "b/c", "b/d.bin"):
        put(app / name, b"\xff\0" + SECRET.encode() + b"\0")
    put(app / "clean", "nothing")
    assert len(scrub([app], [SECRET], private)) == 3
    left = [path for path in app.rglob("*") if path.is_file() and not path.is_symlink()]
    assert left == [app / "clean"]


def test_scripts_stay_executable(app, private):
    file = put(app / "run.sh", mode=0o755)
    scrub([app], [SECRET], private)
    assert os.access(file, os.X_OK)


def test_a_second_time_nothing_moves(app, private):
    put(app / "a")
    scrub([app], [SECRET], private)
    assert scrub([app], [SECRET], private) == []


def test_a_file_written_anew_moves_again(app, private):
    file = put(app / "a")
    scrub([app], [SECRET], private)
    file.unlink()
    put(file, f"new {SECRET}")
    assert scrub([app], [SECRET], private) == [file]
    assert file.read_text() == f"new {SECRET}"


def test_overlapping_roots_move_a_file_once_and_keep_it(app, private):
    file = put(app / "sub" / "a")
    scrub([app, app / "sub"], [SECRET], private)
    assert below(private, file).read_text() == file.read_text() == f"token={SECRET}\n"
    assert not below(private, file).is_symlink()


def test_a_read_only_file_moves(app, private):
    file = put(app / "a", mode=0o400)
    assert scrub([app], [SECRET], private) == [file]
    assert file.read_text() == f"token={SECRET}\n"


@pytest.mark.parametrize("secrets", [[], [""], ["other"]])
def test_without_secrets_nothing_happens(app, private, secrets):
    put(app / "a")
    assert scrub([app], secrets, private) == []
    assert not private.exists()


@pytest.mark.parametrize(
    "folder", ["site-packages", "node_modules", ".git/objects", "__pycache__", "lib/dist-packages"]
)
def test_packages_are_left_alone(app, private, folder):
    put(app / folder / "a")
    assert scrub([app], [SECRET], private) == []


def test_gits_own_settings_are_not(app, private):
    file = put(app / ".git" / "config", f"url = https://x:{SECRET}@host/x.git")
    assert scrub([app], [SECRET], private) == [file]


def test_what_is_large_old_or_no_file_is_left_alone(app, private, tmp_path):
    put(app / "large", SECRET.encode() + bytes(LARGEST))
    outside = put(tmp_path / "outside" / "a")
    (app / "link").symlink_to(outside)
    (app / "folder").symlink_to(outside.parent)
    os.mkfifo(app / "pipe")
    assert scrub([app], [SECRET], private) == []
    put(app / "old")
    assert scrub([app], [SECRET], private, since=time.time() + 60) == []
    assert scrub([app], [SECRET], private, since=time.time() - 60) == [app / "old"]
    assert not outside.is_symlink()


def test_a_changed_clock_in_the_file_does_not_hide_it(app, private):
    file = put(app / "a")
    os.utime(file, (0, 0))  # as `tar` and `git` set times
    assert scrub([app], [SECRET], private, since=time.time() - 60) == [file]


def test_missing_roots_are_no_matter(app, private):
    assert scrub([app / "none", put(app / "file")], [SECRET], private) == []


def test_a_file_that_cannot_be_moved_is_an_error(app, tmp_path):
    file = put(app / "a")
    with pytest.raises(OSError, match="private"):
        scrub([app], [SECRET], put(tmp_path / "private"))
    assert file.read_text() == f"token={SECRET}\n"
