"""Metadata, the launcher's folder, and all of it together."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from orchestrator.engine.hardware import HardwareProfile
from orchestrator.engine.javascript import MenuState, Sidecar, SidecarConfig
from orchestrator.launcher.launcher import read_launcher
from orchestrator.launcher.metadata import launcher_root, read_metadata


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
    launcher = read_launcher({"root": "pinokio", "meta": {"title": "Demo"}, "items": menu}, tmp_path / "demo")
    assert launcher.metadata.title == "Demo"
    assert launcher.scripts.stage == "install"
    assert launcher.scripts.install is not None
    assert launcher.path(launcher.scripts.install) == folder / "install.js"


def test_objects_and_failures_of_the_evaluation(tmp_path):
    (tmp_path / "start.js").write_text("")
    result = SimpleNamespace(root="", meta={"title": "x"}, items=[{"text": "Start", "href": "start.js"}])
    assert read_launcher(result, tmp_path).scripts.stage == "start"
    failed = read_launcher(None, tmp_path)
    assert failed.scripts.start is not None
    assert failed.scripts.stage == "unknown"


MENU = """
module.exports = {
  title: "Demo",
  menu: async (kernel, info) => {
    const install = { default: true, text: "Install", href: "install.js", params: { fast: true, n: 1 } }
    const open = { default: true, text: "Open", href: info.local("start.js").url }
    if (!info.exists("env")) return [install]
    if (info.running("start.js") && open.href) return [open, { text: "Terminal", href: "start.js" }]
    return [
      { when: "start.js", on: "Running", href: "start.js?live=1" },
      { when: "start.js", off: "<i></i> Start", href: "start.js?mode=fast" },
      { text: "Models", menu: [{ text: "Get one", href: "download-one.js" }] },
      { text: "Reset", href: "reset.js", confirm: "Sure?" },
    ]
  },
}
"""


@pytest.mark.parametrize("root", ["", "pinokio"])
async def test_the_life_of_an_app_through_the_sidecar(tmp_path, root):
    app = tmp_path / "api" / "demo"
    folder = app / root
    folder.mkdir(parents=True)
    (folder / "pinokio.js").write_text(MENU)
    for name in ("install.js", "start.js"):
        (folder / name).write_text("module.exports = {run: []}")
    start = str(folder / "start.js")
    sidecar = await Sidecar.start(SidecarConfig(str(tmp_path), HardwareProfile(), {}))
    try:
        fresh = read_launcher(await sidecar.menu(str(app), state=MenuState()), app)
        (folder / "env").mkdir()
        idle = read_launcher(await sidecar.menu(str(app), state=MenuState()), app)
        state = MenuState(running={start: True}, local={start: {"url": "http://127.0.0.1:1"}})
        running = read_launcher(await sidecar.menu(str(app), state=state), app)
        starting = read_launcher(await sidecar.menu(str(app), state=MenuState(running={start: True})), app)
    finally:
        await sidecar.close()
    assert (fresh.metadata.title, fresh.folder, fresh.scripts.stage) == ("Demo", folder, "install")
    assert fresh.scripts.install is not None
    assert fresh.scripts.install.args == {"fast": "true", "n": "1"}
    assert [item.text for item in idle.menu.items] == ["Start", "Models", "Get one", "Reset"]
    assert idle.scripts.start is not None
    assert (idle.scripts.stage, idle.scripts.start.args) == ("start", {"mode": "fast"})
    assert [each.path for each in idle.scripts.others] == ["download-one.js"]
    assert (running.scripts.stage, running.menu.url) == ("running", "http://127.0.0.1:1")
    assert starting.menu.items[0].text == "Running"
