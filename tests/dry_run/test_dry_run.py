"""What a dry run assumes, rule by rule, on launchers in the patterns that real ones use."""

from __future__ import annotations

import socket

import pytest

from orchestrator.engine.dry_run.dry_run import DryRun
from orchestrator.engine.values import UNDEFINED, Match
from tests.dry_run.conftest import Write


def steps(*requests):
    return {"run": list(requests)}


async def rows(dry: DryRun, path, payload=UNDEFINED):
    plan = await dry.plan(path, payload)
    assert plan.status == "end", plan.error
    return [(row["index"], row["executed"], row["method"], row["params"]) for row in plan.trace]


async def test_templates_conditions_and_facts(dry: DryRun, write: Write):
    app = write(
        {
            "install.json": steps(
                {"when": "{{gpu === 'amd'}}", "method": "shell.run", "params": {"message": "rocm"}},
                {
                    "when": "{{gpu === 'nvidia' && platform === 'linux'}}",
                    "method": "shell.run",
                    "params": {"message": "run {{vram}} {{gpu_target}} {{port}}"},
                },
                {"method": "log", "params": {"text": "on {{which('nvcc')}} {{which('docker')}} {{os.platform()}}"}},
            )
        }
    )
    assert await rows(dry, app / "install.json") == [
        (0, False, "shell.run", {"message": "rocm"}),
        (1, True, "shell.run", {"message": "run 24 sm_89 42003"}),
        (2, True, "log", {"text": "on /usr/bin/nvcc null linux"}),
    ]


async def test_a_skipped_step_keeps_its_condition_as_it_was_written(dry: DryRun, write: Write):
    app = write({"a.json": steps({"when": "{{gpu === 'amd'}}", "method": "log", "params": {"text": "x"}})})
    (step,) = (await dry.plan(app / "a.json")).steps
    assert (step.executed, step.when, step.cwd) == (False, "{{gpu === 'amd'}}", str(app))


async def test_commands_are_not_run_and_answer_with_an_address_where_one_is_waited_for(dry: DryRun, write: Write):
    app = write(
        {
            "start.js": """module.exports = {daemon: true, run: [
          {method: "shell.run", params: {message: "touch ran; echo hi", path: "sub"}},
          {method: "local.set", params: {first: "got {{input.stdout}}"}},
          {method: "shell.run", params: {message: "python app.py",
            on: [{event: "/http:\\\\/\\\\/[0-9.:]+/", done: true}]}},
          {method: "local.set", params: {url: "{{input.event[0]}}"}},
        ]}"""
        }
    )
    plan = await dry.plan(app / "start.js")
    assert plan.daemon
    assert plan.local["url"] == "http://127.0.0.1:7860"
    assert not (app / "ran").exists()
    assert not (app / "sub").exists()


@pytest.mark.parametrize(
    ("request_", "given"),
    [
        (
            {
                "method": "input",
                "params": {
                    "form": [
                        {"key": "a", "default": "x"},
                        {"key": "b", "items": [{"text": "One", "value": "1"}]},
                        {"key": "c", "type": "checkbox"},
                        {"key": "d"},
                    ]
                },
            },
            {"a": "x", "b": "1", "c": False, "d": ""},
        ),
        ({"method": "input", "params": {"title": "done"}}, {}),
        ({"method": "filepicker.open", "params": {}}, {"paths": []}),
        ({"method": "net", "params": {"url": "http://127.0.0.1:9/"}}, {}),
        ({"method": "gradio.predict", "params": {}}, {"data": []}),
        ({"method": "modal", "params": {}}, {}),
        ({"method": "fs.read", "params": {"path": "secret"}}, ""),
        ({"method": "shell.start", "params": {"id": "one"}}, "one"),
        (
            {
                "method": "shell.enter",
                "params": {"id": "one", "message": "x", "on": [{"event": None, "return": "{{event.matches[0][0]}}"}]},
            },
            "http://127.0.0.1:7860",
        ),
        ({"method": "script.return", "params": {"k": 1}}, {"k": 1}),
        ({"method": "fs.write", "params": {"path": "made", "text": "x"}}, UNDEFINED),
        ({"method": "fs.download", "params": {"uri": "http://127.0.0.1:9/x", "dir": "."}}, UNDEFINED),
        ({"method": "script.start", "params": {"uri": "missing.js"}}, UNDEFINED),
        ({"method": "script.start", "params": {"uri": "https://github.com/a/b.git/start.js"}}, UNDEFINED),
        ({"method": "script.start", "params": {"uri": "../other/install.json"}}, UNDEFINED),
        ({"method": "kernel.system.graphics", "params": {}}, UNDEFINED),
    ],
)
async def test_fixed_answers(dry: DryRun, write: Write, request_, given):
    write({"install.json": steps({"method": "fs.write", "params": {"path": "made", "text": "x"}})}, app="other")
    app = write({"a.json": steps(request_)})
    plan = await dry.plan(app / "a.json")
    assert (plan.status, plan.result) == ("end", given)
    assert sorted(path.name for path in app.iterdir()) == ["a.json"]


