"""One client's connection, as the agent sees it: requests in, replies and a bounded stream of messages out."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from orchestrator.agent.protocol import MAX_LINE, ProtocolError, decode_line, encode_line, refusal, reply

STREAM_LIMIT = 4 * 1024 * 1024
REPLY_LIMIT = 32 * 1024 * 1024

Handler = Callable[["Channel", Mapping[str, Any]], Awaitable[Any]]


class Channel:
    """Serve one connection until it closes.

    Requests run side by side, each in a task. Stream messages beyond STREAM_LIMIT unread bytes are dropped and counted;
    the client then gets `{"dropped": n}`. Replies are never dropped; a client that reads none of them is cut off.
    `silent` is called when no more requests can come, though earlier ones may still be at work.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        handler: Handler,
        silent: Callable[[Channel], None] = lambda _channel: None,
    ) -> None:
        self._silent = silent
        self._reader = reader
        self._writer = writer
        self._handler = handler
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._dropped = 0
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self.streams = 0
        self.follows = False
        self.answers = False
        self.saves = False  # whether this client makes a checkpoint when it is told that one is due
        self.closed = False

    @property
    def streaming(self) -> bool:
        """Tell whether this client wants events and output now."""
        return self.follows or self.streams > 0

    def send(self, message: Mapping[str, Any]) -> None:
        """Queue a message that must arrive."""
        self._put(encode_line(message), limit=REPLY_LIMIT)

    def stream(self, line: bytes) -> None:
        """Queue an encoded stream message, or drop it when the client lags."""
        if self.closed:
            return
        if self._bytes + len(line) > STREAM_LIMIT:
            self._dropped += 1
        else:
            if self._dropped:
                note, self._dropped = encode_line({"dropped": self._dropped}), 0
                self._put(note, limit=REPLY_LIMIT)
            self._put(line, limit=REPLY_LIMIT)

    def _put(self, line: bytes, *, limit: int) -> None:
        if self.closed:
            return
        if self._bytes + len(line) > limit:
            self.abort()
            return
        self._waiting.append(line)
        self._bytes += len(line)
        self._wake.set()

    async def serve(self) -> None:
        """Read requests and write messages until the client is gone."""
        writing = asyncio.create_task(self._write())
        try:
            await self._read()
            self.follows = self.answers = self.saves = False
            self._silent(self)  # whatever else it asked for may take hours, and nobody must wait for it meanwhile
            if self._tasks:  # half-closed: what was asked is still answered
                await asyncio.wait(
                    {writing, asyncio.ensure_future(self._all_requests())}, return_when=asyncio.FIRST_COMPLETED
                )
            await self.drained()
        finally:
            self.closed = True
            writing.cancel()
            for task in list(self._tasks):
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(writing, *self._tasks, return_exceptions=True)
            self.abort()

    async def _all_requests(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def drained(self, timeout: float = 5.0) -> None:
        """Wait until everything queued is written, for a while."""
        with contextlib.suppress(asyncio.TimeoutError, OSError):
            await asyncio.wait_for(self._drain(), timeout)

    async def _drain(self) -> None:
        while (self._waiting or self._bytes) and not self.closed:  # noqa: ASYNC110  # only at a connection's end
            await asyncio.sleep(0.005)

    async def _read(self) -> None:
        while not self.closed:
            try:
                line = await self._reader.readuntil(b"\n")
            except asyncio.IncompleteReadError as error:
                if error.partial.strip():
                    self._take(error.partial)
                return
            except asyncio.LimitOverrunError:
                self.send(refusal(None, ProtocolError(f"a line is longer than {MAX_LINE} bytes")))
                return
            except OSError:
                return
            if line.strip():
                self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            request = decode_line(line)
        except ProtocolError as error:
            self.send(refusal(None, error))
            return
        task = asyncio.create_task(self._answer(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, request: Mapping[str, Any]) -> None:
        number = request.get("id")
        try:
            self.send(reply(number, await self._handler(self, request)))
        except Exception as error:  # noqa: BLE001  # a request that breaks must not take the agent along
            self.send(refusal(number, error))

    async def _write(self) -> None:
        try:
            while True:
                while self._waiting:
                    line = self._waiting.popleft()
                    self._writer.write(line)
                    await self._writer.drain()
                    self._bytes -= len(line)
                    if self._dropped and self._bytes < STREAM_LIMIT // 2:
                        note, self._dropped = encode_line({"dropped": self._dropped}), 0
                        self._put(note, limit=REPLY_LIMIT)
                self._wake.clear()
                await self._wake.wait()
        except OSError:
            self.closed = True

    def abort(self) -> None:
        """Cut the connection."""
        self.closed = True
        self._wake.set()
        self._reader.feed_eof()
        with contextlib.suppress(OSError, RuntimeError):
            self._writer.close()
