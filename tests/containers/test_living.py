"""What a container's state tells of the agent in it, and which helpers nobody needs any more; without a daemon."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.engine.home import Home
from orchestrator.places.container import living, names
from orchestrator.state.locks import app_lock

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=timezone.utc)


def container(*, restarts: int = 0, age: float = 300, **state: Any) -> dict[str, Any]:
    began = (NOW - timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%S.123456789Z")
    return {"State": {"Running": True, "StartedAt": began, "ExitCode": 1, **state}, "RestartCount": restarts}


@pytest.mark.parametrize(
    ("there", "unasked", "asked_in_vain"),
    [
        (container(), "None", "does not answer"),
        (container(age=5), "None", "None"),  # only starting
        (container(restarts=3), "None", "does not answer"),
        (container(restarts=2, age=1), "None", "restarted 2 times so far, with status 1"),
        (container(Paused=True), "paused", "paused"),
        (container(Restarting=True, restarts=4), "restarted 4 times so far, with status 1", "4 times"),
        (container(Restarting=True, restarts=4, OOMKilled=True), "4 times so far, out of memory", "4 times"),
    ],
)
def test_why_an_agent_cannot_answer(there: dict[str, Any], unasked: str, asked_in_vain: str) -> None:
    assert unasked in str(living.trouble(there, now=NOW))
    assert asked_in_vain in str(living.trouble(there, silent=True, now=NOW))


class Daemon:
    """List helpers and note which are removed."""

    def __init__(self, *rows: dict[str, Any]) -> None:
        self.rows = rows
        self.removed: set[str] = set()
        self.api = self

    def containers(self, **_given: Any) -> list[dict[str, Any]]:
        return list(self.rows)

    def remove_container(self, container: str, **_given: Any) -> None:
        self.removed.add(container)


def helper(name: str, age: float, **labels: str) -> dict[str, Any]:
    return {"Id": name, "Created": NOW.timestamp() - age, "Labels": {names.KIND: "helper", **labels}}


@contextmanager
def held(home: Home, *apps: str) -> Any:
    with ExitStack() as stack:
        for app in apps:
            stack.enter_context(app_lock(home, app, "updated"))
        yield


def test_helpers_go_when_nobody_can_be_at_work_with_them(tmp_path: Any) -> None:
    home = Home(tmp_path)
    ours, hours = {names.HOME: names.home_key(home)}, 3600.0
    docker: Any = SimpleNamespace(api=Daemon(
        helper("own", 1, **ours, **{names.APP: "app"}),
        helper("carrying", 5 * hours, **ours, **{names.APP: "busy"}),
        helper("left", 1, **ours, **{names.APP: "idle"}),
        helper("read", 1, **{names.READER: "true"}),
        helper("read long ago", hours, **{names.READER: "true"}),
        helper("another home's", 5 * hours, **{names.HOME: "x", names.APP: "app"}),
        helper("a gone home's", 30 * hours, **{names.HOME: "x", names.APP: "app"}),
    ))  # fmt: skip
    with held(home, "app", "busy"):
        living.remove_helpers(docker, home, "app", now=NOW.timestamp())
    assert docker.api.removed == {"own", "left", "read long ago", "a gone home's"}