async def test_shells_give_the_record_of_a_dry_command(dry: DryRun, write: Write):
    app = write(
        {"a.json": steps({"method": "hf.download", "params": {"_": ["a/b"], "on": [{"event": "/x/", "kill": True}]}})}
    )
    plan = await dry.plan(app / "a.json")
    url = "http://127.0.0.1:7860"
    assert plan.result == {"id": "dry", "response": "", "stdout": "", "event": Match((url, url))}


async def test_json_is_really_read_and_never_written(dry: DryRun, write: Write):
    app = write(
        {
            "config.json": {"a": {"b": 7}},
            "a.json": steps(
                {"method": "json.set", "params": {"config.json": {"a.b": 8}}},
                {"method": "self.set", "params": {"config.json": {"a.b": 8}}},
                {"method": "json.get", "params": {"value": "config.json"}},
            ),
        }
    )
    plan = await dry.plan(app / "a.json")
    assert plan.local == {"value": {"a": {"b": 7}}}
    assert '"b": 7' in (app / "config.json").read_text()


async def test_a_script_of_the_same_app_is_planned_in_place(dry: DryRun, write: Write):
    app = write(
        {
            "install.json": steps(
                {"method": "script.start", "params": {"uri": "torch.js", "params": {"venv": "env"}}},
                {"method": "log", "params": {"text": "{{input}}"}},
            ),
            "torch.js": """module.exports = {run: [
          {when: "{{platform === 'win32'}}", method: "shell.run", params: {message: "windows"}},
          {method: "script.return", params: "{{args.venv}}"}]}""",
        }
    )
    plan = await dry.plan(app / "install.json")
    assert [(row["script"], row["index"], row["executed"]) for row in plan.trace] == [
        ("install.json", 0, True),
        ("torch.js", 0, False),
        ("torch.js", 1, True),
        ("install.json", 1, True),
    ]
    assert plan.trace[-1]["params"] == {"text": "env"}


async def test_inline_functions_and_uri_modules_are_not_called(dry: DryRun, write: Write):
    app = write(
        {
            "a.js": """const fs = require('fs')
        module.exports = {run: [
          {method: async (req) => { globalThis.called = true; return 1 }},
          {uri: "./module.js", method: "make", params: {x: "{{typeof globalThis.called}}"}},
        ]}""",
            "module.js": "module.exports = class { make () { throw new Error('called') } }",
        }
    )
    plan = await dry.plan(app / "a.js")
    assert [step.method for step in plan.steps] == ["function", "make"]
    assert (plan.status, plan.result) == ("end", UNDEFINED)
    assert plan.steps[1].params == {"x": "undefined"}


async def test_an_unknown_method_is_told_and_does_nothing(dry: DryRun, write: Write):
    app = write({"a.json": steps({"method": "nonsense.do", "params": {}}, {"method": "log", "params": {"text": "on"}})})
    plan = await dry.plan(app / "a.json")
    assert plan.status == "end"
    assert plan.steps[0].error == "there is no method `nonsense.do`"
    assert plan.steps[1].error is None


