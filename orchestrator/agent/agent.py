"""The agent of one app: everything put together, and what clients can ask of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orchestrator.agent import leftovers, proc
from orchestrator.agent.app import LauncherApp
from orchestrator.agent.contracts import EngineLike, Target
from orchestrator.agent.inside import Inside
from orchestrator.agent.installing import Installing
from orchestrator.agent.journal import Journal, read_journal
from orchestrator.agent.lifecycle import Lifecycle
from orchestrator.agent.outcome import Desk, Record, UpOptions
from orchestrator.agent.position import PositionStore
from orchestrator.agent.probe import Probe, http_probe
from orchestrator.agent.protocol import VERSIONS, choose_version, encode_line
from orchestrator.agent.questions import Questions
from orchestrator.agent.ready import Readiness
from orchestrator.agent.record import last_start, read_lent, read_record, settled, store_lent, store_record
from orchestrator.agent.requests import arguments, install_options, up_options, whole
from orchestrator.agent.server import Server
from orchestrator.agent.serving import Serving
from orchestrator.agent.sink import AgentSink
from orchestrator.agent.sockets import listen
from orchestrator.agent.terminal import TerminalLog, last_lines, read_terminal
from orchestrator.agent.watch import EVERY, Watch
from orchestrator.engine.answers import Answers
from orchestrator.engine.errors import BadInputError, PinoctlError
from orchestrator.engine.redactor import Redactor

if TYPE_CHECKING:
    from orchestrator.agent.channel import Channel
    from orchestrator.agent.files import AgentFiles
    from orchestrator.engine.home import Home

IDLE = 600.0
TIMEOUT = 1800.0
HISTORY = 256 * 1024

OpenEngine = Callable[..., Awaitable[EngineLike]]


async def open_real_engine(home: Home, **keywords: Any) -> EngineLike:
    """Open the engine; imported only now, so that an agent which is only asked for its state stays small."""
    from orchestrator.engine.engine import Engine  # noqa: PLC0415  # see above

    return await Engine.open(home, **keywords)


class Agent:
    """Serve one app until `down`, SIGTERM or a long idle time."""

    def __init__(
        self,
        files: AgentFiles,
        *,
        open_engine: OpenEngine = open_real_engine,
        probe: Probe = http_probe,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        idle: float = IDLE,
        app: Any = None,
        inside: Inside | None = None,
    ) -> None:
        self.files = files
        self.app = app if app is not None else LauncherApp(files.home, files.app)
        self._open = open_engine
        self._clock = clock
        self._sleep = sleep
        self._idle = idle
        self._inside = inside or Inside()
        self.asked = False  # whether a client has asked for work, or had the agent started and will ask for it
        self._done = asyncio.Event()
        self._reason = "down"
        self._started = time.time()
        self._boot = proc.boot_id()
        self.redactor = Redactor()
        self.server = Server(self._handle, gone=self._gone)
        self.journal = Journal(files.journal, redactor=self.redactor)
        self.terminal = TerminalLog(files.terminal)
        self.sink = AgentSink(self.journal, self.terminal, self.server, self.redactor, boot=self._boot)
        self.questions = Questions(self.sink.event, self.redactor)
        self.answers = Answers()
        self.answers.on_secret = lambda value: self.redactor.add([value])
        self.watch = Watch(clock=clock, sleep=sleep)
        self.positions = PositionStore(files.position, clock=clock)
        desk = Desk(self.app, read_record(files), self.sink.event, self._store, self._last_lines)
        serving = Serving(desk, readiness=self._readiness(probe), probe=probe, clock=clock, sleep=sleep)
        self.lifecycle = Lifecycle(desk, Installing(desk, self.positions), serving, open_engine=self._open_engine)
        self.sink.on_event = self._event
        self.sink.on_written = self._inside.wrote
        self.sink.on_output = self.lifecycle.output
        self._operations: dict[str, Callable[[Channel, Mapping[str, Any]], Awaitable[Any]]] = {
            "hello": self._hello,
            "status": self._status,
            "up": self._up,
            "install": self._install,
            "go_on": self._go_on,
            "run": self._run,
            "update": self._update,
            "stop": self._stop,
            "down": self._down,
            "menu": self._menu,
            "answer": self._answer,
            "keys": self._keys,
            "resize": self._resize,
            "follow": self._follow,
            "attach": self._attach,
        }

    # the life of the process

    async def serve(self, announce: Callable[[], None] = lambda: None) -> None:
        """Clean up after a predecessor, listen, and work until somebody ends it; the caller holds the lock."""
        self._learn_secrets()
        self._clean_up()
        own = proc.process(os.getpid())
        self.sink.event(
            "agent.start",
            {"pid": os.getpid(), "started": own.started if own else None, "boot": self._boot, "version": version()},
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.end, signal.Signals(number).name)
        await self.server.start(listen(self.files.socket))
        watching = asyncio.create_task(self._watch())
        announce()
        try:
            await self._done.wait()
        finally:
            watching.cancel()
            await self._finish()

    def end(self, reason: str) -> None:
        """Make `serve` stop everything and return."""
        if not self._done.is_set():
            self._reason = reason
            self._done.set()

    async def _finish(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.files.socket.unlink()  # first, so that nobody comes any more
        try:
            await self.lifecycle.down()
        finally:
            self.sink.event("agent.stop", {"reason": self._reason})
            self.sink.close()
            await self.server.close()
            self.journal.close()
            self.terminal.close()

    async def _watch(self) -> None:
        idle_since = self._clock()
        while True:
            if self.lifecycle.opened is not None:
                self.watch.sample()
                self._inside.listens(self.watch.ports)
            if self.lifecycle.busy or self.server.channels:
                idle_since = self._clock()
            elif self._clock() - idle_since >= self._idle:
                self.end("idle")
                return
            await self._sleep(EVERY)

    def _clean_up(self) -> None:
        """Kill what a killed predecessor left, and correct the state that it could not."""
        shells = leftovers.recorded_shells(read_journal(self.files.journal, holding=b'"shell.'), self._boot)
        if shells:
            found = leftovers.find_leftovers(
                shells.values(), proc.processes(), belongs=leftovers.Mark(self.files.home.root)
            )
            killed = proc.kill_verified(one for one in found if one.pid != os.getpid())
            if killed:
                self.sink.event("leftovers", {"pids": killed})
            for number in shells:
                self.sink.event("shell.end", {"id": number, "status": None, "detached": False})
        condition = settled(self.lifecycle.condition)
        if condition != self.lifecycle.condition:
            self.lifecycle.desk.record.condition = condition
            self._store(self.lifecycle.desk.record)

    def _learn_secrets(self) -> None:
        self.redactor.add_named(dict(os.environ))
        self.redactor.add_named(self.app.variables())

    # what the life cycle needs

    async def _open_engine(self) -> EngineLike:
        return await self._open(
            self.files.home,
            sink=self.sink,
            answers=self.answers,
            checkpoint=self.positions.save,
            between_steps=self._between_steps if self._inside.saves else None,
        )

    async def _between_steps(self, run: Any, following: int) -> None:
        """Tell the place that a position is stored.

        Nothing else is at work when only one run has no child, and no shell lives.
        """
        running: Any = self.lifecycle.opened.running_scripts() if self.lifecycle.opened is not None else {}
        parents = {id(each.parent) for each in running.values()}
        ends = [each for each in running.values() if id(each) not in parents]
        last = run.parent is None and run.opened is not None and following == run.opened.steps - 1
        idle = len(ends) <= 1 and not self.lifecycle.serving.shells.alive
        await self._inside.between_steps(following=following if run.parent is None else None, last=last, idle=idle)

    def _event(self, kind: str, data: Mapping[str, Any]) -> None:
        if not self.lifecycle.updating:  # its steps are none of the installation's
            self._inside.event(kind, data)
        self.lifecycle.event(kind, data)

    def ask_for_checkpoint(self, how: str, unsaved: Any) -> bool:
        """Tell the clients that a checkpoint is due; False when there is none."""
        if not self._somebody_saves():
            return False
        self._inside.scrub(self.redactor.values)
        self.sink.event("checkpoint", {"how": how, "seconds": round(unsaved.seconds, 3), "bytes": unsaved.written})
        return True

    def _somebody_saves(self) -> bool:
        return any(channel.saves and channel.streaming for channel in self.server.channels)

    async def _scrub(self) -> None:
        if self._inside.saves:
            await asyncio.to_thread(self._inside.scrub, self.redactor.values)

    async def start_again(self) -> dict[str, Any]:
        """Bring the app up as it was started last."""
        self.asked = True
        self._lend(read_lent(self.files))
        self._learn_secrets()
        return await self.lifecycle.up(UpOptions(start=last_start(self.files)))

    async def _go_on(self, _channel: Channel, request: Mapping[str, Any]) -> bool:
        self.sink.flush()
        self._inside.go_on(leave=request.get("leave") is True)
        return True

    def _readiness(self, probe: Probe) -> Callable[[UpOptions, str], Readiness]:
        def make(options: UpOptions, name: str) -> Readiness:
            return Readiness(
                probe=probe,
                ports=self.watch.listening,
                clock=self._clock,
                sleep=self._sleep,
                name=name,
                timeout=options.timeout or TIMEOUT,
                strict=options.timeout is not None,
            )

        return make

    def _last_lines(self) -> list[str]:
        self.sink.flush()
        return last_lines(self.files.terminal)

    def _store(self, record: Record) -> None:
        self._inside.became(record.condition)
        store_record(self.files, record, boot=self._boot)

    # clients

    async def _handle(self, channel: Channel, request: Mapping[str, Any]) -> Any:
        operation = request.get("op")
        function = self._operations.get(operation) if isinstance(operation, str) else None
        if function is None:
            raise BadInputError(
                f"this agent knows no operation `{operation}`", hint=f"it knows {', '.join(sorted(self._operations))}"
            )
        return await function(channel, request)

    def _gone(self, _channel: Channel) -> None:
        self._who_answers()
        if not self._somebody_saves():
            self._inside.go_on(leave=False)  # whoever would have made the checkpoint is gone

    def _who_answers(self) -> None:
        answering = self.server.answering
        self.answers.client = self.questions.ask if answering else None
        if not answering:
            self.questions.abandon()

    def _given(self, request: Mapping[str, Any]) -> None:
        """Take the answers that a request brings along, for the scripts that it starts."""
        self._lend(request.get("environment"))
        if request.get("answers") is None and request.get("pairs") is None:
            return
        pairs = request.get("pairs")
        if pairs is not None and not isinstance(pairs, Mapping):
            raise BadInputError("`pairs` is an object by key")
        self.answers = Answers(
            request.get("answers"), pairs=pairs, client=self.questions.ask if self.server.answering else None
        )
        self.answers.on_secret = lambda value: self.redactor.add([value])
        given = request.get("answers")
        for one in [pairs, *(given if isinstance(given, list) else [given])]:
            if isinstance(one, Mapping):
                self.redactor.add_named(one)
        engine: Any = self.lifecycle.opened
        if engine is not None:
            engine.answers = self.answers

    def _lend(self, environment: Any) -> None:
        """Take variables that a command brings along from its user, who is somewhere else than a container's agent."""
        if isinstance(environment, Mapping):
            lent = {str(name): str(value) for name, value in environment.items()}
            os.environ.update(lent)
            if self._inside.remembers:
                store_lent(self.files, lent)
            engine: Any = self.lifecycle.opened
            if engine is not None:
                engine.base_env.update(os.environ)

    async def _streamed(self, channel: Channel, work: Awaitable[Any]) -> Any:
        channel.streams += 1
        try:
            return await work
        finally:
            self.sink.flush()
            channel.streams -= 1

    async def _hello(self, _channel: Channel, request: Mapping[str, Any]) -> dict[str, Any]:
        self.asked |= request.get("started") is True
        return {
            "version": choose_version(request.get("versions")),
            "versions": list(VERSIONS),
            "agent": version(),
            "app": self.files.app,
            "pid": os.getpid(),
        }

    async def _status(self, _channel: Channel, _request: Mapping[str, Any]) -> dict[str, Any]:
        lifecycle, engine = self.lifecycle, self.lifecycle.opened
        condition = lifecycle.condition
        ports = self.watch.listening() if engine is not None else []
        self._inside.listens(ports)
        running = [engine.name_of(path) for path in engine.running_scripts()] if engine is not None else []
        return {
            "app": self.files.app,
            **condition.to_json(),
            "place": self._inside.place,
            "forwards": self._inside.forwards(),
            "pid": os.getpid(),
            "since": round(self._started, 3),
            "log": str(self.files.terminal),
            "journal": str(self.files.journal),
            "running": running,
            "shells": lifecycle.serving.shells.to_json(),
            "ports": [{"pid": one.pid, "host": one.host, "port": one.port} for one in ports],
            "usage": self.watch.report(),
            "restarts": lifecycle.serving.backoff.attempts,
            "questions": self.questions.pending(),
            "failed_children": list(lifecycle.desk.record.failed_children),
        }

    async def _up(self, channel: Channel, request: Mapping[str, Any]) -> dict[str, Any]:
        self._given(request)
        self.asked = True
        options = up_options(request, self.app.script)
        if request.get("again") is True:
            options = replace(options, start=last_start(self.files))
        self._learn_secrets()
        result = await self._streamed(channel, self.lifecycle.up(options))
        return {
            "app": self.files.app,
            **result,
            "place": self._inside.place,
            "forwards": self._inside.forwards(),
            "share": self.app.shares(),
            "log": str(self.files.terminal),
        }

    async def _install(self, channel: Channel, request: Mapping[str, Any]) -> dict[str, Any]:
        self._given(request)
        self._learn_secrets()
        self.asked = True
        channel.saves = request.get("checkpoints") is True
        result = await self._streamed(channel, self.lifecycle.install(install_options(request)))
        if result.get("failed") and request.get("keep") is True:
            self._idle = float("inf")
        await self._scrub()
        return {"app": self.files.app, **result, "place": self._inside.place, "log": str(self.files.terminal)}

    async def _run(self, channel: Channel, request: Mapping[str, Any]) -> dict[str, Any]:
        script = request.get("script")
        if not isinstance(script, str) or not script:
            raise BadInputError("`run` needs the name of a script")
        self.asked = True
        self._given(request)
        self._learn_secrets()
        result = await self._streamed(channel, self.lifecycle.run(Target(self.app.script(script), arguments(request))))
        return {"app": self.files.app, "script": script, **result, "log": str(self.files.terminal)}

    async def _update(self, channel: Channel, request: Mapping[str, Any]) -> dict[str, Any]:
        self._given(request)
        result = await self._streamed(channel, self.lifecycle.update())
        await self._scrub()
        return {"app": self.files.app, **result, "log": str(self.files.terminal)}

    async def _stop(self, _channel: Channel, request: Mapping[str, Any]) -> dict[str, Any]:
        script = request.get("script")
        if script is not None and not isinstance(script, str):
            raise BadInputError(f"`script` is the name of one, got {script!r}")
        stopped = await self.lifecycle.stop(self.app.script(script) if script is not None else None)
        return {"app": self.files.app, "stopped": stopped, "state": str(self.lifecycle.condition)}

    async def _down(self, channel: Channel, _request: Mapping[str, Any]) -> dict[str, Any]:
        channel.streams += 1
        await self.lifecycle.down()
        self.sink.flush()
        asyncio.get_running_loop().call_later(0.01, self.end, "down")
        return {"app": self.files.app, "state": str(self.lifecycle.condition)}

    async def _menu(self, _channel: Channel, _request: Mapping[str, Any]) -> Any:
        engine = await self.lifecycle.engine()
        return _plain_json(await engine.menu(self.files.home.app(self.files.app)))

    async def _answer(self, _channel: Channel, request: Mapping[str, Any]) -> bool:
        self.questions.answer(request.get("question"), request.get("values"))
        return True

    async def _attach(self, channel: Channel, request: Mapping[str, Any]) -> list[dict[str, Any]]:
        channel.answers = request.get("on", True) is True
        self._who_answers()
        return self.questions.pending()

    async def _keys(self, _channel: Channel, request: Mapping[str, Any]) -> bool:
        shell, data = request.get("shell"), request.get("data")
        if not isinstance(shell, str) or not isinstance(data, str):
            raise BadInputError("`keys` needs `shell`, the id of one, and `data`, the text to type")
        self._shells().send_keys(shell, data)
        return True

    async def _resize(self, _channel: Channel, request: Mapping[str, Any]) -> bool:
        cols, rows = whole(request, "cols"), whole(request, "rows")
        if not cols or not rows or not 0 < cols < 10_000 or not 0 < rows < 10_000:  # noqa: PLR2004  # no terminal is larger
            raise BadInputError("`resize` needs `cols` and `rows`, each from 1 to 9999")
        self._shells().resize(cols, rows)
        return True

    def _shells(self) -> Any:
        shells = getattr(self.lifecycle.opened, "shells", None)
        if shells is None:
            raise BadInputError(f"`{self.files.app}` has no shell open")
        return shells

    async def _follow(self, channel: Channel, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send what is logged from an offset on (by default the last part of it), then everything that comes."""
        offset = whole(request, "offset")
        self.sink.flush()
        for begin, piece in read_terminal(self.files.terminal, -HISTORY if offset is None else offset):
            channel.stream(
                encode_line({"output": piece.decode("utf-8", "replace"), "script": "", "offset": begin + len(piece)})
            )
        channel.follows = request.get("live", True) is True
        return {"offset": self.terminal.offset}


def version() -> str:
    """Return the version of the package that this process runs."""
    from orchestrator import __version__  # noqa: PLC0415  # one name, and the package stays free of imports

    return __version__


def _plain_json(value: Any) -> Any:
    to_json = getattr(value, "to_json", None)
    if callable(to_json):
        return to_json()
    fields = getattr(value, "__dataclass_fields__", None)
    return {name: getattr(value, name) for name in fields} if fields else value


__all__ = ["Agent", "PinoctlError", "read_record", "settled"]
