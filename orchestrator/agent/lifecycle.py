"""From a launcher to a ready app and back: install, start, watch, restart, update, stop (spec 3.5)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.agent.backoff import Backoff
from orchestrator.agent.condition import FAILED, INSTALLING, NOT_INSTALLED, READY, STARTING, STOPPED, Condition
from orchestrator.agent.contracts import App, EngineLike, Plan, Target
from orchestrator.agent.position import PositionStore
from orchestrator.agent.probe import Probe
from orchestrator.agent.ready import NotReadyError, Readiness, Ready
from orchestrator.agent.shells import Shells
from orchestrator.engine.errors import PinoctlError, ScriptError

Emit = Callable[[str, Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class UpOptions:
    """Say how to bring an app up: `fresh` forgets where an install stopped, `from_step` (from 1) goes on there."""

    fresh: bool = False
    from_step: int | None = None
    timeout: float | None = None
    start: Target | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Tell what failed: the script, the step (from 1) and its method if known, why, and the last lines that it printed."""

    reason: str
    script: str | None = None
    step: int | None = None
    method: str | None = None
    hint: str | None = None
    lines: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the failure as the journal and replies have it."""
        return {
            "script": self.script,
            "step": self.step,
            "method": self.method,
            "reason": self.reason,
            "hint": self.hint,
            "lines": list(self.lines),
        }


class UpFailedError(PinoctlError):
    """Carry a failure up to whoever asked."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason, hint=failure.hint)
        self.failure = failure


@dataclass(slots=True)
class Record:
    """Hold what must outlive the agent besides the state: `installed` is the script whose success is the only proof."""

    condition: Condition = field(default_factory=Condition)
    installed: str | None = None
    failed_children: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Served:
    """Be the start script at work."""

    target: Target
    task: asyncio.Task[Any]
    url: str | None = None
    source: str = "none"


