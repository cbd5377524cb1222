"""Runs: opening scripts, memory, functions of launchers, `kernel` and `info`, values that only JavaScript holds."""

# ruff: noqa: E501  # JavaScript stands on one line; small files are read in place

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.engine.errors import JavaScriptError, LoadError, ScriptError
from orchestrator.engine.javascript import MenuState, Sidecar
from orchestrator.engine.values import UNDEFINED, Match, Opaque

from .conftest import TestHost, write


async def test_opened_describes_the_script(sidecar: Sidecar, home: Path) -> None:
    app = write(
        home / "api" / "x",
        {
            "a.js": """module.exports = async kernel => ({
        version: '3', title: 'T', daemon: 1, env: [{key: 'A'}, 'no'], pre: [{env: 'B'}], requires: {bundle: 'ai'}, on: {stop: {method: 'log'}},
        install: [{method: 'log'}], run: async (kernel, info, context) => [{id: 'first', method: 'log', params: {text: context.cwd + context.name}}, {method: 'log'}] })"""
        },
    )
    opened = await sidecar.open("r", str(app / "a.js"))
    assert (opened.steps, opened.ids, opened.daemon, opened.title, opened.version) == (
        2,
        ["first", None],
        True,
        "T",
        "3",
    )
    assert (opened.env, opened.pre, opened.requires, opened.on_stop) == (
        [{"key": "A"}],
        [{"env": "B"}],
        {"bundle": "ai"},
        {"method": "log"},
    )
    assert opened.actions == ["install", "run"]
    assert (await sidecar.step("r", 0)).params == {"text": f"{app}x"}


@pytest.mark.parametrize(("text", "message"), [
    ("module.exports = {", "does not load: SyntaxError"), ("throw new Error('boom')", "does not load: Error: boom"),
    ("module.exports = {run: []}", "missing or invalid attribute: run"), ("module.exports = {run: () => 1}", "missing or invalid attribute: run"),
    ("module.exports = 'x'", "does not give an object, but string"), (None, "does not exist"),
])  # fmt: skip
async def test_scripts_that_do_not_open(sidecar: Sidecar, home: Path, text: str | None, message: str) -> None:
    if text is not None:
        write(home, {"a.js": text})
    with pytest.raises(LoadError, match=message):
        await sidecar.open("r", str(home / "a.js"))


async def test_not_installed_gives_one_notification(sidecar: Sidecar, home: Path) -> None:
    write(home, {"a.js": "module.exports = {run: [{}, {}], install: [{}], installed: async () => false}"})
    assert (await sidecar.open("r", str(home / "a.js"))).steps == 1
    assert (await sidecar.step("r", 0)).method == "notify"


async def test_names_in_templates(sidecar: Sidecar, home: Path) -> None:
    names = {
        "{{input}}": "{{input}}", "{{args.k}}": 1, "{{exists('here.txt')}}": True, "{{exists('no')}}": False, "{{self.note}}": "N", "{{name}}": "x",
        "{{cwd === dirname}}": True, "{{env.K}}": "V", "x {{envs.K}}": "x V", "{{gpu}}": "nvidia", "{{gpus[0].model}}": "ad102 [geforce rtx 4090]", "{{current}}": 0,
        "{{next}}": None, "{{graphics.controllers[0].vendor}}": "nvidia corporation", "{{_.last([1,2])}}": 2, "{{os.platform()}}": "linux", "{{Boolean(running('a.js'))}}": True,
        "{{uri}}": "a.js", "{{global.x}}": "G", "{{port}}": 5, "{{shell}}": "bash", "{{ready('a.js')}}": False, "{{local.x}}": "{{local.x}}", "{{vram + ram}}": 88,
        "{{typeof kernel.shell.run}}": "function", "{{pip.install.torch.startsWith('pip3 install torch')}}": True, "{{key('no.such')}}": "{{key('no.such')}}",
    }  # fmt: skip
    app = write(
        home / "api" / "x",
        {
            "here.txt": "",
            "a.js": f"module.exports = {{note: 'N', run: [{{method: 'log', params: {{r: {json.dumps(list(names))}}}}}]}}",
        },
    )
    sidecar.set_env(str(app), {"K": "V"})
    sidecar.set_state(str(app / "a.js"), running=True, ready=False)
    await sidecar.open("r", str(app / "a.js"), payload={"k": 1}, uri="a.js")
    await sidecar.memory("r", "set", "global", {"x": "G"})
    got = (await sidecar.step("r", 0, input=UNDEFINED, port=lambda: 5)).params["r"]
    assert dict(zip(names, got, strict=True)) == names


