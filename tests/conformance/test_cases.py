"""Every row of cases.jsonl: a script run to its end by the real engine, with real Node and real shells."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator.engine.answers import Answers
from orchestrator.engine.engine import Engine
from orchestrator.engine.errors import LoadError
from orchestrator.engine.events import Recorder
from orchestrator.engine.hardware import HardwareProfile
from orchestrator.engine.home import Home
from orchestrator.engine.run import RunResult
from orchestrator.engine.trace import Trace
from orchestrator.engine.values import UNDEFINED, encode

HERE = Path(__file__).parent
LONG = 60.0  # seconds that one row may take on a busy machine
SLOWER = 3  # times as long as written do scripts wait, so that what happens meanwhile does so on a busy machine, too
ROWS = [json.loads(line) for line in (HERE / "cases.jsonl").read_text("utf-8").splitlines()]

# what differs, and why; the rest of such a row is still compared
DAEMON_DIFFERS = {
    "child/calldaemon.json#2.4": "the recorder saw the child's daemon flag; the script itself is none",
}
STEPS_FOLLOW = {
    "shell/exit.json#2.15": "the desktop hangs at `exit`; for us the step is over (spec 8.9), so the next one runs",
}
MATCH_STARTS_WITH = {
    "shell/cmdecho2.json#2.12": "what a greedy one takes of the following lines depends on how the output was split",
    "more/daemonnest.json#4.26": "the match holds a process id",
}


def session_of(row: dict[str, Any]) -> str:
    """Rows of one recording session shared one engine, so that `global` lives on from row to row."""
    return str(re.search(r"#(\d+)\.", row["id"])[1])  # type: ignore[index]


SESSIONS = sorted({session_of(row) for row in ROWS})


@dataclass
class Observed:
    rows: list[dict[str, Any]]
    result: RunResult
    status: str
    local: Any
    files: dict[str, Any]


async def perform(engine: Engine, home: Home, row: dict[str, Any]) -> Observed:
    app = home.app(row["app"])
    shutil.rmtree(app, ignore_errors=True)
    shutil.copytree(HERE / "apps" / row["app"], app)
    before = listing(app)
    engine.trace = Trace()
    path = str(app / row["script"])
    local: Any = UNDEFINED
    payload = row["args"] if row["args"] is not None else UNDEFINED
    try:
        result = await asyncio.wait_for(engine.start(path, payload), LONG)
        status = result.status
        if result.status == "end" and result.daemon:
            local = await engine.local(path)
    except LoadError as error:
        result, status = RunResult("error", error=str(error)), "error"
    for running in list(engine.running_scripts()):
        await engine.stop(running)
    rows = [item.data for item in engine.trace.rows]
    return Observed(rows, result, status, encode(local), changed(before, listing(app)))


def listing(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if any(name.startswith(venv) for venv in found if venv.endswith("/") and found[venv].get("kind")):
            continue
        if path.is_symlink():
            found[name] = {"link": str(path.readlink())}
        elif (path / "pyvenv.cfg").is_file():
            found[name + "/"] = {"dir": True, "kind": "venv"}
        elif path.is_dir():
            if not any(path.iterdir()):
                found[name + "/"] = {"dir": True}
        elif path.parent.name != "__pycache__":
            found[name] = {"size": path.stat().st_size, "text": path.read_text("utf-8", "replace")}
    return {name: what for name, what in found.items() if not name.startswith("__pycache__")}


def changed(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    return {name: what for name, what in after.items() if before.get(name) != what}


def normal(value: Any, home: Home) -> Any:
    if isinstance(value, str):
        text = value.replace(str(home.root), "<HOME>")
        text = re.sub(r"\b42\d{3}\b", "42003", text)  # the first free port: others on this machine may have some
        return re.sub(r"/d\d{10,}/", "/d<ms>/", text)
    if isinstance(value, int) and not isinstance(value, bool) and 42003 <= value < 43000:
        return 42003
    if isinstance(value, dict):
        return {normal(key, home): normal(item, home) for key, item in value.items()}
    return [normal(item, home) for item in value] if isinstance(value, list) else value


def comparable(step: dict[str, Any], home: Home, *, app: str, row_id: str) -> dict[str, Any]:
    kept = {key: step.get(key) for key in ("executed", "index", "method", "params")}
    kept["script"] = step["script"] if step["script"].startswith(f"{app}/") else f"{app}/{step['script']}"
    returned = step.get("returned")
    given_back = isinstance(returned, dict) and bool(returned.get("error"))
    kept["failed"] = bool(step.get("error")) or given_back
    if step["executed"] and (given_back or not kept["failed"]) and step["method"] != "exec":
        kept["returned"] = event_of(returned, row_id) if step["method"] == "shell.run" else returned
    if row_id in MATCH_STARTS_WITH:
        kept["params"] = kept["returned"] = None
    return dict(normal(kept, home))


def event_of(returned: Any, row_id: str) -> Any:
    event = returned.get("event") if isinstance(returned, dict) else None
    if isinstance(event, dict) and "$match" in event:
        first = event["$match"][0]
        return first[: len("http://127.0.0.1:1234")] if row_id in MATCH_STARTS_WITH else event["$match"]
    return None


@pytest.mark.slow
@pytest.mark.parametrize("session", SESSIONS)
async def test_scripts_end_as_on_the_desktop(session: str, tmp_path: Path, subtests: pytest.Subtests) -> None:
    home = Home(tmp_path / "home")
    (tmp_path / "sleep").write_text(f"#!/bin/sh\nexec {shutil.which('sleep')} {'$1 ' * SLOWER}\n")
    (tmp_path / "sleep").chmod(0o755)
    engine = await Engine.open(
        home,
        sink=Recorder(),
        answers=Answers(),
        profile=HardwareProfile(),
        environ={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        sleep=lambda seconds: asyncio.sleep(SLOWER * seconds),
    )
    try:
        for row in [row for row in ROWS if session_of(row) == session]:
            observed = await perform(engine, home, row)
            with subtests.test(row["id"]):
                check(row, observed, home)
    finally:
        await engine.close()


def check(row: dict[str, Any], observed: Observed, home: Home) -> None:
    expect = row["expect"]
    wanted = [comparable(step, home, app=row["app"], row_id=row["id"]) for step in expect["steps"]]
    got = [comparable(step, home, app=row["app"], row_id=row["id"]) for step in observed.rows]
    assert (got[: len(wanted)] if row["id"] in STEPS_FOLLOW else got) == wanted, observed.result
    assert observed.status == expect["status"], observed.result
    if row["id"] not in DAEMON_DIFFERS:
        assert (observed.result.daemon and observed.status == "end") == expect["daemon"]
    if row["id"] not in MATCH_STARTS_WITH:
        assert normal(observed.local, home) == expect["local"]
    assert normal(observed.files, home) == expect["files"]


def test_every_named_difference_is_a_row() -> None:
    ids = {row["id"] for row in ROWS}
    assert ids >= DAEMON_DIFFERS.keys() | MATCH_STARTS_WITH.keys() | STEPS_FOLLOW.keys()
