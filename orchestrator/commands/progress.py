"""Show on stderr what an agent tells while it works: names of steps, raw output of the app's commands, warnings."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.commands import output
from orchestrator.commands.output import clean


class Progress:
    """Turn the messages of an agent into lines; with `quiet` only warnings and troubles.

    Output is passed on as it comes, so that progress bars live; a line of ours begins on a line of its own.
    """

    def __init__(
        self,
        app: str,
        *,
        quiet: bool = False,
        raw: Callable[[str], None] = output.raw,
        say: Callable[..., None] = output.say,
    ) -> None:
        self._app = app
        self._quiet = quiet
        self._raw = raw
        self._say = say
        self._open_line = False
        self._kinds: dict[str, Callable[[Mapping[str, Any]], None]] = {
            "step.start": self._step,
            "resume": self._resume,
            "warning": self._warning,
            "lost": self._lost,
            "restart": self._restart,
            "restored": self._restored,
            "torch": self._torch,
        }

    def take(self, message: Mapping[str, Any]) -> None:
        """Show one stream message: an event, output, or the note that some were missed."""
        if isinstance(message.get("output"), str):
            self._output(message["output"])
        elif "dropped" in message:
            self.line(
                f"{message['dropped']} pieces of output came too fast to be shown; `pinoctl logs {self._app}` has them",
                "yellow",
            )
        else:
            show = self._kinds.get(str(message.get("event")))
            data = message.get("data")
            if show is not None and isinstance(data, Mapping):
                show(data)

    def line(self, text: str, style: str | None = None) -> None:
        """Print a line of ours."""
        self.fresh_line()
        self._say(text, style=style)

    def fresh_line(self) -> None:
        """End the app's unfinished line, and whatever colours it left on."""
        if self._open_line:
            self._raw("\x1b[0m\n" if output.coloured(sys.stderr) else "\n")
            self._open_line = False

    def script(self, data: Mapping[str, Any]) -> str:
        """Return a script's name as people know it, below the app's folder."""
        return clean(str(data.get("script", ""))).removeprefix(f"{self._app}/")

    def _output(self, text: str) -> None:
        if self._quiet or not text:
            return
        self._raw(text)
        self._open_line = not text.endswith("\n")

    def _step(self, data: Mapping[str, Any]) -> None:
        if not self._quiet:
            index, steps = data.get("index"), data.get("steps")
            at = f"step {index + 1}" + (f" of {steps}" if steps else "") if isinstance(index, int) else f"step {index}"
            self.line(f"{self.script(data)} {at}: {clean(str(data.get('method')))}", "bold")

    def _resume(self, data: Mapping[str, Any]) -> None:
        if not self._quiet:
            self.line(f"{self.script(data)} goes on with step {data.get('step')}, where it was left", "blue")

    def _warning(self, data: Mapping[str, Any]) -> None:
        self.line(f"warning: {clean(str(data.get('text')))}", "yellow")

    def _torch(self, data: Mapping[str, Any]) -> None:
        if data.get("level") == "note":
            self._note(clean(str(data.get("text"))))
        else:
            self.line(f"warning: {clean(str(data.get('text')))}", "yellow")

    def _note(self, text: str) -> None:
        if not self._quiet:
            self.line(text, "dim")

    def _lost(self, data: Mapping[str, Any]) -> None:
        self.line(f"the app went down: {clean(str(data.get('reason')))}", "yellow")

    def _restart(self, data: Mapping[str, Any]) -> None:
        self.line(f"restart {data.get('attempt')} in {data.get('delay'):g} s", "yellow")

    def _restored(self, data: Mapping[str, Any]) -> None:
        self.line(f"the version before is back, because {clean(str(data.get('reason')))}", "yellow")
