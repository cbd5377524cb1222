"""Running one script in the foreground: the engine without an agent around it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.commands import output
from orchestrator.commands.options import parse_answers
from orchestrator.engine.answers import Answers
from orchestrator.engine.engine import Engine
from orchestrator.engine.errors import BadInputError, LoadError, PinoctlError, ScriptError
from orchestrator.engine.redactor import Redactor
from orchestrator.engine.run import RunResult
from orchestrator.engine.trace import Trace
from orchestrator.engine.values import UNDEFINED, encode
from orchestrator.hosts.resources.cards import load_hardware

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.engine.hardware import HardwareProfile
    from orchestrator.engine.home import Home
    from orchestrator.engine.javascript import NodeProcess


@dataclass(frozen=True, slots=True)
class Job:
    """Hold everything that one `script run` was asked to do, checked."""

    path: str
    home: Home
    payload: Any
    answers: Answers
    profile: HardwareProfile | None
    trace: Path | None
    stay: bool

    @classmethod
    def prepare(
        cls,
        file: Path,
        *,
        payload: Any,
        answers: str | None,
        answer: tuple[str, ...],
        home: Home,
        hardware: str | None,
        trace: Path | None,
        stay: bool,
    ) -> Job:
        """Check the input and put the script's app in its place; raise BadInputError for what is wrong with it."""
        given = parse_answers(answers)
        profile = load_hardware(hardware) if hardware else None
        if trace is not None and (
            trace.is_dir() or not os.access(trace if trace.exists() else trace.absolute().parent, os.W_OK)
        ):
            raise BadInputError(
                f"the trace `{trace}` cannot be written",
                hint="name a file in a folder that exists and that you can write to",
            )
        return cls(
            linked(file, home),
            home,
            payload,
            Answers.from_options(answer, given, client=_asker()),
            profile,
            trace,
            stay,
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """Tell how a script ended, for people, programs and the exit status; `result` is JSON already, secrets blanked."""

    status: str
    daemon: bool = False
    result: Any = None
    error: str | None = None
    hint: str | None = None
    step: int | None = None
    method: str | None = None
    failed_children: tuple[str, ...] = ()
    signal: int | None = None

    @property
    def exit_status(self) -> int:
        """Return 0 for an end, 1 for a failure, 128 and the signal's number for an interruption, as shells do."""
        if self.signal is not None:
            return 128 + self.signal
        return 0 if self.status == "end" else 1

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {
            "status": self.status,
            "daemon": self.daemon,
            "result": self.result,
            "error": self.error,
            "step": self.step,
            "method": self.method,
            "failed_children": list(self.failed_children),
        }

    def to_error(self) -> PinoctlError:
        """Return the error that people see."""
        where = f"step {self.step} (`{self.method}`): " if self.method else ""
        return ScriptError(f"{where}{self.error}", hint=self.hint)


class TerminalSink:
    """Print a script's output as it is but for secret answers, and what the engine has to say between it."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def event(self, kind: str, data: Mapping[str, Any]) -> None:
        """Print warnings; all else that people should see stands in the output."""
        if kind == "warning":
            output.say(self._redactor.text(f"warning: {data.get('text')}"), style="yellow")

    def output(self, script: str, raw: str) -> None:
        """Pass the terminal's text on."""
        output.raw(self._redactor.feed(script, raw))

    def flush(self) -> None:
        """Print what was held back because it might have been the beginning of a secret."""
        output.raw("".join(self._redactor.flush().values()))


def linked(file: Path, home: Home) -> str:
    """Return the script's path below the home, linking its folder there when it lies elsewhere (never copied)."""
    path = Path(os.path.abspath(file))  # noqa: PTH100  # resolve() would follow links
    if home.app_of(path) is not None and home.app_of(path) != path:
        return str(path)
    real = path.resolve()
    with contextlib.suppress(ValueError):
        inside = real.relative_to(home.api.resolve())
        if len(inside.parts) > 1:
            return str(home.api / inside)
    folder = path.parent
    link = home.api / folder.name
    try:
        home.api.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.unlink(missing_ok=True)
            link.symlink_to(folder, target_is_directory=True)
        elif link.resolve() != folder.resolve():
            raise BadInputError(
                f"`{link}` is already another app, so `{folder}` cannot be linked there",
                hint="rename the folder, or use another `--home`",
            )
    except OSError as error:
        raise BadInputError(
            f"`{link}` cannot be made: {error.strerror}", hint="give a home that you can write to with `--home`"
        ) from error
    return str(link / path.name)


def _asker() -> Any:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    from orchestrator.commands.ask import ask  # noqa: PLC0415  # only where there is a person

    return ask


async def run_script(job: Job, *, node: NodeProcess | None = None) -> Outcome:
    """Run a job's script to its end, and stop whatever it left running; a trace is written in any case."""
    interruption = Interruption.watch()
    redactor = Redactor()
    job.answers.on_secret = lambda value: redactor.add([value, json.dumps(value)[1:-1]])  # also as traces have it
    sink = TerminalSink(redactor)
    engine = await Engine.open(job.home, sink=sink, answers=job.answers, profile=job.profile, node=node)
    engine.trace = Trace() if job.trace else None
    status, result = "load-error", RunResult("error")
    local: Any = UNDEFINED
    try:
        result = await _until_over(engine, job, interruption)
        status = result.status
        if result.daemon and result.status == "end":
            local = await engine.local(job.path)
            if job.stay:
                await _stay(engine, job, interruption)
    except PinoctlError as error:
        result = RunResult("error", error=str(error), hint=error.hint)
        status = "load-error" if isinstance(error, LoadError) else "error"
    finally:
        await engine.close()
        sink.flush()
        if job.trace is not None and engine.trace is not None:
            if interruption.number is not None and status == "load-error":
                status = "stopped"
            engine.trace.write(
                job.trace,
                status=status,
                daemon=result.daemon,
                result=result.result,
                local=local,
                blank=redactor.text,
            )
    if interruption.number is not None and not (job.stay and status == "end"):
        return Outcome("stopped", result.daemon, error="interrupted", signal=interruption.number)
    return Outcome(
        "error" if status == "load-error" else status,
        result.daemon,
        json.loads(redactor.text(json.dumps(encode(result.result)))),
        redactor.text(result.error) if result.error else None,
        result.hint,
        None if result.step is None else result.step + 1,
        result.method,
        tuple(result.failed_children),
    )


@dataclass(slots=True)
class Interruption:
    """Wait for a signal that asks us to end; `number` is the first one that came."""

    came: asyncio.Event
    number: int | None = None

    @classmethod
    def watch(cls) -> Interruption:
        """Take over the signals of the running loop."""
        interruption = cls(asyncio.Event())
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, interruption.take, number)
        return interruption

    def take(self, number: int) -> None:
        """Remember a signal and wake whoever waits."""
        self.number = self.number or number
        self.came.set()


async def _until_over(engine: Engine, job: Job, interruption: Interruption) -> RunResult:
    """Start the script and wait for its result, also that of a restart of it; an interruption stops it."""
    waiting = asyncio.ensure_future(interruption.came.wait())
    try:
        working = asyncio.ensure_future(engine.start(job.path, job.payload))
        while True:
            await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                break
            restarted = engine.restarting(job.path) if working.result().status == "stopped" else None
            if restarted is None:
                return working.result()
            working = asyncio.ensure_future(restarted)
        if not await engine.stop(job.path):
            working.cancel()
        await asyncio.wait({working})
        return RunResult("stopped") if working.cancelled() else working.result()
    finally:
        waiting.cancel()


async def _stay(engine: Engine, job: Job, interruption: Interruption) -> None:
    output.say("the script stays; interrupt it to stop it", style="dim")
    while engine.running(job.path) and interruption.number is None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(interruption.came.wait(), timeout=1)
