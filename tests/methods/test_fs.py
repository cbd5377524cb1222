"""The file methods against real files, and copying against Node's own `fs.cp`."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from orchestrator.engine.copying import CopyOptions, copy
from orchestrator.engine.errors import ScriptError
from orchestrator.engine.values import UNDEFINED, Opaque
from tests.methods.fakes import Bench

CONFORMANCE = Path(__file__).parent / "fs_scripts.json"


def files(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in sorted(root.rglob("*")) if path.is_file()}


async def test_write_makes_parents_and_replaces_a_folder(bench: Bench) -> None:
    (bench.app / "deep/x").mkdir(parents=True)
    (bench.app / "deep/x/old").write_text("old")
    assert await bench("fs.write", {"path": "deep/x", "text": "new"}) is UNDEFINED
    assert files(bench.app) == {"deep/x": "new"}


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (
            {"json": {"a": 1, "f": 1.0, "u": UNDEFINED, "fn": Opaque({"$function": "f"}), "l": [UNDEFINED]}},
            '{"a":1,"f":1,"l":[null]}',
        ),
        ({"json2": {"a": [1], "e": {}, "l": []}}, '{\n  "a": [\n    1\n  ],\n  "e": {},\n  "l": []\n}'),
        ({"json": 0, "json2": [], "text": "t"}, "[]"),
        ({"text": "", "buffer": b"bytes"}, "bytes"),
        ({"text": ["a", "b", b"c"], "join": "-"}, "abc"),
        ({"text": "ü\nx\r\n"}, "ü\nx\r\n"),
        ({"json": {"é": "\ud800", "nan": float("nan")}}, '{"é":"\\ud800","nan":null}'),
    ],
)
async def test_write_takes_the_first_truthy_payload(bench: Bench, params: dict[str, Any], expected: str) -> None:
    await bench("fs.write", {"path": "f", **params})
    assert (bench.app / "f").read_bytes().decode() == expected


@pytest.mark.parametrize("payload", [{"text": ""}, {"json": 0}, {}, {"text": None, "json": False}])
async def test_a_falsy_payload_leaves_no_file(bench: Bench, payload: dict[str, Any]) -> None:
    (bench.app / "f").write_text("was here")
    await bench("fs.write", {"path": "f", **payload})
    assert files(bench.app) == {}


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"path": "f", "text": 5}, "text"),
        ({"path": "f", "text": {"a": 1}}, "text"),
        ({"path": "f", "buffer": 7}, "buffer"),
        ({"path": 5, "text": "x"}, "path"),
        ({"path": "", "text": "x"}, "path"),
        ({"text": "x"}, "path"),
        ({"path": "a\0b", "text": "x"}, "path"),
        (["f"], "params"),
        (UNDEFINED, "params"),
        ("f", "params"),
    ],
)
@pytest.mark.parametrize("method", ["fs.write", "fs.append"])
async def test_wrong_types_name_the_parameter(bench: Bench, method: str, params: Any, name: str) -> None:
    (bench.app / "f").write_text("kept")
    with pytest.raises(ScriptError, match=f"`{name}`"):
        await bench(method, params)
    assert files(bench.app) == {"f": "kept"}


@pytest.mark.parametrize(
    ("method", "params", "name"),
    [
        ("fs.read", {"path": 1}, "path"),
        ("fs.read", {"path": "f", "encoding": 5}, "encoding"),
        ("fs.cat", {}, "path"),
        ("fs.rm", {"path": None}, "path"),
        ("fs.remove", {"path": []}, "path"),
        ("fs.make", {"path": False}, "path"),
        ("fs.copy", {"src": 1, "dest": "x"}, "src"),
        ("fs.copy", {"src": "x"}, "dest"),
        ("fs.copy", {"src": "f", "dest": "x", "options": True}, "options"),
        ("fs.copy", {"src": "f", "dest": "x", "options": {"recursive": "yes"}}, "options.recursive"),
        ("fs.open", {"path": 1}, "path"),
        ("fs.open", {"path": "x", "action": 1}, "action"),
    ],
)
async def test_wrong_types_elsewhere(bench: Bench, method: str, params: Any, name: str) -> None:
    with pytest.raises(ScriptError, match=f"`{name}`"):
        await bench(method, params)


async def test_paths_follow_the_rules_of_scripts(bench: Bench) -> None:
    await bench("fs.write", {"path": "~/outside.txt", "text": "O"})
    await bench("fs.write", {"path": "../app/dots.txt", "text": "D"})
    assert (bench.home.root / "outside.txt").read_text() == "O"
    assert files(bench.app) == {"dots.txt": "D"}


async def test_append_creates_parents_and_the_file(bench: Bench) -> None:
    await bench("fs.append", {"path": "d/a", "text": "1"})
    await bench("fs.append", {"path": "d/a", "json": [2]})
    await bench("fs.append", {"path": "d/a", "text": ""})
    await bench("fs.append", {"path": "d/none", "text": ""})
    assert files(bench.app) == {"d/a": "1[2]"}


async def test_a_link_is_replaced_by_write_and_followed_by_append(bench: Bench) -> None:
    (bench.app / "real").write_text("real")
    (bench.app / "link").symlink_to("real")
    await bench("fs.append", {"path": "link", "text": "+"})
    assert (bench.app / "real").read_text() == "real+"
    await bench("fs.write", {"path": "link", "text": "new"})
    assert not (bench.app / "link").is_symlink()
    assert (bench.app / "real").read_text() == "real+"


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        (None, b"\xc3\xa9\xff"),
        ("utf8", "é\ufffd"),
        ("UTF-8", "é\ufffd"),
        ("latin1", "Ã©ÿ"),
        ("hex", "c3a9ff"),
        ("base64", "w6n/"),
        ("base64url", "w6n_"),
        ("ascii", "C)\x7f"),
    ],
)
async def test_read_encodings(bench: Bench, encoding: str | None, expected: Any) -> None:
    (bench.app / "f").write_bytes(b"\xc3\xa9\xff")
    assert await bench("fs.read", {"path": "f", **({"encoding": encoding} if encoding else {})}) == expected


@pytest.mark.parametrize(
    ("path", "reason"), [("missing", "does not exist"), (".", "is a folder"), ("f/x", "is a file, not a folder")]
)
async def test_read_errors_say_what_and_why(bench: Bench, path: str, reason: str) -> None:
    (bench.app / "f").write_text("x")
    with pytest.raises(ScriptError, match=reason) as caught:
        await bench("fs.read", {"path": path, "encoding": "utf8"})
    assert caught.value.hint


async def test_read_refuses_unknown_encodings(bench: Bench) -> None:
    (bench.app / "f").write_text("x")
    with pytest.raises(ScriptError, match="klingon"):
        await bench("fs.read", {"path": "f", "encoding": "klingon"})


async def test_cat_and_open_print(bench: Bench) -> None:
    (bench.app / "f").write_text("one\ntwo\n")
    assert await bench("fs.cat", {"path": "f"}) is UNDEFINED
    assert "one\r\ntwo\r\n" in bench.text()
    await bench("fs.open", {"path": "~/x", "mode": "view"})
    assert f"open {bench.app}/~/x" in bench.text()


async def test_rm_removes_links_not_what_they_point_at(bench: Bench) -> None:
    (bench.app / "d/sub").mkdir(parents=True)
    (bench.app / "kept").mkdir()
    (bench.app / "kept/f").write_text("kept")
    (bench.app / "d/link").symlink_to("../kept")
    (bench.app / "toplink").symlink_to("kept")
    for path in ("d", "toplink", "nosuch", "kept/f/x", "*"):
        await bench("fs.rm", {"path": path})
    assert files(bench.app) == {"kept/f": "kept"}


@pytest.mark.parametrize("path", ["~/", "~/api", "../..", "/", "~/api/app/../.."])
@pytest.mark.parametrize("method", ["fs.rm", "fs.write"])
async def test_the_home_is_never_removed(bench: Bench, method: str, path: str) -> None:
    (bench.app / "f").write_text("kept")
    with pytest.raises(ScriptError, match="whole Pinokio home"):
        await bench(method, {"path": path, "text": "x"})
    assert files(bench.app) == {"f": "kept"}


async def test_make_is_quiet_about_folders_and_loud_about_files(bench: Bench) -> None:
    for _ in range(2):
        await bench("fs.make", {"path": "a/b"})
    (bench.app / "file").write_text("x")
    with pytest.raises(ScriptError, match="exists already"):
        await bench("fs.make", {"path": "file"})


async def test_copy_needs_recursive_for_folders(bench: Bench) -> None:
    (bench.app / "src").mkdir()
    (bench.app / "src/a.txt").write_text("A")
    with pytest.raises(ScriptError, match="recursive"):
        await bench("fs.copy", {"src": "src", "dest": "dst"})
    assert not (bench.app / "dst").exists()
    await bench("fs.copy", {"src": "src", "dest": "x/dst", "options": {"recursive": True}})
    await bench("fs.copy", {"src": "src/a.txt", "dest": "y/z/b.txt"})
    with pytest.raises(ScriptError, match="does not exist"):
        await bench("fs.copy", {"src": "missing", "dest": "dst2"})
    assert files(bench.app) == {"src/a.txt": "A", "x/dst/a.txt": "A", "y/z/b.txt": "A"}


def tree(root: Path) -> dict[str, str]:
    def shown(path: Path) -> str:
        if path.is_symlink():
            return "-> " + os.readlink(path).replace(str(root), "<root>")  # noqa: PTH115  # text in, text out
        return "/" if path.is_dir() else f"{stat.S_IMODE(path.stat().st_mode):o} {path.read_text()}"

    return {str(path.relative_to(root)): shown(path) for path in sorted(root.rglob("*"))}


def landscape(root: Path) -> None:
    (root / "d/sub").mkdir(parents=True)
    (root / "d/a").write_text("A")
    (root / "d/run").write_text("#!")
    (root / "d/run").chmod(0o755)
    (root / "d/rel").symlink_to("a")
    (root / "d/up").symlink_to("../f")
    (root / "d/dangling").symlink_to("nowhere")
    (root / "d/sub/b").write_text("B")
    (root / "f").write_text("F")
    (root / "e/sub").mkdir(parents=True)
    (root / "e/a").write_text("old")
    (root / "e/extra").write_text("extra")
    (root / "link").symlink_to("f")
    (root / "dirlink").symlink_to("d")


CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("f", "new/deep/f", {}),
    ("f", "d/a", {}),
    ("f", "d/a", {"force": False}),
    ("f", "d/a", {"force": False, "errorOnExist": True}),
    ("f", "d", {}),
    ("f", "f", {}),
    ("d", "g", {}),
    ("d", "g", {"recursive": True}),
    ("d", "e", {"recursive": True}),
    ("d", "e", {"recursive": True, "force": False}),
    ("d", "f", {"recursive": True}),
    ("d", "d/sub/x", {"recursive": True}),
    ("d", "d", {"recursive": True}),
    ("link", "g", {}),
    ("link", "g", {"dereference": True}),
    ("link", "g", {"verbatimSymlinks": True}),
    ("dirlink", "g", {"recursive": True}),
    ("d", "dirlink", {"recursive": True}),
    ("d", "g", {"recursive": True, "verbatimSymlinks": True}),
    ("missing", "g", {"recursive": True}),
    ("f", "f/x", {}),
    ("link", "e/a", {}),
    ("d/rel", "link", {}),
    ("f", "link", {}),
]


@pytest.mark.skipif(shutil.which("node") is None, reason="compares with Node")
def test_copy_is_that_of_node(tmp_path: Path) -> None:
    work = [(str(tmp_path / f"node{number}"), *case) for number, case in enumerate(CASES)]
    for root, *_ in work:
        Path(root).mkdir()
        landscape(Path(root))
    program = """
        const fs = require('fs'), p = require('path')
        const one = (root, from, to, options) => fs.promises.cp(p.join(root, from), p.join(root, to), options)
        const all = async () => {
          const out = []
          for (const entry of JSON.parse(fs.readFileSync(0)))
            out.push(await one(...entry).then(() => 'ok', () => 'error'))
          console.log(JSON.stringify(out))
        }
        all()"""
    answer = subprocess.run(["node", "-e", program], input=json.dumps(work), capture_output=True, text=True, check=True)
    for (root, source, target, options), theirs in zip(work, json.loads(answer.stdout), strict=True):
        mine = tmp_path / Path(root).name.replace("node", "mine")
        mine.mkdir()
        landscape(mine)
        try:
            copy(mine / source, mine / target, CopyOptions.parse(options))
            ours = "ok"
        except OSError:
            ours = "error"
        assert (ours, tree(mine)) == (theirs, tree(Path(root))), (source, target, options)
