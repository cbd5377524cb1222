"""The engine of a dry run: the real step loop, with fixed answers and without anything that has an effect."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from orchestrator.engine.answers import Answers
from orchestrator.engine.confinement import clean_environment
from orchestrator.engine.dry_run import answers
from orchestrator.engine.dry_run.records import PlannedStep
from orchestrator.engine.engine import Engine
from orchestrator.engine.errors import PinoctlError, ScriptError
from orchestrator.engine.events import Silent
from orchestrator.engine.javascript import CallResult
from orchestrator.engine.trace import Row, Trace
from orchestrator.engine.values import UNDEFINED

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.engine.call import Call, Method
    from orchestrator.engine.flow import Following
    from orchestrator.engine.hardware import HardwareProfile
    from orchestrator.engine.home import Home
    from orchestrator.engine.javascript import Rendered, Sidecar
    from orchestrator.engine.run import Run, RunResult

STEPS: Final = 400  # executed steps of one script with all that it starts
ABSENT: Final = {"$undefined": True}
ABOUT_A_STEP: Final = ("id", "uri", "notify", "returns", "next", "queue")


class FixedPorts:
    """Give the same port to whoever asks, and reserve nothing."""

    def is_free(self, port: int) -> bool:
        """Say that a port is free."""
        del port
        return True

    def next_free(self) -> int:
        """Return the port of every dry run."""
        return answers.PORT

    def take(self, count: int) -> list[int]:
        """Return that port and those behind it."""
        return list(range(answers.PORT, answers.PORT + count))

    def release(self) -> None:
        """Do nothing: no port was taken."""


@dataclass(slots=True)
class Seen:
    """Hold one step as it was reached, with the row of the trace that tells how it ended."""

    run: Run
    at: Following
    rendered: Rendered
    row: Row
    executed: bool
    unknown: bool

    def planned(self) -> PlannedStep:
        """Return the record of the step."""
        rendered, method = self.rendered, self.row.data["method"]
        error = self.row.data.get("error")
        if self.unknown:
            error = f"there is no method `{method}`"
        return PlannedStep(
            script=self.run.name_in_app,
            index=self.at.label,
            executed=self.executed,
            method=method if isinstance(method, str) or method is None else "function",
            params=rendered.params,
            cwd=self.run.cwd,
            when=rendered.condition,
            step={name: rendered.step[name] for name in ABOUT_A_STEP if name in rendered.step},
            error=error,
        )


class DryEngine(Engine):
    """Run scripts as the engine does, without executing anything of the app; use one `plan` at a time."""

    def __init__(self, home: Home, *, profile: HardwareProfile, sidecar: Sidecar) -> None:
        super().__init__(
            home,
            sink=Silent(),
            answers=Answers(),
            profile=profile,
            environ=clean_environment(str(home.root)),
            sidecar=sidecar,
            sleep=asyncio.sleep,
            clock=time.monotonic,
        )
        self.ports: Any = FixedPorts()
        self.begin()

    def begin(self) -> None:
        """Forget the script that was planned last."""
        self.trace = Trace(absent=ABSENT)
        self.seen: list[Seen] = []
        self.executed = 0
        self.limit_reached = False
        self.local_at_end: dict[str, Any] = {}
        self.opened: dict[str, Any] = {}
        self.touched: set[str] = set()  # scripts that were begun

    # what a dry run answers otherwise

    def find_method(self, name: str) -> Method | None:
        """Return what stands in for a method; one that does not exist does nothing, and the plan says so."""
        return answers.find(name) or answers.nothing

    async def call_javascript(self, run_id: str, call: Call) -> CallResult:
        """Call nothing of the launcher's own: the answer is undefined."""
        del run_id, call
        return CallResult(UNDEFINED)

    def traced(self, run: Run, at: Following, rendered: Rendered, *, executed: bool) -> Row | None:
        """Remember a step that was reached; the one past the limit ends the script."""
        if executed and self.executed >= STEPS:
            self.limit_reached = True
            raise ScriptError(f"the plan was given up after {STEPS} steps")
        self.executed += executed
        row = super().traced(run, at, rendered, executed=executed)
        if row is not None:
            method = rendered.method
            unknown = isinstance(method, str) and method != "" and not rendered.uri and not answers.exists(method)
            self.seen.append(Seen(run, at, rendered, row, executed, unknown))
        return row

    # what a dry run leaves out

    def sync_environment(self, app: Path | None) -> None:
        """Give the sidecar an app's variables once: nothing changes while it is planned."""
        if app not in self._sent_env:
            variables = self.environment.template(app / "script" if app else None)
            self._sent_env[app] = variables
            self.sidecar.set_env(str(app) if app else "", variables)

    async def start(self, path: str, payload: Any = UNDEFINED, *, parent: Run | None = None) -> RunResult:
        """Plan a script, or one that it starts."""
        self.touched.add(path)
        return await super().start(path, payload, parent=parent)

    async def has_script(self, path: str) -> bool:
        """Tell whether a script's file is there, at once: a thread for each would take longer than the plan."""
        return os.path.isfile(path)  # noqa: PTH113, ASYNC240  # one look at a local disk

    async def run_ended(self, run: Run, result: RunResult) -> None:
        """Keep what the script's memory holds before it is forgotten."""
        if run.parent is None and not run.stopped.is_set():
            self.opened = {"pre": run.opened.pre, "env": run.opened.env} if run.opened else {}
            with contextlib.suppress(PinoctlError):
                self.local_at_end = await self.local(run.path)
        await super().run_ended(run, result)

    async def forget(self) -> None:
        """Let the next script begin as the first one did: nothing ran, nothing is stored."""
        for path in self._ready:
            self.sidecar.set_state(path, running=False, ready=False)
        self._ready.clear()
        for path in self.touched:
            with contextlib.suppress(PinoctlError):
                await self.sidecar.memory(path, "replace", "global", {})
        self.touched.clear()

    async def _require(self, run: Run) -> None:
        """Ask for nothing."""

    async def _on_stop(self, run: Run) -> None:
        """Run nothing: a plan ends when the script would serve."""

    async def _close_run(self, run: Run) -> None:
        with contextlib.suppress(PinoctlError):  # a sidecar that died has forgotten the run already
            await self.sidecar.close_run(run.id, forget_local=True)
