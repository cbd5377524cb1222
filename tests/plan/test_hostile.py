"""Launchers that mean harm: planning them costs one clear error, and nothing happens outside the sandbox.

Each attack proves that its effect is not there: a file, a connection, a process, a value in another app's plan.
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

import cli
from orchestrator.engine.dry_run.dry_run import DryRun
from orchestrator.engine.home import Home
from orchestrator.plan.planner import Planner
from orchestrator.plan.staging import Stage
from tests.plan.steps import machine

LONG = 60  # seconds that one script may take on a busy machine
ENDLESS = 3  # seconds after which one is given up that is known never to end, or not for long
WORD = "hf_1234567890secret"
GOOD = {
    "pinokio.js": 'module.exports = {title: "Good", menu: [{default: true, text: "Start", href: "start.js"}]}',
    "start.js": """module.exports = {run: [
      {method: "shell.run", params: {message: "echo {{gpu}} {{path.join('a', 'b')}} {{[3, 1, 2].sort().join()}} {{_.last([1, 2])}}"}},
      {method: "local.set", params: {url: "{{Object.keys({a: 1}).join()}}"}}]}""",
}
EXPECTED = "echo nvidia a/b 1,2,3 2"


def put(home: Home, app: str, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = home.app(app) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return home.app(app)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    put(home, "good", GOOD)
    return home


@pytest.fixture
async def dry(home: Home) -> AsyncIterator[DryRun]:
    run = await DryRun.open(home, machine(), seconds=LONG)
    yield run
    await run.close()


def limit(dry: DryRun, seconds: float) -> None:
    """Change how long one script may take."""
    sidecar = dry._engine.sidecar
    sidecar.config = replace(sidecar.config, request_timeout=seconds)
    dry._seconds = seconds


async def attack(dry: DryRun, home: Home, code: str, *, script: str = "start.js"):
    """Plan a script whose code runs when it is loaded; what `tell` is given comes back as the step's text."""
    app = put(
        home,
        "bad",
        {
            script: f"const tell = {{}};\n{code}\nmodule.exports = {{run: [{{method: 'log', params: {{text: JSON.stringify(tell)}}}}]}}"
        },
    )
    return await dry.plan(app / script)


async def goes_on(dry: DryRun, home: Home) -> None:
    """Make sure that another app's plan is what it would be without the attack."""
    limit(dry, LONG)
    await dry.fresh()
    plan = await dry.plan(home.app("good") / "start.js")
    assert plan.status == "end", plan.error
    assert plan.trace[0]["params"] == {"message": EXPECTED}
    assert plan.local == {"url": "a"}


TRY = "const t = (name, f) => { try { tell[name] = String(f()) } catch (error) { tell[name] = 'refused ' + error.code } };"


async def test_reads_outside_its_folder(dry, home, tmp_path):
    (tmp_path / "secret.txt").write_text(WORD)
    plan = await attack(
        dry,
        home,
        f"""{TRY} const fs = require('fs')
      t('read', () => fs.readFileSync({str(tmp_path / "secret.txt")!r}, 'utf8'))
      t('passwd', () => fs.readFileSync('/etc/passwd', 'utf8'))
      t('mem', () => fs.readFileSync('/proc/self/environ', 'utf8'))
      t('require', () => JSON.stringify(require({str(tmp_path / "secret.txt")!r})))
      t('list', () => fs.readdirSync('/root'))""",
    )
    text = plan.trace[0]["params"]["text"]
    assert WORD not in text
    assert "root:" not in text
    assert text.count("refused") >= 3
    await goes_on(dry, home)


async def test_a_link_that_leads_out_of_the_app(dry, home, tmp_path):
    (tmp_path / "secret.json").write_text(f'{{"run": [{{"method": "log", "params": {{"text": "{WORD}"}}}}]}}')
    app = put(home, "bad", {"a.js": ""})
    (app / "start.json").symlink_to(tmp_path / "secret.json")
    (app / "README.md").symlink_to(tmp_path / "secret.json")
    plan = await dry.plan(app / "start.json")
    assert plan.status == "load-error"
    assert WORD not in str(plan)
    await goes_on(dry, home)


