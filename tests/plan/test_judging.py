"""Questions, reasons for skipped steps, and verdicts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.plan.needs import Needs
from orchestrator.plan.plan import Finding, Question
from orchestrator.plan.questions import questions_of
from orchestrator.plan.reasons import why_skipped
from orchestrator.plan.verdict import Room, judge
from tests.plan.steps import NO_GPU, machine, script, shell, step

FACTS = machine().to_json()


def test_questions_of_forms_variables_and_pickers():
    found = questions_of(
        [
            script(
                step(
                    "input",
                    {
                        "form": [
                            {"key": "size", "items": ["small", "large"]},
                            {"key": "HF_TOKEN", "required": True},
                            {"key": "size"},
                        ]
                    },
                ),
                step("filepicker.open", {"title": "Choose"}),
                step("input", {"form": "nonsense"}),
                step("input", {"form": [{"key": "never"}]}, executed=False),
                env=({"key": "API_KEY", "title": "Key"},),
            )
        ]
    )
    assert [(each.key, each.required, each.secret, each.default) for each in found] == [
        ("API_KEY", True, True, None),
        ("size", False, False, "small"),
        ("HF_TOKEN", True, True, None),
        ("paths", False, False, ""),
    ]


@pytest.mark.parametrize(
    ("when", "phrase"),
    [
        ("{{gpu === 'amd'}}", "`gpu === 'amd'` does not hold: gpu is nvidia"),
        (
            "{{platform === 'win32' && vram > 30}}",
            "`platform === 'win32' && vram > 30` does not hold: platform is linux, vram is 24",
        ),
        ("{{exists('app/env')}}", "`exists('app/env')` does not hold: as it is on disk now: exists('app/env')"),
        ("{{args.x}}", "`args.x` does not hold"),
        (None, "its condition does not hold"),
        ("{{'gpu is ' + local.a}}", "`'gpu is ' + local.a` does not hold"),
    ],
)
def test_reasons(when, phrase):
    assert why_skipped(when, FACTS) == phrase


@given(st.text())
def test_no_condition_raises(when):
    assert why_skipped(when, FACTS)


def verdict(*scripts, needs=None, questions=(), profile=None, room=None, **more):
    return judge(
        scripts or [script(shell("x"))], needs or Needs(), questions, profile or machine(), room or Room(), **more
    )


def codes(found):
    return [(each.level, each.what) for each in found.findings]


def test_an_app_with_nothing_against_it_runs():
    assert (verdict().state, verdict().findings) == ("runs here", ())


@pytest.mark.parametrize(
    ("given_", "state", "finding"),
    [
        ({"missing": ["start"]}, "cannot run", ("cannot", "file")),
        ({"problem": "menu broken"}, "runs here", ("warning", "menu")),
        ({"needs": Needs(platforms=("darwin",))}, "cannot run", ("cannot", "platform")),
        ({"needs": Needs(gpus=("nvidia",)), "profile": NO_GPU}, "needs", ("needs", "gpu")),
        ({"needs": Needs(vram=40)}, "needs", ("needs", "vram")),
        ({"needs": Needs(vram=12), "profile": NO_GPU}, "runs here", ("warning", "gpu")),
        ({"needs": Needs(torch="2.7.0", cuda="12.8"), "profile": NO_GPU}, "runs here", ("warning", "gpu")),
        ({"needs": Needs(disk=30), "room": Room(disk_free=10**9)}, "needs", ("needs", "disk")),
        ({"needs": Needs(disk_estimate=7.5), "room": Room(disk_free=10**9)}, "needs", ("needs", "disk")),
        ({"needs": Needs(ram=48), "room": Room(memory=16 << 30)}, "needs", ("needs", "ram")),
        ({"questions": [Question("a.js", "KEY", required=True)]}, "needs", ("needs", "answer")),
        ({"torch": [Finding("warning", "torch", "wrong build")]}, "runs here", ("warning", "torch")),
    ],
)
def test_one_thing_against_it(given_, state, finding):
    found = verdict(**given_)
    assert (found.state, codes(found)) == (state, [finding])


def test_enough_is_enough():
    found = verdict(needs=Needs(vram=24, disk=30, ram=48), room=Room(40 * 10**9, 64 << 30))
    assert found.state == "runs here"


@pytest.mark.parametrize(
    ("one", "finding"),
    [
        (script(status="load-error", error="broken"), ("cannot", "file")),
        (script(shell("x"), status="error", error="no"), ("cannot", "script")),
        (script(shell("x"), status="step-limit"), ("note", "script")),
        (script(step("nonsense", error="there is no method `nonsense`")), ("cannot", "method")),
        (script(shell("x", executed=False), shell("y", executed=False)), ("cannot", "platform")),
        (script(step("script.start", {"uri": "gone.js"})), ("warning", "file")),
        (script(shell("python app.py --listen")), ("warning", "open")),
        (script(shell("python app.py", env={"GRADIO_SERVER_NAME": "0.0.0.0"})), ("warning", "open")),
        (script(shell("python app.py --share")), ("warning", "open")),
    ],
)
def test_what_scripts_tell(one, finding):
    assert codes(verdict(one)) == [finding]


def test_a_script_that_was_planned_in_place_is_not_missing():
    found = verdict(script(step("script.start", {"uri": "torch.js"}), shell("x", script="torch.js")))
    assert found.findings == ()


def test_the_worst_comes_first():
    found = verdict(needs=Needs(platforms=("win32",)), questions=[Question("a.js", "K", required=True)], problem="x")
    assert [level for level, _ in codes(found)] == ["cannot", "needs", "warning"]
