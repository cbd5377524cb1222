"""One shell: bash on a terminal of its own, below a keeper (spec 8.4, 8.9).

A session knows when its shell is ready, when a command has returned to the prompt, and when the terminal closed. What
its output means is up to whoever listens.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import fcntl
import os
import re
import secrets
import struct
import termios
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from orchestrator.engine.errors import ScriptError
from orchestrator.engine.shell.reports import Report, ReportParser, init_script
from orchestrator.engine.shell.screen import Screen

if TYPE_CHECKING:
    from orchestrator.engine.shell.spawner import Kept, Spawner

CLOSING: Final = 5.0  # seconds that the exit status may take to come after the terminal's end
READ_SIZE: Final = 65536
QUIET: Final = 0.5  # seconds without output that count as a quiet prompt (8.9)
PROMPT_WAIT: Final = 0.5  # seconds that a reported prompt may take to show
SILENT: Final = 10.0  # seconds after which a shell that reports nothing and shows nothing is typed to all the same
AHEAD: Final = 2048  # bytes typed before what was typed earlier has been answered; a terminal holds 4095
TAIL: Final = 400  # characters of output kept to recognise a prompt in
ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_][^\x1b]*\x1b\\|[ -/]*[0-~])")

Listener = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class SessionSpec:
    """Say what to start: `argv[0]` absolute; `prompt` is the text by which a quiet prompt is known."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    cols: int = 100
    rows: int = 30
    prompt: str = "<<PINOKIO_SHELL>>"
    reports: bool = True  # whether the program is a bash that reports


@dataclass(slots=True)
class _Typing:
    """Count what was typed and what bash has answered."""

    waiting: list[bytes] = field(default_factory=list)
    open: list[int] = field(default_factory=list)  # sizes of the lines that are typed and not answered; 0 when late
    output_since: bool = True


