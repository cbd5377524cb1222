"""Metadata, the launcher's folder, and all of it together."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from orchestrator.launcher.launcher import read_launcher
from orchestrator.launcher.metadata import launcher_folder, launcher_root, merge, read_metadata


@pytest.mark.parametrize(
    ("files", "root"),
    [
        (["pinokio.js"], ""),
        (["pinokio/pinokio.js"], "pinokio"),
        (["pinokio.js", "pinokio/pinokio.js"], ""),
        (["start.js"], None),
        (["pinokio/start.js"], None),
    ],
)
def test_where_the_launcher_is(tmp_path, files, root):
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert launcher_root(tmp_path) == root
    assert launcher_folder(tmp_path) == tmp_path / (root or "")


def test_later_files_win_key_by_key():
    merged = merge({"title": "js", "icon": "a.png"}, {"title": "meta", "links": []}, {"title": "json"})
    assert merged == {"title": "json", "icon": "a.png", "links": []}


def test_metadata_with_wrong_types():
    assert (
        read_metadata({"title": ["x"], "version": 3.7, "pre": ["text", {"href": "x"}], "icon": None}).version == "3.7"
    )
    metadata = read_metadata({"title": " A ", "description": {"$undefined": True}, "pre": {"a": 1}, "path": "plugin"})
    assert (metadata.title, metadata.description, metadata.pre, metadata.plugin) == ("A", "", (), True)
    assert read_metadata({"pre": ["text", {"href": "x"}]}).pre == ({"href": "x"},)


def test_a_launcher_below_its_app(tmp_path):
    folder = tmp_path / "demo" / "pinokio"
    folder.mkdir(parents=True)
    for name in ("pinokio.js", "install.js", "start.js"):
        (folder / name).write_text("")
    menu = [{"text": "Install", "href": "/api/demo/pinokio/install.js", "default": True}]
    launcher = read_launcher({"root": "pinokio", "metadata": {"title": "Demo"}, "menu": menu}, tmp_path / "demo")
    assert launcher.metadata.title == "Demo"
    assert launcher.scripts.stage == "install"
    assert launcher.scripts.install is not None
    assert launcher.path(launcher.scripts.install) == folder / "install.js"


def test_objects_and_failures_of_the_evaluation(tmp_path):
    (tmp_path / "start.js").write_text("")
    result = SimpleNamespace(root="", metadata={"title": "x"}, menu=[{"text": "Start", "href": "start.js"}])
    assert read_launcher(result, tmp_path).scripts.stage == "start"
    failed = read_launcher(None, tmp_path)
    assert failed.scripts.start is not None
    assert failed.scripts.stage == "unknown"
