"""The checklist of the language (spec 17), each entry by its number, through the real engine, Node and bash."""

# ruff: noqa: E501  # tables of scripts and JavaScript read best with one case on a line

from __future__ import annotations

import json

import pytest

from orchestrator.engine.values import Match
from tests.engine.conftest import Bench, log, shell, start


async def test_01_a_skipped_step_hands_on_null(bench: Bench) -> None:
    result = await bench.steps(
        {"method": "script.return", "params": {"v": 7}},
        log("never", when="{{false}}"),
        log("after {{JSON.stringify(input)}}"),
    )
    assert result.status == "end"
    assert bench.lines() == ["after null"]


async def test_02_each_message_has_a_shell_of_its_own(bench: Bench) -> None:
    trace = bench.trace()
    result = await bench.steps(shell(["false", "", "echo second; pwd", "cd /; export Q=1", "echo q=$Q; pwd"]))
    assert result.status == "end"
    stdout = trace.rows[0].data["returned"]["stdout"]
    assert f"q=\r\n{bench.app}" in stdout.replace("\n", "\r\n").replace("\r\r", "\r")
    assert "second" not in stdout


async def test_03_exit_status_is_nothing_and_chain_is_and(bench: Bench) -> None:
    result = await bench.steps(shell("false && echo x"))
    assert result.status == "end"
    result = await bench.steps(shell(["false", "echo sec''ond"], chain="&"))
    assert result.status == "end"
    assert "second" not in result.result["stdout"]


async def test_04_an_error_in_the_echo_counts(bench: Bench) -> None:
    result = await bench.steps(shell('true || echo "Error: never printed"'))
    assert (result.status, result.step, result.method) == ("error", 0, "shell.run")


async def test_05_a_tolerated_error(bench: Bench) -> None:
    result = await bench.steps(
        shell('true || echo "Error: never printed"', on=[{"event": "/error:/i", "break": False}])
    )
    assert result.status == "end"


async def test_06_the_first_match_is_in_the_echo(bench: Bench) -> None:
    line = "sleep 0.3; echo http://real:1; sleep 5 # http://echo:0"
    result = await bench.steps(shell(line, on=[{"event": "/http:\\/\\/\\S+/", "done": True}]))
    assert result.result["event"].items[0] == "http://real:1;"


async def test_07_the_last_capture_wins(bench: Bench) -> None:
    result = await bench.steps(shell("for i in 1 2; do echo VAL=$i; sleep 0.2; done", on=[{"event": "/VAL=([0-9])/"}]))
    assert result.result["event"].items == ("VAL=2", "2")


async def test_08_a_pattern_without_slashes_ends_with_nothing(bench: Bench) -> None:
    result = await bench.steps(shell("echo hi", on=[{"event": "http", "done": True}]))
    assert (result.status, result.result["stdout"]) == ("end", "")


async def test_09_jump_hands_over_its_params(bench: Bench) -> None:
    await bench.steps(
        {"method": "jump", "params": {"id": "z", "params": {"k": 1}}},
        log("not here"),
        log("at {{current}} {{JSON.stringify(input)}}", id="z"),
    )
    assert bench.lines() == ['at 2 {"k":1}']


async def test_10_next_by_id_and_null(bench: Bench) -> None:
    trace = bench.trace()
    await bench.steps(log("a", next="z"), log("b"), log("c", id="z", next=None), log("d"))
    assert [row.data["index"] for row in trace.rows] == [0, 2]


async def test_11_next_of_a_skipped_step_means_nothing(bench: Bench) -> None:
    await bench.steps(log("no", when="{{false}}", next=None), log("yes"))
    assert bench.lines() == ["yes"]


async def test_12_a_failed_child_lets_its_parent_go_on(bench: Bench) -> None:
    bench.write("child.json", [{"method": "fs.read", "params": {"path": "missing"}}])
    result = await bench.steps(start("child.json"), log("got {{input}}"), start("child.json"))
    assert result.status == "end"
    assert bench.lines() == ["got {{input}}"]
    child = f"{bench.app.name}/child.json"
    assert result.failed_children == [
        child,
        child,
    ]  # it was stopped after its error, so it could fail again (section 15)


async def test_13_a_daemon_child_gives_its_result_and_lives(bench: Bench) -> None:
    child = bench.write(
        "child.json",
        {
            "daemon": True,
            "run": [
                {"method": "local.set", "params": {"url": "http://x"}},
                {"method": "script.return", "params": {"d": 1}},
            ],
        },
    )
    await bench.steps(
        start("child.json"),
        log("got {{JSON.stringify(input)}} {{running('child.json') ? 'up' : 'down'}}"),
        log("url {{kernel.local(cwd, 'child.json').url}}"),
    )
    assert bench.lines() == ['got {"d":1} up', "url http://x"]
    assert bench.engine.running(child)
    assert await bench.engine.local(child) == {"url": "http://x"}


async def test_14_a_loop_by_jump(bench: Bench) -> None:
    trace = bench.trace()
    await bench.steps(
        {"method": "local.set", "params": {"c": "{{(local.c||0)+1}}"}},
        {"method": "jump", "params": {"index": "{{local.c < 3 ? 0 : 2}}"}},
        log("c {{local.c}}"),
    )
    assert [row.data["index"] for row in trace.rows] == [0, 1, 0, 1, 0, 1, 2]
    assert bench.lines() == ["c 3"]


