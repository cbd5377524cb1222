"""States in words, and the index put right by the facts."""

from __future__ import annotations

import pytest

from orchestrator.state.app_state import AppState, Phase, render
from orchestrator.state.rows import AppRow, Fact, from_columns, reconcile, settle, to_columns

READY = AppState(Phase.READY)
STOPPED = AppState(Phase.STOPPED)
INSTALLING = AppState(Phase.INSTALLING, 3, 7, "shell.run")


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (AppState(), "not installed"),
        (INSTALLING, "installing (step 3 of 7)"),
        (AppState(Phase.INSTALLING, 3), "installing (step 3)"),
        (AppState(Phase.INSTALLING), "installing"),
        (STOPPED, "stopped"),
        (AppState(Phase.STOPPED, reason="by its guard: not used for 30m"), "stopped (by its guard: not used for 30m)"),
        (AppState(Phase.STARTING, 1, 2), "starting"),
        (READY, "ready"),
        (AppState(Phase.FAILED, 2, 4, "install.js step 2", "pip\n  failed"), "failed (install.js step 2, pip failed)"),
        (AppState(Phase.FAILED, 2, 4, reason="x"), "failed (step 2 of 4, x)"),
        (AppState(Phase.FAILED, reason="x"), "failed (x)"),
        (AppState(Phase.FAILED), "failed"),
    ],
)
def test_words(state, words):
    assert render(state) == str(state) == words


def test_rows_survive_the_table():
    row = AppRow("a", "/x", "https://h/a", "main", "host", INSTALLING, None, "install.js", 5, 6.5, 1.0, 2.0)
    assert from_columns(to_columns(row)) == row
    with pytest.raises(ValueError, match="nonsense"):
        from_columns({**to_columns(row), "state": "nonsense"})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (READY, STOPPED),
        (AppState(Phase.STARTING), STOPPED),
        (STOPPED, STOPPED),
        (AppState(), AppState()),
        (AppState(Phase.FAILED, reason="x"), AppState(Phase.FAILED, reason="x")),
        (INSTALLING, AppState(Phase.FAILED, 3, 7, "shell.run", "it was killed before it ended")),
    ],
)
def test_what_a_state_comes_to_without_its_process(before, after):
    assert settle(before) == after


def test_a_live_agent_is_believed():
    old = AppRow("a", "/x", state=STOPPED, created=1, updated=1)
    fact = Fact("a", "/x", state=READY, alive=True, url="http://u", agent_pid=7, agent_started=3.0)
    (row,) = reconcile([old], [fact], now=9).rows
    assert (row.state, row.url, row.agent_pid, row.agent_started) == (READY, "http://u", 7, 3.0)
    assert (row.created, row.updated) == (1, 9)


def test_a_dead_agent_leaves_no_url_and_no_pid():
    old = AppRow(
        "a", "/x", "https://h/a", "main", state=READY, url="http://u", script="start.js", agent_pid=7, created=1
    )
    for said in (READY, None):
        (row,) = reconcile([old], [Fact("a", "/x", state=said, agent_pid=7)], now=9).rows
        assert (row.state, row.url, row.agent_pid) == (STOPPED, None, None)
        assert (row.origin, row.ref, row.script) == ("https://h/a", "main", "start.js")


def test_apps_come_and_go():
    rows = [AppRow("gone", "/g", created=1), AppRow("Kept", "/k", created=1, updated=2)]
    changes = reconcile(rows, [Fact("kept", "/k"), Fact("new", "/n"), Fact("NEW", "/n")], now=9)
    assert changes.forget == ("gone",)
    assert [row.name for row in changes.rows] == ["kept", "new"]
    assert [(row.created, row.updated) for row in changes.rows] == [(1, 9), (9, 9)]


def test_nothing_changes_when_nothing_changed():
    fact = Fact("a", "/x", state=READY, alive=True, url="http://u", agent_pid=7)
    first = reconcile([], [fact], now=1)
    again = reconcile(first.rows, [fact], now=2)
    assert (again.put, again.forget, again.rows) == ((), (), first.rows)
