"""Starting, nesting, stopping: `on.stop`, triggers, queues, restarts, stops in the middle of waits (spec 5.7, 7.4, 11)."""

# ruff: noqa: E501  # tables of scripts and JavaScript read best with one case on a line

from __future__ import annotations

import asyncio
import http.server
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator.engine import engine as engine_module
from orchestrator.engine.answers import Answers, Question
from orchestrator.engine.errors import LoadError, MissingAnswersError
from orchestrator.engine.values import UNDEFINED
from tests.engine.conftest import LONG, Bench, descendants, log, shell, start, until

FOREVER = {"method": "process.wait"}
SERVER = 'python3 -c \'import time; print("ready " + "here", flush=True); time.sleep(1000)\''
READY = {"event": "/ready here/", "done": True}


# what a step may ask for besides its method


async def test_returns_stores_what_is_true(bench: Bench) -> None:
    await bench.steps(
        {"method": "script.return", "params": {"a": [1]}, "returns": "local.kept"},
        {"method": "script.return", "params": "", "returns": "local.empty"},
        {"method": "script.return", "params": 5, "returns": "global.five"},
        {"method": "script.return", "params": 6, "returns": {"local.x": "{{input}}"}},
        log("l {{JSON.stringify(local)}} {{global.five}}"),
    )
    assert bench.lines() == ['l {"kept":{"a":[1]}} 5']


async def test_notify_tells_the_sink(bench: Bench) -> None:
    await bench.steps(log("a", notify=True), log("b", notify={"html": "<b>done</b> {{1+1}}"}), log("c", notify=False))
    assert bench.said("notify") == ["log done", "<b>done</b> 2"]
    assert bench.sink.all_text().count("<b>done</b> 2\r\n") == 1


async def overlap(bench: Bench, first: dict[str, Any], second: dict[str, Any], *, patience: float) -> int:
    """Run two scripts at once; return how many of their steps were at work at the same time.

    `patience`, in seconds, is how long each waits for the other.
    """
    (bench.app / "m.js").write_text(
        """let now = 0, most = 0
      exports.work = async () => {
        most = Math.max(most, ++now)
        for (const until = Date.now() + PATIENCE; most < 2 && Date.now() < until;) await new Promise(go => setTimeout(go, 10))
        now--
        return most
      }""".replace("PATIENCE", str(patience * 1000))
    )
    paths = [
        bench.write(f"{name}.json", [{"uri": "m.js", "method": "work", **step}])
        for name, step in (("a", first), ("b", second))
    ]
    return max(result.result for result in await asyncio.gather(*(bench.run(path) for path in paths)))


async def test_a_queue_lets_one_step_work_at_a_time(bench: Bench) -> None:
    assert await overlap(bench, {"queue": True}, {"queue": True}, patience=0.6) == 1


async def test_the_first_step_decides_what_a_queue_is(bench: Bench) -> None:
    bench.write("m.js", "exports.work = () => 0")
    await bench.steps({"uri": "m.js", "method": "work"})
    assert await overlap(bench, {"queue": True}, {"queue": True}, patience=60) == 2


async def test_a_queued_script_start_does_not_wait_for_itself(bench: Bench) -> None:
    bench.write("grandchild.json", [log("deep")])
    bench.write("child.json", [{**start("grandchild.json"), "queue": True}])
    result = await bench.steps({**start("child.json"), "queue": True})
    assert (result.status, bench.lines()) == ("end", ["deep"])


# on.stop


@pytest.mark.parametrize("daemon", [False, True])
async def test_on_stop_as_a_method(bench: Bench, *, daemon: bool) -> None:
    path = bench.write(
        "main.json",
        {
            "daemon": daemon,
            "run": [log("step")],
            "on": {"stop": {"method": "fs.write", "params": {"path": "stopped", "text": "x"}}},
        },
    )
    await bench.run(path)
    assert (bench.app / "stopped").exists() is not daemon
    if daemon:
        assert await bench.engine.stop(path)
    assert bench.read("stopped") == "x"


