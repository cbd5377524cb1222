"""Running the start script, waiting until the app is ready, and starting it again when its servers die."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.agent.backoff import Backoff
from orchestrator.agent.condition import READY, STARTING, STOPPED, Condition
from orchestrator.agent.outcome import Desk, Failure, UpFailedError, UpOptions
from orchestrator.agent.ready import BELOW, NotReadyError, Readiness, Ready
from orchestrator.agent.shells import ShellInfo, Shells
from orchestrator.engine.errors import PinoctlError
from orchestrator.engine.redaction import HIDDEN, redact_url

if TYPE_CHECKING:
    from orchestrator.agent.contracts import EngineLike, Target
    from orchestrator.agent.probe import Probe

MOVING = 60.0

MakeReadiness = Callable[[UpOptions, str], Readiness]


@dataclass(slots=True)
class Served:
    """Be the start script at work."""

    engine: EngineLike
    target: Target
    options: UpOptions
    task: asyncio.Task[Any]
    url: str | None = None
    source: str = ""


class Serving:
    """Keep the start script of one app at work; `readiness` makes the object that waits for the URL."""

    def __init__(
        self,
        desk: Desk,
        *,
        readiness: MakeReadiness,
        probe: Probe,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self.served: Served | None = None
        self.shells = Shells()
        self.backoff = Backoff()
        self._desk = desk
        self._make_readiness = readiness
        self._probe = probe
        self._clock = clock
        self._sleep = sleep
        self._readiness: Readiness | None = None
        self._reviving: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Future[None]] = set()

    @property
    def reviving(self) -> bool:
        """Tell whether a restart is under way."""
        return self._reviving is not None and not self._reviving.done()

    async def answers(self, options: UpOptions) -> bool:
        """Tell whether the app is ready with the start script that is asked for, and still answers."""
        served = self.served
        if (
            served is None
            or self._desk.condition.word != READY
            or (options.start and not options.start.is_served_by(served.target))
        ):
            return False
        if served.url is None:
            return True
        answer = await self._probe(served.url)
        return answer is not None and answer.ready

    async def start(self, engine: EngineLike, target: Target, options: UpOptions) -> None:
        """Start the app and wait until it is ready; on failure nothing of it is left. Raises UpFailedError."""
        desk = self._desk
        desk.become(Condition(STARTING))
        readiness = self._make_readiness(options, desk.app.share_variable())
        readiness.alive = lambda: self.shells.alive
        self._readiness = readiness
        self.shells.last_death = None
        task = asyncio.ensure_future(engine.start(target.path, dict(target.args)))
        served = self.served = Served(engine, target, options, task)
        task.add_done_callback(lambda _done: self._run_over(served))
        try:
            ready = await readiness.wait()
        except NotReadyError as error:
            failure = self._why(served, str(error))
            await self.stop()
            raise UpFailedError(failure) from error
        except asyncio.CancelledError:
            await self.stop()
            raise
        finally:
            self._readiness = None
        self._is_ready(served, ready)

    def _why(self, served: Served, reason: str) -> Failure:
        task, desk = served.task, self._desk
        if task.done() and not task.cancelled() and task.exception() is None and task.result().status == "error":
            return desk.failure_of(served.engine, served.target, task.result())
        name = served.engine.name_of(served.target.path)
        return Failure(reason, script=name, lines=tuple(desk.last_lines()), hint="`pinoctl logs APP` shows its output")

    def _is_ready(self, served: Served, ready: Ready) -> None:
        served.url, served.source = ready.url, ready.source
        self.backoff.healthy(self._clock())
        self._desk.become(Condition(READY, url=ready.url))
        self._desk.emit("ready", {"url": redact_url(ready.url) if ready.url else None, "source": ready.source})

    async def stop(self) -> bool:
        """Stop the start script with all it started; tells whether it was running."""
        served, self.served = self.served, None
        if served is None:
            return False
        stopped = await served.engine.stop(served.target.path)
        if not served.task.done():
            served.task.cancel()
        await settled(served.task)
        return bool(stopped)

    async def cancel_restart(self) -> None:
        """Start nothing again."""
        if self._reviving is not None and self.reviving and self._reviving is not asyncio.current_task():
            self._reviving.cancel()
            await settled(self._reviving)

    async def close(self) -> None:
        """Let go of everything that still waits."""
        await self.cancel_restart()
        for task in list(self._tasks):
            task.cancel()
            await settled(task)
        self.shells.clear()

    # what the engine tells

    def event(self, kind: str, data: Mapping[str, Any]) -> None:
        """Take an event of the engine."""
        if kind == "shell.start":
            self.shells.started(data)
        elif kind == "shell.end":
            self._shell_ended(data)
        elif kind == "run.end":
            self._run_ended(data)
        elif kind == "local.url":
            self._stored(str(data.get("script", "")), str(data.get("name")), data.get("value"))
        elif self._readiness is not None and kind == "step.start":
            self._readiness.stepped(str(data.get("method", "")))
        elif self._readiness is not None and kind == "open" and isinstance(data.get("url"), str):
            self._readiness.opens(data["url"])

    def output(self, raw: str) -> None:
        """Take output of the engine's scripts."""
        if self._readiness is not None:
            self._readiness.output(raw)

    def _stored(self, script: str, name: str, value: Any) -> None:
        """Take the URL that a script stored; where the event hides a part of it, the script's own memory has it all."""
        if isinstance(value, str) and HIDDEN in value:
            self._keep(self._look_up(script, name))
        elif self.served is None:
            return
        elif self._readiness is not None:
            self._readiness.local(name, value, own=self._is_own(self.served, script))
        elif not self._is_own(self.served, script) and self.served.source != BELOW:
            return  # another script's page, beside the app's
        elif self._desk.condition.word == READY and name == self._desk.app.share_variable():
            self._keep(self._move(self.served, name, value))

    @staticmethod
    def _is_own(served: Served, script: str) -> bool:
        return script == served.engine.name_of(served.target.path)

    async def _look_up(self, script: str, name: str) -> None:
        engine = self.served.engine if self.served else None
        if engine is None:
            return
        path = next((path for path in engine.running_scripts() if engine.name_of(path) == script), None)
        value = (await engine.local(path)).get(name) if path is not None else None
        if isinstance(value, str) and HIDDEN not in value:
            self._stored(script, name, value)

    async def _move(self, served: Served, name: str, value: Any) -> None:
        """Follow a script that stores another URL after it was ready, once that one answers."""
        readiness = self._make_readiness(UpOptions(timeout=MOVING), name)
        readiness.local(name, value)
        with contextlib.suppress(NotReadyError):
            ready = await readiness.wait() if readiness.known else None
            if ready and self.served is served and self._desk.condition.word == READY and ready.url != served.url:
                self._is_ready(served, ready)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _shell_ended(self, data: Mapping[str, Any]) -> None:
        shell = self.shells.ended(data)
        if shell is None or data.get("how") == "stopped" or self.served is None:
            return
        status = data.get("status")
        if not data.get("detached"):
            self._command_ended(shell, status, missed=bool(data.get("missed")))
            return
        reason = f"a server of `{shell.script}` ended" + (f" with status {status}" if status is not None else "")
        self.shells.last_death = reason
        if self._desk.condition.word == READY:
            self._lost(reason, harmless=status == 0)
        elif self._readiness is not None and self.served.task.done() and not self.shells.alive:
            self._readiness.failed(reason)

    def _command_ended(self, shell: ShellInfo, status: Any, *, missed: bool) -> None:
        """Remember a command of the start script that should have become a server, or that failed, and is the last."""
        if self.served is None or shell.script != self.served.engine.name_of(self.served.target.path):
            return
        ended = f"a command of `{shell.script}` ended" + (f" with status {status}" if status is not None else "")
        if missed:
            self.shells.last_death = f"{ended} before it printed what the script waited for"
        else:
            self.shells.last_death = ended if status else None

    def _run_ended(self, data: Mapping[str, Any]) -> None:
        """Take the end of a daemon that did its last step long ago: somebody stopped it, or a trigger of it failed."""
        served = self.served
        if served is None or not served.task.done() or data.get("script") != served.engine.name_of(served.target.path):
            return
        if self._desk.condition.word == READY and data.get("status") == "stopped":
            self.served = None
            self._desk.become(Condition(STOPPED))
        elif self._desk.condition.word == READY and data.get("status") == "error":
            self._lost(str(data.get("error")), harmless=False)

    def _run_over(self, served: Served) -> None:
        """Take the end of the start script's steps: a daemon lives on, anything else has lost its servers."""
        task, readiness = served.task, self._readiness
        if self.served is not served or task.cancelled():
            return
        error = task.exception()
        result = None if error else task.result()
        if result is not None and self._goes_on(served, result):
            if readiness is not None:
                readiness.ended()
                if self.shells.last_death and not self.shells.alive:
                    readiness.failed(self.shells.last_death)
            return
        reason = str(error) if error else self._ended(served, result)
        if readiness is not None:
            readiness.failed(reason)
        elif self._desk.condition.word == READY and result is not None and result.status == "stopped":
            self.served = None
            self._desk.become(Condition(STOPPED))
        elif self._desk.condition.word == READY:
            self._lost(reason, harmless=False)

    def _goes_on(self, served: Served, result: Any) -> bool:
        """Tell whether the app serves on without this run: a daemon, or a script that only started one (11.1)."""
        if result.status == "running":
            return True
        starts_others = self.shells.alive and (self._readiness is not None or served.source == BELOW)
        return bool(result.status == "end" and (result.daemon or starts_others))

    def _ended(self, served: Served, result: Any) -> str:
        name = served.engine.name_of(served.target.path)
        if result.status == "stopped":
            return f"`{name}` was stopped"
        return str(result.error or self.shells.last_death or f"`{name}` ended and left no server running")

    # servers that die

    def _lost(self, reason: str, *, harmless: bool) -> None:
        if not self.reviving and self.served is not None:
            self._reviving = asyncio.ensure_future(self._revive(self.served, reason, harmless=harmless))

    async def _revive(self, served: Served, reason: str, *, harmless: bool) -> None:
        desk = self._desk
        if harmless and served.url and await self.answers(UpOptions()):
            text = f"{reason}, and the app still answers"
            desk.emit("warning", {"script": served.engine.name_of(served.target.path), "text": text})
            return
        while True:
            lines = desk.last_lines()
            desk.emit("lost", {"reason": reason, "lines": lines})
            delay = self.backoff.died(self._clock())
            number = self.backoff.attempts
            if delay is not None:  # first: what has lost its server is not ready, however long stopping the rest takes
                desk.become(Condition(STARTING, reason=f"restart {number} in {delay:.0f} s: {reason}"))
            await self.stop()
            if delay is None:
                self._give_up(reason, lines)
                return
            desk.emit("restart", {"attempt": number, "delay": delay, "reason": reason})
            await self._sleep(delay)
            try:
                await self.start(served.engine, served.target, served.options)
            except (PinoctlError, OSError) as error:
                reason = str(error)
            else:
                return

    def _give_up(self, reason: str, lines: list[str]) -> None:
        attempts = self.backoff.attempts
        self._desk.emit("given.up", {"attempts": attempts, "reason": reason})
        self._desk.fail(
            Failure(
                f"gave up after {attempts} restarts, the last time because {reason}",
                lines=tuple(lines),
                hint="`pinoctl logs APP` shows its output, `pinoctl up APP` tries again",
            )
        )


async def settled(task: asyncio.Future[Any]) -> None:
    """Wait for a task's end, whatever it is."""
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()
