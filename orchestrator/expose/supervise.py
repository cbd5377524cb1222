"""The gate's two processes: one that serves, and one that starts it again when it dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FIRST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 10.0
CANNOT_BEGIN: Final = 2
HELD_SECONDS: Final = 60.0  # after this long the next death counts as the first
ENDING: Final = (signal.SIGTERM, signal.SIGINT)


def take_lock(path: Path, *, patience: float, sleep: Callable[[float], None] = time.sleep) -> int | None:
    """Lock a file for the life of this process and its children, None when others keep it for `patience` seconds."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + patience
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        if time.monotonic() >= until:
            os.close(file)
            return None
        sleep(0.02)


def pause_after(deaths: int) -> float:
    """Return how many seconds to wait before the start that follows this many deaths in a row."""
    return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** max(0, deaths - 1)))


def keep_alive(
    serve: Callable[[], int], *, died: Callable[[], None] = lambda: None, sleep: Callable[[float], None] = time.sleep
) -> int:
    """Run `serve` in a child, again whenever it dies, until it ends by itself (status 0) or this process is told to.

    The first child's status 2 says that it could not begin at all; then there is no second one. `died` is called here
    before each other one. Returns the last child's exit status.
    """
    child = 0
    ending = False

    def end(number: int, _frame: Any) -> None:
        nonlocal ending
        ending = True
        if child:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)

    for number in ENDING:
        signal.signal(number, end)
    deaths, first = 0, True
    while True:
        # a signal that comes now waits until both processes know what it means to them, or the child would go on
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        if ending:
            return 0
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            for number in ENDING:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
            os._exit(_run(serve))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        _, status = os.waitpid(child, 0)
        child = 0
        code = os.waitstatus_to_exitcode(status)
        if ending or code == 0 or (first and code == CANNOT_BEGIN):
            return max(code, 0)
        first = False
        deaths = 1 if time.monotonic() - began > HELD_SECONDS else deaths + 1
        sys.stderr.write(f"the gate ended with status {code}; it is started again\n")
        sys.stderr.flush()
        died()
        sleep(pause_after(deaths))


def _run(serve: Callable[[], int]) -> int:
    try:
        return serve()
    except BaseException:  # noqa: BLE001  # this is where a process ends
        import traceback  # noqa: PLC0415  # only to die

        traceback.print_exc()
        return 1
    finally:
        sys.stderr.flush()