async def test_on_stop_as_a_script(bench: Bench) -> None:
    bench.write("bye.json", [log("bye {{args.a}}")])
    await bench.steps(log("step"), on={"stop": {"uri": "bye.json", "params": {"a": 1}}})
    assert bench.lines() == ["step", "bye 1"]


async def test_on_stop_as_a_module(bench: Bench) -> None:
    bench.write("m.js", "exports.bye = async (req, ondata) => { ondata({ raw: 'bye ' + req.params.a + '\\r\\n' }) }")
    await bench.steps(log("step"), on={"stop": {"uri": "m.js", "method": "bye", "params": {"a": 2}}})
    assert bench.lines() == ["step", "bye 2"]


@pytest.mark.parametrize(
    "request_",
    [
        {"method": "kernel.x"},
        {"method": "no.such"},
        {"uri": "missing.json"},
        {"method": "fs.read", "params": {"path": "no"}},
        {},
        "text",
        5,
        [1],
        {"method": 7},
        {"uri": 7},
        {"method": "jump"},
        {"method": "log", "params": 5},
    ],
)
async def test_on_stop_that_fails_keeps_nothing_alive(bench: Bench, request_: Any) -> None:
    result = await bench.steps(shell(SERVER, on=[READY]), on={"stop": request_})
    assert result.status == "end"
    assert not bench.engine.runs
    assert not bench.engine.shells.ids()


async def test_on_stop_that_never_ends_is_given_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "ON_STOP_SECONDS", 0.2)
    result = await bench.steps(log("step"), on={"stop": {"method": "shell.run", "params": {"message": "sleep 1000"}}})
    assert result.status == "end"
    assert any("given up" in text for text in bench.said())


async def test_on_stop_that_starts_its_own_script(bench: Bench) -> None:
    result = await bench.steps(log("step"), on={"stop": {"uri": "main.json"}})
    assert (result.status, bench.lines()) == ("end", ["step"])


# triggers


async def test_a_trigger_ends_a_script_that_is_no_daemon(bench: Bench) -> None:
    result = await bench.steps(
        shell("echo go''ne; sleep 1000", on=[{"event": "/gone/", "trigger": "more"}]),
        log("never"),
        more=[log("triggered {{input.event[0]}} {{args.trigger}}"), {"method": "script.return", "params": 3}],
    )
    assert (result.status, result.result) == ("end", 3)
    assert "triggered gone more" in bench.lines()
    assert "never" not in bench.lines()
    assert not bench.engine.runs


async def test_a_trigger_of_a_daemon_lets_it_go_on(bench: Bench) -> None:
    result = await bench.steps(
        shell(
            "echo go''ne; until [ -e triggered ]; do sleep 0.1; done; echo re''ady; sleep 1000",
            on=[{"event": "/gone/", "trigger": "more", "once": True}, {"event": "/ready/", "done": True}],
        ),
        log("after"),
        daemon=True,
        more=[log("triggered"), {"method": "fs.write", "params": {"path": "triggered", "text": "x"}}],
    )
    assert result.status == "end"
    assert bench.lines()[-1] == "after"
    assert "triggered" in bench.lines()
    assert bench.engine.runs


@pytest.mark.parametrize("more", [[{"method": "fs.read", "params": {"path": "no"}}], [], None, "text", [5]])
async def test_a_trigger_that_fails_stops_its_script(bench: Bench, more: Any) -> None:
    result = await bench.steps(
        shell("echo go''ne; sleep 1000", on=[{"event": "/gone/", "trigger": "more"}]), daemon=True, more=more
    )
    assert result.status == "error"
    assert not bench.engine.runs


