"""A small synchronous client of an agent: plain sockets, so that commands start quickly."""

from __future__ import annotations

import contextlib
import itertools
import select
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from orchestrator.agent.protocol import VERSIONS, AgentError, ProtocolError, decode_line, encode_line
from orchestrator.agent.sockets import connect
from orchestrator.engine.errors import PinoctlError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType


class Connection(Protocol):
    """Carry bytes to and from an agent, as a socket does."""

    def fileno(self) -> int:
        """Return a descriptor for `select`."""

    def settimeout(self, timeout: float | None, /) -> None:
        """Limit how long a call waits."""

    def sendall(self, data: bytes, /) -> None:
        """Send everything."""

    def recv(self, size: int, /) -> bytes:
        """Return what arrived, b"" at the end."""

    def close(self) -> None:
        """Close it."""


class AgentGoneError(PinoctlError):
    """Report that the agent closed the connection or does not answer."""


@dataclass(frozen=True, slots=True)
class Event:
    """Hold one event of the journal as it happens: `t` in unix seconds."""

    kind: str
    t: float
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Output:
    """Hold raw terminal text; `offset` is where it ends in the log."""

    text: str
    script: str
    offset: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """Tell that this client was too slow for so many messages; the log has them."""

    messages: int


Message = Event | Output | Dropped
Listener = Callable[[Message], None]


def _ignore(_message: Message) -> None:
    return


