"""Launchers that are broken, hostile or endless, on the command line: one error, a right exit status, nothing left."""

# ruff: noqa: E501  # tables of scripts and JavaScript read best with one case on a line

from __future__ import annotations

import json
import signal
import time
from typing import Any

import pytest

from tests.bad_input.conftest import Program, until

BROKEN: dict[str, tuple[str, str | bytes]] = {
    "json": ("main.json", '{"run": [{"method": "log"},]}'),
    "empty json": ("main.json", ""),
    "json with comments": ("main.json", '// hi\n{"run": []}'),
    "binary json": ("main.json", bytes(range(256))),
    "json that is no object": ("main.json", "5"),
    "js": ("main.js", "module.exports = {run: ["),
    "js that throws": ("main.js", "throw new Error('mine')"),
    "js that throws nothing": ("main.js", "throw undefined"),
    "js that requires what is not there": ("main.js", "require('no-such-module')"),
    "js without exports": ("main.js", "1 + 1"),
    "js that exports a number": ("main.js", "module.exports = 5"),
    "js whose function throws": ("main.js", "module.exports = async kernel => { throw new TypeError('mine') }"),
    "js whose function gives nothing": ("main.js", "module.exports = async kernel => {}"),
    "js whose run throws": ("main.js", "module.exports = { run: async () => { throw new Error('mine') } }"),
    "js whose run is no array": ("main.js", "module.exports = { run: { a: 1 } }"),
    "js whose getter throws": ("main.js", "module.exports = { get run () { throw new Error('mine') } }"),
    "js that exits": ("main.js", "process.exit(0)"),
    "js that aborts": ("main.js", "process.abort()"),
    "js that kills itself": ("main.js", "process.kill(process.pid, 'SIGKILL')"),
    "js that closes its pipes": (
        "main.js",
        "for (let n = 3; n < 60; n++) { try { require('fs').closeSync(n) } catch {} }",
    ),
    "js that writes into its pipes": (
        "main.js",
        "for (let n = 3; n < 60; n++) { try { require('fs').writeSync(n, '{\"id\":1,\"ok\":1}\\n') } catch {} }",
    ),
    "js that is binary": ("main.js", bytes(range(256))),
    "proxy": ("main.js", "module.exports = new Proxy({}, { get () { throw new Error('mine') } })"),
    "no steps": ("main.json", '{"run": []}'),
    "no run": ("main.json", '{"daemon": true}'),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_script(program: Program, what: str) -> None:
    name, content = BROKEN[what]
    done = program.script(program.write(name, content))
    assert done.status == 1
    assert done.error()


def test_files_that_are_no_scripts(program: Program) -> None:
    for path in (program.app / "missing.json", program.app, program.app / "a\nb.js"):
        done = program.script(path)
        assert done.status == 2
        assert "script" in done.text
    assert program.script(program.write("notes.txt", "hello")).status == 1


@pytest.mark.parametrize(
    "options",
    [
        ["--args", "{"],
        ["--args", "[]"],
        ["--args", "5"],
        ["--answers", "{"],
        ["--answers", "[1]"],
        ["--answers", "/no/such/file"],
        ["--answer", "x"],
        ["--hardware", "/no/such/file"],
        ["--hardware", "/dev/null"],
        ["--trace", "/no/such/folder/t"],
        ["--trace", "/"],
        ["--nonsense"],
        ["--home", "/dev/null/x"],
    ],
)
def test_bad_options(program: Program, options: list[str]) -> None:
    done = program.run([{"method": "log", "params": {"text": "x"}}], *options)
    assert done.status == 2
    assert done.error()


def test_an_unknown_method(program: Program) -> None:
    done = program.run([{"method": "json.merge", "params": {}}])
    assert done.status == 1
    assert "there is no method `json.merge`" in done.error()


def test_text_that_is_no_unicode(program: Program) -> None:
    content = r'{"run": [{"method": "log", "params": {"text": "lone \ud83d surrogate"}}, {"method": "script.return", "params": "\udc00 \u0000"}]}'
    done = program.run(content, "--json", "--trace", program.app / "trace")
    assert done.status == 0, done.text
    assert json.loads(done.stdout)["status"] == "end"
    assert [json.loads(line) for line in (program.app / "trace").read_text("utf-8").splitlines()][-1]["status"] == "end"


@pytest.mark.parametrize(
    "step",
    [
        {"method": "fs.write", "params": {"path": "\ud83d", "text": "x"}},
        {"method": "fs.read", "params": {"path": "a\0b"}},
        {"method": "shell.run", "params": {"message": "echo \ud83d"}},
        {"method": "shell.run", "params": {"message": "echo a\0b"}},
        {
            "method": "shell.run",
            "params": {"message": "true", "env": {"A": "\ud83d", "B": "a\0b", "C=D": "x", "": "y"}},
        },
        {"method": "shell.run", "params": {"message": "true", "path": "\ud83d"}},
        {"method": "exec", "params": {"message": "echo \ud83d a\0b"}},
        {"method": "net", "params": {"url": "http://\ud83d/"}},
        {"method": "env.set", "params": {"A": "\ud83d"}},
        {"method": "env.set", "params": {"a b\n": "x"}},
        {"method": "fs.copy", "params": {"src": "x" * 5000, "dest": "y"}},
        {"method": "script.start", "params": {"uri": "\ud83d.json"}},
        {"method": "fs.download", "params": {"url": "http://127.0.0.1:1/\ud83d", "path": "\ud83d"}},
        {"method": "json.set", "params": {"\ud83d.json": {"a": 1}}},
        {"method": "fs.link", "params": {"drive": {"\ud83d": "\ud83d"}}},
    ],
)
def test_surrogates_and_nul(program: Program, step: Any) -> None:
    if step["method"] == "fs.download":
        pytest.skip("waits for its retries; tests/download has it")
    done = program.run([step])
    assert done.status in {0, 1}
    assert done.status == 0 or done.error()


@pytest.mark.slow
def test_an_endless_loop_at_load(program: Program) -> None:
    done = program.run("for (;;);", name="main.js")
    assert done.status == 1
    assert "without an end" in done.error()


def wait_for_text(program: Program, path: Any, text: str) -> None:
    until(lambda: path.exists() and text in path.read_text("utf-8", "replace"))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_an_interruption(program: Program, number: signal.Signals, status: int) -> None:
    trace = program.app / "trace"
    path = program.write(
        "main.json",
        {
            "run": [{"method": "shell.run", "params": {"message": "touch began; (setsid sleep 1000 &); sleep 1000"}}],
            "on": {"stop": {"method": "fs.write", "params": {"path": "stopped", "text": "x"}}},
        },
    )
    process = program.begin_script(path, "--trace", trace)
    until((program.app / "began").exists)
    process.send_signal(number)
    done = program.end(process)
    assert done.status == status
    assert done.error() == "interrupted"
    assert (program.app / "stopped").exists()
    rows = [json.loads(line) for line in trace.read_text("utf-8").splitlines()]
    assert rows[-1]["status"] == "stopped"
    assert rows[0]["error"] == "stopped"


@pytest.mark.slow
@pytest.mark.parametrize(
    "body", ["for (;;);", "new Promise(() => {})", "setInterval(() => {}, 1); return new Promise(() => {})"]
)
def test_an_endless_function_can_be_interrupted(program: Program, body: str) -> None:
    path = program.write(
        "main.js",
        "const fs = require('fs'); module.exports = { run: [{ method: () => { fs.writeFileSync(__dirname + '/began', ''); return (() => { "
        + body
        + " })() } }, { method: 'process.wait' }] }",
    )
    process = program.begin_script(path)
    until((program.app / "began").exists)
    process.send_signal(signal.SIGINT)
    assert program.end(process).status == 130


def test_interrupted_while_loading(program: Program) -> None:
    path = program.write(
        "main.js",
        "require('fs').writeFileSync(__dirname + '/began', ''); module.exports = async () => { await new Promise(() => {}) }",
    )
    process = program.begin_script(path)
    until((program.app / "began").exists)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert program.end(process).status == 130


def test_a_daemon_that_stays_until_interrupted(program: Program) -> None:
    path = program.write(
        "main.json",
        {
            "daemon": True,
            "run": [
                {
                    "method": "shell.run",
                    "params": {
                        "message": "echo re''ady; touch began; sleep 1000",
                        "on": [{"event": "/ready/", "done": True}],
                    },
                }
            ],
        },
    )
    process = program.begin_script(path, "--stay")
    until((program.app / "began").exists)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert program.end(process).status in {0, 130}


def test_a_script_that_restarts_itself_is_followed(program: Program) -> None:
    done = program.run(
        [
            {"method": "global.set", "params": {"n": "{{(global.n || 0) + 1}}"}},
            {"method": "script.restart", "when": "{{global.n < 3}}"},
            {"method": "script.return", "params": "n {{global.n}}"},
        ],
        "--json",
    )
    assert done.status == 0, done.text
    assert json.loads(done.stdout)["result"] == "n 3"


HOSTILE: dict[str, str] = {
    "prints to stdout": "process.stdout.write('x'.repeat(100000) + '\\n'); console.log({a: 1}); module.exports = { run: [{ method: 'log', params: { text: 'ok' } }] }",
    "replaces globals": "JSON.stringify = () => 'no'; Promise = undefined; Array.prototype.map = () => []; module.exports = { run: [{ method: 'log', params: { text: 'ok' } }] }",
    "leaves timers": "setInterval(() => { throw new Error('later') }, 5); module.exports = { run: [{ method: 'process.wait', params: { sec: 0.3 } }] }",
    "leaves rejections": "Promise.reject(new Error('later')); module.exports = { run: [{ method: 'process.wait', params: { sec: 0.2 } }] }",
    "leaves children": "require('child_process').spawn('sleep', ['1000'], { detached: true }).unref(); module.exports = { run: [{ method: 'log' }] }",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_launcher(program: Program, what: str) -> None:
    done = program.run(HOSTILE[what], name="main.js")
    assert done.status in {0, 1}


@pytest.mark.slow
def test_a_launcher_that_eats_memory(program: Program) -> None:
    done = program.run("const all = []; for (;;) all.push(Buffer.alloc(50e6, 1))", name="main.js")
    assert done.status == 1
    assert "memory" in done.error() or "without an end" in done.error()  # whichever bound a busy machine meets first


def test_questions_that_nobody_answers(program: Program) -> None:
    done = program.run(
        [
            {
                "method": "input",
                "params": {"form": [{"key": "a", "required": True}, {"key": "b", "required": True, "title": "the B"}]},
            }
        ]
    )
    assert done.status == 1
    assert "`a`" in done.error()
    assert "`b` (the B)" in done.error()