async def test_self_follows_edits_and_steps_do_not(sidecar: Sidecar, home: Path) -> None:
    write(
        home,
        {
            "lib.js": "module.exports = 1",
            "a.js": "module.exports = {v: require('./lib'), run: [{method: 'log', params: {v: '{{self.v}}', s: 'old'}}]}",
        },
    )
    await sidecar.open("r", str(home / "a.js"))
    write(home, {"lib.js": "module.exports = 2"})
    assert (await sidecar.step("r", 0)).params == {"v": 2, "s": "old"}
    write(home, {"a.js": "module.exports = {v: 3, run: [{method: 'log', params: {s: 'new'}}]}"})
    assert (await sidecar.step("r", 0)).params == {"v": 3, "s": "old"}
    write(home, {"a.js": "module.exports = {"})
    broken = await sidecar.step("r", 0)
    assert broken.params == {"v": 3, "s": "old"}
    assert "is that of the last step" in broken.warnings[0]


async def test_es_modules_are_read_again(sidecar: Sidecar, home: Path) -> None:
    write(home, {"lib.js": "export const n = 1", "a.js": "import {n} from './lib.js'; export default {n}"})
    assert await sidecar.load(str(home / "a.js")) == {"n": 1}
    write(home, {"lib.js": "export const n = 1 + 10"})
    assert await sidecar.load(str(home / "a.js")) == {"n": 11}


async def test_inline_functions(sidecar: Sidecar, home: Path, host: TestHost) -> None:
    app = write(
        home / "api" / "x",
        {
            "a.js": """let count = 0; module.exports = {run: [
      {method: async (req, ondata, kernel) => { ondata({raw: 'said'}); console.log('printed'); req.next = 'z'; return {n: req.params.n, input: req.input, cwd: req.cwd, total: req.total,
        path: req.parent.path, port: await kernel.port(), f: () => 'live', d: new Date(0), u: undefined} }, params: {n: '{{1 + 1}}'}},
      {id: 'z', method: 'log', params: {text: '{{input.f()}} {{input.d.getTime()}}!', f: '{{input.f}}'}},
      {method: req => { throw new TypeError('no') }}]}"""
        },
    )
    await sidecar.open("r", str(app / "a.js"))
    rendered = await sidecar.step("r", 0, input={"k": b"\x00"})
    assert isinstance(rendered.method, Opaque)
    result = await sidecar.call("r", 0)
    assert (result.next, result.redirected) == (1, True)
    value = result.value
    assert (value["n"], value["input"], value["cwd"], value["total"], value["path"], value["port"]) == (
        2,
        {"k": b"\x00"},
        str(app),
        3,
        str(app / "a.js"),
        42003,
    )
    assert value["u"] is UNDEFINED
    assert value["d"].encoded["text"] == "1970-01-01T00:00:00.000Z"
    assert host.printed == [("r", "said"), ("r", "printed\r\n")]
    assert (await sidecar.step("r", 1, input=value)).params["text"] == "live 0!"
    await sidecar.step("r", 2)
    with pytest.raises(JavaScriptError, match="no") as caught:
        await sidecar.call("r", 2)
    assert caught.value.name == "TypeError"
    assert "a.js" in caught.value.stack


async def test_uri_modules_keep_state_until_they_change_or_the_run_ends(sidecar: Sidecar, home: Path) -> None:
    module = "module.exports = class { n = 0; add(req) { return this.n += req.params.by } }"
    write(
        home,
        {
            "m.js": module,
            "a.json": json.dumps(
                {
                    "run": [
                        {"uri": "m.js", "method": "add", "params": {"by": 2}},
                        {"uri": "m.js", "method": "no"},
                        {"uri": "gone.js", "method": "x"},
                    ]
                }
            ),
        },
    )

    async def add(run: str) -> Any:
        await sidecar.step(run, 0)
        return (await sidecar.call(run, 0)).value

    await sidecar.open("r", str(home / "a.json"))
    assert [await add("r"), await add("r")] == [2, 4]
    write(home, {"m.js": module.replace("n = 0", "n = 100")})
    assert await add("r") == 102
    await sidecar.close_run("r")
    await sidecar.open("s", str(home / "a.json"))
    assert await add("s") == 102
    for index, message in ((1, "`m.js` has no method `no`"), (2, "`gone.js` does not exist")):
        await sidecar.step("s", index)
        with pytest.raises(ScriptError, match=message):
            await sidecar.call("s", index)