async def test_15_json_by_dot_paths(bench: Bench) -> None:
    await bench.steps(
        {"method": "json.set", "params": {"d.json": {"a.b": 1, "c": [1]}}},
        {"method": "json.rm", "params": {"d.json": ["a.b", "c.0"]}},
    )
    assert json.loads(bench.read("d.json")) == {"a": {}, "c": []}


async def test_16_an_empty_text_leaves_no_file(bench: Bench) -> None:
    result = await bench.steps({"method": "fs.write", "params": {"path": "t.txt", "text": ""}})
    assert result.status == "end"
    assert not (bench.app / "t.txt").exists()


async def test_17_global_outlives_a_run_and_local_does_not(bench: Bench) -> None:
    path = bench.write(
        "main.json",
        [
            log("g {{global.g}} l {{local.l}}"),
            {"method": "global.set", "params": {"g": 1}},
            {"method": "local.set", "params": {"l": 1}},
        ],
    )
    await bench.run(path)
    await bench.run(path)
    assert bench.lines() == ["g {{global.g}} l {{local.l}}", "g 1 l {{local.l}}"]


async def test_18_the_port_is_the_same_while_it_is_free(bench: Bench) -> None:
    await bench.steps(log("p {{port}}"), log("p {{port}}"))
    first, second = bench.lines()
    assert first == second
    assert int(first[2:]) >= 42003


async def test_19_generated_defaults_beat_the_template_file(bench: Bench) -> None:
    (bench.app / "_ENVIRONMENT").write_text("GRADIO_TEMP_DIR=./mine\nONLY_HERE=./kept\n")
    await bench.steps(
        {"method": "env.set", "params": {"TOUCHED": "1"}}, log("g {{env.GRADIO_TEMP_DIR}}"), log("o {{env.ONLY_HERE}}")
    )
    mine, kept = bench.lines()[-2:]
    assert mine == f"g {bench.app}/cache/GRADIO_TEMP_DIR"
    assert kept == f"o {bench.app}/kept"


async def test_20_the_drive_keeps_the_first_version(bench: Bench) -> None:
    (bench.app / ".git").mkdir()
    (bench.app / ".git" / "config").write_text(f'[remote "origin"]\n\turl = https://h.example/{bench.app.name}.git\n')
    folder = bench.app / "models" / "ckpt"
    step = {"method": "fs.link", "params": {"drive": {"checkpoints": "models/ckpt"}}}
    for version in ("first", "second"):
        folder.unlink() if folder.is_symlink() else None
        folder.mkdir(parents=True)
        (folder / "m.bin").write_text(version)
        result = await bench.steps(step)
        assert result.status == "end"
    assert folder.is_symlink()
    assert (folder / "m.bin").read_text() == "first"


async def test_21_on_stop_fires_at_a_normal_end(bench: Bench) -> None:
    await bench.js("""module.exports = { run: [{ method: 'log', params: { text: 'step' } }],
      on: { stop: { method: (req, ondata) => { ondata({ raw: 'stopped\\r\\n' }) } } } }""")
    assert bench.lines() == ["step", "stopped"]


async def test_22_run_as_a_function_is_evaluated_once(bench: Bench) -> None:
    await bench.js("""const fs = require('fs')
      module.exports = { run: async function (kernel, info, context) {
        fs.appendFileSync(__dirname + '/count', 'x')
        return [1, 2].map(n => ({ method: 'log', params: { text: `${n} ${kernel.platform} ${typeof info.exists} ${Object.keys(context).length > 20}` } }))
      } }""")
    assert bench.lines() == ["1 linux function true", "2 linux function true"]
    assert bench.read("count") == "x"


@pytest.mark.parametrize(
    ("when", "runs"),
    [
        ("{{gpu === 'amd'}}", False),
        ("{{which('no-such-program')}}", False),
        ("{{local.x}}", False),
        ("{{local.x.y}}", True),
        ("{{missingName}}", True),
        ("false", True),
        ("{{'false'}}", True),
        ("", False),
        ("{{''}}", False),
        (None, False),
        (0, False),
        ("{{kernel.exists('nothing')}}", True),
        ("{{!kernel.exists('nothing')}}", False),
        ("{{false\n}}", True),
    ],
)
async def test_23_when(bench: Bench, when: object, *, runs: bool) -> None:
    trace = bench.trace()
    await bench.steps(log("x", when=when))
    assert [row.data["executed"] for row in trace.rows] == [runs]


async def test_23_a_syntax_error_in_when_ends_the_script(bench: Bench) -> None:
    result = await bench.steps(log("x", when="{{1 +}}"))
    assert result.status == "error"
    assert "when" in str(result.error)


async def test_23_an_event_is_a_match_with_groups(bench: Bench) -> None:
    result = await bench.steps(shell("echo port=12''34", on=[{"event": "/port=(?<n>[0-9]{4})/", "done": True}]))
    assert isinstance(result.result["event"], Match)
    assert dict(result.result["event"].groups or {}) == {"n": "1234"}