async def test_writes(dry, home, tmp_path):
    target, inside = tmp_path / "written", home.app("bad") / "written"
    await attack(
        dry,
        home,
        f"""{TRY} const fs = require('fs')
      for (const file of [{str(target)!r}, {str(inside)!r}, {str(home.root / "ENVIRONMENT")!r}]) {{
        t('a' + file, () => fs.writeFileSync(file, 'x')); t('b' + file, () => fs.mkdirSync(file + '.d'))
        t('c' + file, () => fs.appendFileSync(file, 'x')); t('d' + file, () => fs.symlinkSync('/etc', file + '.l')) }}
      t('rm', () => fs.rmSync({str(home.app("good"))!r}, {{recursive: true}}))""",
    )
    assert sorted(path.name for path in home.app("bad").iterdir()) == ["start.js"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]
    assert not (home.root / "ENVIRONMENT").exists()
    await goes_on(dry, home)


async def test_child_processes_and_workers(dry, home, tmp_path):
    marker = tmp_path / "ran"
    plan = await attack(
        dry,
        home,
        f"""{TRY} const child = require('child_process')
      for (const name of ['execSync', 'spawnSync', 'execFileSync']) t(name, () => child[name]('touch', [{str(marker)!r}]))
      t('exec', () => child.exec('touch {marker}')); t('fork', () => child.fork({str(marker)!r}))
      t('worker', () => new (require('worker_threads').Worker)('require("fs").writeFileSync("{marker}", "x")', {{eval: true}}))
      t('binding', () => process.binding('spawn_sync')); t('kill', () => process.kill(process.ppid, 0))""",
    )
    assert not marker.exists()
    assert plan.trace[0]["params"]["text"].count("refused") == 8
    await goes_on(dry, home)


async def test_the_network(dry, home):
    seen = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(1)

        def listen() -> None:
            with contextlib.suppress(OSError):
                seen.append(server.accept())

        listening = threading.Thread(target=listen)
        listening.start()
        port = server.getsockname()[1]
        await attack(
            dry,
            home,
            f"""{TRY}
          t('net', () => require('net').connect({port}, '127.0.0.1')); t('http', () => require('http').get('http://127.0.0.1:{port}'))
          t('fetch', () => fetch('http://127.0.0.1:{port}').catch(() => 0)); t('dgram', () => require('dgram').createSocket('udp4'))
          t('ws', () => new WebSocket('ws://127.0.0.1:{port}')); t('tls', () => require('tls').connect({port}))""",
        )
        listening.join()
    assert seen == []
    await goes_on(dry, home)


