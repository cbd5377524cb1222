"""The agent's socket: accepts clients and spreads events and output among them."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

from orchestrator.agent.channel import Channel, Handler
from orchestrator.agent.protocol import MAX_LINE, encode_line

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping


class Server:
    """Serve every client of one agent; `gone` is called whenever one leaves."""

    def __init__(self, handler: Handler, *, gone: Callable[[Channel], None]) -> None:
        self._handler = handler
        self._gone = gone
        self._server: asyncio.Server | None = None
        self.channels: set[Channel] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self, listening: socket.socket) -> None:
        """Accept clients on a socket that already listens."""
        keep: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
        self._server = await asyncio.start_unix_server(self._serve, sock=listening, limit=MAX_LINE, **keep)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        channel = Channel(reader, writer, self._handler, self._gone)
        self.channels.add(channel)
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
        try:
            await channel.serve()
        except asyncio.CancelledError:
            pass
        finally:
            self.channels.discard(channel)
            if task is not None:
                self._tasks.discard(task)
            self._gone(channel)

    def event(self, entry: Mapping[str, Any]) -> None:
        """Give a journal entry to the clients that stream."""
        wanting = [channel for channel in self.channels if channel.streaming]
        if wanting:
            data = {key: value for key, value in entry.items() if key not in {"t", "kind"}}
            line = encode_line({"event": entry["kind"], "t": entry["t"], "data": data})
            for channel in wanting:
                channel.stream(line)

    def output(self, script: str, text: str, offset: int) -> None:
        """Give terminal text to the clients that stream; `offset` is the log's behind it."""
        wanting = [channel for channel in self.channels if channel.streaming]
        if wanting:
            line = encode_line({"output": text, "script": script, "offset": offset})
            for channel in wanting:
                channel.stream(line)

    @property
    def answering(self) -> bool:
        """Tell whether some client can answer questions."""
        return any(channel.answers for channel in self.channels)

    async def close(self) -> None:
        """Send what is queued, then close everything."""
        if self._server is not None:
            self._server.close()
        await asyncio.gather(*(channel.drained(2.0) for channel in list(self.channels)))
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
