"""Running one script in the foreground: the engine without an agent around it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.commands import output
from orchestrator.commands.options import home_of, parse_answers
from orchestrator.engine.answers import Answers
from orchestrator.engine.engine import Engine
from orchestrator.engine.errors import BadInputError, LoadError, PinoctlError, ScriptError
from orchestrator.engine.hardware import HardwareProfile, load
from orchestrator.engine.home import Home
from orchestrator.engine.run import RunResult
from orchestrator.engine.trace import Trace
from orchestrator.engine.values import UNDEFINED, encode


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
    def prepare(cls, file: Path, *, payload: Any, answers: str | None, answer: tuple[str, ...], home: Path | None,
                hardware: Path | None, trace: Path | None, stay: bool) -> Job:
        """Check the input and put the script's app in its place; raise BadInputError when something is wrong with it."""
        if not file.is_file():
            what = "is a folder, not a script" if file.is_dir() else "does not exist"
            raise BadInputError(f"`{file}` {what}", hint="give the path of a `.js` or `.json` script")
        given = parse_answers(answers)
        profile = load(hardware) if hardware else None
        where = home_of(home)
        return cls(linked(file, where), where, payload, Answers.from_options(answer, given, client=_asker()), profile, trace, stay)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Tell how a script ended, for people, programs and the exit status."""

    status: str
    daemon: bool = False
    result: Any = UNDEFINED
    error: str | None = None
    hint: str | None = None
    step: int | None = None
    method: str | None = None
    failed_children: tuple[str, ...] = ()

    @property
    def exit_status(self) -> int:
        """Return 0 for an end, 1 for anything else."""
        return 0 if self.status == "end" else 1

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {"status": self.status, "daemon": self.daemon, "result": encode(self.result), "error": self.error,
                "step": self.step, "method": self.method, "failed_children": list(self.failed_children)}

    def to_error(self) -> PinoctlError:
        """Return the error that people see."""
        where = f"step {self.step} (`{self.method}`): " if self.method else ""
        return ScriptError(f"{where}{self.error}", hint=self.hint)


class TerminalSink:
    """Print a script's output as it is, and what the engine has to say between it."""

    def event(self, kind: str, data: Mapping[str, Any]) -> None:
        """Print warnings, notices and URLs; steps are silent, their output speaks."""
        if kind == "warning":
            output.say(f"warning: {data.get('text')}", style="yellow")
        elif kind in {"notify", "open"}:
            output.say(f"{kind}: {data.get('text') or data.get('url')}", style="blue")

    def output(self, script: str, raw: str) -> None:
        """Pass the terminal's text on."""
        output.raw(raw)


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
            raise BadInputError(f"`{link}` is already another app, so `{folder}` cannot be linked there",
                                hint="rename the folder, or use another `--home`")
    except OSError as error:
        raise BadInputError(f"`{link}` cannot be made: {error.strerror}", hint="give a home that you can write to with `--home`") from error
    return str(link / path.name)


def _asker() -> Any:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    from orchestrator.commands.ask import ask  # noqa: PLC0415  # only where there is a person
    return ask


async def run_script(job: Job) -> Outcome:
    """Run a job's script to its end, and stop whatever it left running."""
    engine = await Engine.open(job.home, sink=TerminalSink(), answers=job.answers, profile=job.profile)
    engine.trace = Trace() if job.trace else None
    interrupted = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, interrupted.set)
    status, local, result = "load-error", UNDEFINED, RunResult("error")
    try:
        starting = asyncio.ensure_future(engine.start(job.path, job.payload))
        stopping = asyncio.ensure_future(interrupted.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            await engine.stop(job.path)
        result = await starting
        status = result.status
        if result.daemon and result.status == "end":
            local = await engine.local(job.path)
            if job.stay:
                await _stay(engine, job, interrupted)
        stopping.cancel()
    except LoadError as error:
        result = RunResult("error", error=str(error), hint=error.hint)
    finally:
        await engine.close()
        if job.trace is not None and engine.trace is not None:
            engine.trace.write(job.trace, status=status, daemon=result.daemon, result=result.result, local=local)
    return Outcome("error" if status == "load-error" else status, result.daemon, result.result, result.error, result.hint, result.step,
                   result.method, tuple(result.failed_children))


async def _stay(engine: Engine, job: Job, interrupted: asyncio.Event) -> None:
    output.say("the script stays; interrupt it to stop it", style="dim")
    while engine.running(job.path) and not interrupted.is_set():
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(interrupted.wait(), timeout=1)
