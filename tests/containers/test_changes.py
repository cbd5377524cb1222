"""The list of changes as a tree, what archives say, and the deletions that the agent does: without a daemon."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.agent.removing import remove_listed
from orchestrator.places.container.archives import Entry, Seen, Side, entry_of
from orchestrator.places.container.carrying import Carrying, Plan, Put
from orchestrator.places.container.changes import Change, left_out, mounts_of, passing, tree, users
from orchestrator.places.container.docker import DockerError
from orchestrator.places.container.packing import gathered, renamed

APP = "/pinokio/api/app"
STAMP = "2026-01-02T03-04-05Z"


def listed(*changes: tuple[str, int]) -> list[dict[str, Any]]:
    return [{"Path": f"{APP}{path}", "Kind": kind} for path, kind in changes]


def test_the_top_most_changes_are_told() -> None:
    diff = [
        *listed(("", 0), ("/out", 1), ("/out/a", 1), ("/out/a/b", 1), ("/conf", 0), ("/deep", 0), ("/deep/x", 2)),
        *listed(("/.git", 0), ("/.git/index", 0), ("/__pycache__", 1), ("/m/x", 1), ("-other/f", 1), ("/x.pyc", 1)),
        {"Path": "/home/pinokio/.bashrc", "Kind": 1},
        {"Path": "/etc/hosts", "Kind": 0},
    ]
    assert users(diff, [APP, "/home/pinokio"], [f"{APP}/m"]) == [
        Change("/home/pinokio/.bashrc", "added"),
        Change(f"{APP}/conf", "changed"),
        Change(f"{APP}/deep/x", "deleted"),
        Change(f"{APP}/out", "added"),
    ]
    assert users([], [APP]) == []


def test_trees_are_the_same_whatever_the_order_of_the_list() -> None:
    diff = listed(("/b", 1), ("/a b", 1), ("/a", 1), ("/a/c", 1), ("", 0), ("/a b/c", 1))
    (top,) = tree(diff, [APP])
    assert [each.path for each in top.leaves()] == [f"{APP}/a/c", f"{APP}/a b/c", f"{APP}/b"]
    assert tree(reversed(diff), [APP]) == [top]


@pytest.mark.parametrize(
    ("path", "changed", "whole"),
    [
        ("/a/__pycache__/x", True, True),
        ("/a/x.pyc", True, True),
        ("/a/.git/index.lock", True, True),
        ("/a/.git/logs/HEAD", True, False),
        ("/a/.git/FETCH_HEAD", True, False),
        ("/a/.git/index", False, False),
        ("/a/uv.lock", False, False),
        ("/a/logs/x", False, False),
    ],
)
def test_what_is_left_out(path: str, changed: bool, whole: bool) -> None:  # noqa: FBT001  # a parameter of the table
    assert (left_out(path), passing(path)) == (changed, whole)


def test_mounts_are_volumes_and_memory() -> None:
    about = {"Mounts": [{"Destination": "/data/"}], "HostConfig": {"Tmpfs": {"/pinokio/run": "size=1m"}}}
    assert mounts_of(about) == ("/data", "/pinokio/run")
    assert mounts_of({"Mounts": None, "HostConfig": {"Tmpfs": None}}) == ()


@pytest.mark.parametrize(
    ("mode", "size", "entry"),
    [
        (0o644, 5, Entry("file", 0o644, 5)),
        (0o755 | 1 << 23, 5, Entry("file", 0o4755, 5)),
        (0o777 | 1 << 31 | 1 << 20, 4096, Entry("folder", 0o1777)),
        (0o777 | 1 << 27, 3, Entry("link", 0o777)),
        (0o600 | 1 << 24, 0, Entry("other", 0o600)),
    ],
)
def test_what_the_daemon_says_of_a_path(mode: int, size: int, entry: Entry) -> None:
    told = base64.b64encode(json.dumps({"name": "x", "mode": mode, "size": size}).encode()).decode()
    assert entry_of(told) == entry


def packed(size: int) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name in ("top/a", "top/b"):
            info = tarfile.TarInfo(name)
            info.size = size
            archive.addfile(info, io.BytesIO(b"x" * size))
    return raw.getvalue()[: 2 * (512 + size) + 1024]


def test_an_archive_that_breaks_off_is_an_error_wherever_it_does() -> None:
    whole = packed(1024)

    class Api(SimpleNamespace):
        base_url, api_version, timeout = "http://docker", "1.41", 1

        def get(self, _url: str, **_options: Any) -> SimpleNamespace:
            return SimpleNamespace(raw=io.BytesIO(self.body), close=lambda: None)

        def _raise_for_status(self, reply: SimpleNamespace) -> None: ...

    def read(raw: bytes) -> list[tuple[str, int]]:
        client: Any = SimpleNamespace(api=Api(body=raw))
        with Side(client, "c").archive("/top") as members:
            return [(name, len(content.read())) for name, _, content in members if content]

    assert read(whole) == [("a", 1024), ("b", 1024)]
    for cut in (0, 100, 512, 1000, 1536, 1700, 2048, 3072, 3073, len(whole) - 600):
        with pytest.raises(DockerError, match="broke off"):
            read(whole[:cut])


def test_headers_keep_names_that_are_not_utf_8_and_long_ones() -> None:
    member = tarfile.TarInfo("old")
    member.pax_headers = {"path": "old", "SCHILY.xattr.user.x": "1", "size": "9"}
    raw = io.BytesIO(
        b"".join(gathered([renamed(member, f"/{'n' * 300}/\udcff").tobuf(tarfile.PAX_FORMAT), bytes(1024)], 99))
    )
    with tarfile.open(fileobj=raw) as archive:
        (found,) = archive.getmembers()
    assert found.name == f"{'n' * 300}/\udcff"
    assert found.pax_headers["SCHILY.xattr.user.x"] == "1"


class Tree:
    """Be a side made of a table: paths below the app, with contents; None is a folder."""

    def __init__(self, **files: str | None) -> None:
        self.files = {f"{APP}/{name.replace('__', '/')}": text for name, text in files.items()} | {APP: None}

    def entry(self, path: str, /) -> Entry | None:
        if path not in self.files:
            return None
        text = self.files[path]
        return Entry("folder", 0o755) if text is None else Entry("file", 0o644, len(text))

    def digest(self, path: str, /) -> str:
        return self.files[path] or repr(self.manifest(path))

    def read(self, path: str, /) -> bytes:
        return (self.files[path] or "").encode()

    def knows(self, path: str, /) -> bool:
        return True

    def prefetch(self, folder: str, wanted: Collection[str], allowed: int, /) -> None: ...

    def manifest(self, path: str, /) -> dict[str, Seen]:
        found: dict[str, Seen] = {}
        for each, text in self.files.items():
            if f"{each}/".startswith(f"{path}/"):
                found[each[len(path) + 1 :]] = ("folder" if text is None else "file", 0o644, text or "")
        return found


def decided(base: Tree, mine: Tree, theirs: Tree, *changes: tuple[str, int], **more: Any) -> Plan:
    carrying = Carrying((base, mine, theirs), roots=[APP], stamp="T", **more)
    return carrying.carry(tree(listed(("", 0), *changes), [APP]))


def test_a_folder_deleted_and_made_anew_loses_what_was_in_it() -> None:
    """Some engines list it as deleted, with what is in it now."""
    base = Tree(d=None, d__old="1", d__sub=None, d__sub__x="1")
    plan = decided(base, Tree(d=None, d__new="2"), base, ("/d", 2), ("/d/new", 1))
    assert plan.puts == [Put(f"{APP}/d/new", f"{APP}/d/new")]
    assert plan.removed == [f"{APP}/d/old", f"{APP}/d/sub"]


def test_a_change_that_is_none_is_not_carried() -> None:
    base = Tree(a="1", b="1")
    assert decided(base, Tree(a="1", b="1"), Tree(a="2", b="1"), ("/a", 0), ("/b", 0)) == Plan()


def test_what_vanished_meanwhile_is_not_carried() -> None:
    assert decided(Tree(), Tree(), Tree(a="1"), ("/a", 1), ("/b", 0), ("/c", 2)) == Plan()


def test_a_name_that_the_list_cannot_show_is_looked_for_in_its_folder() -> None:
    plan = decided(Tree(), Tree(), Tree(), ("/a\ufffd", 1))
    assert plan.puts == [Put(f"{APP}/a\ufffd", f"{APP}/a\ufffd")]


def test_a_folder_that_the_update_dropped_gets_only_what_the_user_changed_in_it() -> None:
    base = Tree(ext=None, ext__code="1", ext__conf="1")
    mine = Tree(ext=None, ext__code="1", ext__conf="2", ext__own="1")
    plan = decided(base, mine, Tree(), ("/ext", 0), ("/ext/conf", 0), ("/ext/own", 1))
    assert plan.puts == [Put(f"{APP}/ext/{name}", f"{APP}/ext/{name}") for name in ("conf", "own")]


def test_an_earlier_new_version_is_not_overwritten() -> None:
    mine = Tree(**{"conf": "2", "conf.new": "own"})
    plan = decided(Tree(conf="1"), mine, Tree(conf="3"), ("/conf", 0), ("/conf.new", 1))
    assert plan.aside == [f"{APP}/conf.new-T"]


def test_a_new_version_takes_the_place_of_the_one_that_an_update_before_kept() -> None:
    base = Tree(conf="2", notes="1")
    mine = Tree(conf="mine", **{"conf.new": "2", f"conf.new-{STAMP}": "edited"})
    plan = decided(base, mine, Tree(conf="3"), ("/conf", 0), ("/conf.new", 1), (f"/conf.new-{STAMP}", 1))
    assert plan.aside == [f"{APP}/conf.new"]
    assert plan.puts == [
        Put(f"{APP}/conf", f"{APP}/conf"),
        Put(f"{APP}/conf", f"{APP}/conf.new", mine=False),
        Put(f"{APP}/conf.new-{STAMP}", f"{APP}/conf.new-{STAMP}"),
    ]


@pytest.mark.parametrize("name", ["conf.new", f"conf.new-{STAMP}"])
def test_what_is_kept_already_is_not_kept_twice(name: str) -> None:
    mine = Tree(conf="mine", **{name: "3"})
    plan = decided(Tree(conf="2"), mine, Tree(conf="3"), ("/conf", 0), (f"/{name}", 1))
    assert plan.puts == [Put(f"{APP}/{each}", f"{APP}/{each}") for each in ("conf", name)]
    assert plan.aside == []


def test_records_of_conda_never_lie_beside_each_other_either() -> None:
    base, mine, theirs = (
        Tree(env=None, **{"env__conda-meta": None, f"env__conda-meta__x-{n}-h_0.json": n}) for n in "123"
    )
    changes = [("/env", 0), ("/env/conda-meta", 0)]
    records = [("/env/conda-meta/x-1-h_0.json", 2), ("/env/conda-meta/x-2-h_0.json", 1)]
    plan = decided(base, mine, theirs, *changes, *records)
    assert plan.aside == [f"{APP}/.pinoctl-kept/T/env/conda-meta/x-2-h_0.json"]


@pytest.mark.parametrize(("theirs", "aside"), [("1.0", False), ("2.0", True)])
def test_two_records_of_a_package_never_lie_beside_each_other(theirs: str, aside: bool) -> None:  # noqa: FBT001  # as above
    base = Tree(**{"lib": None, "lib/Big_x-1.0.dist-info": "1"})
    mine = Tree(**{"lib": None, "lib/big.x-1.1.dist-info": "1", "lib/own-3.dist-info": "1"})
    other = Tree(**{"lib": None, f"lib/Big_x-{theirs}.dist-info": "1"})
    names = [("/lib/Big_x-1.0.dist-info", 2), ("/lib/big.x-1.1.dist-info", 1), ("/lib/own-3.dist-info", 1)]
    plan = decided(base, mine, other, ("/lib", 0), *names)
    assert plan.aside == ([f"{APP}/.pinoctl-kept/T/lib/big.x-1.1.dist-info"] if aside else [])
    assert plan.removed == ([] if aside else [f"{APP}/lib/Big_x-1.0.dist-info"])
    assert Put(f"{APP}/lib/own-3.dist-info", f"{APP}/lib/own-3.dist-info") in plan.puts


def test_deletions_wait_for_the_next_container() -> None:
    both = Tree(a="1", b="1")
    assert decided(both, both, both, pending=[f"{APP}/a", "/etc/passwd"]).removed == [f"{APP}/a"]


def test_only_what_is_listed_below_the_roots_is_deleted(tmp_path: Path) -> None:
    root, other = tmp_path / "api", tmp_path / "other"
    for place in (root / "app/folder/x", root / "app/file", other / "kept", tmp_path / "api2/kept", root / "app/kept"):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    (root / "app/link").symlink_to(other)
    (root / "app/way").symlink_to(other)
    names = ["app/folder", "app/file", "app/link", "app/way/kept", "app/../../other/kept", "app/absent", ""]
    paths = [f"{root}/{name}" for name in names] + [
        str(other / "kept"),
        str(tmp_path / "api2/kept"),
        7,
        "\0",
        "app/kept",
    ]
    listing = tmp_path / "removed.json"
    listing.write_text(json.dumps(paths))
    assert remove_listed(listing, [str(root)]) == [f"{root}/app/{name}" for name in ("folder", "file", "link")]
    assert not listing.exists()
    assert sorted(each.name for each in (root / "app").iterdir()) == ["kept", "way"]
    assert (other / "kept").exists()
    assert (tmp_path / "api2/kept").exists()
    assert remove_listed(listing, [str(root)]) == []


@pytest.mark.parametrize("text", ["", "{", '{"a": 1}', "null", "\udcff"])
def test_a_list_that_is_none_is_dropped(tmp_path: Path, text: str) -> None:
    listing = tmp_path / "removed.json"
    listing.write_text(text, "utf-8", "surrogateescape")
    assert remove_listed(listing, [str(tmp_path)]) == []
    assert not listing.exists()
