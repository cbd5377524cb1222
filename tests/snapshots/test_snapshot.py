"""Snapshots: exactness, what may be linked, strange files, and a kill at every step."""

from __future__ import annotations

import os
import socket
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.engine.errors import PinoctlError
from orchestrator.engine.home import Home
from orchestrator.snapshots import snapshot
from orchestrator.snapshots.copying import SMALL, must_copy
from orchestrator.snapshots.snapshot import Snapshots

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the children only write and die
BIG = b"x" * (SMALL + 1)


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


def fill(folder: Path) -> None:
    """Write an app with a bit of everything."""
    for name in ("app/env/lib/python3.11/site-packages/torch", ".git/objects/ab", "empty", "locked"):
        (folder / name).mkdir(parents=True)
    (folder / "start.js").write_text("start")
    (folder / "app/env/lib/python3.11/site-packages/torch/__init__.py").write_text("torch 1")
    (folder / ".git/objects/ab/cdef").write_bytes(b"object")
    (folder / "model.safetensors").write_bytes(BIG)
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o750)
    (folder / "locked/file").write_text("locked")
    (folder / "locked").chmod(0o555)
    (folder / "link").symlink_to("start.js")
    (folder / "dangling").symlink_to("../nowhere")
    (folder / "folder-link").symlink_to("app")
    os.utime(folder / "start.js", ns=(10**18, 10**18))
    os.utime(folder / "empty", ns=(10**18, 10**18))


def update(folder: Path) -> None:
    """Do what a bad update does."""
    (folder / "start.js").write_text("changed in place")
    (folder / "app/env/lib/python3.11/site-packages/torch/__init__.py").unlink()
    (folder / "app/env/lib/python3.11/site-packages/torch/__init__.py").write_text("torch 2")
    (folder / "app/env/lib/python3.11/site-packages/new").mkdir()
    (folder / "app/env/lib/python3.11/site-packages/new/file").write_text("new")
    (folder / "model.safetensors").unlink()
    (folder / "run.sh").chmod(0o600)
    (folder / "link").unlink()
    (folder / "link").mkdir()
    (folder / "link/inside").write_text("")
    (folder / "folder-link").unlink()
    (folder / "folder-link").symlink_to("empty")
    (folder / "empty").rmdir()
    (folder / "empty").write_text("now a file")
    (folder / "dangling").unlink()


def picture(folder: Path) -> dict[str, tuple[object, ...]]:
    """Describe everything in a folder: kind, mode, time, content."""
    result: dict[str, tuple[object, ...]] = {}
    for path in sorted([folder, *folder.rglob("*")]):
        found = path.lstat()
        name = str(path.relative_to(folder))
        if path.is_symlink():
            result[name] = ("link", str(path.readlink()))
        elif path.is_dir():
            result[name] = ("folder", stat.S_IMODE(found.st_mode), found.st_mtime_ns)
        else:
            content = path.read_bytes() if stat.S_ISREG(found.st_mode) else b""
            result[name] = ("file", stat.S_IMODE(found.st_mode), found.st_mtime_ns, content)
    return result


@pytest.fixture
def app(home):
    folder = home.app("demo")
    folder.mkdir(parents=True)
    fill(folder)
    return folder


def test_restore_puts_everything_back(home, app):
    snapshots = Snapshots(home, clock=lambda: 7.0)
    before = picture(app)
    taken = snapshots.take("demo")
    assert picture(app) == before
    assert (taken.created, taken.link, taken.skipped, snapshots.find("demo")) == (7.0, None, (), taken)
    update(app)
    assert picture(app) != before
    assert snapshots.restore("demo") == ()
    assert picture(app) == before
    assert not snapshots.interrupted("demo")
    update(app)
    assert snapshots.restore("demo") == ()
    assert picture(app) == before
    assert snapshots.discard("demo")
    assert not snapshots.discard("demo")
    assert list(snapshots.folder.iterdir()) == []
    assert picture(app) == before


def test_the_three_functions(home, app):
    before = picture(app)
    saved = snapshot.take(home, "demo")
    update(app)
    assert snapshot.restore(saved) == ()
    assert picture(app) == before
    assert snapshot.discard(saved)
    with pytest.raises(PinoctlError, match="no snapshot"):
        snapshot.restore(saved)


def test_an_app_that_was_deleted_comes_back(home, app):
    snapshots = Snapshots(home)
    before = picture(app)
    snapshots.take("demo")
    (app / "locked").chmod(0o755)
    app.rename(app.with_name("elsewhere"))
    snapshots.restore("demo")
    assert picture(app) == before


