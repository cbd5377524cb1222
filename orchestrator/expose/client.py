"""The gate as commands use it: started when it is needed, asked over its socket."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Final

from orchestrator import __version__
from orchestrator.engine.errors import PinoctlError
from orchestrator.expose.asking import ask
from orchestrator.expose.exposures import GateFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from orchestrator.engine.home import Home

MODULE: Final = "orchestrator.commands.gate_process"
PATIENCE: Final = 30.0
ANSWER_SECONDS: Final = 15.0
TRIES: Final = 3


def command(home: Home, *, python: str, ready: int) -> list[str]:
    """Return the command line of the gate."""
    return [python, "-m", MODULE, "--home", str(home.root), "--ready", str(ready)]


class GateClient:
    """Talk to a home's gate."""

    def __init__(self, home: Home) -> None:
        self.files = GateFiles(home)

    def ask(self, op: str, *, timeout: float = ANSWER_SECONDS, **request: Any) -> dict[str, Any] | None:
        """Ask for something; None when no gate runs. Raises PinoctlError with what it says."""
        try:
            return ask(self.files.socket, {"op": op, **request}, timeout=timeout)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError, ConnectionResetError):
            return None
        except TimeoutError as error:
            raise PinoctlError("the gate does not answer", hint=f"see `{self.files.log}`") from error

    def need(self, op: str, **request: Any) -> dict[str, Any]:
        """Ask for something, with the gate started if there is none; raises PinoctlError.

        What is asked for may be asked for twice: a gate that has nothing to do ends, perhaps just before it is asked.
        """
        for _ in range(TRIES):
            self.start()
            answer = self.ask(op, **request)
            if answer is not None:
                return answer
        raise PinoctlError(f"the gate ended: {last_words(self.files.log)}", hint=f"see `{self.files.log}`")

    def start(
        self,
        *,
        environ: Mapping[str, str] | None = None,
        python: str = sys.executable,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Start the gate if there is none; safe to call from several processes at once. Raises PinoctlError.

        One of another version of pinoctl is ended first; the new one goes on with its ports and sessions.
        """
        until = clock() + patience
        while (there := self.ask("ping")) is None or there.get("version") != __version__:
            if there is not None:
                self.ask("quit")
                sleep(0.05)
                continue
            said = _start(self.files, environ, python, max(0.1, until - clock()))
            if said.startswith("failed") or (not said and clock() >= until):
                why = said.removeprefix("failed").strip() or last_words(self.files.log)
                raise PinoctlError(f"the gate did not start: {why}", hint=f"see `{self.files.log}`")
            if clock() >= until:
                raise PinoctlError(
                    "another gate holds this home's lock but does not answer", hint=f"see `{self.files.log}`"
                )
            if not said.startswith("ready"):
                sleep(0.05)


def _start(files: GateFiles, environ: Mapping[str, str] | None, python: str, patience: float) -> str:
    """Start a gate and return what it says of itself: `ready`, `taken`, `failed WHY`, or nothing when it died."""
    from orchestrator.engine.detached import start  # noqa: PLC0415  # start-up time of commands that only ask

    try:
        files.prepare()
    except OSError as error:
        return f"failed `{error.filename}` cannot be written: {error.strerror}"
    return start(
        lambda ready: command(files.home, python=python, ready=ready), files.log, environ=environ, patience=patience
    )


def last_words(log: Path) -> str:
    """Return the last line that the gate printed."""
    from orchestrator.engine.detached import last_words as read  # noqa: PLC0415  # as above

    return read(log)
