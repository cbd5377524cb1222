"""One lock per app, so that two commands never work on it at once; the kernel releases it when its holder dies."""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from orchestrator.engine.errors import PinoctlError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from orchestrator.engine.home import Home


EVERY = 0.2  # seconds between two tries of who waits


class LockedError(PinoctlError):
    """Report that another command works on the app; `pid` is None while it is not known."""

    def __init__(self, message: str, *, pid: int | None) -> None:
        super().__init__(message, hint="wait for it, or end it with `pinoctl down` or Ctrl-C where it runs")
        self.pid = pid


@dataclass(frozen=True, slots=True)
class Holder:
    """Say who holds a lock, what for (`installed`, `updated`, `removed`) and since when (seconds since 1970)."""

    pid: int
    purpose: str
    since: float


def lock_file(home: Home, name: str) -> Path:
    """Return the file that the lock of an app is on; names that differ in case share it."""
    return home.run / f"{name.casefold()}.lock"


@contextmanager
def app_lock(home: Home, name: str, purpose: str, *, clock: Callable[[], float] = time.time) -> Iterator[None]:
    """Hold the lock of an app; raise LockedError at once when another process, or this one elsewhere, has it.

    `purpose` completes "app X is being ...". The file stays: deleting it would let two commands lock two files. A
    process started inside does not keep the lock, unless it is a bare fork.
    """
    path = lock_file(home, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _locked(name, _read(descriptor)) from None
        text = json.dumps({"pid": os.getpid(), "purpose": purpose, "since": clock()})
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


@contextmanager
def waiting_lock(
    home: Home,
    app: str,
    purpose: str,
    *,
    say: Callable[[str], None] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Hold the lock of an app, and wait for a command that has it."""
    told = False
    while True:
        with ExitStack() as stack:
            try:
                stack.enter_context(app_lock(home, app, purpose))
            except LockedError as error:
                if not told and say is not None:
                    say(f"{error}; this command waits for it")
                told = True
            else:
                yield
                return
        sleep(EVERY)


def holder(home: Home, name: str) -> Holder | None:
    """Return who works on an app now, or None."""
    try:
        descriptor = os.open(lock_file(home, name), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(descriptor) or Holder(0, "used", 0.0)
    else:
        return None
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> Holder | None:
    try:
        found = json.loads(os.pread(descriptor, 4096, 0))
        return Holder(int(found["pid"]), str(found["purpose"]), float(found["since"]))
    except (ValueError, KeyError, TypeError):
        return None


def _locked(name: str, found: Holder | None) -> LockedError:
    if found is None:
        return LockedError(f"app `{name}` is being worked on by another command", pid=None)
    since = datetime.fromtimestamp(found.since).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return LockedError(f"app `{name}` is being {found.purpose} by process {found.pid} since {since}", pid=found.pid)
