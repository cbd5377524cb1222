"""The agent's process: `python -m orchestrator.agent --home HOME --app NAME [--ready FD] [--detach]`.

Exit status 0 after `down`, 3 when the app has an agent already, 1 when it could not begin.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import sys
import time
from pathlib import Path

from orchestrator.agent.files import AgentFiles
from orchestrator.engine.detached import tell
from orchestrator.engine.home import Home

TAKEN = 3
PATIENCE = 10.0


def main(arguments: list[str] | None = None) -> int:
    """Be the agent of one app; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m orchestrator.agent")
    parser.add_argument("--home", required=True)
    parser.add_argument("--app", required=True)
    parser.add_argument("--ready", type=int, default=-1, help="a descriptor that gets one line when the agent listens")
    parser.add_argument("--detach", action="store_true", help="go on in a process of its own")
    given = parser.parse_args(arguments)
    if given.detach and os.fork():
        return 0  # the caller reaps this process at once, and the agent is nobody's child
    files = AgentFiles(Home(Path(given.home)), given.app)
    try:
        files.prepare()
        lock = take_lock(files.lock)
    except OSError as error:
        tell(given.ready, f"failed {error}")
        return 1
    if lock is None:
        tell(given.ready, "taken")
        return TAKEN
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        return _serve(files, given.ready)
    except Exception as error:
        tell(given.ready, f"failed {error}")
        raise
    finally:
        os.close(lock)


def take_lock(path: Path, *, patience: float = PATIENCE) -> int | None:
    """Lock a file for the life of this process, None when another living process keeps it.

    An agent that is just ending gets a moment to do so.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # noqa: PERF203  # waiting is what this loop is for
            if path.with_name(path.name.replace(".agent.lock", ".sock")).exists() or time.monotonic() > until:
                os.close(file)
                return None
            time.sleep(0.05)
        else:
            return file


def _serve(files: AgentFiles, ready: int) -> int:
    import asyncio  # noqa: PLC0415  # after the fork, and not at all for an agent that finds another one

    from orchestrator.agent.agent import Agent  # noqa: PLC0415  # as above

    os.chdir(files.home.root)

    async def work() -> None:
        await Agent(files).serve(lambda: tell(ready, f"ready {os.getpid()}"))

    asyncio.run(work())
    return 0


if __name__ == "__main__":
    sys.exit(main())
