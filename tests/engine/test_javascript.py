"""What a launcher's JavaScript may do inside a run: functions, modules, `kernel`, a sidecar that dies (spec 2.6, 7.0)."""

# ruff: noqa: E501  # tables of scripts and JavaScript read best with one case on a line

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.engine.errors import LoadError, SidecarError
from orchestrator.engine.javascript import channel
from tests.engine.conftest import Bench, log, shell, start, until

# functions and modules


async def test_an_inline_function_redirects(bench: Bench) -> None:
    await bench.js("""module.exports = { run: [
      { method: async (req, ondata) => { ondata({ raw: `at ${req.current} of ${req.total}\\r\\n`}); req.next = 2; return 'given' } },
      { method: 'log', params: { text: 'never' } },
      { method: 'log', params: { text: 'got {{input}}' } }] }""")
    assert bench.lines() == ["at 0 of 3", "got given"]


@pytest.mark.parametrize(
    ("target", "status", "lines"),
    [
        ("null", "end", []),
        ("'z'", "end", ["z"]),
        ("undefined", "end", []),
        ("'nowhere'", "error", []),
        ("99", "error", []),
        ("-1", "error", []),
        ("1.5", "error", []),
        ("{}", "error", []),
        ("'2'", "end", ["z"]),
        ("NaN", "error", []),
    ],
)
async def test_next_of_a_function(bench: Bench, target: str, status: str, lines: list[str]) -> None:
    result = await bench.js(
        "module.exports = { run: [ { method: req => { req.next = "
        + target
        + """ } },
      { method: 'log', params: { text: 'one' }, next: null }, { id: 'z', method: 'log', params: { text: 'z' } }] }"""
    )
    assert result.status == status
    assert bench.lines() == lines


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ("throw new TypeError('mine')", "mine"),
        ("throw 'a string'", "a string"),
        ("throw null", ""),
        ("throw undefined", ""),
        ("return Promise.reject(new Error('later'))", "later"),
        ("process.exit(3)", "process.exit"),
        ("return { error: 'told' }", "told"),
        ("null.x", "null"),
        ("throw { message: { a: 1 } }", ""),
        ("throw Object.create(null)", ""),
        ("process.kill(process.pid)", "process.kill"),
    ],
)
async def test_a_function_that_throws(bench: Bench, body: str, word: str) -> None:
    result = await bench.js(
        "module.exports = { run: [{ method: () => { " + body + " } }, { method: 'log', params: { text: 'never' } }] }"
    )
    assert (result.status, result.step, bench.lines()) == ("error", 0, [])
    assert word in str(result.error)
    assert "Traceback" not in str(result.error)


async def test_console_and_stdout_go_to_the_terminal(bench: Bench) -> None:
    await bench.js("""console.log('at load')
      module.exports = { run: [{ method: () => { console.log('log'); console.error('error'); process.stdout.write('{"id":1,"ok":1}\\n') } }] }""")
    for text in ("at load", "log", "error", '{"id":1,"ok":1}'):
        assert text in bench.lines()


async def test_a_module_holds_state_until_its_script_stops(bench: Bench) -> None:
    bench.write(
        "counter.js",
        "let n = 0; module.exports = class { constructor () { this.m = 0 } add () { this.m++; return `${++n} ${this.m}` } }",
    )
    step = {"uri": "counter.js", "method": "add"}
    path = bench.write("main.json", [step, step, log("n {{input}}")])
    await bench.run(path)
    await bench.run(path)
    assert bench.lines() == ["n 2 2", "n 2 2"]


@pytest.mark.parametrize(
    ("step", "word"),
    [
        ({"uri": "missing.js", "method": "x"}, "missing.js"),
        ({"uri": "m.js", "method": "nothing"}, "nothing"),
        ({"uri": "m.js"}, "method"),
        ({"uri": 5, "method": "x"}, "5"),
        ({"uri": "broken.js", "method": "x"}, "broken"),
        ({"uri": {}, "method": "x"}, ""),
        ({"method": "kernel.nothing.at.all"}, "kernel"),
        ({"method": "kernel."}, "kernel"),
        ({"method": "a.b.c"}, "a.b.c"),
        ({"method": "toString"}, "toString"),
        ({"method": "__proto__"}, "__proto__"),
        ({"method": ["log"]}, "method"),
        ({"method": {}}, "method"),
        ({"method": 5}, "method"),
        ({"method": None}, "method"),
        ({"method": ""}, "method"),
        ({}, "method"),
        (None, "step 1"),
        ("log", "method"),
        (5, "step 1"),
        ([], "step 1"),
        (True, "step 1"),
    ],
)
async def test_a_step_that_names_no_method(bench: Bench, step: Any, word: str) -> None:
    bench.write("m.js", "exports.x = () => 1")
    bench.write("broken.js", "exports.x = (")
    result = await bench.steps(step, log("never"))
    assert (result.status, result.step, bench.lines()) == ("error", 0, [])
    assert word in str(result.error)


