"""The subtlest behaviours (spec 14), by number; the others are in test_checklist.py and in the conformance rows."""

# ruff: noqa: E501  # scripts read best with one step on a line

from __future__ import annotations

import json

import psutil

from tests.engine.conftest import Bench, log, shell, start, until


async def test_06_07_whole_templates_keep_types_and_two_of_them_stay_literal(bench: Bench) -> None:
    trace = bench.trace()
    await bench.steps({"method": "log", "params": {"text": "{{platform}}-{{arch}}", "raw": None, "more": "{{port}}"}},
                      {"method": "script.return", "params": {"a": "{{[1, 2]}}", "n": "{{null}}", "f": "{{false}}"}})  # fmt: skip
    assert trace.rows[0].data["params"] == {"text": "{{platform}}-{{arch}}", "raw": None, "more": "{{port}}"}
    assert trace.rows[1].data["params"] == {"a": [1, 2], "n": None, "f": False}
    assert any("literal" in text or "{{" in text for text in bench.said())


async def test_09_exit_in_a_message_ends_the_step(bench: Bench) -> None:
    result = await bench.steps(shell("exit 3"), log("after"))
    assert (result.status, bench.lines()[-1]) == ("end", "after")


async def test_10_done_lives_on_only_in_a_daemon(bench: Bench) -> None:
    step = shell("echo $$ > pid; echo re''ady; sleep 1000", on=[{"event": "/ready/", "done": True}])
    await bench.steps(step)
    await until(lambda: not psutil.pid_exists(int(bench.read("pid"))))
    result = await bench.steps(step, daemon=True)
    assert result.daemon
    assert psutil.pid_exists(int(bench.read("pid")))


async def test_11_an_existing_folder_is_taken_for_an_environment(bench: Bench) -> None:
    (bench.app / "sub" / "env").mkdir(parents=True)
    result = await bench.steps(shell("echo ne''ver", path="sub", venv="env"), log("goes on"))
    assert result.status == "end"
    assert bench.lines()[-1] == "goes on"
    assert "never" not in bench.sink.all_text()


async def test_13_tilde_is_the_home_of_pinokio(bench: Bench) -> None:
    await bench.steps({"method": "fs.write", "params": {"path": f"~/api/{bench.app.name}/t", "text": "x"}})
    assert bench.read("t") == "x"


async def test_14_variables_of_the_host_that_shells_do_not_get(bench: Bench) -> None:
    bench.engine.base_env.update({"CUDA_HOME_OF_HOST": "x", "MY_SSH_KEY": "x"})
    result = await bench.steps(
        shell("echo [$CUDA_HOME_OF_HOST$MY_SSH_KEY]", env={"PATH": ["/first"]}), shell("echo p=$PATH")
    )
    assert "[]" in bench.sink.all_text()
    assert result.status == "end"
    assert (await bench.steps(shell("true", env={"PATH": "/a:/b"}))).status == "error"


async def test_19_a_function_is_tried_as_a_constructor_first(bench: Bench) -> None:
    await bench.js("""module.exports = function (kernel) {
      return { run: [{ method: 'log', params: { text: kernel ? 'kernel' : 'none' } }] } }""")
    assert bench.lines() == ["none"]


async def test_26_four_passes_and_dollars(bench: Bench) -> None:
    await bench.js(r"""module.exports = { a: 'x {{self.b}}', b: 'y {{self.c}}', c: 'z {{self.d}}', d: 'w {{self.e}}', e: 'end',
      run: [{ method: 'log', params: { text: '{{self.a}}' } }, { method: 'log', params: { text: "d {{'a$$b'}}" } }] }""")
    assert bench.lines() == ["x y z w {{self.e}}", "d a$b"]


async def test_27_an_unknown_jump_falls_through(bench: Bench) -> None:
    await bench.steps({"method": "jump", "params": {"id": "nowhere", "params": {"k": 1}}}, log("i {{input.k}}"))
    assert bench.lines() == ["i 1"]


async def test_27_a_jump_with_an_empty_object(bench: Bench) -> None:
    await bench.steps({"method": "jump", "params": {"index": 1, "params": {}}}, log("i {{JSON.stringify(input)}}"),
                      {"method": "jump", "params": {"index": 3, "params": "", "input": "old"}}, log("i {{input}}"))  # fmt: skip
    assert bench.lines() == ["i {}", "i old"]


async def test_27_what_follows_nowhere_is_an_error_that_stops(bench: Bench) -> None:
    for top in ({"next": "nowhere"}, {"next": 99}):
        result = await bench.steps(
            shell("echo re''ady; sleep 1000", on=[{"event": "/ready/", "done": True}]), log("x", **top), log("never")
        )
        assert (result.status, result.step) == ("error", 1)
        assert not bench.engine.shells.ids()
    assert "never" not in bench.lines()


async def test_29_paths_of_info_and_kernel(bench: Bench) -> None:
    bench.write("lib/part.js", "module.exports = info => [info.exists('here.txt'), info.path('x')]")
    bench.write("lib/here.txt", "x")
    await bench.js("""module.exports = { run: async (kernel, info) => [{ method: 'log', params: { json: [
      ...require('./lib/part.js')(info), info.exists('lib/here.txt'), await kernel.exists('api'), kernel.path('api')] } }] }""")
    found = json.loads(bench.lines()[-1])
    assert found == [True, f"{bench.app}/lib/x", True, True, f"{bench.home.root}/api"]


async def test_31_stdout_is_the_screen(bench: Bench) -> None:
    result = await bench.steps(shell("printf 'one\\rtwo\\n'"))
    assert "printf" in result.result["stdout"]
    assert "two" in result.result["stdout"].splitlines()[1]


async def test_32_global_belongs_to_one_script(bench: Bench) -> None:
    bench.write("child.json", [log("g {{global.g}}")])
    await bench.steps({"method": "global.set", "params": {"g": 1}}, start("child.json"))
    assert bench.lines() == ["g {{global.g}}"]


async def test_33_proxy_start_does_nothing(bench: Bench) -> None:
    await bench.steps({"method": "proxy.start", "params": {"uri": "x"}}, log("i {{input}}"))
    assert bench.lines() == ["i {{input}}"]
    assert any("proxy.start" in text for text in bench.said())
