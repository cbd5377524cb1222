"""The shells of an engine: starting them for steps, finding them again, ending them (spec 7.1, 8)."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import uuid
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.engine.errors import ScriptError
from orchestrator.engine.shell import activation, guard
from orchestrator.engine.shell.live import LiveShell, run_quietly
from orchestrator.engine.shell.message import Line
from orchestrator.engine.shell.request import Attempt, ShellRequest
from orchestrator.engine.shell.session import SessionSpec
from orchestrator.engine.shell.spawner import Kept, Spawner
from orchestrator.engine.tools import host
from orchestrator.engine.values import UNDEFINED

if TYPE_CHECKING:
    from orchestrator.engine.engine import Engine
    from orchestrator.engine.run import Run

COLS, ROWS = 100, 30
LAST_WORDS = 0.5  # seconds for the rest of an error; the desktop's page takes about as long to stop a failed script
BASH = "/bin/bash"


class Shells:
    """Keep every shell of one engine by id and by group (a run's key)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._spawner = Spawner()
        self._shells: list[LiveShell] = []  # the newest last: an id that is used again means the newest
        self._daemons: list[tuple[str, Kept]] = []  # what shells that ended left behind, by the run's key
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._lacking: set[str] = set()  # commands whose absence was told
        self.size: tuple[int, int] = (COLS, ROWS)  # of terminals that are opened from now on

    def prepare(self) -> None:
        """Start what shells need ahead of the first one."""
        self._spawner.prepare()

    # shell.run and shell.start

    async def run(self, run: Run, request: ShellRequest) -> Any:
        """Run each line of a request in a shell of its own, until one fails; return the last result (8.2, 8.10)."""
        result: Any = UNDEFINED
        for line in request.lines:
            shell = await self._open(run, request, line)
            if shell is None:
                result = _result(request.id or "", "", UNDEFINED)
                continue
            result = await self._until_over(shell, stays=request.stays)
            if not isinstance(result, Mapping) or "error" in result:
                break
        return result

    async def start(self, run: Run, request: ShellRequest) -> str:
        """Open a persistent shell and return its id: at its first prompt, or when a handler says it is up (7.1)."""
        assert request.id is not None  # noqa: S101  # the method gives every shell.start an id
        line = request.lines[0] if request.lines else Line("")
        shell = await self._open(run, request, line)
        if shell is None:
            return request.id
        if any(handler.get("event") and (handler.get("done") or handler.get("kill")) for handler in request.on):
            result = await self._until_over(shell, stays=True)
            if isinstance(result, Mapping) and "error" in result:
                printed = ", ".join(result["error"])
                hint = "give `on` a handler with `break: false` to tolerate it"
                raise ScriptError(f"shell `{shell.id}` printed {printed}", hint=hint)
        else:
            self._later(self._forget_when_gone(shell))
        return shell.id

    async def _open(self, run: Run, request: ShellRequest, line: Line) -> LiveShell | None:
        """Start a shell and type its line; None where the conda guard forbids it."""
        attempt = await self._attempt(run, request, line)
        if attempt is None:
            run.output(f"\r\n{guard.NOTICE}\r\n")
            run.event("warning", {"text": guard.NOTICE})
            return None
        shell = LiveShell(attempt.id, run, self._engine.sidecar, key=f"{run.id}/{next(self._numbers)}")
        self._shells.append(shell)
        spec = SessionSpec(
            attempt.argv,
            attempt.env,
            request.path,
            request.cols or self.size[0],
            request.rows or self.size[1],
            prompt=attempt.env.get("PS1", ""),
            reports=attempt.reports,
        )
        try:
            await shell.start(self._spawner, spec, on=attempt.on, interactive=request.interactive or request.sudo)
            if shell.stopped:  # stopped while it was starting
                shell.abandon()
            await shell.ready()
            if not request.sudo:
                shell.session.type(attempt.text)
        except BaseException:
            shell.abandon()
            self._drop(shell)
            raise
        return shell

    async def _attempt(self, run: Run, request: ShellRequest, line: Line) -> Attempt | None:
        engine = self._engine
        await asyncio.to_thread(os.makedirs, request.path, exist_ok=True)
        text = line.text
        commands: list[str] = []
        if not request.sudo:
            conda = engine.tools.conda
            if request.conda.asked and not conda.present():
                for warning in await conda.install():
                    run.warn(warning)
            if conda.present():
                if guard.forbidden(text, in_base=request.conda.base, base_prefix=str(conda.root)):
                    return None
                commands = activation.conda_commands(
                    request.conda, envs=str(conda.root / "envs"), exists=os.path.exists
                )
            commands += activation.venv_commands(
                request.venv, request.venv_python, cwd=request.path, exists=os.path.exists
            )
        env = await engine.shell_environment(run, request.env, remove=request.remove, conda_base=request.conda.base)
        env = {**env, **line.variables}
        shell_id = request.id or str(uuid.uuid4())
        path = env.get("PATH", os.defpath)
        self._tell_missing(run, request, text, path)
        bash = shutil.which("bash", path=path) or BASH
        if request.sudo:
            sudo = () if os.geteuid() == 0 else (shutil.which("sudo", path=path) or "/usr/bin/sudo", "-n", "-E")
            return Attempt(shell_id, "", (*sudo, bash, "-c", text), env, reports=False, on=())
        if request.program is None or Path(request.program).name == "bash":
            argv = (_which(request.program, path) if request.program else bash, "--noprofile", "--norc")
            reports = True
        else:
            argv, reports = (_which(request.program, path),), False  # type: ignore[assignment]  # a tuple of another length
        return Attempt(
            shell_id,
            activation.command_line(commands, text, request.operator),
            argv,
            env,
            reports=reports,
            on=request.on,
        )

    def _tell_missing(self, run: Run, request: ShellRequest, text: str, path: str) -> None:
        """Warn once of each command that a message calls and this host lacks: its failure alone ends no step (12.3)."""
        names = set(host.called(text)) - self._lacking
        if not names:
            return
        envs = str(self._engine.tools.conda.root / "envs")
        places = activation.folders(request.conda, request.venv, cwd=request.path, envs=envs)
        for item in host.missing(os.pathsep.join([*places, path]), names):
            self._lacking.add(item.name)
            run.warn(f"`{item.name}` is not on this host, for {item.why_needed}; to get it: {item.remedy}")

    async def _until_over(self, shell: LiveShell, *, stays: bool) -> Any:
        """Wait for the end of a step's shell and make its result (8.10)."""
        try:
            outcome = await shell.until_over(stays=stays)
            if shell.over == "stopped":
                return ""
            if shell.over == "break":
                await shell.linger(LAST_WORDS)
            if shell.over == "invalid":
                shell.run.warn(f"shell `{shell.id}` was ended: {'; '.join(outcome.errors) if outcome else ''}")
                return _result(shell.id, "", UNDEFINED)
            text = (
                outcome.buffer
                if outcome is not None and shell.over == "break"
                else await shell.session.text(shell.matching.position)
            )
            final = await shell.matching.end(text)
            event = final.event
            if outcome is not None and event is UNDEFINED:
                event = outcome.event
            errors = list(final.errors) or (list(outcome.errors) if outcome is not None else [])
            if shell.over == "done":
                shell.detached = True
            return _result(shell.id, text, event, errors)
        except BaseException:
            shell.abandon()
            raise
        finally:
            await self._after_step(shell)

    async def _after_step(self, shell: LiveShell) -> None:
        """Keep a detached shell under watch, end any other."""
        if shell.detached and shell.alive:
            shell.note("Detached from")
            shell.matching.close()
            self._later(self._watch(shell))
            return
        await self._end(shell)
        if not shell.stopped:
            shell.note("Terminated")

    async def _watch(self, shell: LiveShell) -> None:
        """Kill a detached shell that returns to its prompt: its server crashed or finished (8.9)."""
        await shell.until_returned()
        await self._end(shell, how="exit" if shell.session.ended.is_set() else "prompt")

    async def _forget_when_gone(self, shell: LiveShell) -> None:
        shell.detached = True
        await shell.session.gone()
        await self._end(shell, how="exit")

    async def _end(self, shell: LiveShell, *, how: str | None = None) -> None:
        """End a shell; daemons that it leaves behind live until its run stops, for the steps to come (8.9, 11.3)."""
        if shell.stopped:
            await shell.kill(how="stopped")
        elif (daemons := await shell.end(how=how)) is None:
            pass
        elif shell.stopped:  # meanwhile
            await daemons.kill()
        else:
            self._daemons = [(group, kept) for group, kept in self._daemons if not kept.gone.is_set()]
            self._daemons.append((shell.group, daemons))
        self._drop(shell)

    # finding, stopping

    def find(self, shell_id: str) -> LiveShell:
        """Return the living shell of that id, or raise ScriptError."""
        for shell in reversed(self._shells):
            if shell.id == shell_id and shell.started and not shell.stopped:
                return shell
        raise ScriptError(
            f"shell `{shell_id}` does not exist", hint="start it with `shell.start` first, and check its `id`"
        )

    def alive(self, group: str) -> bool:
        """Tell whether a shell of this group lives, or a daemon that one of them left behind."""
        return any(shell.group == group and shell.alive for shell in self._shells) or any(
            owner == group and not kept.gone.is_set() for owner, kept in self._daemons
        )

    def ids(self, group: str | None = None) -> list[str]:
        """Return the ids of living shells, of one group or of all."""
        return [shell.id for shell in self._shells if group is None or shell.group == group]

    async def stop(self, shell_id: str) -> bool:
        """Kill the shell of that id with all that it started; answers whether there was one."""
        found = [shell for shell in self._shells if shell.id == shell_id]
        await self._kill(found)
        return bool(found)

    async def kill_group(self, group: str) -> None:
        """Kill all shells of a run, detached ones and the daemons of earlier ones too."""
        await self._kill([shell for shell in self._shells if shell.group == group])
        await self._kill_daemons([kept for owner, kept in self._daemons if owner == group])

    async def _kill_daemons(self, keepers: list[Kept]) -> None:
        await asyncio.gather(*(kept.kill() for kept in keepers))
        self._daemons = [(group, kept) for group, kept in self._daemons if kept not in keepers]

    async def _kill(self, shells: list[LiveShell]) -> None:
        for shell in shells:
            shell.stopped = True
        await asyncio.gather(*(shell.kill(how="stopped") for shell in shells))
        for shell in shells:
            self._drop(shell)

    def send_keys(self, shell_id: str, keys: str) -> None:
        """Send keys to a shell, as an attached terminal does."""
        self.find(shell_id).session.send_keys(keys.encode("utf-8", "surrogatepass"))

    def resize(self, cols: int, rows: int, shell_id: str | None = None) -> None:
        """Resize one shell's terminal, or all of them and those to come."""
        if shell_id is not None:
            self.find(shell_id).session.resize(cols, rows)
            return
        self.size = (cols, rows)
        for shell in self._shells:
            if shell.started:
                shell.session.resize(cols, rows)

    async def close(self) -> None:
        """Kill every shell and end the process server."""
        await self._kill(list(self._shells))
        await self._kill_daemons([kept for _, kept in self._daemons])
        for task in list(self._tasks):
            task.cancel()
        self._spawner.close()

    def _drop(self, shell: LiveShell) -> None:
        if shell in self._shells:
            self._shells.remove(shell)

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(run_quietly(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _result(shell_id: str, text: str, event: Any, errors: list[str] | None = None) -> dict[str, Any]:
    result = {"id": shell_id, "response": text, "stdout": text, "event": event}
    return {**result, "error": errors} if errors else result


def _which(program: str, path: str) -> str:
    found = shutil.which(program, path=path)
    if found is None:
        raise ScriptError(
            f"there is no program `{program}` to be the shell", hint="leave `shell` out to get bash, or install it"
        )
    return str(Path(found).absolute())