async def test_stopping_a_script_stops_its_trigger(bench: Bench) -> None:
    path = bench.write(
        "main.json",
        {
            "run": [shell("echo go''ne; sleep 1000", on=[{"event": "/gone/", "trigger": "more"}])],
            "more": [start("child.json"), log("never")],
        },
    )
    child = bench.write("child.json", [FOREVER])
    running = asyncio.ensure_future(bench.run(path))
    await until(lambda: bench.engine.running(child))
    await bench.engine.stop(path)
    assert (await running).status == "stopped"
    await bench.engine.stop(child)
    await asyncio.sleep(0.05)
    assert "never" not in bench.lines()


# nesting


async def test_a_child_gives_its_last_result(bench: Bench) -> None:
    bench.write("child.json", [{"method": "script.return", "params": "{{args.n + 1}}"}])
    result = await bench.steps(start("child.json", params={"n": 4}))
    assert result.result == 5


async def test_a_missing_child_ends_the_script(bench: Bench) -> None:
    result = await bench.steps(start("nowhere.json"), log("never"))
    assert result.status == "error"
    assert "there is no script" in str(result.error)
    assert bench.lines() == []


@pytest.mark.parametrize("content", ["{", "{}", '{"run": []}', '{"run": "x"}', "[]", "null", '{"run": {"a": 1}}'])
async def test_a_child_without_steps_ends_the_script(bench: Bench, content: str) -> None:
    bench.write("child.json", content)
    result = await bench.steps(start("child.json"), log("never"))
    assert result.status == "error"
    assert "child.json" in str(result.error)


async def test_recursion_is_caught(bench: Bench) -> None:
    result = await bench.steps(log("once"), start("main.json"), log("{{input}}"))
    assert result.status == "end"
    assert [line for line in bench.lines() if "already" not in line] == ["once", "{{input}}"]


async def test_scripts_that_start_each_other(bench: Bench) -> None:
    bench.write("b.json", [start("a.json"), log("b")])
    result = await bench.run(bench.write("a.json", [start("b.json"), log("a")]))
    assert result.status == "end"
    assert [line for line in bench.lines() if "already" not in line] == ["b", "a"]


async def test_deep_nesting(bench: Bench) -> None:
    depth = 40
    for level in range(depth):
        bench.write(
            f"s{level}.json", [start(f"s{level + 1}.json"), {"method": "script.return", "params": "{{input + 1}}"}]
        )
    bench.write(f"s{depth}.json", [{"method": "script.return", "params": 0}])
    result = await bench.run(str(bench.app / "s0.json"))
    assert result.result == depth


async def test_a_failure_deep_down_is_told_at_the_top(bench: Bench) -> None:
    bench.write("c.json", [{"method": "fs.read", "params": {"path": "no"}}])
    bench.write("b.json", [start("c.json"), log("b goes on")])
    result = await bench.steps(start("b.json"), log("a goes on"))
    assert bench.lines() == ["b goes on", "a goes on"]
    assert result.failed_children == [f"{bench.app.name}/c.json"]


async def test_stopping_a_parent_leaves_its_child(bench: Bench) -> None:
    child = bench.write("child.json", [FOREVER, log("never")])
    path = bench.write("main.json", [start("child.json"), log("never")])
    running = asyncio.ensure_future(bench.run(path))
    await until(lambda: bench.engine.running(child))
    await bench.engine.stop(path)
    assert (await running).status == "stopped"
    assert bench.engine.running(child)
    await bench.engine.stop(child)
    assert bench.lines() == []


async def test_twenty_scripts_at_once(bench: Bench) -> None:
    for number in range(20):
        bench.write(
            f"s{number}.json",
            [
                shell(f"echo n{number}"),
                {"method": "local.set", "params": {"n": number}},
                {"method": "script.return", "params": "{{local.n}}"},
            ],
        )
    results = await asyncio.gather(*(bench.run(str(bench.app / f"s{number}.json")) for number in range(20)))
    assert [result.result for result in results] == list(range(20))


