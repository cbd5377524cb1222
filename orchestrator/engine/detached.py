"""Programs that leave whoever starts them: started with a log, heard out on a pipe for one line of how it went."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LONG_LOG: Final = 5 << 20  # bytes


def start(
    command: Callable[[int], Sequence[str]], log: Path, *, environ: Mapping[str, str] | None, patience: float
) -> str:
    """Start a Python program of ours and return the line that it says of itself.

    `command` builds its command line from the descriptor that it is to `tell` its line to: by custom `ready PID`,
    `taken`, or `failed WHY`; nothing when it died before. The program detaches at once (it forks and its first process
    ends); `log` gets all that it prints: one that has become long is put aside first, in place of the one before it.
    """
    import orchestrator  # noqa: PLC0415  # only to know where the package is

    try:
        _put_aside(log)
        printed = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        return f"failed `{error.filename}` cannot be written: {error.strerror}"
    reading, writing = os.pipe()
    try:
        child = subprocess.Popen(
            command(writing),
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=printed,
            pass_fds=(writing,),
            start_new_session=True,
            cwd=Path(orchestrator.__file__).parent.parent,
            env=None if environ is None else dict(environ),
        )
        os.close(writing)
        writing = -1
        child.wait()
        return _read(reading, patience)
    except OSError as error:
        return f"failed {error}"
    finally:
        os.close(reading)
        os.close(printed)
        if writing >= 0:
            os.close(writing)


def _put_aside(log: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > LONG_LOG:
            log.replace(log.with_name(f"{log.name}.1"))


def _read(reading: int, patience: float) -> str:
    until = time.monotonic() + patience
    said = b""
    while not said.endswith(b"\n"):
        if not select.select([reading], [], [], max(0.0, until - time.monotonic()))[0]:
            return "failed it took too long"
        piece = os.read(reading, 4096)
        if not piece:
            break
        said += piece
    return said.decode("utf-8", "replace").strip()


def tell(descriptor: int, line: str) -> None:
    """Say how it went, once, to whoever started this program; -1 is nobody."""
    if descriptor >= 0:
        with contextlib.suppress(OSError):
            os.write(descriptor, line.replace("\n", " ").encode() + b"\n")
            os.close(descriptor)


def last_words(log: Path) -> str:
    """Return the last line that a program printed, which is its error."""
    try:
        lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    except OSError:
        return "it said nothing"
    return lines[-1] if lines else "it said nothing"