class Client:
    """Talk to one agent. Not for use from several threads at once."""

    def __init__(self, connection: Connection, *, timeout: float | None = 30.0) -> None:
        self._socket = connection
        self._timeout = timeout
        self._numbers = itertools.count(1)
        self._buffer = bytearray()
        self._stream: deque[Message] = deque()
        self.about: dict[str, Any] = {}

    @classmethod
    def connect(cls, path: Path, *, timeout: float | None = 30.0) -> Client:
        """Connect to an agent's socket and agree on a version.

        `timeout` in seconds is for quick requests; work such as `up` is waited for without limit. Raises
        FileNotFoundError or ConnectionRefusedError when there is no agent, AgentGoneError, ProtocolError.
        """
        return cls.over(connect(path, timeout=timeout), timeout=timeout)

    @classmethod
    def over(cls, connection: Connection, *, timeout: float | None = 30.0, started: bool = False) -> Client:
        """Agree on a version with the agent at the other end of a connection; see `connect`.

        `started` tells an agent in a container that this client had it started: it starts nothing then but what it is
        asked for.
        """
        client = cls(connection, timeout=timeout)
        try:
            client.about = client._ask("hello", versions=list(VERSIONS), started=started or None)
        except BaseException:
            client.close()
            raise
        return client

    def __enter__(self) -> Client:  # noqa: PYI034  # `Self` came with Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; what was asked for goes on without us."""
        with contextlib.suppress(OSError):
            self._socket.close()

    def fileno(self) -> int:
        """Return the socket's descriptor, for `select`."""
        return self._socket.fileno()

    # requests

    def status(self) -> dict[str, Any]:
        """Return the state, URL, shells, ports and usage of the app."""
        found: dict[str, Any] = self._ask("status")
        return found

    def up(
        self,
        *,
        listen: Listener = _ignore,
        fresh: bool = False,
        from_step: int | None = None,
        timeout: float | None = None,
        again: bool = False,
        start: str | None = None,
        args: Mapping[str, Any] | None = None,
        answers: Any = None,
        pairs: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Bring the app up and wait; `listen` gets events and output meanwhile, `again` takes what was started last.

        Returns `{app, state, url, failed, failed_children, place, log}`; `failed` is None or `{script, step, method,
        reason, hint, lines}`.
        """
        return self._work(
            "up",
            listen,
            fresh=fresh,
            from_step=from_step,
            timeout=timeout,
            again=again or None,
            start=start,
            args=args,
            answers=answers,
            pairs=pairs,
            environment=dict(environment) if environment else None,
        )

    def install(
        self,
        *,
        listen: Listener = _ignore,
        fresh: bool = False,
        checkpoints: bool = False,
        trusted: bool = False,
        keep: bool = False,
        from_step: int | None = None,
        answers: Any = None,
        pairs: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Install the app if needed and start nothing; answers as `up` does, with `state` `stopped` when it worked.

        `checkpoints` promises to call `go_on` after each event of that kind: the script waits for it. `keep` has the
        agent stay for as long as nobody ends it when the installation fails.
        """
        return self._work(
            "install",
            listen,
            fresh=fresh,
            checkpoints=checkpoints,
            trusted=trusted,
            keep=keep or None,
            from_step=from_step,
            answers=answers,
            pairs=pairs,
            environment=dict(environment) if environment else None,
        )

    def go_on(self, *, leave: bool = False) -> None:
        """Let a build go on that waits for its checkpoint; with `leave` its agent ends there instead."""
        self._send("go_on", {"leave": leave})

    def run(
        self,
        script: str,
        args: Mapping[str, Any] | None = None,
        *,
        listen: Listener = _ignore,
        answers: Any = None,
        pairs: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Run one script of the app and wait: `{status, daemon, result, error, hint, step, method, failed_children}`.

        The start and install scripts answer as `up` does.
        """
        lent = dict(environment) if environment else None
        return self._work("run", listen, script=script, args=args, answers=answers, pairs=pairs, environment=lent)

    def update(
        self,
        *,
        listen: Listener = _ignore,
        answers: Any = None,
        pairs: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Run the update script, and go back to the state before when it fails."""
        lent = dict(environment) if environment else None
        return self._work("update", listen, answers=answers, pairs=pairs, environment=lent)

    def stop(self, script: str | None = None) -> dict[str, Any]:
        """Stop one script, or the app; the agent stays."""
        return self._work("stop", _ignore, script=script)

    def down(self, *, listen: Listener = _ignore) -> dict[str, Any]:
        """Stop everything and end the agent."""
        return self._work("down", listen)

    def menu(self) -> dict[str, Any]:
        """Return what the launcher offers now."""
        return self._work("menu", _ignore)

    def attach(self, *, on: bool = True) -> list[dict[str, Any]]:
        """Say that this client can answer questions; returns those that wait already."""
        found: list[dict[str, Any]] = self._ask("attach", on=on)
        return found

    def answer(self, question: str, values: Mapping[str, Any]) -> None:
        """Answer a question."""
        self._ask("answer", question=question, values=dict(values))

    def keys(self, shell: str, data: str) -> None:
        """Type into a shell."""
        self._ask("keys", shell=shell, data=data)

    def resize(self, cols: int, rows: int) -> None:
        """Set the size of the app's terminals."""
        self._ask("resize", cols=cols, rows=rows)

    def follow(self, offset: int | None = None, *, live: bool = True) -> int:
        """Ask for the log from an offset on (negative: from its end), `live`: and all that follows; see `messages`."""
        end: int = self._ask("follow", offset=offset, live=live)["offset"]
        return end

    def messages(self, *, timeout: float | None = None) -> Iterator[Message]:
        """Yield what arrives; ends when the agent closes, or after `timeout` seconds without anything."""
        while True:
            while self._stream:
                yield self._stream.popleft()
            try:
                self._take(self._line(timeout))
            except (TimeoutError, AgentGoneError):
                return

    # the wire

    def _ask(self, operation: str, **keywords: Any) -> Any:
        return self._wait(self._send(operation, keywords), self._timeout, self._stream.append)

    def _work(self, operation: str, listen: Listener, **keywords: Any) -> dict[str, Any]:
        result: dict[str, Any] = self._wait(self._send(operation, keywords), None, listen)
        return result

    def _send(self, operation: str, keywords: Mapping[str, Any]) -> int:
        number = next(self._numbers)
        line = encode_line(
            {"id": number, "op": operation, **{key: value for key, value in keywords.items() if value is not None}}
        )
        try:
            self._socket.settimeout(self._timeout)
            self._socket.sendall(line)
        except OSError as error:
            raise AgentGoneError(
                "the agent does not take requests any more", hint="try again, `pinoctl up` starts a new one"
            ) from error
        return number

    def _wait(self, number: int, timeout: float | None, listen: Listener) -> Any:
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            message = self._line(None if until is None else max(0.0, until - time.monotonic()))
            if "ok" not in message:
                self._stream_to(message, listen)
            elif message.get("id") == number:
                if message["ok"] is True:
                    return message.get("result")
                error = message.get("error") or {}
                raise AgentError(str(error.get("message")), hint=error.get("hint"), kind=str(error.get("kind")))
            elif message.get("id") is None and message["ok"] is False:
                raise ProtocolError(str((message.get("error") or {}).get("message")))

    def _stream_to(self, message: Mapping[str, Any], listen: Listener) -> None:
        read = _message(message)
        if read is not None:
            listen(read)

    def _take(self, message: Mapping[str, Any]) -> None:
        if "ok" not in message:
            self._stream_to(message, self._stream.append)

    def _line(self, timeout: float | None) -> dict[str, Any]:
        until = None if timeout is None else time.monotonic() + timeout
        searched = 0
        while True:
            end = self._buffer.find(b"\n", searched)
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                return decode_line(line)
            searched = len(self._buffer)
            remaining = None if until is None else max(0.0, until - time.monotonic())
            if not select.select([self._socket], [], [], remaining)[0]:
                raise TimeoutError("the agent does not answer")
            try:
                piece = self._socket.recv(262144)
            except OSError:
                piece = b""
            if not piece:
                raise AgentGoneError(
                    "the agent ended", hint="`pinoctl logs APP` shows what happened, `pinoctl up APP` starts it again"
                )
            self._buffer += piece


def _message(message: Mapping[str, Any]) -> Message | None:
    if isinstance(message.get("event"), str):
        return Event(message["event"], float(message.get("t") or 0), message.get("data") or {})
    if isinstance(message.get("output"), str):
        return Output(message["output"], str(message.get("script", "")), int(message.get("offset") or 0))
    if isinstance(message.get("dropped"), int):
        return Dropped(message["dropped"])
    return None
