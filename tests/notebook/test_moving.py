"""Moving models to Drive: nothing there is overwritten, nothing here is lost, interrupted anywhere."""

from __future__ import annotations

import contextlib
import errno
import json

import pytest

from orchestrator.engine.errors import PinoctlError
from orchestrator.notebook import moving
from orchestrator.notebook.moving import move_drive


@pytest.fixture
def places(tmp_path):
    return tmp_path / "home" / "drive", tmp_path / "Drive" / "pinoctl" / "models"


def fill(folder, files):
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


def tree(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def nothing(_):
    pass


MODELS = {"drives/peers/d1/models/a.bin": "A" * 5000, "drives/peers/d1/models/deep/b.bin": "B", "empty.txt": ""}


def test_a_home_without_models_gets_a_link(places):
    local, target = places
    moved = move_drive(local, target, nothing)
    assert local.is_symlink()
    assert (local.resolve(), moved.files, moved.kept) == (target, 0, {})
    again = move_drive(local, target, nothing)
    assert (again.files, again.kept) == (0, {})


def test_models_are_moved_and_found_where_they_were(places):
    local, target = places
    fill(local, MODELS)
    said = []
    moved = move_drive(local, target, said.append)
    assert tree(target) == MODELS == tree(local)
    assert (moved.files, moved.bytes, moved.kept) == (3, 5001, {})
    assert len(said) == 3
    assert [path.name for path in local.parent.iterdir()] == ["drive"]


def test_what_drive_has_is_never_overwritten(places):
    local, target = places
    fill(local, MODELS)
    fill(target, {"drives/peers/d1/models/a.bin": "theirs", "empty.txt": "", "mine.txt": "m"})
    moved = move_drive(local, target, nothing)
    assert (target / "drives/peers/d1/models/a.bin").read_text() == "theirs"
    assert (target / "mine.txt").read_text() == "m"
    kept = local.with_name("drive.local") / "drives/peers/d1/models/a.bin"
    assert kept.read_text() == "A" * 5000
    assert moved.kept == {kept: "Drive has another file of that name"}
    assert moved.files == 2
    (target / "drives/peers/d1/models/a.bin").unlink()
    assert move_drive(local, target, nothing).kept == {}
    assert kept.parent.exists() is False
    assert (target / "drives/peers/d1/models/a.bin").read_text() == "A" * 5000


def test_a_file_where_a_folder_is_needed_keeps_ours(places):
    local, target = places
    fill(local, {"models/a.bin": "A", "models/deep/b.bin": "B", "c.bin": "C"})
    fill(target, {"models": "a file of theirs"})
    moved = move_drive(local, target, nothing)
    assert tree(target) == {"models": "a file of theirs", "c.bin": "C"}
    assert {path.name for path in moved.kept} == {"a.bin", "b.bin"}


def test_links_stay_here_and_are_not_followed(places):
    local, target = places
    fill(local, {"a.bin": "A"})
    (local / "to-a").symlink_to("a.bin")
    (local / "to-root").symlink_to("/etc")
    moved = move_drive(local, target, nothing)
    assert tree(target) == {"a.bin": "A"}
    assert {path.name: why for path, why in moved.kept.items()} == dict.fromkeys(
        ("to-a", "to-root"), "a link, which Drive cannot hold"
    )


def test_both_registries_are_needed_and_drives_wins(places):
    local, target = places
    fill(
        local,
        {
            "drives.json": json.dumps(
                {"https://h/one.git": {"m": "ours", "n": "ours"}, "https://h/two.git": {"m": "x"}}
            ),
            "drives.lock": "",
        },
    )
    fill(target, {"drives.json": json.dumps({"https://h/one.git": {"m": "theirs"}})})
    moved = move_drive(local, target, nothing)
    assert json.loads((target / "drives.json").read_text()) == {
        "https://h/one.git": {"m": "theirs", "n": "ours"},
        "https://h/two.git": {"m": "x"},
    }
    assert moved.kept == {}
    assert not (target / "drives.lock").exists()


def test_a_registry_that_is_none_stays_as_it_is(places):
    local, target = places
    fill(local, {"drives.json": "[1"})
    fill(target, {"drives.json": '{"a": {}}'})
    move_drive(local, target, nothing)
    assert (target / "drives.json").read_text() == '{"a": {}}'


def test_a_full_drive_changes_nothing_here(places, monkeypatch):
    local, target = places
    fill(local, MODELS)
    copy, copied = moving.shutil.copyfile, []

    def full(source, part):
        if copied:
            part.write_text("half")
            raise OSError(errno.ENOSPC, "No space left on device")
        copied.append(source)
        return copy(source, part)

    monkeypatch.setattr(moving.shutil, "copyfile", full)
    with pytest.raises(PinoctlError, match="No space left") as caught:
        move_drive(local, target, nothing)
    assert "make room in Drive" in caught.value.hint
    assert (tree(local), local.is_symlink()) == (MODELS, False)
    assert not list(target.rglob(f"*{moving.PART}"))
    monkeypatch.undo()
    assert move_drive(local, target, nothing).files == 3
    assert tree(local) == MODELS


def test_a_copy_that_differs_is_no_copy(places, monkeypatch):
    local, target = places
    fill(local, {"a.bin": "A"})
    monkeypatch.setattr(moving.shutil, "copyfile", lambda source, part: part.write_text("X"))
    with pytest.raises(PinoctlError, match="differs from it"):
        move_drive(local, target, nothing)
    assert (tree(local), tree(target)) == ({"a.bin": "A"}, {})


@pytest.mark.parametrize("killed_before", range(1, 12))
def test_killed_anywhere_it_goes_on(places, monkeypatch, killed_before):
    """Every call that changes something is the last one once; the next run ends as an undisturbed one."""
    local, target = places
    fill(local, MODELS)
    fill(target, {"empty.txt": "theirs"})
    calls = []

    class Killed(BaseException):
        pass

    def counted(function):
        def call(*arguments, **options):
            calls.append(function)
            if len(calls) == killed_before:
                raise Killed
            return function(*arguments, **options)

        return call

    path = type(local)
    for name in ("rename", "symlink_to", "unlink"):
        monkeypatch.setattr(path, name, counted(getattr(path, name)))
    monkeypatch.setattr(moving.shutil, "copyfile", counted(moving.shutil.copyfile))
    with contextlib.suppress(Killed):
        move_drive(local, target, nothing)
    monkeypatch.undo()
    moved = move_drive(local, target, nothing)
    assert tree(target) == MODELS | {"empty.txt": "theirs"}
    assert local.is_symlink()
    assert [item.read_text() for item in moved.kept] == [""]
    assert len(calls) >= min(killed_before, 8)


def test_a_link_that_leads_elsewhere_is_left_alone(places, tmp_path):
    local, target = places
    (tmp_path / "other").mkdir()
    local.parent.mkdir()
    local.symlink_to(tmp_path / "other")
    with pytest.raises(PinoctlError, match=r"is a link to `.*other` already"):
        move_drive(local, target, nothing)
    assert local.readlink() == tmp_path / "other"


def test_drive_gets_neither_links_nor_hard_links(places):
    local, target = places
    fill(local, MODELS)
    (local / "again.bin").hardlink_to(local / "drives/peers/d1/models/a.bin")
    (local / "folder-link").symlink_to("drives")
    move_drive(local, target, nothing)
    assert all(not path.is_symlink() and (path.is_dir() or path.stat().st_nlink == 1) for path in target.rglob("*"))
