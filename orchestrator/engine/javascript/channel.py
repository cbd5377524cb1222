"""JSON lines to and from one Node process, without a stream object in between."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import time
from typing import TYPE_CHECKING, Any

from orchestrator.engine.errors import SidecarError

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.engine.javascript.process import NodeProcess

CHUNK = 1 << 20
LONGEST_LINE = 256 << 20
KEPT_OUTPUT = 8192
WATCH_INTERVAL = 0.25
BUSY_SECONDS = 10.0  # of computing without an answer to anything: an endless loop
PATIENT = frozenset({"call", "request"})  # functions of launchers may compute as long as they like


def to_line(message: dict[str, Any]) -> bytes:
    """Return a message as one line; NaN and infinities become null, as JSON.stringify has them."""
    try:
        text = json.dumps(message, separators=(",", ":"), allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(message), separators=(",", ":"))
    return text.encode("ascii") + b"\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):  # noqa: PLR0124  # NaN
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value


def _whole(value: Any) -> Any:
    """Replace halves of surrogate pairs, as JavaScript does when it writes text; nothing else can hold them."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_whole(key): _whole(item) for key, item in value.items()}
    return [_whole(item) for item in value] if isinstance(value, list) else value


class Channel:
    """Talk to one Node process: requests that are answered, messages that are not, and what it says by itself."""

    def __init__(
        self,
        process: NodeProcess,
        *,
        on_message: Callable[[dict[str, Any]], None],
        on_terminal: Callable[[str], None],
        on_death: Callable[[SidecarError], None],
        memory_limit: int,
    ) -> None:
        self.process = process
        self.secret = secrets.token_hex(16)
        self.dead: SidecarError | None = None
        self._prefix = self.secret.encode("ascii")
        self._on_message = on_message
        self._on_terminal = on_terminal
        self._on_death = on_death
        self._memory_limit = memory_limit
        self._loop = asyncio.get_running_loop()
        self._pending: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._asked: dict[int, str] = {}
        self._busy_from: float | None = None  # processor time at the last sign that its code comes back to us
        self._number = 0
        self._unread: list[bytes] = []
        self._unread_size = 0
        self._unsent = bytearray()
        self._reason: str | None = None
        self._printed = b""
        self._watch: asyncio.TimerHandle | None = None
        self._loop.add_reader(process.replies, self._readable)
        self._loop.add_reader(process.terminal, self._printable)
        self._look()

    def request(self, message: dict[str, Any]) -> asyncio.Future[dict[str, Any]]:
        """Send a request and return the future of its reply; it fails with SidecarError when the process dies."""
        self._number += 1
        future: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        if self.dead is not None:
            future.set_exception(self.dead)
            return future
        self._pending[self._number] = future
        self._asked[self._number] = str(message.get("op"))
        if len(self._pending) == 1:
            self._busy_from = None
        self._write(to_line({"id": self._number, **message}))
        return future

    def send(self, message: dict[str, Any]) -> None:
        """Send a message that has no reply."""
        if self.dead is None:
            self._write(to_line(message))

    def kill(self, reason: str) -> None:
        """End the process; everything pending fails with `reason`."""
        if self.dead is None:
            self._reason = self._reason or reason
            self.process.kill()
            self._die()

    def close(self) -> None:
        """End the process quietly."""
        self.kill("the JavaScript sidecar was closed")

    def _write(self, line: bytes) -> None:
        if not self._unsent:
            try:
                sent = os.write(self.process.requests, line)
            except BlockingIOError:
                sent = 0
            except OSError:
                return  # the reader sees the death and tells everyone
            if sent == len(line):
                return
            line = line[sent:]
            self._loop.add_writer(self.process.requests, self._writable)
        self._unsent += line

    def _writable(self) -> None:
        try:
            sent = os.write(self.process.requests, self._unsent[:CHUNK])
        except BlockingIOError:
            return
        except OSError:
            self._unsent.clear()
            sent = 0
        del self._unsent[:sent]
        if not self._unsent:
            self._loop.remove_writer(self.process.requests)

    def _readable(self) -> None:
        try:
            data = os.read(self.process.replies, CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._die()
            return
        if b"\n" not in data:
            self._unread.append(data)
            self._unread_size += len(data)
            if self._unread_size > LONGEST_LINE:
                self.kill("the JavaScript sidecar was stopped: it sent a message of more than 256 MiB")
            return
        lines = b"".join((*self._unread, data)).split(b"\n")
        self._unread = [lines.pop()]
        self._unread_size = len(self._unread[0])
        for line in lines:
            if self.dead is None:
                self._line(line)

    def _line(self, line: bytes) -> None:
        try:
            if not line.startswith(self._prefix):
                raise ValueError  # noqa: TRY301  # one place tells of every kind of line that is not ours
            message = json.loads(line[len(self._prefix) :])
            if b"\\ud" in line:  # JSON.stringify escapes nothing but halves of surrogate pairs in this way
                message = _whole(message)
            number = message.get("id")
            if number is None:
                self._on_message(message)
                return
            self._busy_from = None
            self._asked.pop(number, None)
            future = self._pending.pop(number, None)
            if future is None and number > self._number:
                raise ValueError  # noqa: TRY301  # as above
        except RecursionError:
            self.kill("the JavaScript sidecar was stopped: the launcher's code gave a value that is nested too deeply")
            return
        except (ValueError, AttributeError):
            self.kill("the JavaScript sidecar was stopped: the launcher's code wrote into its protocol")
            return
        if future is not None and not future.done():
            future.set_result(message)

    def _printable(self) -> None:
        try:
            data = os.read(self.process.terminal, CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self.process.terminal)
            return
        self._printed = (self._printed + data)[-KEPT_OUTPUT:]
        self._on_terminal(data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\n", "\r\n"))

    def _look(self) -> None:
        """Stop the process when it holds more memory than allowed; Buffers are outside the limit of the heap."""
        if self.dead is not None:
            return
        if self._pending and self.process.resident() > self._memory_limit:
            self.kill(f"the JavaScript sidecar was stopped: it used more than {self._memory_limit >> 20} MiB of memory")
            return
        if self._loops():
            asked = next(iter(self._asked.values()))
            self.kill(
                "the JavaScript sidecar was stopped: "
                f"the launcher's code computed for {BUSY_SECONDS:g} s without an end (at `{asked}`)"
            )
            return
        self._watch = self._loop.call_later(WATCH_INTERVAL, self._look)

    def _loops(self) -> bool:
        """Tell whether the process only computes: waiting for the network or for commands takes no processor time."""
        if not self._pending or not PATIENT.isdisjoint(self._asked.values()):
            self._busy_from = None
            return False
        used = self.process.computed()
        if self._busy_from is None:
            self._busy_from = used
        return used - self._busy_from > BUSY_SECONDS

    def _die(self) -> None:
        if self.dead is not None:
            return
        if self._watch is not None:
            self._watch.cancel()
        status = _wait(self.process)
        for descriptor in (self.process.replies, self.process.terminal):
            self._loop.remove_reader(descriptor)
        self._loop.remove_writer(self.process.requests)
        with contextlib.suppress(OSError):
            self._printed = (self._printed + os.read(self.process.terminal, CHUNK))[-KEPT_OUTPUT:]
        self.process.sweep()
        self.process.close()
        self.dead = SidecarError(self._reason or _cause(status, self._printed.decode("utf-8", "replace")))
        pending, self._pending = self._pending, {}
        for future in pending.values():
            if not future.done():
                future.set_exception(self.dead)
                future.exception()  # a caller that was cancelled never looks
        self._on_death(self.dead)


def _wait(process: NodeProcess) -> int | None:
    """Return the exit status of a process whose pipes have closed; it is gone within moments, or it is made to go."""
    deadline = time.monotonic() + 0.2
    while (status := process.popen.poll()) is None:
        if time.monotonic() > deadline:
            process.kill()
            return process.popen.wait()
        os.sched_yield()
    return status


def _cause(status: int | None, printed: str) -> str:
    """Tell why Node ended, from its exit status and its last words."""
    if "heap out of memory" in printed or "Allocation failed" in printed:
        return "the JavaScript sidecar ran out of memory"
    last = next((line.strip() for line in reversed(printed.splitlines()) if "Error" in line), printed.strip()[-200:])
    how = f"was ended by signal {-status}" if status is not None and status < 0 else f"ended with status {status}"
    return f"the JavaScript sidecar {how}" + (f": {last}" if last else "")
