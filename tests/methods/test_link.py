"""`fs.link`: the outcomes of the spec, and that no file is ever lost, whatever happens in between."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.engine import disk, drive, drive_registry
from orchestrator.engine.drive import Link, share
from orchestrator.engine.drive_registry import Registry, normalise_remote
from orchestrator.engine.errors import ScriptError
from tests.methods.fakes import Bench


def contents(*roots: Path) -> list[str]:
    """Return the contents of all files below, each real file once."""
    return sorted(
        path.read_text()
        for root in roots
        for path in root.rglob("*")
        if path.is_file()
        and not path.is_symlink()
        and path.name not in {"drives.json", "drives.lock", "pending.json"}
        and not any(parent.is_symlink() for parent in path.parents)
    )


def put(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def remote(app: Path, url: str) -> None:
    (app / ".git").mkdir(parents=True, exist_ok=True)
    (app / ".git/config").write_text(f'[core]\n\tbare = false\n[remote "origin"]\n\turl = {url}\n\tfetch = x\n')


async def test_folders_become_relative_links(bench: Bench) -> None:
    put(bench.app, {"app/models/m.bin": "MODEL"})
    await bench("fs.link", {"drive": {"ckpt": "app/models", "multi": ["app/x", "app/y"]}})
    links = {name: os.readlink(bench.app / "app" / name) for name in ("models", "x", "y")}  # noqa: PTH115  # text in, text out
    drives = [path.name for path in (bench.home.drive / "drives/peers").iterdir()]
    assert links["models"] == f"../../../drive/drives/peers/{links['models'].split('/')[-2]}/ckpt"
    assert links["x"] == links["y"]
    assert all(name.startswith("d") and name[1:].isdigit() for name in drives)
    assert (bench.app / "app/models/m.bin").read_text() == "MODEL"
    assert not (bench.home.drive / "drives.json").exists(), "an app without a remote is not registered"


@pytest.mark.parametrize("route", ["../evil", "/abs", ".hidden", "a/../../b", ""])
async def test_routes_stay_in_the_drive(bench: Bench, route: str) -> None:
    put(bench.app, {"app/z/f": "F", "app/ok/f": "F"})
    with pytest.raises(ScriptError, match="route"):
        await bench("fs.link", {"drive": {"fine": "app/ok", route: "app/z"}})
    assert not (bench.app / "app/ok").is_symlink(), "checked before anything moves"


async def test_links_that_begin_with_a_dot_are_left_alone(bench: Bench) -> None:
    put(bench.app, {"app/models/m.bin": "MODEL"})
    await bench("fs.link", {"drive": {"ckpt": "./app/models"}})
    assert not (bench.app / "app/models").is_symlink()
    assert not bench.home.drive.exists()
    assert "./app/models" in bench.events("warning")[0]["text"]


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"drive": "x"}, "drive"),
        ({"drive": {"r": 5}}, "drive.r"),
        ({"drive": {"r": ["a", 5]}}, "drive.r"),
        ({"drive": {"r": "a"}, "peers": "p"}, "peers"),
        ({"venv": 5}, "venv"),
    ],
)
async def test_wrong_types(bench: Bench, params: Any, name: str) -> None:
    with pytest.raises(ScriptError, match=f"`{name}`"):
        await bench("fs.share", params)


async def test_venv_succeeds_and_does_nothing_but_needs_an_environment(bench: Bench) -> None:
    put(bench.app, {"env/pyvenv.cfg": "version = 3.10.1"})
    await bench("fs.link", {"venv": "env"})
    with pytest.raises(ScriptError, match=r"pyvenv\.cfg"):
        await bench("fs.link", {"venv": "other"})
    await bench("fs.link", {})
    assert "nothing to do" in bench.text()


async def test_apps_of_one_repository_share_and_the_first_content_survives(bench: Bench) -> None:
    second = Bench(bench.home.root / "elsewhere")
    second.env["PINOKIO_DRIVE"] = str(bench.home.drive)
    remote(bench.app, "https://github.com/U/R.git")
    remote(second.app, "git@github.com:u/r")
    put(bench.app, {"models/a": "first", "models/deep/b": "B", "models/same": "S"})
    put(second.app, {"models/a": "second", "models/deep/c": "C", "models/same": "S", "models/deep/b/inner": "odd"})
    for app in (bench, second):
        await app("fs.link", {"drive": {"ckpt": "models"}})
    assert (second.app / "models/a").read_text() == "first"
    assert (bench.app / "models/deep/c").read_text() == "C"
    assert (bench.app / "models/deep/b").read_text() == "B"
    assert contents(bench.home.drive) == ["B", "C", "S", "first", "odd", "second"]
    assert list(json.loads((bench.home.drive / "drives.json").read_text())) == ["https://github.com/U/R.git"], (
        "as the desktop writes it"
    )
    again = Bench(bench.home.root / "third")
    again.env["PINOKIO_DRIVE"] = str(bench.home.drive)
    remote(again.app, "https://github.com/x/y")
    await again("fs.link", {"drive": {"lora": "loras", "ckpt": "models"}, "peers": ["https://github.com/u/r"]})
    assert (again.app / "models/a").read_text() == "first"
    assert (again.app / "loras").resolve().parent == (bench.app / "models").resolve().parent, (
        "a new route goes into the known drive"
    )
    table = json.loads((bench.home.drive / "drives.json").read_text())
    assert table["https://github.com/x/y.git"].keys() == {"ckpt", "lora"} == table["https://github.com/U/R.git"].keys()


@pytest.mark.parametrize(
    "url",
    [
        "https://user:secret@GitHub.com/U/R",
        "git@github.com:U/R.git",
        "ssh://git@github.com/u/r/",
        "http://github.com/u/r.git",
        " https://github.com/u/r ",
    ],
)
def test_forms_of_one_remote_are_equal(url: str) -> None:
    assert normalise_remote(url) == "https://github.com/u/r.git"


def test_other_hosts_keep_their_case() -> None:
    assert normalise_remote("https://git.host/A/b") == "https://git.host/A/b.git"
    assert normalise_remote("/srv/repo") == "/srv/repo"


def test_symlinks_inside_are_moved_as_links(tmp_path: Path) -> None:
    app, root = tmp_path / "app", tmp_path / "drive"
    put(app, {"models/a": "A", "outside/f": "F"})
    (app / "models/in").symlink_to("a")
    (app / "models/dir").symlink_to(app / "outside")
    (app / "models/gone").symlink_to("nowhere")
    share(root, [Link("r", (app / "models",))], remote=None)
    assert [(app / "models" / name).is_symlink() for name in ("in", "dir", "gone")] == [True] * 3
    assert (app / "models/in").read_text() == "A"
    assert (app / "models/dir/f").read_text() == "F"
    assert (app / "outside/f").exists()


def test_a_link_or_file_in_place_of_the_folder(tmp_path: Path) -> None:
    put(tmp_path, {"elsewhere/f": "F", "file": "X"})
    (tmp_path / "models").symlink_to("elsewhere")
    share(tmp_path / "drive", [Link("r", (tmp_path / "models",))], remote="https://h/a/b")
    assert os.readlink(tmp_path / "models") == "elsewhere"  # noqa: PTH115  # text in, text out
    with pytest.raises(ScriptError, match="is a file"):
        share(tmp_path / "drive", [Link("r", (tmp_path / "file",))], remote="https://h/a/b")
    assert (tmp_path / "file").read_text() == "X"


def test_a_folder_around_the_drive_is_refused(tmp_path: Path) -> None:
    put(tmp_path, {"all/f": "F"})
    with pytest.raises(ScriptError, match="lies inside it"):
        share(tmp_path / "all/drive", [Link("r", (tmp_path / "all",))], remote=None)
    assert (tmp_path / "all/f").read_text() == "F"


def test_a_failed_rename_aborts_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, {"models/a": "A", "models/b": "B"})

    def refuse(self: Path, target: Path) -> Path:
        raise OSError(errno.EACCES, "no")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(ScriptError, match="permission"):
        share(tmp_path / "drive", [Link("r", (tmp_path / "models",))], remote=None)
    assert contents(tmp_path / "models") == ["A", "B"]


def test_other_file_systems_get_copies(tmp_path: Path) -> None:
    root = tmp_path / "drive"
    root.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(root)], capture_output=True, check=False
    ).returncode:
        pytest.skip("needs the right to mount another file system")
    try:
        put(tmp_path, {"models/a": "A", "models/deep/b": "B"})
        (tmp_path / "models/run").write_text("#!")
        (tmp_path / "models/run").chmod(0o755)
        (tmp_path / "models/l").symlink_to("a")
        share(root, [Link("r", (tmp_path / "models",))], remote=None)
        assert (tmp_path / "models").is_symlink()
        assert contents(root) == ["#!", "A", "B"]
        assert os.access(tmp_path / "models/run", os.X_OK)
        assert os.readlink(tmp_path / "models/l") == "a"  # noqa: PTH115  # text in, text out
        put(tmp_path, {"more/big": "x" * 2_000_000})
        with pytest.raises(ScriptError, match="disk is full"):
            share(root, [Link("m", (tmp_path / "more",))], remote=None)
        assert len((tmp_path / "more/big").read_text()) == 2_000_000
        assert not list(root.rglob("*.moving"))
    finally:
        subprocess.run(["umount", "-l", str(root)], check=True)


class Killed(BaseException):
    pass


def steps(monkeypatch: pytest.MonkeyPatch, budget: list[int]) -> None:
    """Count every change of the file system, and die before the one that the budget does not cover."""

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if budget[0] == 0:
                raise Killed
            budget[0] -= 1
            return function(*args, **kwargs)

        return call

    for name in ("rename", "rmdir", "symlink_to", "mkdir", "unlink", "replace"):
        monkeypatch.setattr(Path, name, counted(getattr(Path, name)))
    monkeypatch.setattr(drive, "remove", counted(drive.remove))
    monkeypatch.setattr(drive, "write_whole", counted(disk.write_whole))
    monkeypatch.setattr(drive_registry, "write_whole", counted(disk.write_whole))


@pytest.mark.parametrize("url", [None, "https://h/a/b"])
@pytest.mark.parametrize("cross", [False, True])
def test_killed_at_every_step_it_converges(
    tmp_path: Path,
    url: str | None,
    cross: bool,  # noqa: FBT001  # a case of the table
    monkeypatch: pytest.MonkeyPatch,  # noqa: RUF100  # a case of the table
) -> None:
    original = Path.rename
    for allowed in range(200):
        place = tmp_path / str(allowed)
        app, other, root = place / "app", place / "other", place / "drive"
        put(app, {"models/a": "A", "models/deep/b": "B", "models/deep/er/c": "C"})
        put(other, {"models/a": "A2", "models/deep/d": "D", "models/deep/er/c": "C"})
        links = [Link("r", (app / "models", other / "models"))]
        with monkeypatch.context() as patched:
            if cross:
                patched.setattr(
                    Path,
                    "rename",
                    lambda self, target: original(self, target) if self.parent == target.parent else _cross(),
                )
            steps(patched, budget := [allowed])
            with contextlib.suppress(Killed):
                share(root, links, remote=url)
        survived = {*contents(app), *contents(other), *(contents(root) if root.exists() else [])}
        assert survived >= {"A", "A2", "B", "C", "D"}, allowed
        share(root, links, remote=url)
        assert (app / "models").resolve() == (other / "models").resolve()
        assert sorted(set(contents(root))) == ["A", "A2", "B", "C", "D"], allowed
        assert [(app / "models" / name).read_text() for name in ("a", "deep/b", "deep/d", "deep/er/c")] == [
            "A",
            "B",
            "D",
            "C",
        ]
        assert not (root / "drives/pending.json").exists()
        if budget[0] > 0:
            break
    else:
        pytest.fail("it never came to its end")
    assert allowed > 10


def _cross() -> None:
    raise OSError(errno.EXDEV, "other device")


def test_many_apps_at_once(tmp_path: Path) -> None:
    for number in range(6):
        put(tmp_path, {f"app{number}/models/m{number}": str(number), f"app{number}/models/all": f"all{number}"})
    failures: list[BaseException] = []

    def one(number: int) -> None:
        try:
            share(
                tmp_path / "drive",
                [Link("r", (tmp_path / f"app{number}/models",))],
                remote=f"https://h/a/{number}",
                peers=["https://h/a/common"],
            )
        except BaseException as error:  # noqa: BLE001  # shown below
            failures.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len({(tmp_path / f"app{number}/models").resolve() for number in range(6)}) == 1
    assert contents(tmp_path / "drive") == sorted([*map(str, range(6)), *(f"all{number}" for number in range(6))])
    assert len(Registry(tmp_path / "drive").read()) == 7


def test_a_broken_registry_is_not_overwritten(tmp_path: Path) -> None:
    put(tmp_path, {"drive/drives.json": "{broken", "models/a": "A"})
    with pytest.raises(ScriptError, match=r"drives\.json"):
        share(tmp_path / "drive", [Link("r", (tmp_path / "models",))], remote="https://h/a/b")
    assert (tmp_path / "drive/drives.json").read_text() == "{broken"
    assert (tmp_path / "models/a").read_text() == "A"


def test_a_home_that_moved_finds_its_drive_again(tmp_path: Path) -> None:
    put(tmp_path, {"one/models/a": "A"})
    share(tmp_path / "drive", [Link("r", (tmp_path / "one/models",))], remote="https://h/a/b")
    (tmp_path / "drive").rename(tmp_path / "moved")
    share(tmp_path / "moved", [Link("r", (tmp_path / "two/models",))], remote="https://h/a/b")
    assert (tmp_path / "two/models/a").read_text() == "A"
