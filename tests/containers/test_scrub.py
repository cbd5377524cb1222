"""Keeping secrets out of images: files that hold one move to the private part of the volume, links stay."""

from __future__ import annotations

import io
import json
import os
import stat
import time

import pytest

from orchestrator.agent.scrub import LARGEST, PIECE, Order, UnmovedError, main, mounted, scrub_as_root
from orchestrator.agent.scrub import scrub as carry_out
from orchestrator.places.container import names
from tests.containers.lab import ran

SECRET = "hf_abcdefgh"
SHORT = "p455"


def scrub(roots, secrets, private, **more):
    return carry_out(Order(tuple(map(str, roots)), tuple(secrets), str(private), **more))


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


FOLDERS = ["site-packages", "node_modules", ".git/objects", "__pycache__", "lib/dist-packages"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_among_packages_only_long_secrets_are_looked_for(app, private, folder):
    put(app / folder / "short", SHORT)
    file = put(app / folder / "a")
    assert scrub([app], [SECRET, SHORT], private) == [file]


def test_short_secrets_are_looked_for_in_the_apps_own_small_files_only(app, private, tmp_path):
    put(tmp_path / "system" / "a", SHORT)
    put(app / "large", SHORT.encode() + bytes(LARGEST))
    file = put(app / "a", SHORT)
    assert scrub([app], [SHORT], private, everywhere=str(tmp_path)) == [file]


def test_long_ones_everywhere_but_on_mounts(app, private, tmp_path):
    file, mount = put(tmp_path / "etc" / "x.conf"), put(tmp_path / "data" / "x").parent
    assert scrub([app], [SECRET], private, everywhere=str(tmp_path), apart=(str(mount),)) == [file]
    assert not (mount / "x").is_symlink()


def test_folders_of_the_user_that_are_mounted_in_the_app_are_left_alone(app, private):
    file = put(app / "mounted" / "a", f"{SECRET} {SHORT}")
    assert scrub([app], [SECRET, SHORT], private, apart=(str(file.parent),)) == []


def test_mounts_are_what_the_kernel_says(tmp_path):
    table = tmp_path / "mountinfo"
    table.write_text(
        "1 0 0:1 / / rw - overlay o rw\n2 1 0:2 /x /a\\040b rw - ext4 /dev/x rw\n3 1 0:3 / /proc rw - proc p\n"
    )
    assert mounted(table) == ("/a b", "/proc")
    assert "/proc" in mounted()


@pytest.mark.parametrize("before", [0, PIECE - 4, PIECE, 2 * PIECE - len(SECRET)])
def test_large_files_are_looked_through(app, private, before):
    file = put(app / "model.db", bytes(before) + SECRET.encode() + bytes(PIECE))
    assert scrub([app], [SECRET], private) == [file]
    assert file.is_symlink()


def test_gits_own_settings_are_not(app, private):
    file = put(app / ".git" / "config", f"url = https://x:{SECRET}@host/x.git")
    assert scrub([app], [SECRET], private) == [file]


def test_what_is_old_or_no_file_is_left_alone(app, private, tmp_path):
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
    with pytest.raises(UnmovedError) as caught:
        scrub([app], [SECRET], put(tmp_path / "private"))
    assert caught.value.filename == str(file)
    assert file.read_text() == f"token={SECRET}\n"


def test_an_order_is_carried_out_by_another_process(app, private):
    file = put(app / "a")
    order = Order((str(app),), (SECRET,), str(private), since=1.5, everywhere="/nowhere", apart=("/proc",))
    assert Order.from_json(json.dumps(order.to_json())) == order
    assert scrub_as_root(order, sudo=("env",)) == [file]
    assert file.is_symlink()


def test_so_is_one_that_fails(app, tmp_path):
    file, out = put(app / "a"), io.StringIO()
    order = Order((str(app),), (SECRET,), str(put(tmp_path / "private")))
    main(io.StringIO(json.dumps(order.to_json())), out)
    assert json.loads(out.getvalue())["failed"][2] == str(file)
    with pytest.raises(UnmovedError):
        scrub_as_root(order, sudo=("env",))


@pytest.mark.parametrize("sudo", [("false",), ("/nowhere/sudo",)])
def test_without_sudo_it_is_done_all_the_same(app, private, sudo):
    file = put(app / "a")
    assert scrub_as_root(Order((str(app),), (SECRET,), str(private)), sudo=sudo) == [file]


@pytest.mark.docker
def test_what_scripts_write_as_root_is_kept_out_of_images_and_nobody_is_root_in_them(lab):
    steps = [
        ran("one", 'sudo -n sh -c "echo token=$HF_TOKEN > /etc/x.conf; chmod 600 /etc/x.conf"'),
        ran("two", 'head -c 9000000 /dev/zero > large.db && echo "$HF_TOKEN" >> large.db'),
    ]
    lab.write(steps)
    lab._environ["HF_TOKEN"] = SECRET
    lab.up()
    image = names.current(lab.home, lab.app)
    own = f"/data/private/{lab.app}"
    seen = f"readlink /etc/x.conf /pinokio/api/{lab.app}/large.db; sudo -n true && echo root; ls -A {own} || true"
    said = lab.docker.containers.run(image, ["sh", "-c", seen], remove=True, stderr=False).decode().split()
    assert said == [f"{own}/etc/x.conf", f"{own}/pinokio/api/{lab.app}/large.db"]
    assert lab.inside("cat /etc/x.conf").strip() == f"token={SECRET}"
