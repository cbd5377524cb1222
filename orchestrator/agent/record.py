"""What an app's agent keeps of it in state.json, for its successor and for whoever looks without one."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

from orchestrator.agent.condition import FAILED, INSTALLING, NOT_INSTALLED, READY, STARTING, STOPPED, Condition
from orchestrator.agent.contracts import Target
from orchestrator.agent.files import AgentFiles, read_json, write_json
from orchestrator.agent.outcome import Record
from orchestrator.engine.redaction import is_secret, redact_url

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def store_record(files: AgentFiles, record: Record, *, boot: str) -> None:
    """Store a record; `boot` is the id of the machine's start."""
    with contextlib.suppress(OSError):  # a full disk must not stop an app that works
        write_json(
            files.state,
            {
                "version": 1,
                "app": files.app,
                "pid": os.getpid(),
                "boot": boot,
                "t": round(time.time(), 3),
                **record.condition.to_json(),
                "installed": record.installed,
                "failed_children": record.failed_children,
                "start": record.start,
            },
        )


def last_start(files: AgentFiles) -> Target | None:
    """Return how the app was started last, None where that was its menu's choice."""
    saved = read_json(files.state)
    start = saved.get("start") if isinstance(saved, dict) else None
    if not isinstance(start, dict) or not isinstance(start.get("path"), str):
        return None
    arguments = start.get("args")
    return Target(start["path"], arguments if isinstance(arguments, dict) else {})


def store_lent(files: AgentFiles, environment: Mapping[str, str]) -> None:
    """Store those of the variables that a command brought along which are no secrets."""
    plain = {
        name: value
        for name, value in environment.items()
        if not is_secret(name) and "@" not in value and redact_url(value) == value  # a proxy's address has passwords
    }
    with contextlib.suppress(OSError):  # see store_record
        write_json(_lent(files), plain)


def read_lent(files: AgentFiles) -> dict[str, str]:
    """Return the variables that the last command brought along, but for secrets."""
    saved = read_json(_lent(files))
    return {str(name): str(value) for name, value in saved.items()} if isinstance(saved, dict) else {}


def _lent(files: AgentFiles) -> Path:
    return files.state.with_name("lent.json")


def settled(condition: Condition) -> Condition:
    """Return the state of an app whose agent is gone, from the last one that it stored."""
    if condition.word in {READY, STARTING}:
        return Condition(STOPPED)
    if condition.word == INSTALLING:
        return Condition(FAILED, step=condition.step, steps=condition.steps, reason="its installation was interrupted")
    return condition


def read_record(files: AgentFiles) -> Record:
    """Return what the last agent stored, or what is true of an app that never had one."""
    saved = read_json(files.state)
    condition = Condition.from_json(saved)
    if condition is None or not isinstance(saved, dict):
        return Record(Condition(NOT_INSTALLED))
    children = saved.get("failed_children")
    return Record(
        condition,
        installed=saved.get("installed") if isinstance(saved.get("installed"), str) else None,
        failed_children=[str(child) for child in children] if isinstance(children, list) else [],
        start=saved.get("start") if isinstance(saved.get("start"), dict) else None,
    )