async def test_runs_that_ask_for_a_module_at_once_get_the_same_instance(sidecar: Sidecar, home: Path) -> None:
    write(
        home,
        {
            "m.js": "let n = 0; exports.add = () => ++n",
            "a.json": '{"run": [{"uri": "m.js", "method": "add"}]}',
            "busy.js": "module.exports = {run: [{method: () => { for (const end = Date.now() + 200; Date.now() < end;); }}]}",
        },
    )
    for run, script in (("busy", "busy.js"), ("r", "a.json"), ("s", "a.json")):
        await sidecar.open(run, str(home / script))
        await sidecar.step(run, 0)
    # what is asked while the first one computes is read in one go
    _, *results = await asyncio.gather(*(sidecar.call(run, 0) for run in ("busy", "r", "s")))
    assert [result.value for result in results] == [1, 2]


async def test_kernel_methods_and_requests_that_are_no_steps(sidecar: Sidecar, home: Path, host: TestHost) -> None:
    write(
        home,
        {
            "m.js": "exports.bye = (req, ondata) => { ondata({raw: 'bye ' + req.params.x}) }",
            "a.json": '{"run": [{"method": "kernel.bin.path"}, {"method": "kernel.no.such"}]}',
        },
    )
    await sidecar.open("r", str(home / "a.json"))
    with pytest.raises(ScriptError, match=r"there is no method `kernel.no.such`"):
        await sidecar.call_request("r", {"method": "kernel.no.such"})
    await sidecar.call_request("r", {"uri": "m.js", "method": "bye", "params": {"x": 1}})
    assert host.printed == [("r", "bye 1")]


async def test_memory(sidecar: Sidecar, home: Path) -> None:
    write(home, {"a.json": '{"run": [{"method": "log", "params": "{{local}}"}]}'})
    path = str(home / "a.json")
    await sidecar.open("r", path)
    await sidecar.memory(
        "r", "set", "local", {"a.b.c": 1, "list": [1, 2], "obj": {"x": 1}, '["k.with.dot"]': 7, "e": UNDEFINED}
    )
    await sidecar.memory(
        "r", "set", "local", {"a.b.d": 2, "list.0": "zero", "new.1": "i", "e.deep": 1, "__proto__.polluted": 1}
    )
    await sidecar.memory("r", "rm", "local", ["obj.x", "list.1", "nosuch.deep"])
    assert await sidecar.snapshot(path) == {
        "a": {"b": {"c": 1, "d": 2}},
        "list": ["zero"],
        "obj": {},
        "k.with.dot": 7,
        "new": {"1": "i"},
        "e": {"deep": 1},
    }
    assert (await sidecar.step("r", 0)).params["list"] == ["zero"]
    assert await sidecar.memory("r", "get", "local", ["a.b.c"]) == {"a.b.c": 1}
    assert await sidecar.render("{{({}).polluted}}") == "{{({}).polluted}}"
    await sidecar.memory("r", "set", "global", {"g": 1})
    await sidecar.memory(path, "set", "local", ["whole", "array"])
    assert await sidecar.memory(path, "get", "local") == ["whole", "array"]
    await sidecar.close_run("r", forget_local=True)
    assert await sidecar.snapshot(path) == {}
    assert await sidecar.memory(path, "get", "global") == {"g": 1}, "`global` outlives a run"


async def test_json_files(sidecar: Sidecar, home: Path) -> None:
    path = home / "out" / "x.json"
    await sidecar.edit_json(str(path), "set", {"a.b": 1, "c": [1]})
    await sidecar.edit_json(str(path), "rm", ["a.b", "c.0"])
    assert path.read_text() == '{\n  "a": {},\n  "c": []\n}'
    await sidecar.edit_json(str(path), "set", [1, 2])
    await sidecar.edit_json(str(path), "set", {"[0]": "first", "[3]": {"k": 1}})
    assert await sidecar.read_json(str(path)) == ["first", 2, None, {"k": 1}]
    await sidecar.edit_json(str(home / "plain.txt"), "set", {"a": 1})
    assert not (home / "plain.txt").exists()
    assert await sidecar.read_json(str(home / "none.json")) is None
    write(home, {"bad.json": "{"})
    with pytest.raises(JavaScriptError, match=r"bad\.json is not valid JSON"):
        await sidecar.edit_json(str(home / "bad.json"), "set", {"a": 1})