async def test_an_endless_jump_is_given_up(dry: DryRun, write: Write):
    app = write(
        {
            "a.json": steps(
                {"id": "top", "method": "log", "params": {"text": "x"}}, {"method": "jump", "params": {"id": "top"}}
            )
        }
    )
    plan = await dry.plan(app / "a.json")
    assert (plan.status, len(plan.steps)) == ("step-limit", 400)


async def test_params_that_are_absent_are_undefined_in_the_trace(dry: DryRun, write: Write):
    app = write({"a.json": steps({"method": "notify"})})
    assert (await dry.plan(app / "a.json")).trace[0]["params"] == {"$undefined": True}


async def test_legacy_set_changes_own_variables_but_no_file(dry: DryRun, write: Write):
    app = write(
        {
            "config.json": {"a": 1},
            "a.json": steps(
                {"method": "set", "params": {"local": {"count": 3}, "json": {"config.json": {"a": 2}}}},
                {"method": "log", "params": {"text": "{{local.count}}"}},
            ),
        }
    )
    plan = await dry.plan(app / "a.json")
    assert plan.trace[1]["params"] == {"text": 3}
    assert "2" not in (app / "config.json").read_text()


async def test_one_plan_leaves_nothing_for_the_next(dry: DryRun, write: Write):
    app = write(
        {
            "a.json": steps(
                {"method": "global.set", "params": {"seen": "yes"}},
                {"method": "log", "params": {"text": "{{global.seen}}"}},
            ),
            "b.js": """module.exports = {run: (kernel, info) => [{method: "log", params: {
              text: String(info.ready("a.json")) + String(info.running("a.json"))}}]}""",
        }
    )
    before = (await dry.plan(app / "b.js")).trace
    first = await dry.plan(app / "a.json")
    again = await dry.plan(app / "a.json")
    assert first.trace == again.trace
    assert (await dry.plan(app / "b.js")).trace == before


async def test_on_stop_is_not_run(dry: DryRun, write: Write):
    app = write(
        {
            "a.js": """module.exports = {daemon: true,
          on: {stop: {method: "fs.write", params: {path: "stopped", text: "x"}}},
          run: [{method: "log", params: {text: "x"}}]}"""
        }
    )
    await dry.plan(app / "a.js")
    assert not (app / "stopped").exists()


async def test_files_that_are_no_scripts(dry: DryRun, write: Write):
    app = write(
        {
            "config.json": {"a": 1},
            "list.js": "module.exports = {run: []}",
            "broken.json": "{",
            "data.js": "module.exports = 3",
        }
    )
    found = {
        name: await dry.plan(app / name) for name in ("config.json", "list.js", "broken.json", "data.js", "none.js")
    }
    assert {name: plan.status for name, plan in found.items()} == dict.fromkeys(found, "load-error")
    assert {name for name, plan in found.items() if plan.no_steps} == {"config.json", "list.js", "data.js"}


async def test_variables_that_a_script_requires(dry: DryRun, write: Write):
    app = write(
        {
            "a.json": {
                "env": [{"key": "HF_TOKEN", "title": "Token"}],
                "pre": [],
                "run": [{"method": "log", "params": {"text": "x"}}],
            }
        }
    )
    plan = await dry.plan(app / "a.json")
    assert plan.env == ({"key": "HF_TOKEN", "title": "Token"},)


async def test_the_kernel_gives_fixed_ports_and_runs_nothing(dry: DryRun, write: Write):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        app = write(
            {
                "a.js": """module.exports = {run: async (kernel) => [{method: "log", params: {
              port: await kernel.port(), free: await kernel.port(PORT), ports: await kernel.ports(3),
              shell: await kernel.shell.run({message: "touch ran"}),
              exec: typeof await kernel.exec({message: "touch ran"})}}]}""".replace("PORT", str(taken.getsockname()[1]))
            }
        )
        plan = await dry.plan(app / "a.js")
    assert plan.status == "load-error" or not (app / "ran").exists()
    assert not (app / "ran").exists()