# kernel


async def test_kernel_as_a_method(bench: Bench) -> None:
    result = await bench.steps({"method": "kernel.env"}, {"method": "kernel.exists"})
    assert result.status == "end"
    assert result.result is False


async def test_kernel_in_functions(bench: Bench) -> None:
    child = bench.write("child.json", [{"method": "script.return", "params": "{{args.n * 2}}"}])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        result = await bench.js(
            "module.exports = { run: [{ method: async (req, ondata, kernel) => ({"
            f"  taken: await kernel.port({number}), free: await kernel.port(), three: (await kernel.ports(3)).length,"
            "   exec: (await kernel.exec({ message: 'echo from-exec' }, ondata)).stdout,"
            "   shell: (await kernel.shell.run({ message: 'echo from-shell' })).stdout.includes('from-shell'),"
            f"  child: await kernel.script.start({{ uri: '{child}', params: {{ n: 21 }} }}),"
            "   wrong: await kernel.port('x').catch(error => error.message), count: await kernel.ports(-1).catch(error => error.message) }) }] }"
        )
    found = result.result
    assert result.status == "end", result.error
    assert found["taken"] is False
    assert found["free"] >= 42003
    assert (found["three"], found["exec"].strip(), found["shell"], found["child"]) == (3, "from-exec", True, 42)
    assert "whole number" in found["wrong"]
    assert "whole number" in found["count"]


async def test_kernel_stops_a_script(bench: Bench) -> None:
    child = bench.write(
        "child.json", {"daemon": True, "run": [shell("sleep 1000", on=[{"event": "/sleep/", "done": True}])]}
    )
    await bench.steps(start("child.json"))
    assert bench.engine.running(child)
    await bench.js(
        f"module.exports = {{ run: [{{ method: (req, ondata, kernel) => kernel.script.stop({{ uri: '{child}' }}) }}] }}"
    )
    assert not bench.engine.running(child)


async def test_a_shell_of_a_function_is_gone_with_its_script(bench: Bench) -> None:
    path = bench.write(
        "main.js",
        "module.exports = { run: [{ method: (req, ondata, kernel) => kernel.shell.run({ message: 'sleep 1000' }) }] }",
    )
    running = asyncio.ensure_future(bench.run(path))
    await until(lambda: bench.engine.shells.ids(path))
    await bench.engine.stop(path)
    assert (await running).status == "stopped"
    assert bench.engine.shells.ids() == []


# a sidecar that dies or never answers


async def kill_sidecar(bench: Bench) -> None:
    pid = bench.engine.sidecar.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await until(lambda: not bench.engine.sidecar.alive or bench.engine.sidecar.pid != pid)


async def test_a_run_goes_on_after_the_sidecar_was_killed(bench: Bench) -> None:
    running = asyncio.ensure_future(
        bench.steps(
            {"method": "local.set", "params": {"kept": 1}},
            {"method": "global.set", "params": {"too": 2}},
            {"method": "process.wait", "params": {"on": {"resources": ["go"]}}},
            log("l {{local.kept}} {{global.too}} {{args.a}}"),
            shell("echo still"),
            payload={"a": 3},
        )
    )
    await until(lambda: any(data["method"] == "process.wait" for data in bench.events("step.start")))
    await kill_sidecar(bench)
    (bench.app / "go").touch()
    result = await running
    assert (result.status, result.error) == ("end", None)
    assert "l 1 2 3" in bench.lines()
    assert any("loaded again" in text for text in bench.said())


async def test_a_function_dies_with_the_sidecar_and_the_engine_stays_usable(bench: Bench) -> None:
    running = asyncio.ensure_future(
        bench.js(
            "module.exports = { run: [{ method: (req, ondata) => { ondata({ raw: 'at work\\r\\n' }); return new Promise(() => {}) } }] }"
        )
    )
    await until(lambda: "at work" in bench.lines())
    await kill_sidecar(bench)
    result = await running
    assert result.status == "error"
    assert "sidecar" in str(result.error)
    assert (await bench.steps(log("fine"), shell("true"), name="after.json")).status == "end"


