"""Running install and update scripts to their end, with a position to go on from (spec 3.5 steps 3 and 4)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from orchestrator.agent.condition import INSTALLING, STOPPED, Condition
from orchestrator.agent.outcome import Desk, Failure, UpFailedError, UpOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.agent.contracts import EngineLike, Plan, Target
    from orchestrator.agent.position import PositionStore


class Installing:
    """Install one app; `following` is the name of the script whose steps count as progress."""

    def __init__(self, desk: Desk, positions: PositionStore) -> None:
        self._desk = desk
        self._positions = positions
        self.following: str | None = None

    def forget(self) -> None:
        """Begin anew the next time."""
        self._positions.forget()
        self._desk.record.installed = None

    def needed(self, plan: Plan, options: UpOptions) -> bool:
        """Tell whether the install script must run before the start script."""
        if plan.install is None:
            return False
        if options.fresh or options.from_step is not None or self._positions.step(plan.install.path) is not None:
            return True
        return plan.stage in {"install", "unknown"} and self._desk.record.installed != plan.install.path

    async def install(self, engine: EngineLike, target: Target, options: UpOptions) -> None:
        """Run the install script, from where it stopped the last time; raises UpFailedError."""
        desk = self._desk
        await desk.app.prepare(engine, target)
        if options.fresh:
            self.forget()
        resume = self._positions.load(target.path)
        if options.from_step is not None:
            resume = from_step(resume, target, options.from_step)
        desk.become(Condition(INSTALLING))
        step = resume.get(target.path, {}).get("next") if resume else None
        if isinstance(step, int):
            desk.emit("resume", {"script": engine.name_of(target.path), "step": step + 1})
        self._positions.begin(target.path)
        desk.record.failed_children = []
        good = False
        try:
            result = await self.run(engine, target, resume=resume, trusted=options.trusted)
            good = result.status == "end"
        finally:
            self._positions.finish(good=good)
        desk.record.failed_children = list(result.failed_children)
        if not good:
            raise UpFailedError(desk.failure_of(engine, target, result))
        if result.daemon:
            await engine.stop(target.path)
        await self._check(engine, target, list(result.failed_children))
        await self._probe(engine, target)

    async def _probe(self, engine: EngineLike, target: Target) -> None:
        """Say now what is wrong with an environment's torch, rather than let the app say it in an hour."""
        profile = getattr(engine, "profile", None)
        environment = getattr(engine, "environment", None)
        if profile is None or environment is None:
            return
        from orchestrator.torch.probe import probe  # noqa: PLC0415  # only after an install

        for found in await asyncio.to_thread(probe, self._desk.app.folder, profile, environment.shell(target.path)):
            text = f"{found.text}; {found.remedy}" if found.remedy else found.text
            self._desk.emit("torch", {"level": found.level, "text": text, "environment": found.where})

    async def _check(self, engine: EngineLike, target: Target, failed: list[str]) -> None:
        """Ask the menu whether the app is installed now; one that cannot tell is believed to be (3.5 step 4)."""
        desk = self._desk
        children = "completed with failed sub-script: " + ", ".join(f"`{name}`" for name in failed) if failed else None
        plan = await desk.app.plan(engine)
        asks = plan.stage == "install" and plan.install is not None and plan.install.path == target.path
        if asks and not plan.lists_start:
            raise UpFailedError(
                Failure(
                    children or "its install script ended well, but its menu still asks for the installation",
                    script=engine.name_of(target.path),
                    lines=tuple(desk.last_lines()),
                    hint="`pinoctl logs APP` shows what it did, `pinoctl up APP --fresh` begins anew",
                )
            )
        desk.record.installed = target.path if asks or plan.stage == "unknown" else None
        desk.become(Condition(STOPPED, reason=children))

    async def update(self, engine: EngineLike, target: Target) -> None:
        """Run the update script to its end; raises UpFailedError."""
        await self._desk.app.prepare(engine, target)
        result = await self.run(engine, target, resume=None)
        if result.status != "end":
            raise UpFailedError(self._desk.failure_of(engine, target, result))
        if result.daemon:
            await engine.stop(target.path)
        await self._probe(engine, target)
        self._desk.become(Condition(STOPPED))

    async def run(
        self, engine: EngineLike, target: Target, *, resume: Mapping[str, Any] | None, trusted: bool = False
    ) -> Any:
        """Run one script to its end; it is stopped when this is cancelled."""
        positions = getattr(engine, "positions", None)
        if positions is not None:
            positions.earlier = dict(resume or {})
            positions.current = {}
            positions.trusted = trusted
        self.following = engine.name_of(target.path)
        try:
            return await engine.start(target.path, dict(target.args))
        except asyncio.CancelledError:
            await engine.stop(target.path)
            raise
        finally:
            self.following = None

    def event(self, kind: str, data: Mapping[str, Any]) -> None:
        """Take an event of the engine: steps of the install script move the state on."""
        if kind not in {"step.start", "step.skip"} or data.get("script") != self.following:
            return
        index, steps = data.get("index"), data.get("steps")
        if self._desk.condition.word == INSTALLING and isinstance(index, int):
            self._desk.become(self._desk.condition.at(index + 1, steps if isinstance(steps, int) else None))


def from_step(saved: Mapping[str, Any] | None, target: Target, step: int) -> dict[str, Any]:
    """Return a position at a step (from 1) of a script, with the variables of the stored position if there is one."""
    from orchestrator.engine.positions import digest  # noqa: PLC0415  # only when a user asks for it

    here = dict((saved or {}).get(target.path) or {"input": None, "local": {}})
    next_ = max(0, step - 1)
    return {target.path: {**here, "next": next_, "asked": True, "digest": digest(target.path, dict(target.args))}}