def test_a_folder_of_the_user_is_restored_in_place(home, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    fill(mine)
    home.api.mkdir(parents=True)
    home.app("demo").symlink_to(mine)
    snapshots = Snapshots(home)
    before, inode = picture(mine), mine.stat().st_ino
    assert snapshots.take("demo").source == mine
    update(mine)
    home.app("demo").unlink()
    snapshots.restore("demo")
    assert picture(mine) == before
    assert mine.stat().st_ino == inode
    assert home.app("demo").readlink() == mine


@pytest.mark.parametrize(
    ("path", "size", "copied"),
    [
        ("config.json", 10, True),
        ("app/settings.txt", SMALL, True),
        ("model.bin", SMALL + 1, False),
        ("data.db", SMALL * 9, True),
        ("data.sqlite3-wal", SMALL * 9, True),
        ("logs/out.log", SMALL * 9, True),
        ("env/lib/python3.11/site-packages/x/__init__.py", 10, False),
        ("env/lib/python3.11/site-packages/x/cache.db", 10, True),
        ("node_modules/x/package.json", 10, False),
        (".git/objects/ab/cd", 10, False),
        (".git/config", 10, True),
        ("objects/scene.json", 10, True),
        ("site-packages", 10, True),
    ],
)
def test_what_is_copied(path, size, copied):
    assert must_copy(path, size) is copied


def test_big_files_and_packages_cost_nothing(home, app):
    taken = Snapshots(home).take("demo")
    packages = "app/env/lib/python3.11/site-packages/torch/__init__.py"
    assert set(taken.linked) == {".git/objects/ab/cdef", packages, "model.safetensors"}
    for name in taken.linked:
        assert (home.root / "snapshots/demo/tree" / name).samefile(app / name)


def test_a_database_and_a_log_written_in_place_are_kept_as_they_were(home, app):
    with closing(sqlite3.connect(app / "app.db")) as database:
        database.execute("CREATE TABLE t (x)")
        database.executemany("INSERT INTO t VALUES (?)", [("y" * 1000,)] * 2000)
        database.commit()
        (app / "big.log").write_bytes(BIG)
        assert (app / "app.db").stat().st_size > SMALL
        snapshots = Snapshots(home)
        snapshots.take("demo")
        database.execute("DELETE FROM t")
        database.commit()
    with (app / "big.log").open("ab") as log:
        log.write(b"more")
    assert snapshots.restore("demo") == ()
    assert (app / "big.log").read_bytes() == BIG
    with closing(sqlite3.connect(app / "app.db")) as database:
        assert database.execute("SELECT count(*) FROM t").fetchone() == (2000,)


def test_a_linked_file_rewritten_in_place_is_reported(home, app):
    snapshots = Snapshots(home)
    snapshots.take("demo")
    with (app / "model.safetensors").open("r+b") as file:
        file.write(b"y")
    assert snapshots.restore("demo") == ("model.safetensors",)


def test_sockets_and_pipes_are_left_alone(home, app, monkeypatch):
    monkeypatch.chdir(app)  # a socket's path may not be long
    with closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind("s")
        os.mkfifo(app / "pipe")
        snapshots = Snapshots(home)
        assert snapshots.take("demo").skipped == ("pipe", "s")
        snapshots.restore("demo")
        assert stat.S_ISSOCK((app / "s").stat().st_mode)


def test_files_that_vanish_while_we_look(home, app):
    (app / "temporary").mkdir()
    (app / "temporary/file").write_text("")

    def vanish(step):
        if step == "take: temporary/file":
            (app / "temporary/file").unlink()
        if step == "take: start.js":
            (app / "start.js").unlink()

    snapshots = Snapshots(home, fault=vanish)
    snapshots.take("demo")
    assert not (home.root / "snapshots/demo/tree/start.js").exists()


def test_what_cannot_be_read_is_left_as_it_is(home, app, monkeypatch):
    (app / "secret").mkdir()
    (app / "secret/key").write_text("key")
    real = os.scandir

    def refuse(path="."):
        if str(path).endswith("demo/secret"):
            raise PermissionError
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    snapshots = Snapshots(home)
    assert snapshots.take("demo").skipped == ("secret",)
    snapshots.restore("demo")
    assert (app / "secret/key").read_text() == "key"


def test_another_file_system_is_copied_to(home, app, monkeypatch):
    def refuse(*_args, **_options):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    before = picture(app)
    snapshots = Snapshots(home)
    assert snapshots.take("demo").linked == {}
    update(app)
    snapshots.restore("demo")
    assert picture(app) == before


def test_nothing_to_take_or_restore(home):
    with pytest.raises(PinoctlError, match="no snapshot of `demo`"):
        Snapshots(home).restore("demo")
    with pytest.raises(PinoctlError, match="not a folder"):
        Snapshots(home).take("demo")
    assert Snapshots(home).find("demo") is None


def killed_at(number: int, work) -> bool:
    """Run work in a child that dies, as by kill -9, at its n-th step; tell whether it got that far."""
    child = os.fork()
    if child == 0:
        steps = iter(range(number))

        def die(_step):
            if next(steps, None) is None:
                os._exit(9)

        try:
            work(die)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_a_kill_at_any_step_of_taking(home, app):
    before = picture(app)
    number = 0
    while killed_at(number, lambda die: Snapshots(home, fault=die).take("demo")):
        assert picture(app) == before
        found = Snapshots(home).find("demo")
        if found is not None:
            assert set(found.linked) != set()
            assert picture(home.root / "snapshots/demo/tree") == before
        assert {path.name for path in home.root.glob("snapshots/*")} <= {"demo"}
        number += 1
    assert number > 15
    assert Snapshots(home).find("demo") is not None


def test_a_kill_while_an_older_snapshot_is_replaced_leaves_one_of_the_two(home, app):
    Snapshots(home, clock=lambda: 1.0).take("demo")
    number = 0
    while killed_at(number, lambda die: Snapshots(home, clock=lambda: 2.0, fault=die).take("demo")):
        found = Snapshots(home).find("demo")
        assert found is not None
        assert picture(home.root / "snapshots/demo/tree") == picture(app)
        number += 1
    assert number > 15


def test_a_kill_at_any_step_of_restoring(home, app):
    before = picture(app)
    Snapshots(home).take("demo")
    update(app)
    number = 0
    while killed_at(number, lambda die: Snapshots(home, fault=die).restore("demo")):
        assert Snapshots(home).interrupted("demo")
        number += 1
        if number % 4 == 0:
            assert Snapshots(home).restore("demo") == ()
            assert picture(app) == before
            update(app)
    assert number > 15
    assert not Snapshots(home).interrupted("demo")
    assert picture(app) == before


def test_a_kill_while_discarding(home, app):
    Snapshots(home).take("demo")
    assert killed_at(0, lambda die: Snapshots(home, fault=die).discard("demo"))
    assert Snapshots(home).find("demo") is None
    assert list((home.root / "snapshots").iterdir()) == []
