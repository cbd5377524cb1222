"""What a confined launcher can do, and what it cannot: through JavaScript, and when that is broken through the kernel."""

# ruff: noqa: E501, ASYNC240, PTH110  # JavaScript stands on one line; small files are read in place

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from orchestrator.engine import confinement
from orchestrator.engine.confinement import Confinement
from orchestrator.engine.errors import SidecarError
from orchestrator.engine.javascript import Sidecar, SidecarConfig

from .conftest import LONG, NVIDIA, until, write

TRY = "const t = f => { try { return f() } catch (e) { return 'ERR ' + e.code + ' ' + e.message } };"


@pytest_asyncio.fixture
async def confined(home: Path) -> AsyncIterator[Sidecar]:
    started = await Sidecar.start(SidecarConfig.confined_for(str(home), NVIDIA, request_timeout=LONG))
    yield started
    await started.close()


async def results(sidecar: Sidecar, home: Path, body: str, app: str = "x") -> Any:
    """Evaluate expressions in a menu and return what they gave."""
    write(
        home / "api" / app,
        {
            "pinokio.js": f"{TRY} module.exports = {{menu: async (kernel, info) => [{{text: 'a', href: 'b', r: [{body}]}}]}}"
        },
    )
    menu = await sidecar.menu(str(home / "api" / app))
    assert menu.error is None
    return menu.items[0]["r"]


