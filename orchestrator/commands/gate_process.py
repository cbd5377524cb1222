"""The gate's process: `python -m orchestrator.commands.gate_process --home HOME [--ready FD] [--foreground]`.

Exit status 0 when nothing is exposed any more, 2 when it could not begin, 3 when the home has a gate already.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.engine.detached import tell
from orchestrator.engine.errors import PinoctlError
from orchestrator.engine.home import Home
from orchestrator.expose import accounts
from orchestrator.expose.exposures import GateFiles
from orchestrator.expose.supervise import CANNOT_BEGIN, keep_alive, take_lock

if TYPE_CHECKING:
    from collections.abc import Sequence

TAKEN = 3
PATIENCE = 5.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Be the gate of one home; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m orchestrator.commands.gate_process")
    parser.add_argument("--home", required=True)
    parser.add_argument("--ready", type=int, default=-1, help="a descriptor that gets one line when the gate answers")
    parser.add_argument("--foreground", action="store_true", help="serve in this process, as tests do")
    given = parser.parse_args(arguments)
    if not given.foreground and os.fork():
        return 0  # the caller reaps this process at once, and the gate is nobody's child
    files = GateFiles(Home(Path(given.home)))
    try:
        files.prepare()
        lock = take_lock(files.lock, patience=PATIENCE)
    except OSError as error:
        tell(given.ready, f"failed {error}")
        return CANNOT_BEGIN
    if lock is None:
        tell(given.ready, "taken")
        return TAKEN
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def serve() -> int:
        import asyncio  # noqa: PLC0415  # in the child, and after the lock

        from orchestrator.commands.exposing import daemon_of  # noqa: PLC0415  # as above

        os.chdir(files.home.root)
        began: list[bool] = []

        def ready() -> None:
            began.append(True)
            tell(given.ready, f"ready {os.getpid()}")

        try:
            asyncio.run(daemon_of(files.home).serve(ready))
        except (PinoctlError, OSError) as error:
            if began:
                raise
            tell(given.ready, f"failed {error}")
            return CANNOT_BEGIN
        return 0

    return serve() if given.foreground else keep_alive(serve, died=_forget_the_first_command)


def _forget_the_first_command() -> None:
    """Drop what the command that started the gate said of tunnels: later ones may know better, and that is kept."""
    for name in accounts.KEPT:
        os.environ.pop(name, None)


if __name__ == "__main__":
    sys.exit(main())
