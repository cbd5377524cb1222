"""The engine of one home: starts and stops runs, and owns what they share (spec 5, 11)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.engine import methods
from orchestrator.engine.call import Call
from orchestrator.engine.environment import Environment, prepare_home
from orchestrator.engine.environment.files import ensure_app_file, set_app_values
from orchestrator.engine.errors import JavaScriptError, LoadError, PinoctlError
from orchestrator.engine.javascript import Menu, MenuState, NodeProcess, Sidecar, SidecarConfig
from orchestrator.engine.kernel_calls import KernelCalls
from orchestrator.engine.paths import resolve
from orchestrator.engine.ports import Claims
from orchestrator.engine.positions import Checkpoint, Position, Positions
from orchestrator.engine.repositories import Repositories
from orchestrator.engine.run import Run, RunResult
from orchestrator.engine.shell.shells import Shells
from orchestrator.engine.tools import Tools
from orchestrator.engine.values import UNDEFINED, Opaque, to_text

if TYPE_CHECKING:
    from orchestrator.engine.answers import Answers
    from orchestrator.engine.call import Method
    from orchestrator.engine.events import Sink
    from orchestrator.engine.flow import Following
    from orchestrator.engine.hardware import HardwareProfile
    from orchestrator.engine.home import Home
    from orchestrator.engine.javascript import CallResult, Rendered
    from orchestrator.engine.trace import Row, Trace

ON_STOP_SECONDS = 60.0  # how long `on.stop` may take before what it would clean up is killed
CLOSE_SECONDS = 5.0  # how long the sidecar may be busy when a script is stopped
FRESH = 0.05  # seconds for which ENVIRONMENT files count as unchanged while only steps without effects are done
MANY = 1000  # how many steps of one method run at a time where no `queue` was asked for (spec 5.7)


class Engine:
    """Run scripts of one home; use `Engine.open`, and `close` when done."""

    def __init__(
        self,
        home: Home,
        *,
        sink: Sink,
        answers: Answers,
        profile: HardwareProfile,
        environ: Mapping[str, str],
        sidecar: Sidecar,
        sleep: Callable[[float], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        self.home = home
        self.sink = sink
        self.answers = answers
        self.profile = profile
        self.base_env = dict(environ)
        self.sidecar = sidecar
        self.sleep = sleep
        self.clock = clock
        self.trace: Trace | None = None
        self.ports = Claims()
        self.positions = Positions()
        self.repositories = Repositories(home)
        self.tools = Tools(home, self.base_env, visible_devices=self.base_env.get("CUDA_VISIBLE_DEVICES"))
        self.environment = Environment(home, self.base_env, self.tools.facts)
        self.shells = Shells(self)
        self.runs: dict[str, Run] = {}
        self._ready: set[str] = set()
        self._queues: dict[str, asyncio.Semaphore] = {}
        self._later: dict[str, asyncio.Task[RunResult]] = {}
        self._sent_env: dict[Path | None, dict[str, str]] = {}
        self._env_looked: dict[Path | None, tuple[int, float]] = {}
        self.between_steps: Callable[[Run, int], Awaitable[None]] | None = None
        self.effects = 0  # how many steps were done that may have changed a file

    @classmethod
    async def open(
        cls,
        home: Home,
        *,
        sink: Sink,
        answers: Answers,
        profile: HardwareProfile | None = None,
        environ: Mapping[str, str] | None = None,
        checkpoint: Checkpoint | None = None,
        resume: dict[str, Any] | None = None,
        between_steps: Callable[[Run, int], Awaitable[None]] | None = None,
        node: NodeProcess | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> Engine:
        """Start the engine: its sidecar, and nothing else until a script needs it.

        `checkpoint` is called with the positions of unfinished runs after every finished step, `resume` is what an
        earlier engine last gave it, `between_steps` is waited for with a run and its next step once its position is
        stored, `node` a Node that is booting already.
        """
        if profile is None:
            from orchestrator.engine.hardware import detect  # noqa: PLC0415  # costs time that a given profile saves

            profile = await asyncio.to_thread(detect)
        environ = os.environ if environ is None else environ
        warnings = await asyncio.to_thread(prepare_home, home, environ)
        calls = KernelCalls()
        sidecar = await Sidecar.start(
            SidecarConfig(home=str(home.root), profile=profile, env=dict(environ)), host=calls, node=node
        )
        engine = cls(
            home,
            sink=sink,
            answers=answers,
            profile=profile,
            environ=environ,
            sidecar=sidecar,
            sleep=sleep,
            clock=clock,
        )
        calls.engine = engine
        engine.between_steps = between_steps
        engine.positions = Positions(checkpoint, dict(resume or {}), withheld=engine._holds_secret)
        for warning in warnings:
            sink.event("warning", {"text": warning})
        return engine

    def _holds_secret(self, value: Any) -> bool:
        return self.answers.holds_secret(value)  # the answers of now: each request may bring its own

    # names and places

    def resolve(self, uri: str, cwd: str | None) -> str:
        """Resolve a path or URI as scripts write them (spec 5.9)."""
        return resolve(uri, cwd, str(self.home.root), self.repositories.folders() if uri.startswith("http") else {})

    def name_of(self, path: str) -> str:
        """Return a script's name for people and logs: `<app>/<path in the app>`."""
        with contextlib.suppress(ValueError):
            return str(Path(path).relative_to(self.home.api))
        return path

    # environment

    def sync_environment(self, app: Path | None) -> None:
        """Give the sidecar the variables that templates see, where they changed since the last time (9.5)."""
        now = self.clock()
        seen, until = self._env_looked.get(app, (-1, 0.0))
        if seen == self.effects and now < until:
            return
        self._env_looked[app] = (self.effects, now + FRESH)
        variables = self.environment.template(app / "script" if app else None)
        if self._sent_env.get(app) != variables:
            self._sent_env[app] = variables
            self.sidecar.set_env(str(app) if app else "", variables)

    async def shell_environment(
        self, run: Run, step_env: Mapping[str, Any] | None = None, *, remove: Any = None, conda_base: bool = False
    ) -> dict[str, str]:
        """Assemble the variables of a shell (8.5), with the base environment in place."""
        report = await self.tools.ensure_base()
        if report.built:
            for note in report.notes:
                run.warn(note)
        return self.environment.shell(run.path, step_env, remove or (), conda_base=conda_base, warn=run.warn)

    # runs

    async def start(self, path: str, payload: Any = UNDEFINED, *, parent: Run | None = None) -> RunResult:
        """Run a script and wait: for its end, or for a daemon for its last step.

        Raises LoadError when it cannot be loaded. A script that already runs ends at once with status `running` (11.1).
        """
        if path in self.runs:
            return RunResult("running", daemon=self.runs[path].daemon)
        if not await self.has_script(path):
            raise LoadError(
                f"there is no script `{path}`", hint="check the name; `pinoctl menu APP` lists what an app offers"
            )
        run = Run(self, path, key=path, payload=payload, parent=parent)
        self.runs[path] = run
        self._ready.discard(path)
        self.sidecar.set_state(path, running=True, ready=False)
        run.task = asyncio.create_task(self._work(run))
        return await asyncio.shield(run.finished)

    async def has_script(self, path: str) -> bool:
        """Tell whether a script's file is there."""
        return await asyncio.to_thread(os.path.isfile, path)

    async def _work(self, run: Run) -> None:
        """Open a run and do its steps, in a task of its own: whoever waits for it may be stopped meanwhile (11.1)."""
        try:
            await run.open()
            if run.parent is None:
                await self._require(run)
        except BaseException as error:
            if run.stopped.is_set():
                return  # `stop` settles it
            self._forget(run)
            await self._close_run(run)
            if isinstance(error, JavaScriptError):
                error = LoadError(f"`{run.name}` cannot be run: {error.name}: {error}")
            if not isinstance(error, Exception):
                self._settle(run, RunResult("stopped"))
                raise
            run.finished.set_exception(error)
            run.finished.exception()  # nobody may be waiting any more
            return
        await run.main()

    async def _require(self, run: Run) -> None:
        """Get the variables that a script requires before its first step, and store them for its app (spec 4)."""
        app, opened = run.app, run.opened
        if app is None or opened is None or not (opened.pre or opened.env):
            return
        known = self.environment.template(run.path)
        values = await self.answers.variables(app.name, known, {"pre": opened.pre, "env": opened.env})
        if values:
            await asyncio.to_thread(ensure_app_file, self.home, app)
            await asyncio.to_thread(
                set_app_values, self.home, app, {key: to_text(value) for key, value in values.items()}
            )
            self.effects += 1

    def start_later(self, path: str, payload: Any, *, parent: Run | None = None) -> None:
        """Start a script without waiting for it; a failure to load is a warning."""

        async def begin() -> RunResult:
            try:
                return await self.start(path, payload, parent=parent)
            except PinoctlError as error:
                self.sink.event("warning", {"text": f"`{self.name_of(path)}` did not start: {error}"})
                return RunResult("error", error=str(error), hint=error.hint)

        task = asyncio.create_task(begin())
        self._later[path] = task
        task.add_done_callback(lambda done: self._later.pop(path) if self._later.get(path) is done else None)

    def restarting(self, path: str) -> asyncio.Task[RunResult] | None:
        """Return the run of a script that `start_later` began and that is not over, if there is one."""
        return self._later.get(path)

    async def run_ended(self, run: Run, result: RunResult) -> None:
        """Settle a run whose steps are over: a daemon lives on, everything else is stopped (11.3).

        Whatever comes of a step while its script is being stopped counts no more; `stop` settles the run.
        """
        if run.stopped.is_set():
            return
        if result.status == "end" and run.daemon:
            self._ready.add(run.path)
            self.sidecar.set_state(run.path, running=True, ready=True)
            self.positions.ended(run.path)
            self._ended_event(run, result)
        else:
            if result.status == "end":
                self._ready.add(run.path)
                self._ended_position(run, result)
            await self.stop(run.path, because=result)
        self._settle(run, result)
        if all(other.finished.done() for other in self.runs.values()):
            self.ports.release()

    async def stop(self, path: str, *, because: RunResult | None = None) -> bool:
        """Stop a script: `on.stop`, then its shells with all they started, its variables, its place among the running.

        Answers whether there was something to stop. `because` is the result when the run ended by itself.
        """
        run = self.runs.get(path)
        if run is None or run.stopped.is_set():
            return False
        run.stopped.set()
        result = because or RunResult("stopped", daemon=run.daemon)
        try:
            await self._on_stop(run)
            await self.shells.kill_group(run.key)
            self._forget(run)
            await self._close_run(run)
            cancelled = run.cancel()
            if cancelled:
                await asyncio.wait(cancelled)
            self._ended_event(run, result)
        finally:
            self._forget(run)
            self._settle(run, result)
        return True

    def serves(self, run: Run) -> bool:
        """Tell whether a shell of this run, or of a script it started, still works: later steps may need its server."""
        below = [other for other in self.runs.values() if other.parent is run]
        return self.shells.alive(run.key) or any(self.serves(other) for other in below)

    def _ended_position(self, run: Run, result: RunResult) -> None:
        """Forget where a run stands; one that another script waits for counts as done until that script's step is."""
        if run.parent is None or run.parent.path not in self.runs or run.opened is None:
            self.positions.ended(run.path)
        else:
            run.reached(Position(run.opened.steps, result.result, {}, tuple(result.failed_children)))

    async def _on_stop(self, run: Run) -> None:
        request = run.opened.on_stop if run.opened else None
        if not isinstance(request, Mapping):
            return
        try:
            await asyncio.wait_for(self._call_on_stop(run, request), ON_STOP_SECONDS)
        except asyncio.TimeoutError:
            run.warn(f"`on.stop` was given up after {ON_STOP_SECONDS:g} s")
        except Exception as error:  # noqa: BLE001  # whatever a launcher does here, its shells have to go
            run.warn(f"`on.stop` failed: {error}")

    async def _call_on_stop(self, run: Run, request: Mapping[str, Any]) -> None:
        uri, name = request.get("uri"), request.get("method")
        params = request.get("params", UNDEFINED)
        if isinstance(uri, str) and not name:
            result = await self.start(self.resolve(uri, run.cwd), params, parent=run)
            if result.status == "error":
                run.warn(f"`on.stop` failed: {result.error}")
        elif isinstance(name, str) and not uri and (function := self.find_method(name)) is not None:
            await function(Call(engine=self, run=run, method=name, params=params, step=request))
        elif isinstance(name, Opaque) or (isinstance(name, str) and (uri or name.startswith("kernel."))):
            await self.sidecar.call_request(run.id, request, cwd=run.cwd)
        else:
            run.warn(f"`on.stop` names neither a script nor a method: {request!r}")

    async def _close_run(self, run: Run) -> None:
        """Have the sidecar forget a run; one that a launcher's endless loop keeps from answering is started anew."""
        closing = asyncio.ensure_future(self.sidecar.close_run(run.id, forget_local=True))
        done, _ = await asyncio.wait({closing}, timeout=CLOSE_SECONDS)
        with contextlib.suppress(PinoctlError):  # a dead sidecar has forgotten the run already
            if not done:
                await self.sidecar.restart()
            await closing
        if not self.runs:
            self.sidecar.sweep()  # not in a thread: what a script that begins meanwhile starts must not be met

    def _forget(self, run: Run) -> None:
        if self.runs.get(run.path) is run:
            del self.runs[run.path]
        self.sidecar.set_state(run.path, running=False, ready=run.path in self._ready)

    def _settle(self, run: Run, result: RunResult) -> None:
        if not run.finished.done():
            run.finished.set_result(result)

    def _ended_event(self, run: Run, result: RunResult) -> None:
        about = {"error": result.error, "hint": result.hint, "step": result.step, "method": result.method}
        run.event(
            "run.end",
            {
                "status": result.status,
                "daemon": run.daemon,
                "failed_children": run.failed_children,
                **{key: value for key, value in about.items() if value is not None},
            },
        )

    # what scripts and agents ask

    def running(self, path: str) -> bool:
        """Tell whether a script is running: from its start until it is stopped (11.2)."""
        return path in self.runs

    def ready(self, path: str) -> bool:
        """Tell whether a script's last run reached its end (11.4)."""
        return path in self._ready

    def running_scripts(self) -> dict[str, Run]:
        """Return the running scripts by absolute path."""
        return dict(self.runs)

    async def local(self, path: str) -> dict[str, Any]:
        """Return a script's local variables, `{}` when it has none."""
        found = await self.sidecar.snapshot(path)
        return found if isinstance(found, dict) else {}

    async def menu(self, app: Path) -> Menu:
        """Evaluate an app's menu in a confined sidecar, with what runs at present (3.1)."""
        state = MenuState(
            running=dict.fromkeys(self.runs, True),
            ready=set(self._ready),
            local={path: await self.local(path) for path in self.runs},
            global_={},
        )
        confined = await Sidecar.start(SidecarConfig.confined_for(str(self.home.root), self.profile))
        try:
            confined.set_env(str(app), self.environment.template(app / "script"))
            return await confined.menu(str(app), state=state)
        finally:
            await confined.close()  # a menu is rare, and a second Node would stay as large as the engine

    def queue_of(self, rendered: Rendered) -> tuple[str, asyncio.Semaphore]:
        """Return the queue that steps of this method share, and its name; the first sets how many run at once (5.7)."""
        name = f"{rendered.uri or ''} {rendered.method if isinstance(rendered.method, str) else 'function'}"
        if name not in self._queues:
            self._queues[name] = asyncio.Semaphore(1 if rendered.queue else MANY)
        return name, self._queues[name]

    def traced(self, run: Run, at: Following, rendered: Rendered, *, executed: bool) -> Row | None:
        """Add a step to the trace, where one is kept; a method that is none is left out, with its params."""
        if self.trace is None:
            return None
        usable = isinstance(rendered.method, (str, Opaque)) and rendered.method != ""
        method, params = (rendered.method, rendered.params) if usable else (None, UNDEFINED)
        return self.trace.reached(run.name_in_app, at.label, method, params, executed=executed)

    # what steps call: a dry run answers otherwise

    def find_method(self, name: str) -> Method | None:
        """Return the function of a method, None when there is no such method."""
        return methods.find(name)

    async def call_javascript(self, run_id: str, call: Call) -> CallResult:
        """Call the launcher's own function that a step names (spec 7.0)."""
        return await self.sidecar.call(run_id, call.index, cwd=call.cwd, input=call.input)

    # the end

    async def close(self) -> None:
        """Stop every script and end the sidecars and shells; nothing that scripts started is left."""
        for task in list(self._later.values()):
            task.cancel()
        while self.runs:  # `on.stop` may start scripts
            before = list(self.runs)
            for path in before:
                await self.stop(path)
            if list(self.runs) == before:
                break  # somebody else is stopping them
        await self.shells.close()
        await self.sidecar.close()