async def test_a_value_that_only_the_sidecar_held_is_missed_clearly(bench: Bench) -> None:
    running = asyncio.ensure_future(
        bench.js("""module.exports = { run: [
      { method: async () => { await new Promise(go => setTimeout(go, 300)); return { f: () => 1 } } }, { method: 'log', params: { text: 'never' } }] }""")
    )
    await until(lambda: bench.events("step.start"))
    wait = bench.engine.sidecar.call

    async def call(*given: Any, **named: Any) -> Any:
        result = await wait(*given, **named)
        await kill_sidecar(bench)
        return result

    running.cancel()
    await bench.engine.stop(str(bench.app / "main.js"))
    bench.engine.sidecar.call = call  # type: ignore[method-assign]  # dies right after the step
    result = await bench.run(str(bench.app / "main.js"))
    assert result.status == "error"
    assert "lost" in str(result.error)


async def test_a_shell_step_while_the_sidecar_dies(bench: Bench) -> None:
    running = asyncio.ensure_future(
        bench.steps(
            shell("until [ -e go ]; do sleep 0.1; done; echo re''ady", on=[{"event": "/ready/", "done": True}]),
            log("after"),
        )
    )
    await until(lambda: "sleep 0.1" in bench.sink.all_text())
    await kill_sidecar(bench)
    (bench.app / "go").touch()
    result = await running
    assert (result.status, result.error) == ("end", None)
    assert bench.lines()[-1] == "after"
    assert (await bench.steps(log("fine"), shell("true"), name="after.json")).status == "end"


@pytest.mark.parametrize(
    "text",
    [
        "for (;;);",
        "module.exports = () => { for (;;); }",
        "module.exports = { get run () { for (;;); } }",
        "module.exports = { run: () => { for (;;); } }",
    ],
)
async def test_an_endless_loop_at_load(bench: Bench, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "BUSY_SECONDS", 0.5)
    with pytest.raises(SidecarError, match="without an end"):
        await bench.js(text)
    assert not bench.engine.runs
    assert (await bench.steps(log("fine"), name="after.json")).status == "end"


async def test_an_endless_loop_in_a_template(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "BUSY_SECONDS", 0.5)
    other = asyncio.ensure_future(
        bench.run(
            bench.write(
                "other.json",
                [{"method": "process.wait", "params": {"on": {"resources": ["go"]}}}, log("other goes on")],
            )
        )
    )
    await until(lambda: "step.start" in bench.sink.kinds())  # it waits, and asks nothing of the sidecar that loops
    result = await bench.steps(log("x {{(() => { for (;;); })()}}"), log("never"))
    assert (result.status, result.step) == ("error", 0)
    assert "without an end" in str(result.error)
    (bench.app / "go").touch()
    went_on = await other
    assert went_on.status == "end", went_on
    assert [line for line in bench.lines() if "waiting" not in line] == ["other goes on"]


async def test_a_function_may_compute_for_long(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "BUSY_SECONDS", 0.5)
    result = await bench.js(
        "module.exports = { run: [{ method: () => { const end = Date.now() + 2200; while (Date.now() < end); return 'done' } }] }"
    )
    assert result.result == "done"


@pytest.mark.slow
async def test_a_launcher_that_eats_memory(bench: Bench) -> None:
    bench.engine.sidecar.config = type(bench.engine.sidecar.config)(
        **{name: getattr(bench.engine.sidecar.config, name) for name in ("home", "profile", "env")}, memory=128
    )
    await bench.engine.sidecar.restart()
    result = await bench.js(
        "module.exports = { run: [{ method: () => { const all = []; for (;;) all.push('x'.repeat(1000) + all.length) } }] }"
    )
    assert result.status == "error"
    assert "memory" in str(result.error)
    assert (await bench.steps(log("fine"), name="after.json")).status == "end"


@pytest.mark.parametrize("depth", [200, 900, 1500, 5000])
async def test_deeply_nested_params(bench: Bench, depth: int) -> None:
    text = '{"run": [{"method": "script.return", "params": ' + "[" * depth + "]" * depth + "}]}"
    path = bench.write("main.json", text)
    try:
        result = await bench.run(path)
        assert result.status == "end" or re.search("deep|call stack", str(result.error)), result.error
    except (LoadError, SidecarError) as error:
        assert re.search("deep|call stack", str(error))  # noqa: PT017  # either is fine
    assert (await bench.steps(log("fine"), name="after.json")).status == "end"