async def test_the_environment(dry, home, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", WORD)
    plan = await attack(dry, home, "tell.env = process.env; tell.argv = process.argv")
    assert WORD not in plan.trace[0]["params"]["text"]
    app = put(
        home, "bad", {"env.json": '{"run": [{"method": "log", "params": {"text": "x{{JSON.stringify(envs)}}"}}]}'}
    )
    assert WORD not in str((await dry.plan(app / "env.json")).trace)


POLLUTIONS = [
    "Object.prototype.method = 'shell.run'; Object.prototype.error = 'forged'",
    "Array.prototype.join = () => 'forged'; Array.prototype.sort = function () { return ['forged'] }",
    "JSON.stringify = () => '{\"forged\": 1}'; JSON.parse = () => ({run: [{method: 'forged'}]})",
    "require('path').join = () => 'forged'; require('os').platform = () => 'forged'",
    "String.prototype.replace = () => 'forged'; RegExp.prototype.exec = () => ['forged']; RegExp.prototype.test = () => true",
    "Promise.prototype.then = function () { return this }; globalThis.Promise = class {}",
    "globalThis.gpu = 'forged'; globalThis._ = {last: () => 'forged'}; globalThis.Object = {keys: () => ['forged']}",
    "process.env.HOME = 'forged'; process.cwd = () => '/forged'; process.exit = process.reallyExit = () => {}",
    "require('module')._load = () => ({run: [{method: 'forged'}]}); require.extensions['.js'] = () => {}",
    "require.cache[require('path').resolve(__dirname, '../good/start.js')] = {exports: {run: [{method: 'forged'}]}, loaded: true, children: []}",
    "setInterval(() => { Array.prototype.join = () => 'forged' }, 1)",
    "setTimeout(() => { Object.keys = () => ['forged'] }, 30)",
    "require('fs').promises.readFile(__filename).then(() => { Object.keys = () => ['forged'] })",
    "queueMicrotask(function again () { setImmediate(again); Object.keys = () => ['forged'] })",
    "process.on('exit', () => {}); process.nextTick(() => { Math.max = () => 0; Object.keys = () => ['forged'] })",
    "for (const m of ['util', 'url', 'events', 'buffer', 'stream']) for (const k of Object.keys(require(m))) try { require(m)[k] = () => 'forged' } catch {}",
]


@pytest.mark.parametrize("code", POLLUTIONS)
async def test_what_one_app_leaves_behind_does_not_reach_the_next(dry, home, code):
    limit(dry, ENDLESS if "globalThis.Promise" in code else LONG)
    await attack(dry, home, f"try {{ {code} }} catch {{}}")
    await goes_on(dry, home)


@pytest.mark.parametrize("code", POLLUTIONS[:6])
async def test_nor_when_it_is_done_in_a_menu(home, code):
    put(
        home,
        "bad",
        {
            "pinokio.js": f"module.exports = {{menu: async () => {{ try {{ {code} }} catch {{}}; return [] }}}}",
            "start.js": "module.exports = {}",
        },
    )
    stage = Stage(home)
    try:
        seconds = 4 * ENDLESS if "globalThis.Promise" in code else LONG  # for the good one, too
        planner = Planner(machine(), every_script=True, seconds=seconds)
        plans = [plan async for plan in planner.plans(stage.put(["bad", "good"], cwd=home.root))]
    finally:
        stage.close()
    assert plans[1].verdict.state == "runs here"
    assert plans[1].scripts[0].trace[0]["params"] == {"message": EXPECTED}


@pytest.mark.parametrize(
    "code",
    [
        'for (let fd = 0; fd < 32; fd++) try { require("fs").writeSync(fd, \'{"id":1,"ok":{"forged":true}}\\n\'.repeat(50)) } catch {}',
        'process.stdout.write(\'{"id":1,"ok":"forged"}\\n\'); console.log(\'{"id":2,"ok":"forged"}\')',
        "for (let fd = 3; fd < 32; fd++) try { require('fs').closeSync(fd) } catch {}",
        "process.stdout.write('x'.repeat(20 * 1024 * 1024))",
    ],
)
async def test_the_protocol_cannot_be_forged(dry, home, code):
    plan = await attack(dry, home, code)
    assert "forged" not in str(plan.trace)
    await goes_on(dry, home)


@pytest.mark.parametrize(
    "files",
    [
        {"start.js": "while (true) {}"},
        {"start.js": "module.exports = {get run () { while (true) {} }}"},
        {"start.js": "module.exports = {run: async () => { while (true) {} }}"},
        {"start.js": "module.exports = {run: () => new Promise(() => {})}"},
        {"start.js": "module.exports = async function () { while (true) await null }"},
        {"start.js": "module.exports = {run: [{method: 'log', params: {text: 'a{{(() => { while (true) {} })()}}'}}]}"},
        {"start.js": "module.exports = {run: [{method: 'log', when: '{{(() => { for (;;); })()}}'}]}"},
        {
            "start.js": "module.exports = {run: [{method: 'log', params: {text: 'a{{/^(a+)+$/.test(\"a\".repeat(60) + \"b\")}}'}}]}"
        },
    ],
)
async def test_endless_loops(dry, home, files):
    app = put(home, "bad", files)
    limit(dry, ENDLESS)
    plan = await dry.plan(app / "start.js")
    assert plan.status in {"error", "load-error", "end"}
    if plan.status != "end":  # an expression that backtracks for ever is matched by Node's other engine
        assert "s" in (plan.error or "")
    await goes_on(dry, home)


@pytest.mark.parametrize(
    "code",
    [
        "const hold = []; for (;;) hold.push(new Array(1e6).fill(1.5))",
        "const hold = []; for (;;) hold.push(Buffer.alloc(64 * 1024 * 1024, 1))",
        "let text = 'x'; for (;;) text += text + text",
        "const deep = {}; let at = deep; for (let i = 0; i < 1e6; i++) at = at.a = {}; tell.deep = deep",
    ],
)
async def test_memory_bombs(dry, home, code):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    plan = await attack(dry, home, code)
    assert plan.status in {"error", "load-error"}
    assert plan.error
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024  # KiB of our own process
    await goes_on(dry, home)


@pytest.mark.parametrize(
    "name", ["start.js", "start.json", "pinokio.js", "ENVIRONMENT", "README.md", "requirements.txt"]
)
async def test_a_file_of_100_mb(home, name):
    app = put(
        home,
        "bad",
        {
            "start.js": "module.exports = {run: [{method: 'shell.run', params: {message: 'pip install -r requirements.txt'}}]}"
        },
    )
    with (app / name).open("w") as file:
        for _ in range(100):
            file.write("a=" + "x" * (1024 * 1024 - 3) + "\n")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    stage = Stage(home)
    try:
        plans = [
            plan async for plan in Planner(machine(), seconds=LONG).plans(stage.put(["bad", "good"], cwd=home.root))
        ]
    finally:
        stage.close()
    assert plans[1].scripts[0].trace[0]["params"] == {"message": EXPECTED}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 * 1024
    assert len(str(plans[0].verdict)) < 10_000


@pytest.mark.parametrize("name", ["start.js", "pinokio.js", "ENVIRONMENT", "README.md", "requirements.txt"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
async def test_pipes_and_devices_in_place_of_files(home, name, kind):
    app = put(
        home,
        "bad",
        {
            "other.js": "module.exports = {run: [{method: 'shell.run', params: {message: 'pip install -r requirements.txt'}}]}"
        },
    )
    if kind == "pipe":
        os.mkfifo(app / name)
    else:
        (app / name).symlink_to("/dev/zero")
    stage = Stage(home)
    try:
        planner = Planner(machine(), every_script=True, seconds=LONG)
        plans = [plan async for plan in planner.plans(stage.put(["bad", "good"], cwd=home.root))]
    finally:
        stage.close()
    assert plans[1].scripts[0].trace[0]["params"] == {"message": EXPECTED}


@pytest.mark.parametrize("depth", [50, 400, 5000])
def test_values_that_are_nested_without_end(home, depth, capfd):
    put(
        home,
        "bad",
        {
            "start.js": f"""let a = []; for (let i = 0; i < {depth}; i++) a = [a]
      module.exports = {{run: [{{method: "shell.run", params: {{message: [{{_: ["git", "clone", a]}}], venv_python: a, env: {{A: a}}}}}},
        {{method: "input", params: {{form: [{{key: "k", default: a}}], title: a}}}}, {{method: "notify", params: {{html: a}}}}]}}"""
        },
    )
    for arguments in ([], ["--json"]):
        assert cli.invoke(["plan", "bad", "good", "--home", str(home.root), *arguments]) in {0, 1}
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err
        assert "good" in captured.out


async def test_a_million_steps_and_a_script_that_starts_itself(dry, home):
    app = put(
        home,
        "bad",
        {
            "many.js": "module.exports = {run: Array.from({length: 1e6}, () => ({method: 'log', params: {text: 'x'}}))}",
            "self.js": "module.exports = {run: [{method: 'script.start', params: {uri: 'self.js'}}]}",
            "ring.js": "module.exports = {run: [{method: 'script.start', params: {uri: 'ring2.js'}}]}",
            "ring2.js": "module.exports = {run: [{method: 'script.start', params: {uri: 'ring.js'}}]}",
        },
    )
    limit(dry, ENDLESS)
    many = await dry.plan(app / "many.js")
    assert many.status in {"step-limit", "error", "load-error"}
    assert len(many.steps) <= 400
    limit(dry, LONG)
    assert (await dry.plan(app / "self.js")).status == "end"
    assert len((await dry.plan(app / "ring.js")).steps) == 2
    await goes_on(dry, home)
