"""Running the command line from a cell: its progress as it comes, its JSON as data."""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

from orchestrator.engine.errors import BadInputError, PinoctlError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import IO

PROGRAM: Final = (sys.executable, "-c", "from cli import main; main()")
PATIENCE: Final = 60.0  # seconds for an interrupted command to settle what it began
CHUNK: Final = 1 << 20  # bytes, as many as a pipe holds at most
EVERY: Final = 100  # milliseconds between two looks whether the command has ended
AS_JSON: Final = frozenset({"args", "answers"})  # options that take JSON
NO: Final = {"tunnel": "--no-tunnel", "framed": "--not-framed", "public": "--closed"}


def options(given: Mapping[str, Any]) -> list[str]:
    """Return keyword arguments as options of the command line: `place="host"` → `--place host`.

    True gives the bare option, False its opposite where it has one, None nothing; lists repeat it; `args` and
    `answers` may be dictionaries. Raises BadInputError for what cannot be written so.
    """
    words: list[str] = []
    for name, value in given.items():
        option = "--" + name.replace("_", "-")
        if value is True:
            words.append(option)
        elif value is False:
            words += [NO[name]] if name in NO else []
        elif name in AS_JSON and isinstance(value, (dict, list)):
            words += [option, json.dumps(value)]
        elif isinstance(value, (list, tuple)):
            words += [word for each in value for word in (option, str(each))]
        elif isinstance(value, (str, int, float, os.PathLike)):
            words += [option, str(value)]
        elif value is not None:
            raise BadInputError(
                f"`{name}` cannot be a {type(value).__name__}", hint="give a text, a number, True, or a list of these"
            )
    return words


def call(arguments: Sequence[str], say: Callable[[str], None], environ: Mapping[str, str] | None = None) -> Any:
    """Run a command with `--json` and return what it answered; `say` gets its progress as it comes.

    Raises PinoctlError when it failed without an answer. Interrupting the cell interrupts the command, as Ctrl-C does.
    """
    with subprocess.Popen(
        [*PROGRAM, *arguments, "--json"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=None if environ is None else dict(environ),
        start_new_session=True,
    ) as process:
        answer: list[bytes] = []
        ended = threading.Event()
        threads = [
            threading.Thread(target=_collect, args=(process.stdout, ended, answer), daemon=True),
            threading.Thread(target=_tell, args=(process.stderr, ended, say), daemon=True),
        ]
        for thread in threads:
            thread.start()
        try:
            status = process.wait()
        except KeyboardInterrupt:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            raise
        finally:
            if process.poll() is not None:
                ended.set()
                for thread in threads:
                    thread.join()
    return answer_of(b"".join(answer).decode("utf-8", "replace"), status, arguments)


def answer_of(text: str, status: int, arguments: Sequence[str]) -> Any:
    """Return the JSON in the last line of a command's output; raise PinoctlError when there is none."""
    for line in reversed(text.splitlines()):
        with contextlib.suppress(ValueError):
            return json.loads(line)
    if status:
        raise PinoctlError(f"`pinoctl {' '.join(arguments[:2])}` failed (exit status {status}); its message is above")
    return None


def _collect(stream: IO[bytes] | None, ended: threading.Event, into: list[bytes]) -> None:
    into.extend(_pieces(stream, ended))


def _tell(stream: IO[bytes] | None, ended: threading.Event, say: Callable[[str], None]) -> None:
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    for data in _pieces(stream, ended):
        say(decode(data))


def _pieces(stream: IO[bytes] | None, ended: threading.Event) -> Iterator[bytes]:
    """Yield all that a command prints, and wait for nothing more once it has ended.

    What it left running may hold its streams open.
    """
    if stream is None:
        return
    poll = select.poll()
    poll.register(stream, select.POLLIN)
    over = False
    while not over:
        over = ended.is_set()  # before the look: by then the pipe has all that the command printed
        if poll.poll(0 if over else EVERY):
            data = os.read(stream.fileno(), CHUNK)
            if not data:
                return
            yield data