async def test_values_that_json_has_not(bench: Bench) -> None:
    result = await bench.js("""module.exports = { run: [
      { method: () => ({ nan: NaN, inf: Infinity, big: 10n, date: new Date(0), re: /x/, map: new Map([[1, 2]]), sym: Symbol('s'), neg: -0,
        buf: Buffer.from('hi'), lone: '\\ud83d', nul: 'a\\0b', [Symbol('k')]: 1, get boom () { throw new Error('getter') } }), returns: 'local.v' },
      { method: 'log', params: { text: 'v {{local.v.lone.length}} {{local.v.nul.length}}' } }] }""")
    assert result.status in {"end", "error"}
    assert "internal error" not in str(result.error)


async def test_a_circle(bench: Bench) -> None:
    result = await bench.js(
        "module.exports = { run: [{ method: () => { const a = {}; a.a = a; return a }, returns: 'local.v' }, { method: 'log', params: { text: 'after' } }] }"
    )
    assert result.status in {"end", "error"}
    assert "internal error" not in str(result.error)


# repositories


@pytest.fixture
def repository(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A bare repository with two branches, that `https://git.example/` means to git."""
    config = bench.home.root / "gitconfig"
    before = config.read_text()
    config.write_text(
        before + f"\n[user]\n\tname = t\n\temail = t@example.com\n[init]\n\tdefaultBranch = main\n"
        f'[url "file://{tmp_path}/served/"]\n\tinsteadOf = https://git.example/\n'
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    work = tmp_path / "work"
    commands = ["init -q", "add -A", "commit -qm one", "switch -qc side", "commit -qam side --allow-empty"]
    work.mkdir()
    (work / "go.json").write_text('{"run": [{"method": "script.return", "params": "one"}]}')
    for command in commands:
        subprocess.run(["git", "-C", str(work), *command.split()], check=True)
    (work / "go.json").write_text('{"run": [{"method": "script.return", "params": "side"}]}')
    for command in ("commit -qam two", "switch -q main"):
        subprocess.run(["git", "-C", str(work), *command.split()], check=True)
    (tmp_path / "served").mkdir()
    subprocess.run(["git", "clone", "-q", "--bare", str(work), str(tmp_path / "served" / "repo.git")], check=True)
    yield work
    config.write_text(before)


def head(work: Path) -> str:
    command = ["git", "-C", str(work), "rev-parse", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def commit(work: Path, text: str) -> None:
    (work / "go.json").write_text('{"run": [{"method": "script.return", "params": "' + text + '"}]}')
    subprocess.run(["git", "-C", str(work), "commit", "-qam", text], check=True)
    subprocess.run(["git", "-C", str(work), "push", "-q", str(work.parent / "served" / "repo.git"), "main"], check=True)


async def test_scripts_of_a_git_url(bench: Bench, repository: Path) -> None:
    url = f"https://git.example/{bench.app.name}.git"
    (repository.parent / "served" / "repo.git").rename(repository.parent / "served" / f"{bench.app.name}.git")
    (repository.parent / "served" / "repo.git").symlink_to(f"{bench.app.name}.git")
    uri = f"{url}/go.json"
    folder = bench.home.api / f"git_example_{bench.app.name}_git"
    result = await bench.steps({"method": "script.download", "params": {"uri": url}}, log("u {{input}}"))
    assert result.status == "end", result.error
    assert bench.lines()[-1] == f"u {url}"
    assert (folder / "go.json").is_file()
    assert (await bench.steps(start(uri))).result == "one"
    first = head(repository)
    commit(repository, "three")
    assert (await bench.steps(start(uri))).result == "one"
    assert (await bench.steps(start(uri, pull=True))).result == "three"
    assert (await bench.steps(start(uri, branch="side"))).result == "side"
    assert (await bench.steps(start(uri, branch="main"))).result == "three"
    assert (await bench.steps(start(uri, hash=first))).result == "one"


@pytest.mark.parametrize(
    ("params", "word"),
    [
        ({"uri": "https://git.example/nothing.git/go.json"}, "git clone"),
        ({"uri": "https://git.example/nogit"}, ".git"),
        ({"uri": "http"}, ".git"),
        ({"uri": "https://git.example/repo.git", "branch": "--upload-pack=x"}, "branch"),
        ({"uri": "https://git.example/repo.git", "hash": 5}, "hash"),
        ({"uri": None}, "uri"),
        ({"uri": 5}, "uri"),
        ({}, "uri"),
        ({"uri": ""}, "uri"),
        ({"uri": ["a"]}, "uri"),
    ],
)
async def test_a_wrong_git_url(bench: Bench, repository: Path, params: dict[str, Any], word: str) -> None:
    before = set(bench.home.api.iterdir())
    result = await bench.steps({"method": "script.start", "params": params})
    assert result.status == "error"
    assert word in f"{result.error} {result.hint}"
    assert set(bench.home.api.iterdir()) == before