async def test_files_of_the_app_only(confined: Sidecar, home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "secret"
    outside.write_text("secret")
    write(home / "api" / "x", {"data.json": '{"a": 1}'})
    (home / "api" / "x" / "link").symlink_to(outside)
    (home / "api" / "x" / "folder").symlink_to(outside.parent)
    found = await results(
        confined,
        home,
        f"""
        t(() => require('fs').readFileSync(__dirname + '/data.json', 'utf8')), t(() => require('./data.json').a),
        t(() => require('fs').readFileSync('/etc/passwd')), t(() => require('fs').readFileSync('{outside}')),
        t(() => require('fs').readFileSync(__dirname + '/link')), t(() => require('fs').readFileSync(__dirname + '/folder/secret')),
        t(() => require('fs').existsSync('/etc/passwd')), t(() => require('fs').existsSync(__dirname + '/link')),
        t(() => require('fs').existsSync(__dirname + '/data.json')), t(() => info.exists('data.json')), await kernel.exists('/etc/passwd'),
        await require('fs').promises.readFile('/etc/passwd').catch(e => 'ERR ' + e.code),
        await new Promise(done => require('fs').readFile('/etc/passwd', e => done('ERR ' + e.code))),
        t(() => require('fs').statSync('/etc/passwd', {{throwIfNoEntry: false}}) === undefined),
        t(() => new (require('fs').ReadStream)('/etc/passwd') && 'opened later')""",
    )
    assert found[0:2] == ['{"a": 1}', 1]
    assert all(text.startswith("ERR EACCES fs.readFileSync of") for text in found[2:6])
    assert "while pinoctl plans or evaluates menus" in found[2]
    assert found[6:11] == [False, False, True, True, False]
    assert found[11:14] == ["ERR EACCES", "ERR EACCES", True]


async def test_forbidden_modules_load_and_their_calls_fail(confined: Sidecar, home: Path) -> None:
    calls = {
        "require('child_process').execSync('id')": "child_process.execSync",
        "require('node:child_process').spawn('id')": "child_process.spawn",
        "process.getBuiltinModule('child_process').execSync('id')": "child_process.execSync",
        "require('net').connect(80, '127.0.0.1')": "net.connect",
        "new (require('net').Socket)().connect(80, '127.0.0.1')": "net.Socket.connect",
        "require('net').createServer().listen(0)": "net.createServer",
        "new (require('net').Server)().listen(0)": "net.Server.listen",
        "require('http').get('http://127.0.0.1')": "http.get",
        "require('https').request('https://127.0.0.1')": "https.request",
        "require('tls').connect(443)": "tls.connect",
        "require('dgram').createSocket('udp4')": "dgram.createSocket",
        "require('dns').lookup('localhost', () => {})": "dns.lookup",
        "new (require('worker_threads').Worker)('1', {eval: true})": "worker_threads.Worker",
        "require('inspector').open(0)": "inspector.open",
        "require('v8').getHeapSnapshot()": "v8.getHeapSnapshot",
        "process.binding('fs')": "process.binding",
        "require('vm').runInThisContext(\"process.binding('fs')\")": "process.binding",
        "process.dlopen({exports: {}}, '/x.node')": "process.dlopen",
        "process.kill(process.ppid, 0)": "process.kill",
        "process.abort()": "process.abort",
        "process.exit(3)": "process.exit",
        "require('fs').writeFileSync(__dirname + '/x', '')": "fs.writeFileSync",
        "require('fs').openSync(__dirname + '/x', 'w')": "fs.openSync",
    }
    found = await results(
        confined,
        home,
        ", ".join(f"t(() => {call})" for call in calls) + ", await fetch('http://127.0.0.1').catch(e => e.message)",
    )
    for (call, name), text in zip(calls.items(), found, strict=False):
        assert isinstance(text, str), call
        assert text.startswith("ERR"), call
        assert name in text, call
    assert found[-1].startswith("fetch: launchers may not")
    assert not (home / "api" / "x" / "x").exists()


@pytest.mark.parametrize("way", ["import", "import()"])
async def test_es_modules_get_the_same_guards(confined: Sidecar, home: Path, way: str) -> None:
    source = {
        "import": "import {execSync} from 'child_process'; import {readFileSync} from 'fs';",
        "import()": "const {execSync} = require('child_process'); const {readFileSync} = require('fs');",
    }[way]
    export = "export default" if way == "import" else "module.exports ="
    write(
        home / "api" / "x",
        {
            "pinokio.js": f"{source} {TRY} {export} {{menu: async () => [{{href: 'b', r: [t(() => execSync('id')), t(() => readFileSync('/etc/passwd')), "
            "(await import('node:child_process')).execSync === execSync]}]}"
        },
    )
    menu = await confined.menu(str(home / "api" / "x"))
    assert menu.items[0]["r"][0].startswith("ERR EPERM")
    assert menu.items[0]["r"][1].startswith("ERR EACCES")
    assert menu.items[0]["r"][2] is True


async def test_environment_is_clean(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    sidecar = await Sidecar.start(SidecarConfig.confined_for(str(home), NVIDIA))
    try:
        [env, argv] = await results(sidecar, home, "{...process.env}, process.argv.length + process.execArgv.length")
        assert "HF_TOKEN" not in env
        assert set(env) <= {
            "PATH",
            "LANG",
            "LC_ALL",
            "TZ",
            "HOME",
            "PINOKIO_HOME",
            "NODE_DISABLE_COMPILE_CACHE",
            "PINOCTL_SIDECAR",
        }
        assert argv == 1
        assert "hf_secret" not in Path(f"/proc/{sidecar.pid}/environ").read_text()
    finally:
        await sidecar.close()


async def test_which_still_answers(confined: Sidecar, home: Path) -> None:
    found = await results(
        confined, home, "kernel.which('sh'), kernel.which('nosuch-program'), kernel.which('/etc/../bin/sh')"
    )
    assert found[0].endswith("/sh")
    assert found[1:] == [None, None]


FORGE = """
  const fs = require('fs');
  for (let fd = 0; fd < 40; fd++) {
    try { fs.writeSync(fd, '{"id":1,"ok":{"items":[{"href":"evil"}]}}\\n') } catch {}
    try { fs.closeSync(fd) } catch {}
    try { fs.readSync(fd, Buffer.alloc(10)) } catch {}
  }
  const evil = {items: [{href: 'evil'}]};
  JSON.stringify = () => JSON_EVIL; const JSON_EVIL = '{"items":[{"href":"evil"}]}';
  JSON.parse = () => evil;
  Object.prototype.toJSON = () => evil;
  Array.prototype.join = () => 'evil'; Array.prototype.map = () => [evil]; String.prototype.indexOf = () => 0; String.prototype.slice = () => 'evil';
  Buffer.from = () => 'evil'; Buffer.prototype.toString = () => 'evil';
  Object.defineProperty(Object.prototype, 'error', {get: () => 'evil', configurable: true});
"""


async def test_the_protocol_cannot_be_forged(confined: Sidecar, home: Path) -> None:
    write(
        home / "api" / "bad",
        {"pinokio.js": f"{FORGE} module.exports = {{title: 'bad', menu: [{{text: 'mine', href: 'mine.js'}}]}}"},
    )
    menu = await confined.menu(str(home / "api" / "bad"))
    assert [item["href"] for item in menu.items] in ([], ["mine.js"], ["evil"])  # its own menu is its own affair
    before = confined.pid
    found = await results(confined, home, "1 + 1", app="good")
    assert found == [2]
    assert confined.pid != before, "the next app got a realm that another one had changed"


async def test_the_secret_is_out_of_reach(confined: Sidecar, home: Path) -> None:
    [text] = await results(
        confined,
        home,
        """(() => {
        const seen = new Set(), out = [];
        const walk = (value, depth) => {
          if (depth > 6 || value === null || !/object|function/.test(typeof value) || seen.has(value)) return;
          seen.add(value);
          for (const key of Reflect.ownKeys(value)) { let item; try { item = value[key] } catch { continue }
            if (typeof item === 'string') out.push(item); else walk(item, depth + 1) }
        };
        for (const root of [globalThis, process, require, module, require.main, require('module'), kernel, info]) walk(root, 0);
        out.push(Buffer.from(Buffer.from('x').buffer).toString('latin1'));
        return out.join('\\n')
    })()""",
    )
    assert confined._channel is not None
    assert confined._channel.secret not in text
    assert len(text) > 1000


async def test_a_line_without_the_secret_ends_the_process(home: Path, sidecar: Sidecar) -> None:
    assert sidecar._channel is not None
    pipe = os.fstat(sidecar._channel.process.replies).st_ino  # both ends of a pipe have one inode
    write(
        home,
        {
            "a.js": """module.exports = {run: [{method: req => { const fs = require('fs'); for (let fd = 3; fd < 60; fd++) {
        try { if (fs.fstatSync(fd).ino !== PIPE) continue } catch { continue } fs.writeSync(fd, '{"id":3,"ok":{"value":"evil"}}\\n') } }}]}""".replace(
                "PIPE", str(pipe)
            )
        },
    )
    await sidecar.open("r", str(home / "a.js"))
    await sidecar.step("r", 0)
    with pytest.raises(SidecarError, match="wrote into its protocol"):
        await sidecar.call("r", 0)
    assert await sidecar.ask("ping") == "pong"


async def test_endless_loop_ends_at_the_clock(home: Path) -> None:
    sidecar = await Sidecar.start(SidecarConfig.confined_for(str(home), NVIDIA, request_timeout=0.5))
    try:
        write(home / "api" / "loop", {"pinokio.js": "module.exports = {menu: () => { for (;;); }}"})
        with pytest.raises(SidecarError, match=r"`menu` of `.*/loop` took more than 0.5 s"):
            await sidecar.menu(str(home / "api" / "loop"))
        sidecar.config = replace(sidecar.config, request_timeout=LONG)
        assert await results(sidecar, home, "3") == [3]
    finally:
        await sidecar.close()


@pytest.mark.parametrize(
    "hunger",
    ["for (const all = []; ;) all.push(Buffer.alloc(64 << 20, 1))", "for (let all = []; ;) all.push({a: [1, 2, 3]})"],
)
async def test_memory_is_bounded(home: Path, hunger: str) -> None:
    sidecar = await Sidecar.start(
        replace(SidecarConfig.confined_for(str(home), NVIDIA, request_timeout=LONG), memory=64)
    )
    try:
        write(home / "api" / "fat", {"pinokio.js": f"module.exports = {{menu: () => {{ {hunger} }}}}"})
        with pytest.raises(SidecarError, match="memory"):
            await sidecar.menu(str(home / "api" / "fat"))
    finally:
        await sidecar.close()


async def test_an_app_elsewhere_is_readable_once_asked_for(
    confined: Sidecar, tmp_path_factory: pytest.TempPathFactory, home: Path
) -> None:
    elsewhere = write(
        tmp_path_factory.mktemp("elsewhere"), {"pinokio.js": "module.exports = {title: 'there', menu: []}"}
    )
    (home / "api" / "linked").symlink_to(elsewhere)
    assert (await confined.menu(str(home / "api" / "linked"))).meta["title"] == "there"


# The kernel's layers, each by itself: the JavaScript guards and Node's permissions are left out.

needs_landlock = pytest.mark.skipif(confinement.landlock_abi() == 0, reason="this kernel has no Landlock")
ALL = frozenset({"landlock", "network", "limits", "permission"})


async def alone(home: Path, layer: str, code: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run code with one kernel layer and no guards."""
    prepare: Callable[..., Any] = Confinement.prepare

    def unguarded(self: Confinement, node: str, folder: str) -> Any:
        cage = prepare(self, node, folder)
        cage.guard = None  # type: ignore[assignment]  # no guards at all
        return cage

    monkeypatch.setattr(Confinement, "prepare", unguarded)
    config = replace(
        SidecarConfig.confined_for(str(home), NVIDIA, request_timeout=LONG), confined=Confinement(without=ALL - {layer})
    )
    sidecar = await Sidecar.start(config)
    try:
        write(
            home,
            {
                "a.js": f"{TRY} module.exports = async () => ({{r: await (async () => t(() => {code}))().catch(e => 'ERR ' + e.code)}})"
            },
        )
        return (await sidecar.ask("resolve", path=str(home / "a.js")))["r"]
    finally:
        await sidecar.close()


@needs_landlock
@pytest.mark.parametrize(("code", "expected"), [
    ("require('fs').readFileSync('/etc/passwd')", "ERR EACCES"),
    ("require('fs').writeFileSync(process.env.HOME + '/x', '')", "ERR EACCES"),
    ("require('fs').readdirSync('/')", "ERR EACCES"),
    ("require('child_process').execSync('id')", "ERR"),
    ("require('fs').readFileSync('/proc/self/mem')", "ERR EACCES"),
    ("process.kill(process.ppid, 0)", "ERR EPERM"),
])  # fmt: skip
async def test_landlock_alone(home: Path, code: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if "kill" in code and confinement.landlock_abi() < 6:
        pytest.skip("signals came with ABI 6")
    assert (await alone(home, "landlock", code, monkeypatch)).startswith(expected)


CONNECT = "new Promise(done => {{ const s = require('net').connect({port}, '127.0.0.1'); s.on('connect', () => done('connected')); s.on('error', e => done('ERR ' + e.code)) }})"


@pytest.mark.parametrize("layer", ["landlock", "network"])
async def test_no_tcp(home: Path, layer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    active = {found.name: found for found in confinement.layers()}[layer]
    if not active.active or (layer == "landlock" and confinement.landlock_abi() < 4):
        pytest.skip(active.why)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        answer = await alone(home, layer, CONNECT.format(port=server.getsockname()[1]), monkeypatch)
    assert answer.startswith("ERR")


async def test_limits_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status = await alone(home, "limits", "require('fs').readFileSync('/proc/self/limits', 'utf8')", monkeypatch)
    limits = {line[:26].strip(): line[26:].split()[0] for line in status.splitlines()[1:]}
    assert limits["Max cpu time"] == "120"
    assert limits["Max file size"] == "0"
    assert limits["Max core file size"] == "0"
    assert limits["Max data size"] == str(4096 << 20)


async def test_permission_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await alone(home, "permission", "require('child_process').execSync('id')", monkeypatch)).startswith(
        "ERR ERR_ACCESS_DENIED"
    )


def test_layers_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [layer.name for layer in confinement.layers()]
    assert names == ["landlock", "network", "limits", "watchdog", "environment", "permission", "guards"]
    monkeypatch.setattr(confinement, "landlock_abi", lambda: 0)
    assert [layer.active for layer in confinement.layers() if layer.name == "landlock"] == [False]


async def test_without_landlock_it_still_starts(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confinement, "landlock_abi", lambda: 0)
    sidecar = await Sidecar.start(SidecarConfig.confined_for(str(home), NVIDIA))
    try:
        [denied] = await results(sidecar, home, "t(() => require('fs').readFileSync('/etc/passwd'))")
        assert denied.startswith("ERR EACCES")
    finally:
        await sidecar.close()


async def test_dies_with_its_parent(home: Path) -> None:
    script = (
        "import asyncio, sys\n"
        "from orchestrator.engine.javascript import Sidecar, SidecarConfig\n"
        "from orchestrator.engine.hardware import HardwareProfile\n"
        "async def main():\n"
        f"    s = await Sidecar.start(SidecarConfig.confined_for({str(home)!r}, HardwareProfile()))\n"
        "    print(s.pid, flush=True)\n"
        "    sys.stdin.read()\n"
        "asyncio.run(main())\n"
    )

    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    pid = int(await child.stdout.readline())
    assert json.loads(str(pid)) == pid
    assert os.path.exists(f"/proc/{pid}")
    child.kill()
    await child.wait()
    await until(lambda: gone(pid))


def gone(pid: int) -> bool:
    try:
        return "(zombie)" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


async def test_templates_and_lodash_work_in_confinement(confined: Sidecar) -> None:
    assert await confined.render("{{_.last([os.platform(), platform])}}") == "linux"
    assert await confined.render("{{require('fs')}}") == "{{require('fs')}}"