async def test_three_servers_in_one_start(bench: Bench) -> None:
    path = bench.write("start.json", {"daemon": True, "run": [shell(SERVER, on=[READY]) for _ in range(3)]})
    result = await bench.run(path)
    assert result.status == "end"
    assert len(bench.engine.shells.ids(path)) == 3
    await bench.engine.stop(path)
    assert bench.engine.shells.ids(path) == []


# restarts and stops


async def test_a_script_restarts_itself(bench: Bench) -> None:
    path = bench.write(
        "main.json",
        [
            {"method": "global.set", "params": {"n": "{{(global.n || 0) + 1}}"}},
            log("n {{global.n}} {{args.a}}"),
            {"method": "script.restart", "when": "{{global.n < 3}}"},
            log("end"),
        ],
    )
    result = await bench.run(path, {"a": "kept"})
    assert result.status == "stopped"
    await until(lambda: bench.lines()[-1:] == ["end"])
    await until(lambda: not bench.engine.running(path))
    assert bench.lines() == ["n 1 kept", "n 2 kept", "n 3 kept", "end"]


async def test_a_script_restarts_another(bench: Bench) -> None:
    other = bench.write("other.json", {"daemon": True, "run": [log("other {{args.n}}")]})
    await bench.steps(
        start("other.json", params={"n": 1}),
        {"method": "script.restart", "params": {"uri": "other.json", "params": {"n": 2}}},
        log("i {{input.scheduled}} {{input.self}}"),
    )
    await until(lambda: "other 2" in bench.lines())
    assert "i true false" in bench.lines()
    assert bench.engine.running(other)


async def test_script_stop_of_several_and_of_itself(bench: Bench) -> None:
    children = [bench.write(f"{name}.json", {"daemon": True, "run": [log(name)]}) for name in "ab"]
    result = await bench.steps(
        start("a.json"),
        start("b.json"),
        {"method": "script.stop", "params": {"uri": ["a.json", "b.json", "main.json"]}},
        log("never"),
    )
    assert result.status == "stopped"
    assert not any(bench.engine.running(child) for child in children)
    assert "never" not in bench.lines()


async def test_script_ready(bench: Bench) -> None:
    bench.write("child.json", [log("x")])
    await bench.steps(
        {"method": "script.ready", "params": {"uri": "child.json"}},
        log("{{input}}"),
        start("child.json"),
        {"method": "script.ready", "params": {"uri": "child.json"}},
        log("r {{input}} {{ready('child.json')}}"),
    )
    assert bench.lines() == ["false", "x", "r true true"]