async def test_kernel(sidecar: Sidecar, home: Path, host: TestHost) -> None:
    app = write(
        home / "api" / "x",
        {
            "data.json": "[1]",
            "f.js": "module.exports = k => ({p: k.platform})",
            "a.js": """const path = require('path'); module.exports = {run: async (kernel, info) => [{
      method: 'log', params: { r: [
        kernel.platform, kernel.gpu_model, kernel.gpus.find(x => / 40.+/.test(x.model)) !== undefined, await kernel.exists('api', 'x', 'a.js'), kernel.path('a'),
        kernel.running(__dirname, 'a.js'), kernel.local(__dirname, 'b.js').url, kernel.memory.local[path.resolve(__dirname, 'b.js')].url, kernel.script.running('~/api/x', 'a.js'),
        kernel.which('sh') !== null, kernel.which('nosuch'), await kernel.port(), await kernel.port(5), await kernel.ports(2), await kernel.load('api/x/data.json'),
        await kernel.require('none.json'), (await kernel.loader.load(__dirname + '/f.js')).resolved.p, kernel.loader.load(__dirname + '/data.json').resolved,
        kernel.bin.path('m'), kernel.envs.K, (await kernel.env()).K, (await kernel.system.graphics()).controllers[0].vendor, (await kernel.system.cpu()).cores > 0,
        (await kernel.shell.run({message: 'ls'})).stdout, (await kernel.exec({message: 'ls'})).stdout, kernel.status('a.js', __dirname), kernel.api.running[__filename] ] } }]}""",
        },
    )
    sidecar.set_env(str(app), {"K": "V", "PATH": "/usr/bin:/bin"})
    sidecar.set_state(str(app / "a.js"), running=True, ready=True)
    await sidecar.memory(str(app / "b.js"), "set", "local", {"url": "U"})
    await sidecar.open("r", str(app / "a.js"))
    assert (await sidecar.step("r", 0)).params["r"] == [
        "linux", "ad102 [geforce rtx 4090]", True, True, f"{home}/a", True, "U", "U", True, True, None, 42003, True, [42003, 42004], [1], None, "linux", [1],
        f"{home}/bin/m", "V", "V", "nvidia corporation", True, "out", "out", True, True]  # fmt: skip
    assert [(op, payload["run"]) for op, payload in host.asked][-1] == ("exec", "r")


async def test_info_starts_from_the_file_that_holds_the_call(sidecar: Sidecar, home: Path) -> None:
    app = write(
        home / "api" / "x",
        {
            "sub/h.js": "exports.ask = info => info.exists('only-sub') + ' ' + info.path('a')",
            "sub/only-sub": "",
            "env/bin/python": "",
            "pinokio.js": """const h = require('./sub/h'); module.exports = {menu: async (kernel, info) => { await null; return [{href: 'a', r: [
        h.ask(info), info.exists('only-sub'), info.path('q'), info.caller(), info.cwd(), info.running('start.js'), info.running('no.js'), info.local('start.js').url, info.local('no.js'),
        info.ready('start.js'), await info.venv('.'), Object.keys(info.scriptsByApi()), [1].map(() => info.exists('sub/h.js'))[0]]}] }}""",
        },
    )
    start = str(app / "start.js")
    state = MenuState(running={start: True}, ready={start}, local={start: {"url": "http://127.0.0.1:7860"}})
    menu = await sidecar.menu(str(app), state=state)
    assert menu.error is None
    assert menu.items[0]["r"] == [
        f"true {app}/sub/a",
        False,
        f"{app}/q",
        f"{app}/pinokio.js",
        str(app),
        True,
        False,
        "http://127.0.0.1:7860",
        {},
        True,
        [f"{app}/env"],
        ["x"],
        True,
    ]