class Session:
    """Be one living shell; `await Session.start(...)` makes one.

    `ready` is set at the first prompt, `returned` when everything typed is done and the prompt is back, `ended` when
    the terminal closed or the shell's process ended. `status` is the exit status of what was typed last or of the
    shell, None while that is not known and after a kill.
    """

    def __init__(self, spec: SessionSpec, listener: Listener) -> None:
        self.spec = spec
        self.screen = Screen(spec.cols, spec.rows)
        self.ready = asyncio.Event()
        self.returned = asyncio.Event()
        self.ended = asyncio.Event()
        self.status: int | None = None
        self.pid = 0
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        secret = secrets.token_hex(12)
        self._init = init_script(secret).encode() if spec.reports else b""
        self._parser = ReportParser(secret)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._tail = ""
        self._known_prompt = spec.prompt.strip()
        self._prompt: str | None = None  # reported and not yet seen
        self._typing = _Typing()
        self._timer: asyncio.TimerHandle | None = None
        self._readable = asyncio.Event()
        self._pump_task: asyncio.Task[None] | None = None
        self._checks: set[asyncio.Task[None]] = set()
        self._kept: Kept | None = None
        self._killed = False
        self._master = -1
        self._out = b""

    @classmethod
    async def start(cls, spawner: Spawner, spec: SessionSpec, listener: Listener) -> Session:
        """Start the shell; raise ScriptError when that is impossible."""
        session = cls(spec, listener)
        await session._open(spawner)
        return session

    async def _open(self, spawner: Spawner) -> None:
        spec = self.spec
        env = {**spec.env, "TERM": "xterm-color"}
        if spec.reports:
            env.pop("PS2", None)
            env["PROMPT_COMMAND"] = ". /dev/fd/9"  # unexported by what it sources
        try:
            self._master, slave = os.openpty()
        except OSError as error:
            raise ScriptError(
                f"no terminal could be had for a shell: {error}", hint="check that /dev/pts is mounted and not full"
            ) from error
        try:
            os.set_blocking(self._master, False)
            self.resize(spec.cols, spec.rows)
            self._kept, self.pid = await spawner.spawn(spec.argv, env=env, cwd=spec.cwd, terminal=slave, rc=self._init)
        except BaseException:
            self._close_master()
            raise
        finally:
            os.close(slave)
        self._kept.exited.add_done_callback(lambda _: self._readable.set())
        self._loop.add_reader(self._master, self._readable.set)
        self._arm(QUIET)
        self._pump_task = asyncio.create_task(self._pump())

    # what comes out

    async def _pump(self) -> None:
        try:
            while data := await self._read():
                for piece in self._parser.feed(data):
                    if isinstance(piece, Report):
                        self._reported(piece)
                    else:
                        await self._emit(self._decoder.decode(piece))
            await self._emit(self._decoder.decode(self._parser.flush(), final=True))
        finally:
            self._shell_ended()

    async def _read(self) -> bytes:
        """Return what there is to read, at most 64 KB; nothing at the terminal's end."""
        kept = self._kept
        assert kept is not None  # noqa: S101  # the pump starts after the shell
        while True:
            was_over = kept.exited.done()
            over = kept.gone.is_set()
            self._readable.clear()
            data, hung_up = self._take()
            if data:
                return data
            if hung_up or over or self._master < 0:
                self._stop_reading()
                await asyncio.wait({kept.exited}, timeout=CLOSING)  # the status comes a moment after the terminal's end
                return b""
            if was_over:  # the shell is gone and all it wrote is read; what it left behind may go on writing
                self._shell_ended()
            await self._readable.wait()

    def _take(self) -> tuple[bytes, bool]:
        """Read what is there, and tell whether the terminal is closed: nobody holds its other side."""
        parts: list[bytes] = []
        size = 0
        try:
            while size < READ_SIZE and self._master >= 0:
                part = os.read(self._master, READ_SIZE - size)
                if not part:
                    return b"".join(parts), True
                parts.append(part)
                size += len(part)
        except BlockingIOError:
            pass
        except OSError:
            return b"".join(parts), True
        return b"".join(parts), False

    async def _emit(self, text: str) -> None:
        if not text:
            return
        self._typing.output_since = True
        self._tail = (self._tail + text[-TAIL:])[-TAIL:]
        self.screen.feed(text)
        await self._listener(text)
        if self._prompt is not None and self._shows(self._prompt):
            self._prompt_is_back()
        else:
            self._arm(QUIET if self._prompt is None else PROMPT_WAIT)

    def _shows(self, prompt: str) -> bool:
        """Tell whether the output ends with a prompt, and blanks at most."""
        last = ANSI.sub("", prompt).replace("\r", "\n").rpartition("\n")[2].strip()
        return ANSI.sub("", self._tail).rstrip(" ").endswith(last)

    # the prompt

    def _reported(self, report: Report) -> None:
        typing = self._typing
        if typing.open:
            typing.open.pop(0)
        if report.kind == "prompt":
            self.status = report.status
            if not typing.open and not typing.waiting:
                self._prompt = report.prompt
                self._arm(PROMPT_WAIT)
                return
        self._type_more()

    def _prompt_is_back(self) -> None:
        """Decide, after a report, whether the shell is really idle."""
        self._prompt = None
        if not self.ready.is_set():
            self.ready.set()
            return
        task = asyncio.create_task(self._check_others())
        self._checks.add(task)
        task.add_done_callback(self._checks.discard)

    async def _check_others(self) -> None:
        kept, typing = self._kept, self._typing
        if kept is not None and await kept.others():
            self._arm(QUIET)  # background jobs may still print: wait for a quiet prompt
        elif not typing.open and not typing.waiting:
            self.returned.set()

    def _arm(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._quiet)

    def _quiet(self) -> None:
        """Nothing has come for a while: go by the desktop engine's rule."""
        self._timer = None
        if self._prompt is not None:  # reported, but it does not show as it should
            self._prompt_is_back()
        elif not self.ready.is_set():
            if self.spec.reports:
                waits = self._shows(self._known_prompt)
            else:
                self._known_prompt = ANSI.sub("", self._tail).replace("\r", "\n").rpartition("\n")[2].strip()
                waits = bool(self._tail) or self._loop.time() - self._began > SILENT
            if waits:
                self.ready.set()
            else:
                self._arm(QUIET)
        elif self._typing.waiting:
            self._typing.open = [0] * len(self._typing.open)  # answered later, or read by a program and never
            self._type_more()
        elif self._typing.output_since and self._known_prompt and self._shows(self._known_prompt):
            self.returned.set()

    def _shell_ended(self) -> None:
        kept = self._kept
        if kept is not None and kept.exited.done() and not self._killed:
            self.status = kept.exited.result()
        self.ended.set()
        self.ready.set()

    # what goes in

    def type(self, text: str) -> None:
        """Type lines, each ended with Enter, and begin to wait for the prompt."""
        self.returned.clear()
        self.status = None
        self._prompt = None
        self._typing.output_since = False
        self._typing.waiting += [line + b"\n" for line in text.encode("utf-8", "surrogatepass").split(b"\n")]
        self._type_more()

    def _type_more(self) -> None:
        typing = self._typing
        while typing.waiting and (not any(typing.open) or sum(typing.open) + len(typing.waiting[0]) <= AHEAD):
            line = typing.waiting.pop(0)
            typing.open.append(len(line))
            self.send_keys(line)
        self._arm(QUIET)

    def send_keys(self, keys: bytes) -> None:
        """Send bytes as a keyboard would, without waiting for anything."""
        self._out += keys
        self._flush()

    def _flush(self) -> None:
        if self._master < 0:
            return
        try:
            while self._out:
                self._out = self._out[os.write(self._master, self._out) :]
        except BlockingIOError:
            self._loop.add_writer(self._master, self._flush)
            return
        except OSError:
            self._out = b""
        self._loop.remove_writer(self._master)

    def write(self, text: str) -> None:
        """Type text as it is; each line end in it is expected to be answered."""
        self.returned.clear()
        self._prompt = None
        self._typing.output_since = False
        self._typing.open += [0] * text.count("\n")
        self.send_keys(text.encode("utf-8", "surrogatepass"))
        self._arm(QUIET)

    def resize(self, cols: int, rows: int) -> None:
        """Change the terminal's size."""
        self.screen.cols, self.screen.rows = cols, rows
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    # facts and the end

    @property
    def alive(self) -> bool:
        """Whether any process of this shell may live."""
        return self._kept is not None and not self._kept.gone.is_set()

    @property
    def failure(self) -> str | None:
        """Why the shell's program could not be executed, if so."""
        return self._kept.failure if self._kept is not None else None

    async def gone(self) -> None:
        """Wait until no process of this shell is left."""
        if self._kept is not None:
            await self._kept.gone.wait()

    async def text(self, upto: int | None = None) -> str:
        """Return what the emulated terminal holds (8.10)."""
        text = self.screen.plain_text(upto)
        return text if text is not None else await asyncio.to_thread(self.screen.text, upto)

    async def kill(self) -> list[int]:
        """Kill the shell with all that it started; return processes that would not die."""
        kept = self._kept
        if kept is None:
            return []
        self._killed = True
        await kept.kill()
        self._finish()
        return kept.left

    async def end(self) -> Kept | None:
        """Kill the shell and all below it; return the keeper of daemons that it left, None for none."""
        kept = self._kept
        if kept is None:
            return None
        self._killed = True
        await kept.end()
        self._finish()
        return None if kept.gone.is_set() else kept

    def abandon(self) -> None:
        """Have everything killed without waiting for it."""
        self._killed = True
        if self._kept is not None:
            self._kept.abandon()
        self._finish()

    def _finish(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._pump_task is not None and self._pump_task is not asyncio.current_task():
            self._pump_task.cancel()
        self._shell_ended()
        self._close_master()

    def _stop_reading(self) -> None:
        if self._master >= 0:
            self._loop.remove_reader(self._master)
            self._loop.remove_writer(self._master)

    def _close_master(self) -> None:
        if self._master >= 0:
            self._stop_reading()
            os.close(self._master)
            self._master = -1