@pytest.fixture
def stuck_port() -> Iterator[int]:
    """A server that takes connections and answers nothing."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(50)
        yield server.getsockname()[1]


async def never(_question: Question) -> None:
    await asyncio.sleep(1000)


WAITS: dict[str, Any] = {
    "shell": shell("sleep 1000"),
    "shell that ignores signals": shell("trap '' INT TERM HUP; sleep 1000"),
    "interactive shell": shell("true", input=True),
    "shell.enter": {
        "method": "shell.enter",
        "params": {"id": "sh", "message": "sleep 1000", "on": [{"event": "/never/", "return": 1}]},
    },
    "exec": {"method": "exec", "params": {"message": "sleep 1000"}},
    "input": {"method": "input", "params": {"form": [{"key": "k", "required": True}]}},
    "process.wait": FOREVER,
    "process.wait sec": {"method": "process.wait", "params": {"sec": 1000}},
    "process.wait url": {"method": "process.wait", "params": {"url": "http://127.0.0.1:PORT/"}},
    "process.wait on": {"method": "process.wait", "params": {"on": {"resources": ["tcp:127.0.0.1:1"]}}},
    "download": {"method": "fs.download", "params": {"url": "http://127.0.0.1:PORT/f", "path": "f"}},
    "net": {"method": "net", "params": {"url": "http://127.0.0.1:PORT/"}},
    "script.start": start("forever.json"),
    "function": {"uri": "m.js", "method": "wait"},
    "endless function": {"uri": "m.js", "method": "loop"},
}


@pytest.mark.parametrize("what", WAITS)
async def test_stop_in_the_middle_of(bench: Bench, what: str, stuck_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "CLOSE_SECONDS", 0.3)
    bench.engine.answers = Answers(client=never)
    bench.write("m.js", "exports.wait = () => new Promise(() => {}); exports.loop = () => { for (;;); }")
    bench.write("forever.json", [FOREVER])
    text = repr(WAITS[what]).replace("PORT", str(stuck_port))
    path = bench.write("main.json", [{"method": "shell.start", "params": {"id": "sh"}}, eval(text), log("never")])  # noqa: S307  # our own table
    before = descendants()
    running = asyncio.ensure_future(bench.run(path))
    await until(lambda: any(data["index"] == 1 for data in bench.events("step.start")))
    await asyncio.sleep(0.15)
    assert not running.done()
    assert await asyncio.wait_for(bench.engine.stop(path), LONG)
    result = await running
    assert result.status == "stopped"
    await bench.engine.stop(str(bench.app / "forever.json"))
    assert (await bench.steps(log("usable"), name="after.json")).status == "end"
    assert bench.lines()[-1] == "usable"
    assert "never" not in bench.lines()
    await until(lambda: len(descendants() - before) <= 4)  # keepers that wait for the next shell, and a new sidecar


# what a script requires


async def test_required_variables_are_stored_for_the_app(bench: Bench) -> None:
    bench.engine.answers = Answers({"API_TOKEN": "s3cret"})
    path = bench.write(
        "main.js",
        """module.exports = async kernel => ({ env: [{ key: 'API_TOKEN', title: 'Token' }, { env: 'SIZE', default: 'small' }],
      run: [{ method: 'log', params: { text: 'e {{env.SIZE}} {{env.API_TOKEN.length}}' } }, { method: 'shell.run', params: { message: 'echo =$SIZE=' } }] })""",
    )
    result = await bench.run(path)
    assert "=small=" in result.result["stdout"]
    assert bench.lines()[0] == "e small 6"
    assert "API_TOKEN=s3cret" in bench.read("ENVIRONMENT")
    assert "s3cret" not in bench.sink.all_text()
    assert (bench.app / "ENVIRONMENT").stat().st_mode & 0o777 == 0o600


async def test_missing_variables_are_listed(bench: Bench) -> None:
    path = bench.write("main.json", {"pre": [{"env": "A"}, {"env": "B", "title": "the B"}], "run": [log("never")]})
    with pytest.raises(MissingAnswersError, match=r"`A`, `B` \(the B\)"):
        await bench.run(path)
    assert not bench.engine.runs
    assert bench.lines() == []


# env, git


async def test_variables_set_by_a_step_are_seen_by_the_next(bench: Bench) -> None:
    await bench.steps(
        {"method": "env.set", "params": {"COLOUR": "red"}}, log("{{env.COLOUR}}"), shell("echo =$COLOUR=")
    )
    assert "red" in bench.lines()
    assert "=red=" in bench.sink.all_text()


@pytest.fixture
def web() -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"error": "told by the body"}')

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


async def test_any_result_with_an_error_ends_a_script(bench: Bench, web: str) -> None:
    for step in (
        {"method": "net", "params": {"url": web}},
        {"method": "script.return", "params": {"error": "mine"}},
        {"method": "exec", "params": {"message": "false"}},
    ):
        result = await bench.steps(step, log("never"))
        assert result.status == "error"
    assert bench.lines() == []


async def test_a_missing_script_is_a_load_error(bench: Bench) -> None:
    with pytest.raises(LoadError, match="there is no script"):
        await bench.run(str(bench.app / "nowhere.json"), UNDEFINED)