class Lifecycle:
    """Bring one app up and keep it up.

    `open_engine` opens the engine on first use. All waiting goes through `clock` and `sleep`; `readiness` makes the object
    that waits for the URL.
    """

    def __init__(
        self,
        app: App,
        *,
        open_engine: Callable[[], Awaitable[EngineLike]],
        positions: PositionStore,
        emit: Emit,
        readiness: Callable[[UpOptions, str], Readiness],
        probe: Probe,
        last_lines: Callable[[], list[str]],
        store: Callable[[Record], None],
        record: Record,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.app = app
        self.record = record
        self.served: Served | None = None
        self.shells = Shells()
        self.backoff = Backoff()
        self._open_engine = open_engine
        self._positions = positions
        self._emit = emit
        self._make_readiness = readiness
        self._probe = probe
        self._last_lines = last_lines
        self._store = store
        self._clock = clock
        self._sleep = sleep
        self._engine: EngineLike | None = None
        self._opening = asyncio.Lock()
        self._up: asyncio.Task[dict[str, Any]] | None = None
        self._reviving: asyncio.Task[None] | None = None
        self._readiness: Readiness | None = None
        self._following: str | None = None
        self._options = UpOptions()

    # what the agent asks

    @property
    def condition(self) -> Condition:
        """The app's state now."""
        return self.record.condition

    @property
    def busy(self) -> bool:
        """Tell whether something runs or is being brought up."""
        working = [task for task in (self._up, self._reviving) if task is not None and not task.done()]
        return bool(working) or (self._engine is not None and bool(self._engine.running_scripts()))

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

    async def up(self, options: UpOptions) -> dict[str, Any]:
        """Install if needed, start, and wait until the app is ready; a second caller joins the first.

        Returns `{state, url, failed, failed_children}`; `failed` is None or a `Failure` as JSON.
        """
        if self._up is None or self._up.done():
            self._up = asyncio.create_task(self._bring_up(options))
        task = self._up
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                return self.outcome(Failure("it was stopped before it was ready"))
            raise

    async def run(self, target: Target) -> dict[str, Any]:
        """Run one script of the app and wait for its end; the start script is watched as `up` would."""
        engine = await self.engine()
        plan = await self.app.plan(engine)
        if plan.start is not None and plan.start.path == target.path:
            return await self.up(UpOptions(start=target))
        if plan.install is not None and plan.install.path == target.path:
            return await self._guarded(self._install(engine, plan, target, UpOptions(fresh=True)))
        await self.app.prepare(engine, target)
        result = await engine.start(target.path, dict(target.args))
        return {
            "status": result.status,
            "daemon": result.daemon,
            "error": result.error,
            "hint": result.hint,
            "step": result.step,
            "method": result.method,
            "failed_children": list(result.failed_children),
            "result": _jsonable(result.result),
        }

    async def update(self) -> dict[str, Any]:
        """Run the update script; when it fails, go back to what worked before, and start again what was running."""
        engine = await self.engine()
        plan = await self.app.plan(engine)
        if plan.update is None:
            raise ScriptError(
                f"`{self.app.name}` offers no update script", hint="`pinoctl menu APP` lists what it offers"
            )
        was_up = self.served is not None
        if was_up:
            await self.stop()
        saved = await self.app.save()
        outcome = await self._guarded(self._update(engine, plan.update))
        if outcome["failed"]:
            await self.app.restore(saved)
            self._emit("restored", {"reason": outcome["failed"]["reason"]})
            self._become(Condition(STOPPED))
        await self.app.discard(saved)
        if was_up:
            again = await self.up(UpOptions())
            return {**again, "failed": outcome["failed"] or again["failed"]}
        return {**outcome, "state": str(self.condition)}

    async def stop(self, path: str | None = None) -> bool:
        """Stop one script, or the start script and whatever brings it up; nothing is restarted."""
        engine = self._engine
        if engine is None:
            return False
        if path is not None and (self.served is None or self.served.target.path != path):
            return bool(await engine.stop(path))
        await self._cancel_work()
        stopped = False
        served, self.served = self.served, None
        if served is not None:
            stopped = bool(await engine.stop(served.target.path))
            await _settled(served.task)
        if self.condition.word in {READY, STARTING, INSTALLING}:
            self._become(Condition(STOPPED if self.condition.word != INSTALLING else NOT_INSTALLED))
        return stopped

    async def down(self) -> None:
        """Stop everything and close the engine."""
        await self.stop()
        async with self._opening:
            if self._engine is not None:
                await self._engine.close()
                self._engine = None
        self.shells.clear()
        if self.condition.word in {READY, STARTING}:
            self._become(Condition(STOPPED))

    def outcome(self, failure: Failure | None) -> dict[str, Any]:
        """Return what `up` answers."""
        return {
            "state": str(self.condition),
            "url": self.condition.url,
            "failed": failure.to_json() if failure else None,
            "failed_children": list(self.record.failed_children),
        }

    # what the engine tells

    def event(self, kind: str, data: Mapping[str, Any]) -> None:
        """Take an event of the engine."""
        script = str(data.get("script", ""))
        if kind == "step.start" and script == self._following and isinstance(data.get("index"), int):
            steps = data.get("steps")
            if self.condition.word == INSTALLING:
                self._become(self.condition.at(data["index"] + 1, steps if isinstance(steps, int) else None))
        if kind == "step.start" and self._readiness is not None:
            self._readiness.stepped()
        elif kind == "local.url" and self._readiness is not None:
            self._readiness.local(str(data.get("name")), data.get("value"))
        elif kind == "local.url" and self.served is not None and self.condition.word == READY:
            self._moved(data)
        elif kind == "open" and self._readiness is not None and isinstance(data.get("url"), str):
            self._readiness.opened = data["url"]
        elif kind == "shell.start":
            self.shells.started(data)
        elif kind == "shell.end":
            self._shell_ended(data)

    def output(self, _script: str, raw: str) -> None:
        """Take output of the engine's scripts."""
        if self._readiness is not None:
            self._readiness.output(raw)

    def _moved(self, data: Mapping[str, Any]) -> None:
        """Follow a script that stores another URL after it was ready, once that one answers."""

        async def follow(served: Served, readiness: Readiness) -> None:
            readiness.local(str(data.get("name")), data.get("value"))
            with contextlib.suppress(NotReadyError):
                ready = await readiness.wait() if readiness.known else None
                if (
                    ready is not None
                    and self.served is served
                    and self.condition.word == READY
                    and ready.url != served.url
                ):
                    self._is_ready(served, ready)

        assert self.served is not None  # noqa: S101  # the caller looked
        task = asyncio.ensure_future(
            follow(self.served, self._make_readiness(UpOptions(timeout=60.0), self.app.share_variable()))
        )
        self.served.task.add_done_callback(lambda _done: task.cancel() if self.served is None else None)

    def _shell_ended(self, data: Mapping[str, Any]) -> None:
        shell = self.shells.ended(data)
        if shell is None or not data.get("detached") or self.served is None:
            return
        status = data.get("status")
        reason = f"its server `{shell.script.rpartition('/')[2]}` ended" + (
            f" with status {status}" if status is not None else ""
        )
        if self.condition.word == READY:
            self._lost(reason, harmless=status == 0)
        elif self._readiness is not None and self.served.task.done() and not self.shells.alive:
            self._readiness.failed(reason)
        else:
            self.shells.last_death = reason

    # the work

    async def _guarded(self, work: Awaitable[None]) -> dict[str, Any]:
        """Do a piece of work and turn its failure into a state and an answer."""
        failure: Failure | None = None
        try:
            await work
        except UpFailedError as error:
            failure = error.failure
        except (PinoctlError, OSError) as error:
            failure = Failure(str(error), hint=getattr(error, "hint", None), lines=tuple(self._last_lines()))
        if failure is not None:
            self._fail(failure)
        return self.outcome(failure)

    async def _bring_up(self, options: UpOptions) -> dict[str, Any]:
        return await self._guarded(self._climb(options))

    async def _climb(self, options: UpOptions) -> None:
        served = self.served
        if served is not None and self.condition.word == READY and not served_by_other(served, options):
            answer = await self._probe(served.url) if served.url else None
            if served.url is None or (answer is not None and answer.ready):
                return
        self._options = options
        if self._reviving is not None and not self._reviving.done():
            self._reviving.cancel()
            await _settled(self._reviving)
        if self.served is not None:
            await self._stop_served()
        self.backoff.reset()
        engine = await self.engine()
        await self.app.prepare(engine, None)
        plan = await self._plan(engine)
        if options.fresh:
            self._positions.forget()
            self.record.installed = None
        if plan.install is not None and self._must_install(plan, options):
            await self._install(engine, plan, plan.install, options)
            plan = await self._plan(engine)
        start = options.start or plan.start
        if start is None:
            raise UpFailedError(
                Failure(
                    f"`{self.app.name}` offers no start script",
                    hint="`pinoctl menu APP` lists what it offers, `pinoctl run APP SCRIPT` runs one",
                )
            )
        await self.app.prepare(engine, start)
        await self._start(engine, start, options)

    def _must_install(self, plan: Plan, options: UpOptions) -> bool:
        assert plan.install is not None  # noqa: S101  # the caller looked
        if options.from_step is not None or self._positions.step(plan.install.path) is not None:
            return True
        return plan.stage in {"install", "unknown"} and self.record.installed != plan.install.path

    async def _plan(self, engine: EngineLike) -> Plan:
        plan = await self.app.plan(engine)
        self._emit("scripts", plan.to_json())
        return plan

    async def _install(self, engine: EngineLike, plan: Plan, target: Target, options: UpOptions) -> None:
        await self.app.prepare(engine, target)
        if options.fresh:
            self._positions.forget()
        resume = self._positions.load(target.path)
        if options.from_step is not None:
            resume = from_step(resume, target, options.from_step)
        self._become(Condition(INSTALLING))
        step = resume.get(target.path, {}).get("next") if resume else None
        if isinstance(step, int):
            self._emit("resume", {"script": engine.name_of(target.path), "step": step + 1})
        self._positions.begin(target.path)
        self.record.failed_children = []
        good = False
        try:
            result = await self._run(engine, target, resume=resume)
            good = result.status == "end"
        finally:
            self._positions.finish(good=good)
        self.record.failed_children = list(result.failed_children)
        if not good:
            raise UpFailedError(self._failure_of(engine, target, result))
        if result.daemon:
            await engine.stop(target.path)
        after = await self.app.plan(engine)
        if after.stage == "install" and after.install is not None and after.install.path == target.path:
            if after.offers != plan.offers:
                raise UpFailedError(
                    Failure(
                        "its install script ended well, but its menu still asks for the installation",
                        script=engine.name_of(target.path),
                        lines=tuple(self._last_lines()),
                        hint="`pinoctl logs APP` shows what it did, `pinoctl up APP --fresh` begins anew",
                    )
                )
            if result.failed_children:
                raise UpFailedError(
                    Failure(
                        f"its installation is not complete: {_children(result.failed_children)}",
                        script=engine.name_of(target.path),
                        lines=tuple(self._last_lines()),
                    )
                )
        self.record.installed = target.path
        self._become(
            Condition(
                STOPPED,
                reason=f"completed with failed sub-script: {_children(result.failed_children)}"
                if result.failed_children
                else None,
            )
        )

    async def _update(self, engine: EngineLike, target: Target) -> None:
        await self.app.prepare(engine, target)
        result = await self._run(engine, target, resume=None)
        if result.status != "end":
            raise UpFailedError(self._failure_of(engine, target, result))
        if result.daemon:
            await engine.stop(target.path)
        self._become(Condition(STOPPED))

    async def _run(self, engine: EngineLike, target: Target, *, resume: dict[str, Any] | None) -> Any:
        positions = getattr(engine, "positions", None)
        if positions is not None:
            positions.earlier = dict(resume or {})
            positions.current = {}
        self._following = engine.name_of(target.path)
        try:
            return await engine.start(target.path, dict(target.args))
        except asyncio.CancelledError:
            await engine.stop(target.path)
            raise
        finally:
            self._following = None

    async def _start(self, engine: EngineLike, target: Target, options: UpOptions) -> None:
        """Start the app and wait until it is ready; on failure nothing of it is left."""
        self._become(Condition(STARTING))
        readiness = self._make_readiness(options, self.app.share_variable())
        readiness.alive = lambda: self.shells.alive
        self._readiness = readiness
        task = asyncio.ensure_future(engine.start(target.path, dict(target.args)))
        served = self.served = Served(target, task)
        self.shells.last_death = None
        task.add_done_callback(lambda _done: self._start_over(engine, served))
        try:
            ready = await readiness.wait()
        except NotReadyError as error:
            result = task.result() if task.done() and not task.cancelled() and task.exception() is None else None
            lines = tuple(self._last_lines())
            await self._stop_served()
            if result is not None and result.status == "error":
                raise UpFailedError(self._failure_of(engine, target, result)) from error
            raise UpFailedError(
                Failure(
                    str(error),
                    script=engine.name_of(target.path),
                    lines=lines,
                    hint="`pinoctl logs APP` shows its output",
                )
            ) from error
        except asyncio.CancelledError:
            await self._stop_served()
            raise
        finally:
            self._readiness = None
        self._is_ready(served, ready)

    def _is_ready(self, served: Served, ready: Ready) -> None:
        served.url, served.source = ready.url, ready.source
        self.backoff.healthy(self._clock())
        self._become(Condition(READY, url=ready.url))
        self._emit("ready", {"url": ready.url, "source": ready.source})

    def _start_over(self, engine: EngineLike, served: Served) -> None:
        """Take the end of the start script's steps: a daemon lives on, anything else has lost its servers."""
        if self.served is not served or served.task.cancelled():
            return
        error, readiness = served.task.exception(), self._readiness
        if error is not None:
            reason = str(error)
        else:
            result = served.task.result()
            if result.status == "running" or (result.status == "end" and result.daemon):
                if readiness is not None:
                    readiness.ended()
                    if self.shells.last_death and not self.shells.alive:
                        readiness.failed(self.shells.last_death)
                return
            name = engine.name_of(served.target.path)
            reason = result.error or (
                f"`{name}` was stopped" if result.status == "stopped" else f"`{name}` ended and left no server running"
            )
        if readiness is not None:
            readiness.failed(reason)
        elif self.condition.word == READY:
            if error is None and served.task.result().status == "stopped":
                self.served = None
                self._become(Condition(STOPPED))
            else:
                self._lost(reason, harmless=False)

    # servers that die

    def _lost(self, reason: str, *, harmless: bool) -> None:
        if self._reviving is None or self._reviving.done():
            self._reviving = asyncio.ensure_future(self._revive(reason, harmless=harmless))

    async def _revive(self, reason: str, *, harmless: bool) -> None:
        served = self.served
        if served is None:
            return
        if harmless and served.url and (answer := await self._probe(served.url)) is not None and answer.ready:
            self._emit("warning", {"script": served.target.path, "text": f"{reason}, and the app still answers"})
            return
        engine = await self.engine()
        while True:
            self._emit("lost", {"reason": reason, "lines": self._last_lines()})
            delay = self.backoff.died(self._clock())
            await self._stop_served()
            if delay is None:
                self._emit("given.up", {"attempts": self.backoff.attempts, "reason": reason})
                self._fail(
                    Failure(
                        f"gave up after {self.backoff.attempts} restarts, the last time because {reason}",
                        lines=tuple(self._last_lines()),
                        hint="`pinoctl logs APP` shows its output, `pinoctl up APP` tries again",
                    )
                )
                return
            self._become(Condition(STARTING, reason=f"restart {self.backoff.attempts} in {delay:.0f} s: {reason}"))
            self._emit("restart", {"attempt": self.backoff.attempts, "delay": delay, "reason": reason})
            await self._sleep(delay)
            try:
                await self._start(engine, served.target, self._options)
            except (PinoctlError, OSError) as error:
                reason = str(error)
            else:
                return

    async def _stop_served(self) -> None:
        served, self.served = self.served, None
        if served is not None and self._engine is not None:
            await self._engine.stop(served.target.path)
            await _settled(served.task)

    async def _cancel_work(self) -> None:
        for task in (self._up, self._reviving):
            if task is not None and not task.done() and task is not asyncio.current_task():
                task.cancel()
                await _settled(task)

    # states

    def _become(self, condition: Condition) -> None:
        if condition != self.record.condition:
            self.record.condition = condition
            self._store(self.record)
            self._emit("state", condition.to_json())

    def _fail(self, failure: Failure) -> None:
        self._emit("failed", failure.to_json())
        self._become(Condition(FAILED, step=failure.step, reason=failure.reason))

    def _failure_of(self, engine: EngineLike, target: Target, result: Any) -> Failure:
        if result.status == "stopped":
            reason = "it was stopped"
        else:
            reason = result.error or f"it ended with status `{result.status}`"
        return Failure(
            reason,
            script=engine.name_of(target.path),
            step=result.step + 1 if result.step is not None else None,
            method=result.method,
            hint=result.hint,
            lines=tuple(self._last_lines()),
        )


def served_by_other(served: Served, options: UpOptions) -> bool:
    """Tell whether another start script than the running one is asked for."""
    return options.start is not None and options.start != served.target


def from_step(saved: Mapping[str, Any] | None, target: Target, step: int) -> dict[str, Any]:
    """Return a position at a step (from 1) of a script, with the variables of the stored position where there is one."""
    from orchestrator.engine.positions import digest  # noqa: PLC0415  # only when a user asks for it

    here = dict((saved or {}).get(target.path) or {"input": None, "local": {}})
    return {target.path: {**here, "next": max(0, step - 1), "digest": digest(target.path, dict(target.args))}}


def _children(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _jsonable(value: Any) -> Any:
    from orchestrator.engine.values import encode  # noqa: PLC0415  # loaded with the engine already

    try:
        return encode(value)
    except TypeError:
        return repr(value)


async def _settled(task: asyncio.Task[Any] | asyncio.Future[Any]) -> None:
    """Wait for a task's end, whatever it is."""
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()
