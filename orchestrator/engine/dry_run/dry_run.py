"""Plan scripts one after the other, with one confined sidecar for all of them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from orchestrator.engine.dry_run import answers
from orchestrator.engine.dry_run.engine import DryEngine
from orchestrator.engine.dry_run.records import ScriptPlan
from orchestrator.engine.errors import LoadError, PinoctlError
from orchestrator.engine.javascript import Sidecar, SidecarConfig
from orchestrator.engine.kernel_calls import KernelCalls
from orchestrator.engine.run import RunResult
from orchestrator.engine.values import UNDEFINED

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.engine.hardware import HardwareProfile
    from orchestrator.engine.home import Home
    from orchestrator.engine.javascript import Menu, MenuState

SECONDS: Final = 10.0  # for one script with all that it starts


class DryRun:
    """Plan the scripts of one home; `DryRun.open`, and `close` when done."""

    def __init__(self, engine: DryEngine, *, seconds: float = SECONDS) -> None:
        self._engine = engine
        self._seconds = seconds

    @classmethod
    async def open(
        cls, home: Home, profile: HardwareProfile, *, seconds: float = SECONDS, roots: tuple[str, ...] = ()
    ) -> DryRun:
        """Start the confined sidecar. The home need not be complete: nothing is written into it.

        `seconds` is what one script may take, `roots` are folders that launchers may read besides the home and its
        apps. Raises SidecarError when Node cannot be started.
        """
        calls = KernelCalls()
        config = SidecarConfig.confined_for(
            str(home.root), profile, request_timeout=seconds, which=answers.WHICH, roots=roots
        )
        sidecar = await Sidecar.start(config, host=calls)
        engine = DryEngine(home, profile=profile, sidecar=sidecar)
        calls.engine = engine
        return cls(engine, seconds=seconds)

    async def close(self) -> None:
        """End the sidecar."""
        await self._engine.close()

    async def fresh(self) -> None:
        """Make sure that nothing an app's code left behind reaches the next app: a new process where there is any."""
        sidecar = self._engine.sidecar
        if await sidecar.is_tainted():
            await sidecar.restart()

    async def menu(self, app: Path, state: MenuState) -> Menu:
        """Evaluate an app's menu in a given state (spec 3.1). Raises SidecarError when it cannot be had."""
        self._engine.sync_environment(app)
        return await self._engine.sidecar.menu(str(app), state=state)

    async def texts(self, path: Path, payload: Any = UNDEFINED) -> list[str] | None:
        """Return the texts of a script's steps (see `Sidecar.texts`), None for a file that is no script."""
        self._engine.sync_environment(self._engine.home.app_of(path))
        try:
            return await self._engine.sidecar.texts(str(path), payload)
        except PinoctlError:
            return None

    async def plan(self, path: Path, payload: Any = UNDEFINED) -> ScriptPlan:
        """Go through a script of an app below `HOME/api`, started with `payload`, and tell what it would do.

        Whatever the launcher does wrong is part of the plan (`status` and `error`); this raises for nothing of it.
        """
        engine = self._engine
        engine.begin()
        no_steps = False
        status, result = "end", RunResult("error")
        try:
            result = await asyncio.wait_for(engine.start(str(path), payload), self._seconds)
            status = result.status
        except asyncio.TimeoutError:
            status = "error"
            result = RunResult("error", error=f"the plan was given up after {self._seconds:g} s",
                               hint="look for an endless loop in the script")  # fmt: skip
        except LoadError as error:
            status, result = "load-error", RunResult("error", error=str(error), hint=error.hint)
            no_steps = error.no_steps
        except PinoctlError as error:
            status, result = "error", RunResult("error", error=str(error), hint=error.hint)
        await self._end()
        app = engine.home.app_of(path)
        folder = str(app) if app else ""
        return ScriptPlan(
            app=folder,
            script=str(path)[len(folder) + 1 :] if folder else str(path),
            status="step-limit" if engine.limit_reached else status,
            steps=tuple(seen.planned() for seen in engine.seen),
            error=result.error,
            hint=result.hint,
            daemon=result.daemon,
            result=result.result,
            local=engine.local_at_end,
            pre=tuple(engine.opened.get("pre", ())),
            env=tuple(engine.opened.get("env", ())),
            trace=tuple({key: seen.row.data[key] for key in KEYS} for seen in engine.seen),
            no_steps=no_steps,
        )

    async def _end(self) -> None:
        """Stop what the script left running, so that the next one finds nothing of it."""
        engine = self._engine
        for path in list(engine.runs):
            with contextlib.suppress(PinoctlError):
                await engine.stop(path)
        await engine.forget()


KEYS: Final = ("script", "index", "executed", "method", "params")