async def test_menu(sidecar: Sidecar, home: Path) -> None:
    app = write(
        home / "api" / "x",
        {
            "pinokio.json": '{"title": "J"}',
            "pinokio.js": """module.exports = class { title = 'T'; icon = 'i.png'; version = '3.0'; menu = (kernel, info) => new Promise(done => done([
      {text: 'A', href: 'install.js?mode=x', params: {n: 1}, default: true}, {text: 'label only'}, {type: 'label', text: 'L', href: 'x'}, {text: 'hidden', href: 'h', filter: () => false},
      {text: 'shown', href: 'http://127.0.0.1:1', filter: async () => true}, {text: 'more', menu: [{text: 'deep', href: '/asset/x'}, null]}, {href: 'out', fs: true},
      {shell: {message: 'echo {{gpu}}'}, text: 's', f: () => 1, u: undefined}, {when: 'a.js', on: 'ON', off: 'OFF', href: 'a.js'}, 'text', null, {base: '/b/', href: 'c'} ])) }""",
        },
    )
    menu = await sidecar.menu(str(app))
    assert menu.meta == {"title": "J", "icon": "i.png", "version": "3.0"}
    assert (menu.root, menu.found, menu.error) == ("", True, None)
    assert menu.items == [
        {
            "text": "A",
            "href": "install.js?mode=x",
            "params": {"n": 1},
            "default": True,
            "link": "/api/x/install.js?mode=x",
            "path": f"{app}/install.js",
            "query": {"mode": "x", "n": "1"},
        },
        {"text": "shown", "href": "http://127.0.0.1:1", "link": "http://127.0.0.1:1"},
        {"text": "more", "menu": [{"text": "deep", "href": "/asset/x", "link": "/asset/x", "query": {}}]},
        {"href": "out", "fs": True, "link": f"{app}/out", "path": f"{app}/out", "query": {}},
        {"shell": {"message": "echo nvidia"}, "text": "s"},
        {
            "when": "a.js",
            "on": "ON",
            "off": "OFF",
            "href": "a.js",
            "text": "OFF",
            "link": "/api/x/a.js",
            "path": f"{app}/a.js",
            "query": {},
        },
        {"base": "/b/", "href": "c", "link": "/b/c"},
    ]


async def test_menus_that_fail(sidecar: Sidecar, home: Path) -> None:
    write(home / "api" / "inner", {"pinokio/pinokio.js": "module.exports = {menu: [{href: 'a.js'}]}"})
    inner = await sidecar.menu(str(home / "api" / "inner"))
    assert (inner.root, inner.items[0]["path"], inner.items[0]["link"]) == (
        "pinokio",
        f"{home}/api/inner/pinokio/a.js",
        "/api/inner/pinokio/a.js",
    )
    write(
        home / "api" / "throws",
        {"pinokio.js": "module.exports = {title: 'T', menu: () => { throw new Error('boom') }}"},
    )
    throws = await sidecar.menu(str(home / "api" / "throws"))
    assert (throws.items, throws.meta, throws.error) == (
        [],
        {"title": "T"},
        "the menu of throws fails: Error: boom (pinokio.js:1)"
        if "(" in str(throws.error)
        else "the menu of throws fails: Error: boom",
    )
    write(home / "api" / "broken", {"pinokio.js": "module.exports = {"})
    broken = await sidecar.menu(str(home / "api" / "broken"))
    assert (broken.items, broken.found) == ([], False)
    assert "SyntaxError" in str(broken.error)
    write(home / "api" / "none", {"x": ""})
    none = await sidecar.menu(str(home / "api" / "none"))
    assert (none.items, none.meta, none.found, none.error) == ([], {}, False, None)


async def test_values_go_round(sidecar: Sidecar, home: Path) -> None:
    write(home, {"a.json": '{"run": [{"method": "log", "params": {"v": "{{input}}"}}]}'})
    await sidecar.open("r", str(home / "a.json"))
    match = Match(("a", UNDEFINED), 3, {"n": UNDEFINED}, "xxxa")
    for value in (
        None,
        True,
        0,
        -1.5,
        "é\U0001f600",
        "\u2028",
        b"\x00\xff",
        match,
        {"a": [{}, []]},
        {"$": 1},
        float("nan"),
        2**60,
    ):
        got = (await sidecar.step("r", 0, input=value)).params["v"]
        expected = None if value != value else value  # noqa: PLR0124  # JSON has no NaN
        assert got == expected or (isinstance(value, int) and float(got) == float(value))


async def test_a_port_is_looked_for_only_where_it_is_asked_for(sidecar: Sidecar, home: Path) -> None:
    asked: list[int] = []

    def port() -> int:
        asked.append(42017)
        return 42017

    texts = ["no {{platform}}", "a {{port}}", "b {{args.later}}", "c {{local.x}}"]
    app = write(home, {"a.json": json.dumps({"run": [{"method": "log", "params": {"text": text}} for text in texts]})})
    await sidecar.open("p", str(app / "a.json"), payload={"later": "{{port + 1}}"})
    shown = [(await sidecar.step("p", index, port=port)).params["text"] for index in range(4)]
    assert shown == ["no linux", "a 42017", "b 42018", "c {{local.x}}"]
    assert asked == [42017, 42017]
