"""One run of one script: the step loop (spec 5, 11; appendix A.1)."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.engine.call import IGNORED, WITHOUT_EFFECTS, Call, Method
from orchestrator.engine.errors import LoadError, PinoctlError, ScriptError, SidecarError
from orchestrator.engine.flow import Following, after, resolve_next
from orchestrator.engine.positions import Position
from orchestrator.engine.values import UNDEFINED, Match, Opaque, holds_live_values, to_text, truthy

if TYPE_CHECKING:
    from orchestrator.engine.engine import Engine
    from orchestrator.engine.javascript import Opened, Rendered
    from orchestrator.engine.trace import Row

_NUMBERS = itertools.count(1)


@dataclass(slots=True)
class RunResult:
    """Tell how a run ended.

    `status` is `end`, `error` or `stopped`; `step` and `method` say where it failed; `failed_children` names scripts
    that it started and that failed (the run itself goes on then, 11.1).
    """

    status: str
    daemon: bool = False
    result: Any = UNDEFINED
    error: str | None = None
    hint: str | None = None
    step: int | None = None
    method: str | None = None
    failed_children: list[str] = field(default_factory=list)


class Run:
    """Be one script at work: from the start request until it is stopped."""

    def __init__(
        self, engine: Engine, path: str, *, key: str, payload: Any, parent: Run | None = None, cwd: str | None = None
    ) -> None:
        self.engine = engine
        self.path = path
        self.key = key
        self.id = f"r{next(_NUMBERS)}"
        self.payload = payload
        self.args = {} if payload is UNDEFINED else payload
        self.parent = parent
        self.cwd = cwd or path.rpartition("/")[0]
        self.app = engine.home.app_of(path)
        self.name = engine.name_of(path)
        self.stopped = asyncio.Event()
        self.daemon = False
        self.finished: asyncio.Future[RunResult] = asyncio.get_running_loop().create_future()
        self.failed_children: list[str] = []
        self.opened: Opened | None = None
        self.task: asyncio.Task[None] | None = None
        self.holding: set[str] = set()  # queues that a step of this run stands in
        self._passes = 0
        self._triggers: set[asyncio.Task[None]] = set()
        self._warned: set[str] = set()

    # what methods use

    def output(self, raw: str) -> None:
        """Write terminal text, to this script's terminal and to its callers' (11.1)."""
        self.engine.sink.output(self.name, raw)

    def warn(self, text: str) -> None:
        """Log a warning, once per text and run."""
        if text not in self._warned:
            self._warned.add(text)
            self.event("warning", {"text": text})

    def notify(self, text: str) -> None:
        """Show a notification: in the terminal, and as an event."""
        self.output(f"{text}\r\n")
        self.event("notify", {"text": text})

    def event(self, kind: str, data: Mapping[str, Any]) -> None:
        """Tell the sink that something happened in this script."""
        self.engine.sink.event(kind, {"script": self.name, **data})

    def trigger(self, name: str, match: Match) -> None:
        """Begin a second pass over the steps of `script[name]` (8.7) while the present step goes on."""
        task = asyncio.create_task(self._trigger_pass(name, match))
        self._triggers.add(task)
        task.add_done_callback(self._triggers.discard)

    def cancel(self) -> list[asyncio.Task[None]]:
        """Cancel what this run still does, except the task that asks for it; return what to wait for."""
        tasks = [
            task
            for task in (self.task, *self._triggers)
            if task is not None and task is not asyncio.current_task() and not task.done()
        ]
        for task in tasks:
            task.cancel()
        return tasks

    # the life of a run

    async def open(self) -> None:
        """Load the script and its steps; raise LoadError when there is nothing to run."""
        self.engine.sync_environment(self.app)
        self.opened = await self.engine.sidecar.open(
            self.id, self.path, action="run", payload=self.payload, cwd=self.cwd, uri=self.path, name=self.name
        )
        self.daemon = self.opened.daemon
        parent = {"parent": self.parent.name} if self.parent else {}
        self.event(
            "run.start", {"steps": self.opened.steps, "daemon": self.daemon, "title": self.opened.title, **parent}
        )

    async def main(self) -> None:
        """Do all steps and settle `finished`; a stop cancels this task."""
        assert self.opened is not None  # noqa: S101  # open() comes first
        try:
            result = await self._pass(self.id, self.opened)
        except asyncio.CancelledError:
            result = RunResult("stopped")
            if not self.stopped.is_set():
                raise
        except Exception as error:  # noqa: BLE001  # whatever it is, whoever waits for this run must be told
            result = _failed(error)
        result.failed_children = self.failed_children
        await self.engine.run_ended(self, result)

    async def _trigger_pass(self, name: str, match: Match) -> None:
        self._passes += 1
        run_id = f"{self.id}.{self._passes}"
        payload = {"event": match, "trigger": name}
        try:
            opened = await self.engine.sidecar.open(
                run_id, self.path, action=name, payload=payload, cwd=self.cwd, uri=self.path, name=self.name
            )
            result = await self._pass(run_id, opened, payload=payload)
        except Exception as error:  # noqa: BLE001  # as above
            result = _failed(error)
        with contextlib.suppress(PinoctlError):
            await self.engine.sidecar.close_run(run_id, forget_local=False)
        if result.status == "error":
            self.event("warning", {"text": f"trigger `{name}` failed: {result.error}"})
        if result.status == "error" or not self.daemon:
            await self.engine.stop(self.path, because=result)

    async def _pass(self, run_id: str, opened: Opened, *, payload: Any = UNDEFINED) -> RunResult:
        """Go through the steps of one action from its start, or from where an earlier engine stopped, to its end."""
        value = self.args if payload is UNDEFINED else payload
        following: Following | None = Following(0, 0)
        position = self.engine.positions.take(self.path, self.args) if run_id == self.id else None
        if position is not None and position.asked and position.next >= opened.steps:
            raise ScriptError(
                f"`{self.name_in_app}` has no step {position.next + 1}, only {opened.steps}",
                hint="give `--from-step` one of its steps",
            )
        if position is not None and position.next <= opened.steps:
            await self.engine.sidecar.memory(self.path, "replace", "local", position.local)
            if position.next:
                self.event("run.resume", {"index": position.next})
            self.failed_children.extend(position.failed)
            value, following = (
                position.input,
                (Following(position.next, position.next) if position.next < opened.steps else None),
            )
        elif run_id == self.id:
            await self._checkpoint(0, value)  # so that what the first step starts is recorded below it
        while following is not None:
            if self.stopped.is_set():
                return RunResult("stopped", daemon=self.daemon)
            try:
                value, following = await self._step(run_id, opened, following, value)
            except _StepFailedError as failure:
                return RunResult(
                    "error",
                    daemon=self.daemon,
                    error=str(failure.error),
                    hint=getattr(failure.error, "hint", None),
                    step=failure.index,
                    method=failure.method,
                )
            if run_id == self.id and not self.stopped.is_set():
                await self._checkpoint(following.index if following else opened.steps, value)
        if self.stopped.is_set():
            return RunResult("stopped", daemon=self.daemon)
        return RunResult("end", daemon=self.daemon, result=value)

    async def _step(self, run_id: str, opened: Opened, at: Following, value: Any) -> tuple[Any, Following | None]:
        engine = self.engine
        index = at.index
        engine.sync_environment(self.app)
        try:
            rendered = await self._render(run_id, opened, index, value)
        except PinoctlError as error:
            raise _StepFailedError(index, None, error) from error
        for warning in rendered.warnings:
            self.warn(f"step {index + 1}: {warning}")
        method = rendered.method
        if not isinstance(method, (str, Opaque)) or method == "":
            engine.traced(self, at, rendered, executed=False)
            raise _StepFailedError(
                index, None, ScriptError(f"step {index + 1} has no `method`", hint="each step of `run` needs one")
            )
        try:
            function = self._function(rendered)
        except ScriptError as error:
            engine.traced(self, at, rendered, executed=False)
            raise _StepFailedError(index, method, error) from error
        if not rendered.run:
            engine.traced(self, at, rendered, executed=False)
            self.event("step.skip", {"index": index, "steps": opened.steps, "method": to_text(method)})
            return None, after(index, opened.steps)
        return await self._execute(run_id, opened, at, value, rendered=rendered, function=function)

    async def _render(self, run_id: str, opened: Opened, index: int, value: Any) -> Rendered:
        """Have the sidecar render a step; when it died, load the script again and try once more (it has no effects)."""
        sidecar, port = self.engine.sidecar, self.engine.ports.next_free
        if run_id not in sidecar.lost:
            try:
                return await sidecar.step(run_id, index, input=value, port=port)
            except SidecarError:
                if run_id not in sidecar.lost:
                    raise
        reason = sidecar.lost[run_id]
        if holds_live_values(value):
            raise ScriptError(
                f"what the step before gave to step {index + 1} is lost: {reason}", hint="start the script again"
            ) from reason
        again = await sidecar.reopen(run_id)
        if (again.steps, again.ids) != (opened.steps, opened.ids):
            raise ScriptError(
                f"`{self.name}` changed while it ran, so it cannot go on after this: {reason}",
                hint="start the script again",
            ) from reason
        self.warn(f"{reason}; `{self.name}` was loaded again and goes on")
        return await sidecar.step(run_id, index, input=value, port=port)

    async def _execute(
        self, run_id: str, opened: Opened, at: Following, value: Any, *, rendered: Rendered, function: Method | None
    ) -> tuple[Any, Following | None]:
        engine, index = self.engine, at.index
        name = rendered.method if isinstance(rendered.method, str) else "function"
        row = engine.traced(self, at, rendered, executed=True)
        self.event("step.start", {"index": index, "steps": opened.steps, "method": name})
        call = Call(
            engine=engine, run=self, method=name, params=rendered.params, step=rendered.step, index=index, input=value
        )
        began = engine.clock()
        try:
            async with self._in_queue(rendered):
                result = await self._call(run_id, call, rendered, function)
            if isinstance(result, Mapping) and truthy(result.get("error", UNDEFINED)):
                raise ScriptError(_error_text(name, result["error"]))  # noqa: TRY301  # as if the method had raised it
        except asyncio.CancelledError:
            self._step_ended(row, call, began, UNDEFINED, "stopped")
            raise
        except Exception as error:
            returned = result if "result" in locals() else None
            self._step_ended(row, call, began, returned, str(error))
            if not isinstance(error, (PinoctlError, OSError)):
                raise _StepFailedError(
                    index, name, ScriptError(_failed(error).error or "", hint=_failed(error).hint)
                ) from error
            raise _StepFailedError(index, name, error) from error
        await self._store(rendered, result)
        self._step_ended(row, call, began, result, "stopped" if self.stopped.is_set() else None)
        if truthy(rendered.notify):
            notice = rendered.notify
            self.notify(to_text(notice.get("html", "")) if isinstance(notice, Mapping) else f"{name} done")
        if self.stopped.is_set():
            return result, None
        try:
            return result, self._following(opened, index, rendered, call)
        except ScriptError as error:
            raise _StepFailedError(index, name, error) from error

    @contextlib.asynccontextmanager
    async def _in_queue(self, rendered: Rendered) -> AsyncIterator[None]:
        """Stand in the queue of the step's method (5.7), unless a script that waits for this one is in it already."""
        name, queue = self.engine.queue_of(rendered)
        if self._above_holds(name):
            yield
            return
        async with queue:
            self.holding.add(name)
            try:
                yield
            finally:
                self.holding.discard(name)

    def _above_holds(self, name: str) -> bool:
        above = self.parent
        while above is not None and name not in above.holding:
            above = above.parent
        return above is not None

    async def _call(self, run_id: str, call: Call, rendered: Rendered, function: Method | None) -> Any:
        if function is not None:
            return await function(call)
        if isinstance(rendered.method, str) and rendered.method in IGNORED:
            self.event("warning", {"text": f"`{rendered.method}` does nothing here, as in the desktop engine"})
            return UNDEFINED
        outcome = await self.engine.call_javascript(run_id, call)
        if outcome.redirected:
            call.next = None if outcome.next is UNDEFINED else outcome.next
        return outcome.value

    def _function(self, rendered: Rendered) -> Method | None:
        """Find what a step calls, None when JavaScript does it: inline functions, `uri` modules, `kernel.*` (7.0)."""
        method = rendered.method
        if isinstance(method, Opaque) or rendered.uri or method in IGNORED or method.startswith("kernel."):
            return None
        found = self.engine.find_method(method)
        if found is None:
            raise ScriptError(
                f"there is no method `{method}`",
                hint="check its spelling, or give the step a `uri` when it is the launcher's own",
            )
        return found

    def _following(self, opened: Opened, index: int, rendered: Rendered, call: Call) -> Following | None:
        if call.next is not UNDEFINED:
            return resolve_next(call.next, ids=opened.ids, steps=opened.steps)
        if rendered.has_next:
            return resolve_next(rendered.next, ids=opened.ids, steps=opened.steps)
        return after(index, opened.steps)

    async def _store(self, rendered: Rendered, result: Any) -> None:
        """Store a truthy result where `returns` says: `local.name` or `global.name`, exactly one dot (5.5)."""
        target = rendered.returns
        if not isinstance(target, str) or not truthy(result):
            return
        store, dot, name = target.partition(".")
        if dot and name and "." not in name and store in {"local", "global"}:
            await self.engine.sidecar.memory(self.path, "set", store, {name: result})
        else:
            self.warn(f"`returns: {target!r}` is neither `local.NAME` nor `global.NAME`, so the result is not stored")

    def _step_ended(self, row: Row | None, call: Call, began: float, returned: Any, error: str | None) -> None:
        ms = (self.engine.clock() - began) * 1000
        if call.method not in WITHOUT_EFFECTS:
            self.engine.effects += 1
        if row is not None:
            row.finish(returned=returned, ms=ms, error=error)
        self.event(
            "step.end",
            {"index": call.index, "method": call.method, "ms": round(ms, 3), **({"error": error} if error else {})},
        )

    async def _checkpoint(self, following: int, value: Any) -> None:
        """Record how far the run is, unless a shell of it still works: its server would be missing after a resume."""
        positions = self.engine.positions
        if positions.checkpoint is None or self.engine.serves(self):
            return
        with contextlib.suppress(PinoctlError):  # a position that cannot be had means only that more is done again
            local = await self.engine.sidecar.snapshot(self.path)
            self.reached(Position(following, value, local, tuple(self.failed_children)))
            if self.engine.between_steps is not None:
                await self.engine.between_steps(self, following)

    def reached(self, position: Position) -> None:
        """Record a position of this run, below the script that started it."""
        self.engine.positions.reached(self.path, self.args, position, parent=self.parent.path if self.parent else None)

    @property
    def name_in_app(self) -> str:
        """Path of the script relative to its app, as traces have it."""
        return self.name.partition("/")[2] if self.app is not None else self.path


class _StepFailedError(Exception):
    """Carry a step's failure out of the loop, with where it happened."""

    def __init__(self, index: int, method: Any, error: BaseException) -> None:
        super().__init__(str(error))
        self.index = index
        self.method = method if isinstance(method, str) else None
        self.error = error


def _failed(error: BaseException) -> RunResult:
    """Turn an exception outside any step into a result; one that is no error of ours is a defect and says so."""
    if isinstance(error, (PinoctlError, OSError)):
        return RunResult("error", error=str(error), hint=getattr(error, "hint", None))
    return RunResult(
        "error",
        error=f"internal error: {type(error).__name__}: {error}",
        hint="please report it, with the launcher that shows it",
    )


def _error_text(method: str, error: Any) -> str:
    if isinstance(error, (list, tuple)):
        found = ", ".join(dict.fromkeys(f"`{to_text(item).strip()}`" for item in error))
        return f"`{method}` printed {found}, which ends a script"
    return f"`{method}` failed: {to_text(error) if not isinstance(error, Mapping) else error}"


__all__ = ["LoadError", "Run", "RunResult"]
