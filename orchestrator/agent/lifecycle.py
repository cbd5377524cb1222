"""From a launcher to a ready app and back: install, start, keep up, update, stop (spec 3.5)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from orchestrator.agent.condition import INSTALLING, NOT_INSTALLED, READY, STARTING, STOPPED, Condition
from orchestrator.agent.outcome import Desk, Failure, UpFailedError, UpOptions
from orchestrator.agent.serving import Serving, settled
from orchestrator.engine.errors import ScriptError
from orchestrator.engine.redaction import is_secret
from orchestrator.engine.values import encode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from orchestrator.agent.contracts import EngineLike, Plan, Target
    from orchestrator.agent.installing import Installing


class Lifecycle:
    """Bring one app up and keep it up; `open_engine` opens the engine on first use."""

    def __init__(
        self, desk: Desk, installing: Installing, serving: Serving, *, open_engine: Callable[[], Awaitable[EngineLike]]
    ) -> None:
        self.desk = desk
        self.installing = installing
        self.serving = serving
        self._open_engine = open_engine
        self._engine: EngineLike | None = None
        self._opening = asyncio.Lock()
        self._up: asyncio.Task[dict[str, Any]] | None = None
        self.updating = False
        self._menu_error = ""

    @property
    def condition(self) -> Condition:
        """The app's state now."""
        return self.desk.condition

    @property
    def busy(self) -> bool:
        """Tell whether something runs or is being brought up."""
        working = self._up is not None and not self._up.done()
        return working or self.serving.reviving or bool(self._engine is not None and self._engine.running_scripts())

    @property
    def opened(self) -> EngineLike | None:
        """The engine, if it was needed so far."""
        return self._engine

    async def engine(self) -> EngineLike:
        """Return the engine, opened on first use."""
        async with self._opening:
            if self._engine is None:
                self._engine = await self._open_engine()
            return self._engine

    # what the agent asks

    async def up(self, options: UpOptions) -> dict[str, Any]:
        """Install if needed, start, and wait until the app is ready; a second caller joins the first.

        Returns `{state, url, failed, failed_children}`; `failed` is None or a `Failure` as JSON.
        """
        return await self._alone(lambda: self._climb(options))

    async def install(self, options: UpOptions) -> dict[str, Any]:
        """Install if needed, from where it stopped the last time, and start nothing; answers as `up` does."""
        return await self._alone(lambda: self._install(options))

    async def _alone(self, work: Callable[[], Awaitable[object]]) -> dict[str, Any]:
        """Do a piece of work that goes on when its caller leaves; meanwhile further callers wait for its outcome."""
        if self._up is None or self._up.done():
            self._up = asyncio.create_task(self.desk.guarded(work()))
        task = self._up
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                return self.desk.answer(Failure("it was stopped before it was ready"))
            raise

    async def run(self, target: Target) -> dict[str, Any]:
        """Run one script of the app and wait for its end; the start script is watched as `up` would."""
        engine = await self.engine()
        await self._prepare(engine)
        plan = await self.desk.app.plan(engine)
        if plan.start is not None and plan.start.path == target.path:
            return await self.up(UpOptions(start=target))
        if plan.install is not None and plan.install.path == target.path:
            return await self._alone(lambda: self._install_anew(engine, target))
        await self.desk.app.prepare(engine, target)
        result = await engine.start(target.path, dict(target.args))
        return {
            "status": result.status,
            "daemon": result.daemon,
            "error": result.error,
            "hint": result.hint,
            "step": result.step + 1 if result.step is not None else None,
            "method": result.method,
            "failed_children": list(result.failed_children),
            "result": _jsonable(result.result),
        }

    async def update(self) -> dict[str, Any]:
        """Run the update script; when it fails, go back to what worked before. What was up is started again."""
        engine = await self.engine()
        await self._prepare(engine)
        target = (await self.desk.app.plan(engine)).update
        if target is None:
            raise ScriptError(
                f"`{self.desk.app.name}` offers no update script", hint="`pinoctl menu APP` lists what it offers"
            )
        was_up = self.serving.served is not None
        await self.stop()
        outcome = await self._alone(lambda: self._update_or_restore(engine, target))
        if outcome["failed"]:
            self.desk.become(Condition(STOPPED))
        if was_up:
            again = await self.up(UpOptions())
            return {**again, "failed": outcome["failed"] or again["failed"], "updated": not outcome["failed"]}
        return {**outcome, "state": str(self.condition), "updated": not outcome["failed"]}

    async def _update_or_restore(self, engine: EngineLike, target: Target) -> None:
        self.updating = True
        try:
            saved = await self.desk.app.save()
            try:
                await self.installing.update(engine, target)
            except BaseException as error:
                await self.desk.app.restore(saved)
                self.desk.emit("restored", {"reason": str(error) or "it was stopped"})
                raise
            finally:
                await self.desk.app.discard(saved)
        finally:
            self.updating = False

    async def stop(self, path: str | None = None) -> bool:
        """Stop one script, or the start script and whatever brings it up; nothing is restarted."""
        engine, served = self._engine, self.serving.served
        if engine is None:
            return False
        if path is not None and (served is None or served.target.path != path):
            return bool(await engine.stop(path))
        was = self.condition.word
        await self.serving.cancel_restart()
        if self._up is not None and not self._up.done():
            self._up.cancel()
            await settled(self._up)
        stopped = await self.serving.stop()
        if was == INSTALLING:
            self.desk.become(Condition(NOT_INSTALLED))
        elif was in {READY, STARTING}:
            self.desk.become(Condition(STOPPED))
        return stopped

    async def down(self) -> None:
        """Stop everything and close the engine."""
        await self.stop()
        async with self._opening:
            if self._engine is not None:
                await self._engine.close()
                self._engine = None
        await self.serving.close()

    # what the engine tells

    def event(self, kind: str, data: Mapping[str, Any]) -> None:
        """Take an event of the engine."""
        self.installing.event(kind, data)
        self.serving.event(kind, data)

    def output(self, _script: str, raw: str) -> None:
        """Take output of the engine's scripts."""
        self.serving.output(raw)

    # the work

    async def _install(self, options: UpOptions) -> Plan:
        engine = await self.engine()
        await self._prepare(engine)
        if options.fresh:
            self.installing.forget()
        plan = await self._plan(engine)
        if plan.install is not None and self.installing.needed(plan, options):
            await self.installing.install(engine, plan.install, options)
            plan = await self._plan(engine)
        return plan

    async def _install_anew(self, engine: EngineLike, target: Target) -> None:
        """Run the install script from its first step; an app that is up is stopped before and started again after."""
        served, reviving = self.serving.served, self.serving.reviving
        if served is not None or reviving:
            self.desk.emit("warning", {"text": "the app is stopped while it is installed, then it is started again"})
            await self.serving.cancel_restart()
            await self.serving.stop()
        await self.installing.install(engine, target, UpOptions(fresh=True))
        if served is not None or reviving:
            await self._climb(UpOptions(start=served.options.start if served is not None else None))

    async def _climb(self, options: UpOptions) -> None:
        if not options.fresh and options.from_step is None and await self.serving.answers(options):
            return
        await self.serving.cancel_restart()
        await self.serving.stop()
        self.serving.backoff.reset()
        plan = await self._install(options)
        engine = await self.engine()
        start = plan.offered(options.start) if options.start else plan.start
        if start is None:
            raise UpFailedError(
                Failure(
                    f"`{self.desk.app.name}` offers no start script",
                    hint="`pinoctl menu APP` lists what it offers, `pinoctl run APP SCRIPT` runs one",
                )
            )
        await self.desk.app.prepare(engine, start)
        self.desk.record.start = remembered(options.start)
        await self.serving.start(engine, start, options)

    async def _prepare(self, engine: EngineLike) -> None:
        if not self.updating and await self.desk.app.recover():
            self.desk.emit("restored", {"reason": "its update was interrupted"})
        await self.desk.app.prepare(engine, None)

    async def _plan(self, engine: EngineLike) -> Plan:
        plan = await self.desk.app.plan(engine)
        self.desk.emit("scripts", plan.to_json())
        if plan.error and plan.error != self._menu_error:
            self.desk.emit("warning", {"text": f"{plan.error}; the scripts on disk are used"})
        self._menu_error = plan.error
        return plan


def remembered(start: Target | None) -> dict[str, Any] | None:
    """Return how an app was started as it may be stored: without what looks like a secret."""
    if start is None:
        return None
    args = {key: _jsonable(value) for key, value in start.args.items() if not is_secret(key)}
    return {"path": start.path, "args": args}


def _jsonable(value: Any) -> Any:
    try:
        return encode(value)
    except TypeError:
        return repr(value)
