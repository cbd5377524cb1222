"""Stop the agent of an app for good: asked first, killed when it hangs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from orchestrator.agent.client import AgentGoneError
from orchestrator.agent.files import AgentFiles
from orchestrator.agent.journal import read_journal
from orchestrator.agent.proc import boot_id, kill_verified, process
from orchestrator.agent.spawn import find

if TYPE_CHECKING:
    from orchestrator.engine.home import Home

PATIENCE = 5.0  # seconds that an agent gets to say hello before it is taken for dead


def stop(home: Home, app: str, *, patience: float = 15.0) -> bool:
    """Stop an app and end its agent, and wait until that is gone; False when there was none.

    An agent that does not answer is killed, if it is for certain the process that its journal names; its shells die
    with it.
    """
    try:
        client = find(home, app, timeout=PATIENCE)
        if client is None:
            return False
        with client:
            pid = client.about.get("pid")
            client.down()
    except AgentGoneError:
        return _kill(home, app)
    _await_end(pid if isinstance(pid, int) else 0, patience)
    return True


def _await_end(pid: int, patience: float) -> None:
    until = time.monotonic() + patience
    while pid and (found := process(pid)) is not None and found.state != "Z" and time.monotonic() < until:
        time.sleep(0.01)


def _kill(home: Home, app: str) -> bool:
    files = AgentFiles(home, app)
    starts = [
        event
        for event in read_journal(files.journal)
        if event["kind"] == "agent.start" and event.get("boot") == boot_id()
    ]
    found = process(int(starts[-1]["pid"])) if starts else None
    if found is None or found.started != starts[-1].get("started"):
        return False
    killed = bool(kill_verified([found]))
    _await_end(found.pid, 5.0)
    return killed
