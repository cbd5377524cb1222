"""Positions: scripts whose process is killed at every boundary and in the middle of steps go on where they were."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.engine.positions import Position, Positions, digest
from orchestrator.engine.values import UNDEFINED, Match, Opaque
from tests.engine.conftest import Bench, log, start

ROOT = Path(__file__).parents[2]


def effect(name: str) -> dict[str, Any]:
    return {"method": "fs.append", "params": {"path": "../../../state/effects", "text": name + "\n"}}


SCRIPTS: dict[str, Any] = {
    "main.json": [
        start("child.json", params={"p": 1}),
        effect("main {{input}} {{args.none === undefined}}"),
        start("fails.json"),
        {"method": "local.set", "params": {"n": "{{(local.n || 0) + 1}}"}},
        effect("round {{local.n}}"),
        {"method": "jump", "params": {"index": "{{local.n < 2 ? 3 : 6}}"}},
        start("grandchild.json", params={"p": 2}),
        {"method": "script.return", "params": "r {{local.n}}"},
    ],
    "child.json": [
        effect("child {{args.p}}"),
        start("grandchild.json", params={"p": "{{args.p}}"}),
        effect("child end {{args.p}}"),
        {"method": "script.return", "params": "{{10 * args.p}}"},
    ],
    "grandchild.json": [
        effect("grandchild {{args.p}}"),
        {"method": "local.set", "params": {"x": "{{args.p}}"}},
        effect("grandchild end {{local.x}}"),
    ],
    "fails.json": [effect("fails"), {"method": "fs.read", "params": {"path": "missing"}}],
}
EFFECTS = [
    "child 1",
    "grandchild 1",
    "grandchild end 1",
    "child end 1",
    "main 10 {{args.none === undefined}}",
    "fails",
    "round 1",
    "round 2",
    "grandchild 2",
    "grandchild end 2",
]


def run_killed(tmp_path: Path, mode: str) -> tuple[list[str], list[Any], int]:
    """Run the scripts until a process lives to their end; return effects, result and how many were killed."""
    app, state = tmp_path / "home" / "api" / "app", tmp_path / "state"
    app.mkdir(parents=True)
    state.mkdir()
    for name, steps in SCRIPTS.items():
        (app / name).write_text(json.dumps({"run": steps}))
    for killed in range(100):
        status = subprocess.run(
            [
                sys.executable,
                "-m",
                "tests.engine.killed",
                str(tmp_path / "home"),
                str(app / "main.json"),
                str(state),
                mode,
            ],
            cwd=ROOT,
            timeout=60,
            check=False,
        ).returncode
        if status == 0:
            return (state / "effects").read_text().splitlines(), json.loads((state / "result").read_text()), killed
        assert status == -9
    raise AssertionError("it never ended")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["never", "boundary", "start"])
def test_every_effect_happens_exactly_once(tmp_path: Path, mode: str) -> None:
    effects, result, killed = run_killed(tmp_path, mode)
    main = EFFECTS[4].replace("{{args.none === undefined}}", "true")
    assert effects == [main if line == EFFECTS[4] else line for line in EFFECTS]
    assert result == ["end", None, "r 2", ["app/fails.json"]]
    assert (killed > 15) is (mode != "never")


# the rules themselves


@pytest.fixture
def script(tmp_path: Path) -> str:
    path = tmp_path / "s.json"
    path.write_text("{}")
    return str(path)


def test_a_position_comes_back_once(script: str) -> None:
    saved: list[dict[str, Any]] = []
    first = Positions(saved.append)
    match = Match(("a", UNDEFINED), 3, {"n": "a"}, "xxxa")
    first.reached(script, {"p": 1}, Position(2, match, {"b": b"\0", "u": UNDEFINED}, ("x",)))
    again = Positions(saved.append, json.loads(json.dumps(saved[-1])))
    assert again.take(script, {"p": 1}) == Position(2, match, {"b": b"\0", "u": UNDEFINED}, ("x",))
    assert again.take(script, {"p": 1}) is None
    assert again.current[script]["next"] == 2


@pytest.mark.parametrize("change", [{"digest": "other"}, {"next": -1}, {"next": True}, {"next": "2"}, {"next": None}])
def test_a_position_of_something_else_is_none(script: str, change: dict[str, Any]) -> None:
    good = {"next": 2, "input": None, "local": {}, "digest": digest(script, {})}
    assert Positions(None, {script: good}).take(script, {}) is not None
    assert Positions(None, {script: {**good, **change}}).take(script, {}) is None


@pytest.mark.parametrize("junk", [None, 5, [], "text", {}])
def test_junk_is_no_position(script: str, junk: Any) -> None:
    assert Positions(None, {script: junk}).take(script, {}) is None


def test_a_changed_script_begins_anew(script: str) -> None:
    positions = Positions(lambda _: None)
    positions.reached(script, {}, Position(1, None, {}))
    saved = dict(positions.current)
    Path(script).write_text('{"other": 1}')
    assert Positions(None, saved).take(script, {}) is None
    assert Positions(None, dict(positions.current)).take(script, {"other": 1}) is None


def test_live_values_leave_the_position_before(script: str) -> None:
    positions = Positions(lambda _: None)
    positions.reached(script, {}, Position(1, None, {}))
    positions.reached(script, {}, Position(2, {"f": Opaque({"$function": "f"}, "h1")}, {}))
    positions.reached(script, {}, Position(2, None, {"f": [Opaque({"$function": "f"}, "h1")]}))
    assert positions.current[script]["next"] == 1


def test_children_go_with_the_step_that_started_them(script: str) -> None:
    saved: list[dict[str, Any]] = []
    positions = Positions(saved.append)
    positions.reached(script, {}, Position(0, {}, {}))
    positions.reached("/child", {}, Position(1, {}, {}), parent=script)
    positions.reached("/grandchild", {}, Position(1, {}, {}), parent="/child")
    assert set(saved[-1]) == {script, "/child", "/grandchild"}
    positions.reached("/child", {}, Position(2, {}, {}), parent=script)
    assert set(saved[-1]) == {script, "/child"}
    positions.reached(script, {}, Position(1, {}, {}))
    assert set(saved[-1]) == {script}
    positions.ended(script)
    assert saved[-1] == {}


def test_a_second_crash_before_the_first_new_step_loses_nothing(script: str) -> None:
    positions = Positions(lambda _: None)
    positions.reached(script, {}, Position(3, {}, {}))
    saved: list[dict[str, Any]] = []
    again = Positions(saved.append, dict(positions.current))
    again.take(script, {})
    again.reached("/child", {}, Position(1, {}, {}), parent=script)
    assert saved[-1][script]["next"] == 3


async def test_a_position_is_not_taken_while_a_server_works(bench: Bench) -> None:
    saved: list[dict[str, Any]] = []
    bench.engine.positions = Positions(saved.append)
    server = {
        "method": "shell.run",
        "params": {"message": "echo re''ady; sleep 1000", "on": [{"event": "/ready/", "done": True}]},
    }
    bench.write("server.json", {"daemon": True, "run": [server]})
    path = bench.write("main.json", [log("a"), start("server.json"), log("b"), log("c")])
    await bench.run(path)
    assert max(state[path]["next"] for state in saved if path in state) == 1


async def test_a_step_that_a_person_named_and_that_is_not_there_is_an_error(bench):
    script = bench.write("main.json", {"run": [log("one"), log("two")]})
    saved = {"next": 2, "input": None, "local": {}, "digest": digest(script, {})}
    bench.engine.positions.earlier = {script: {**saved, "asked": True}}
    result = await bench.engine.start(script)
    assert (result.status, bench.lines()) == ("error", [])
    assert "has no step 3, only 2" in str(result.error)
