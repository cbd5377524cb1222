"""Kill -9 at random moments of `up`, whoever it hits: the next `up` gets there, and does no finished step again."""

# launchers are data: a step per line reads best

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from collections import Counter

import pytest

from tests.patterns.conftest import marked, page
from tests.patterns.sources import js, menu, script, serve, set_url, shell, step

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

STEPS = 6
LONGEST = 3.0  # seconds that the whole takes, about
WHO = ("command", "agent", "app", "everything")

INSTALL = js(script(
    *(shell(f"echo begin {number} >> steps.log; sleep 0.15; echo end {number} >> steps.log") for number in range(STEPS)),
    step("script.start", {"uri": "more.js"}),
    step("fs.write", {"path": "installed", "text": "yes"})))  # fmt: skip
MORE = js(
    script(
        *(
            shell(f"echo begin m{number} >> steps.log; sleep 0.1; echo end m{number} >> steps.log")
            for number in range(3)
        )
    )
)
START = js(script(serve("sleep 0.3; python3 server.py {{port}}"), set_url(), daemon=True))


def kill(pids):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def victims(one, who, command):
    """Return the processes to kill."""
    living = marked(one.mark)
    agents = {pid for pid, words in living.items() if "orchestrator.agent" in words}
    if who == "command":
        return {command.pid}
    if who == "agent":
        return agents
    if who == "app":
        ours = ("orchestrator", "sidecar", "keeper.py", "cli.py")
        return {pid for pid, words in living.items() if not any(word in words for word in ours)}
    return {*living, command.pid}


def finished(one):
    """Return how often each step of the install scripts was journalled as done.

    One that ended in the very moment of a kill counts when it is done again: its end was told, its position was not
    stored yet, and nothing had begun after it.
    """
    journal = one.program.home / "logs" / one.name / "journal.jsonl"
    seen = []
    for line in journal.read_text().splitlines():
        with contextlib.suppress(ValueError):  # a torn last line
            event = json.loads(line)
            if event["kind"] in {"step.start", "step.end"} and "error" not in event:
                seen.append((event["kind"], event["script"].rpartition("/")[2], event["index"]))
    done = Counter()
    for (kind, name, index), following in zip(seen, [*seen[1:], None], strict=True):
        if kind == "step.end" and name != "start.js" and following != ("step.start", name, index):
            done[name, index] += 1
    return done


@pytest.mark.parametrize("seed", range(12))
def test_up_gets_there_whoever_is_killed(app, seed):
    chance = random.Random(seed)
    who = WHO[seed % len(WHO)]
    one = app(
        {"pinokio.js": menu("installed"), "install.js": INSTALL, "more.js": MORE, "start.js": START},
        name=f"killed-{seed}",
    )
    rounds = chance.randint(1, 3)
    for _ in range(rounds):
        command = one.start("up", one.folder)
        time.sleep(chance.uniform(0.05, LONGEST))
        kill(victims(one, who, command))
        if chance.random() < 0.5:
            command.wait(timeout=300)
        else:
            command.kill()
            command.wait()
    result = one.up()
    assert "hello" in page(result["url"])
    assert one.read("installed") == "yes"
    lines = Counter(one.read("steps.log").splitlines())
    done = finished(one)
    expected = {("install.js", number) for number in range(STEPS + 2)} | {("more.js", number) for number in range(3)}
    assert set(done) == expected
    assert {key: count for key, count in done.items() if count > 1} == {}, "a finished step was done again"
    for number in [*map(str, range(STEPS)), "m0", "m1", "m2"]:
        assert 1 <= lines[f"begin {number}"] <= 1 + rounds
    one.down()


def test_an_app_killed_under_the_agent_is_noticed_and_comes_back(app):
    one = app({"pinokio.js": menu("installed"), "install.js": INSTALL, "more.js": MORE, "start.js": START})
    first = one.up()
    kill(pid for pid, words in marked(one.mark).items() if "server.py" in words and "bash" not in words)
    end = time.monotonic() + 60
    while one.state == "ready" and time.monotonic() < end:
        time.sleep(0.1)
        with contextlib.suppress(OSError):
            page(first["url"])
            break
    again = one.up(target=one.name)
    assert "hello" in page(again["url"])
    assert max(finished(one).values()) == 1
    one.down()


def test_the_agent_killed_under_a_ready_app_takes_it_along(app):
    one = app({"pinokio.js": menu("installed"), "install.js": INSTALL, "more.js": MORE, "start.js": START})
    one.up()
    kill(pid for pid, words in marked(one.mark).items() if "orchestrator.agent" in words)
    one.gone()
    assert one.state == "stopped"
    assert "hello" in page(one.up(target=one.name)["url"])
    one.down()
