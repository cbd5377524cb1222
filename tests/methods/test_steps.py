"""Variables, JSON files, environment, interaction and desktop methods; and that every method of the spec is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.engine import methods
from orchestrator.engine.answers import Answers
from orchestrator.engine.call import METHODS
from orchestrator.engine.errors import MissingAnswersError, ScriptError
from orchestrator.engine.values import UNDEFINED
from tests.methods.fakes import Bench

NAMES = [
    "fs.write",
    "fs.append",
    "fs.read",
    "fs.cat",
    "fs.rm",
    "fs.remove",
    "fs.copy",
    "fs.make",
    "fs.download",
    "fs.link",
    "fs.share",
    "fs.open",
    "local.set",
    "local.rm",
    "local.import",
    "global.set",
    "global.rm",
    "self.set",
    "self.rm",
    "json.set",
    "json.rm",
    "json.get",
    "set",
    "rm",
    "env.set",
    "env.switch",
    "load",
    "import",
    "key.set",
    "key.get",
    "net",
    "exec",
    "process.wait",
    "gradio.predict",
    "input",
    "modal",
    "notify",
    "push",
    "htmlmodal.open",
    "htmlmodal.update",
    "htmlmodal.close",
    "loading.start",
    "loading.end",
    "filepicker.open",
    "web.open",
    "browser.open",
    "tab.open",
    "uri.open",
    "web.close",
    "browser.close",
    "web.expose",
    "clipboard.copy",
    "clipboard.paste",
    "app.download",
    "github.create",
    "terminal.upload",
    "proxy.stop",
    "cloudflare.tunnel",
]


@pytest.mark.parametrize("name", NAMES)
def test_every_method_is_there(name: str) -> None:
    assert METHODS[name].__doc__


@pytest.mark.parametrize("name", ["local.set", "global.set"])
async def test_set_hands_on_to_memory(bench: Bench, name: str) -> None:
    store = name.partition(".")[0]
    assert await bench(name, {"a.b": 1}) is UNDEFINED
    assert await bench(name, ["whole"]) is UNDEFINED
    assert bench.sidecar.calls == [("set", store, {"a.b": 1}), ("set", store, ["whole"])]
    for params in ("text", 5, None, UNDEFINED):
        with pytest.raises(ScriptError, match="`params`"):
            await bench(name, params)


async def test_rm_and_the_raw_forms(bench: Bench) -> None:
    await bench("local.rm", ["a.b", 1])
    await bench(
        "set", {"local": {"x": 1}, "global": {"g": 2}, "self": {"a.json": {"k": 1}, "b.txt": {"k": 1}}, "key": {"h": 1}}
    )
    await bench("rm", {"global": ["g"], "json": {"a.json": ["k"]}})
    file = str(bench.app / "a.json")
    assert bench.sidecar.calls == [
        ("rm", "local", ["a.b", "1"]),
        ("set", "local", {"x": 1}),
        ("set", "global", {"g": 2}),
        ("edit_json", file, "set", {"k": 1}),
        ("rm", "global", ["g"]),
        ("edit_json", file, "rm", ["k"]),
    ]
    for name, params, wrong in (
        ("local.rm", {"a": 1}, "params"),
        ("rm", {"local": "a"}, "local"),
        ("set", {"json": 5}, "json"),
        ("json.rm", {"a.json": {"k": 1}}, "params.a.json"),
        ("json.set", {"a.json": 7}, "params.a.json"),
    ):
        with pytest.raises(ScriptError, match=f"`{wrong}`"):
            await bench(name, params)


async def test_json_get_and_load(bench: Bench) -> None:
    (bench.app / "x.json").write_text('{"a": 1}')
    await bench("json.get", {"x": "x.json", "none": "none.json", "txt": "plain.txt"})
    assert bench.sidecar.store[(bench.run.path, "local")] == {"x": {"a": 1}, "none": None}
    assert await bench("load", {"x": "x.json", "none": "none.json"}) == {"x": {"a": 1}, "none": None}
    with pytest.raises(ScriptError, match="`x`"):
        await bench("json.get", {"x": 5})
    with pytest.raises(ScriptError, match="never worked"):
        await bench("import", {"x": "x.json"})


async def test_local_import_copies_other_scripts_variables(bench: Bench) -> None:
    await bench.sidecar.memory(str(bench.app / "other.js"), "set", "local", {"url": "u"})
    await bench("local.import", {"other": "other.js", "a.b": "none.js"})
    assert bench.sidecar.store[(bench.run.path, "local")] == {"other": {"url": "u"}, '["a.b"]': {}}


async def test_the_share_variable_is_told(bench: Bench) -> None:
    await bench("local.set", {"url": "http://127.0.0.1:1/?token=abc", "x": 1})
    await bench("global.set", {"url": "no"})
    bench.env.update(PINOKIO_SHARE_VAR="web", PINOKIO_SHARE_CLOUDFLARE="true", PINOKIO_SHARE_LOCAL="0")
    await bench("local.set", {"url": "no", "web": 5})
    assert bench.events("local.url") == [
        {"name": "url", "value": "http://127.0.0.1:1/?token=abc"},
        {"name": "web", "value": 5},
    ]
    bench.env.update(PINOKIO_SHARE_CLOUDFLARE="0", PINOKIO_SHARE_LOCAL="true")
    await bench("local.set", {"web": 6})
    assert bench.text().count("stand in for it") == 1
    assert bench.text().count("nothing is opened to the local network") == 1


async def test_env_set_creates_and_edits_the_file(bench: Bench) -> None:
    await bench("env.set", {"A": "n e w", "HF_TOKEN": "hush", "N": 5, "B": True, "E": None})
    text = (bench.app / "ENVIRONMENT").read_text()
    for line in ("N=5", "B=true", "HF_TOKEN=hush"):
        assert line in text
    assert "hush" not in bench.text()
    await bench("env.set", {"N": "6"})
    assert "N=6" in (bench.app / "ENVIRONMENT").read_text()
    for params, name in (({"A": [1]}, "A"), ({"bad name": "x"}, "bad name"), ({"A": "x\0"}, "A"), ("text", "params")):
        with pytest.raises(ScriptError, match=f"`{name}`"):
            await bench("env.set", params)


async def test_env_set_works_with_the_launcher_in_a_subfolder(bench: Bench) -> None:
    (bench.app / "pinokio").mkdir()
    await bench("env.set", {"A": "1"})
    assert "A=1" in (bench.app / "pinokio/ENVIRONMENT").read_text()
    bench.run.app = None
    with pytest.raises(ScriptError, match="belongs to none"):
        await bench("env.set", {"A": "1"})


@pytest.mark.parametrize(("now", "then"), [(None, "a"), ("", "a"), ("a", "b"), ("c", "a"), ("other", None)])
async def test_env_switch(bench: Bench, now: str | None, then: str | None) -> None:
    if now is not None:
        bench.env["K"] = now
    await bench("env.switch", {"K": ["a", "b", "c"]})
    text = (bench.app / "ENVIRONMENT").read_text() if (bench.app / "ENVIRONMENT").exists() else ""
    assert (f"K={then}" in text) if then else ("K=" not in text)


async def test_input_returns_answers_and_hides_secrets(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "h", Answers({"name": "me", "token": "hush"}))
    form = [{"key": "name"}, {"key": "token", "type": "text"}]
    assert await bench("input", {"title": "Hello <b>you</b>", "form": form}) == {"name": "me", "token": "hush"}
    assert "hush" not in bench.text() + str(bench.sink.events)
    assert bench.events("input.done")[0]["answers"] == {"name": "me", "token": "***"}
    assert "Hello you" in bench.text()
    assert await bench("input", {"title": "x"}) == {}
    assert await bench("input") == {}
    with pytest.raises(MissingAnswersError):
        await bench("input", {"form": [{"key": "other", "required": True}]})
    for params in ({"form": "text"}, {"form": {}}, {"title": 5}, "text"):
        with pytest.raises(ScriptError):
            await bench("input", params)


@pytest.mark.parametrize(
    ("name", "params", "result"),
    [
        ("modal", {"title": "t"}, {}),
        ("loading.start", UNDEFINED, {}),
        ("loading.end", {}, {}),
        ("notify", {"html": "hi <b>there</b>"}, UNDEFINED),
        ("push", {"message": "m"}, UNDEFINED),
        ("htmlmodal.open", {"await": True, "actions": [{"id": "ok"}, {"id": "no"}]}, {"action": "ok"}),
        ("htmlmodal.open", {"await": True}, {"action": "close"}),
        ("htmlmodal.close", {"id": "x"}, {"id": "x"}),
        ("web.open", {"uri": "http://h/?key=k"}, UNDEFINED),
        ("browser.open", {"url": "/"}, UNDEFINED),
        ("tab.open", {"uri": "x"}, UNDEFINED),
        ("uri.open", {"uri": "x"}, {"uri": "x", "result": UNDEFINED}),
        ("web.close", UNDEFINED, UNDEFINED),
        ("browser.close", {}, UNDEFINED),
        ("web.expose", {}, UNDEFINED),
        ("proxy.stop", {}, UNDEFINED),
        ("key.set", {"h": "hush"}, UNDEFINED),
        ("clipboard.paste", UNDEFINED, ""),
        ("cloudflare.tunnel", {"uri": "http://h"}, {"uri": "http://h"}),
    ],
)
async def test_desktop_methods(bench: Bench, name: str, params: Any, result: Any) -> None:
    assert await bench(name, params) == result
    assert "hush" not in bench.text()
    if name.endswith("open") and "modal" not in name:
        assert len(bench.events("open")) == 1


async def test_pages_are_recorded_without_secrets(bench: Bench) -> None:
    await bench("web.open", {"uri": "http://h/?key=k", "target": "_blank"})
    assert bench.events("open") == [{"url": "http://h/?key=***", "target": "_blank"}]
    for params in ({}, {"uri": 5}, UNDEFINED):
        with pytest.raises(ScriptError):
            await bench("web.open", params)


async def test_the_clipboard_is_kept_in_memory(bench: Bench, tmp_path: Path) -> None:
    await bench("clipboard.copy", {"text": "copied"})
    assert await bench("clipboard.paste") == "copied"
    assert await Bench(tmp_path / "another")("clipboard.paste") == ""
    with pytest.raises(ScriptError, match="`text`"):
        await bench("clipboard.copy", {})


@pytest.mark.parametrize("name", ["app.launch", "github.create", "terminal.upload"])
async def test_what_cannot_be_done_is_said(bench: Bench, name: str) -> None:
    with pytest.raises(ScriptError, match="needs the Pinokio desktop"):
        await bench(name, {})


async def test_filepicker(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    assert await Bench(tmp_path / "h", Answers({"filepicker": str(tmp_path / "f")}))("filepicker.open", {}) == {
        "paths": [str(tmp_path / "f")]
    }
    with pytest.raises(MissingAnswersError, match="filepicker"):
        await Bench(tmp_path / "i")("filepicker.open")


def test_every_family_is_found_by_its_methods() -> None:
    modules = {path.stem for path in Path(methods.__file__).parent.glob("*.py")} - {"__init__", "parameters"}
    assert modules == {module for family in methods.FAMILIES.values() for module in family}
    for name, function in methods.load_all().items():
        assert function.__module__.rpartition(".")[2] in methods.FAMILIES[name.partition(".")[0]], name


def test_a_family_is_imported_only_when_it_is_named() -> None:
    code = (
        "import sys; from orchestrator.engine import engine, methods\n"
        "before = {name for name in sys.modules if name.startswith('orchestrator.engine.methods.')}\n"
        "assert methods.find('fs.write') and methods.find('log') and methods.find('nosuch.thing') is None\n"
        "print(sorted(before), *(f'orchestrator.engine.methods.{name}' in sys.modules for name in ('fs', 'net')))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown == "[] True False\n"
