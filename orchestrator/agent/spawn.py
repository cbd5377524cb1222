"""Start the agent of an app, or find the one that is there."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from orchestrator.agent.client import AgentGoneError, Client
from orchestrator.agent.files import AgentFiles
from orchestrator.engine.detached import last_words, start
from orchestrator.engine.errors import PinoctlError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.engine.home import Home

PATIENCE = 30.0


def find(home: Home, app: str, *, timeout: float = 10.0) -> Client | None:
    """Connect to an app's agent, None when it has none; raises AgentGoneError when one is there but does not answer."""
    try:
        return Client.connect(AgentFiles(home, app).socket, timeout=timeout)
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError, AgentGoneError):
        return None
    except TimeoutError as error:
        raise AgentGoneError(
            f"the agent of `{app}` does not answer", hint=f"see `{AgentFiles(home, app).agent_log}`"
        ) from error


def spawn(
    home: Home,
    app: str,
    *,
    environ: Mapping[str, str] | None = None,
    python: str = sys.executable,
    patience: float = PATIENCE,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Client:
    """Return a connection to the app's agent, started if there is none.

    Safe to call from several processes at once: the agents decide by a lock, and all callers get the one that won.
    Raises PinoctlError with the agent's last words when it cannot start.
    """
    files = AgentFiles(home, app)
    until = clock() + patience
    while True:
        client = find(home, app)
        if client is not None:
            return client
        verdict = _start(files, environ, python, max(0.1, until - clock()))
        if verdict.startswith("ready"):
            client = find(home, app)
            if client is not None:
                return client
        elif not verdict.startswith("taken"):
            why = verdict.removeprefix("failed ").strip() or last_words(files.agent_log)
            raise PinoctlError(
                f"the agent of `{app}` did not start: {why}",
                hint=f"see `{files.agent_log}`",
            )
        if clock() >= until:
            raise AgentGoneError(
                f"the agent of `{app}` holds its lock but does not answer", hint=f"see `{files.agent_log}`"
            )
        sleep(0.05)


def command(home: Home, app: str, *, python: str, ready: int) -> list[str]:
    """Return the command line of an agent."""
    return [
        python,
        "-m",
        "orchestrator.agent",
        "--home",
        str(home.root),
        "--app",
        app,
        "--ready",
        str(ready),
        "--detach",
    ]


def _start(files: AgentFiles, environ: Mapping[str, str] | None, python: str, patience: float) -> str:
    """Start an agent and return what it says of itself: `ready PID`, `taken`, `failed WHY`, or nothing when it died."""
    try:
        files.prepare()
    except OSError as error:
        return f"failed `{error.filename}` cannot be written: {error.strerror}"
    return start(
        lambda ready: command(files.home, files.app, python=python, ready=ready),
        files.agent_log,
        environ=environ,
        patience=patience,
    )
