"""Secret answers: never in the terminal, the trace, the journal's events or the stored position."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from orchestrator.engine.answers import Answers
from orchestrator.engine.positions import Position, Positions
from orchestrator.engine.values import UNDEFINED

if TYPE_CHECKING:
    from pathlib import Path

SECRET = 'hu"nter2-very'
FORM = [{"key": "login", "type": "password", "required": True}, {"key": "HF_TOKEN", "type": "text"}, {"key": "name"}]


def test_a_secret_answer_shows_nowhere(tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.mkdir()
    steps = [
        {"method": "input", "params": {"title": "Who?", "form": FORM}},
        {"method": "fs.write", "params": {"path": "out.txt", "text": "as {{input.login}} {{input.HF_TOKEN}}"}},
        {"method": "fs.read", "params": {"path": "out.txt", "encoding": "utf8"}},
        {"method": "log", "params": {"text": "now {{input}}"}},
        {"method": "shell.run", "params": {"message": "cat out.txt"}},
    ]
    (app / "start.json").write_text(json.dumps({"run": steps}))
    trace = tmp_path / "trace.jsonl"
    answers = json.dumps({"login": SECRET, "HF_TOKEN": "hf_abcdef", "name": "Ada"})
    command = [sys.executable, "-m", "cli", "script", "run", str(app / "start.json"), "--home", str(tmp_path / "home")]
    done = subprocess.run(
        [*command, "--answers", answers, "--trace", str(trace), "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (app / "out.txt").read_text() == f"as {SECRET} hf_abcdef"
    everything = done.stdout + done.stderr + trace.read_text()
    for shown in (SECRET, json.dumps(SECRET)[1:-1], "hf_abcdef"):
        assert shown not in everything
    assert "Ada" in trace.read_text()


async def test_answers_tell_of_secrets_before_they_give_them() -> None:
    learnt: list[str] = []
    answers = Answers({"login": SECRET, "HF_TOKEN": "hf_abcdef", "name": "Ada"})
    answers.on_secret = learnt.append
    await answers.form("start.json", 0, FORM)
    assert learnt == [SECRET, "hf_abcdef"]
    assert answers.holds_secret({"a": ["x", {"b": f"--token {SECRET}"}]})
    assert not answers.holds_secret({"a": ["x", {"b": "Ada"}]})


def test_a_position_with_a_secret_is_not_stored(tmp_path: Path) -> None:
    script = tmp_path / "install.js"
    script.write_text("module.exports = {}")
    stored: list[dict[str, object]] = []
    positions = Positions(stored.append, withheld=lambda value: SECRET in repr(value))
    positions.reached(str(script), {}, Position(1, UNDEFINED, {}))
    positions.reached(str(script), {}, Position(2, {"login": SECRET}, {}))
    positions.reached(str(script), {}, Position(3, UNDEFINED, {"kept": SECRET}))
    assert [saved[str(script)]["next"] for saved in stored] == [1]  # type: ignore[index]
    positions.reached(str(script), {}, Position(4, UNDEFINED, {}))
    assert stored[-1][str(script)]["next"] == 4  # type: ignore[index]
