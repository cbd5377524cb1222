"""The gate's ear for commands: one JSON object a line over a Unix socket, one answer to each."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from typing import TYPE_CHECKING, Any

from orchestrator.engine.errors import PinoctlError
from orchestrator.expose.asking import LINE_LIMIT, address

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path


def _bound(path: Path) -> socket.socket:
    """Bind a socket that only this user can open; what was at the path belongs to nobody alive."""
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    short, folder = address(path)
    mask = os.umask(0o177)
    try:
        listening.bind(short)
    finally:
        os.umask(mask)
        os.close(folder)
    listening.setblocking(False)  # noqa: FBT003  # the standard library's signature
    return listening


class Control:
    """Answer commands; `handle` is given each request and returns what to answer."""

    def __init__(self, handle: Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]) -> None:
        self._handle = handle
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    async def listen(self, path: Path) -> None:
        """Listen on a socket that only this user can open; the caller holds the gate's lock."""
        self._server = await asyncio.start_unix_server(self._serve, sock=_bound(path), limit=LINE_LIMIT)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await self._answer(line)).encode() + b"\n")
                await writer.drain()
        except (OSError, ValueError, asyncio.CancelledError):
            pass
        finally:
            if task is not None:
                self._tasks.discard(task)
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            return {"result": await self._handle(json.loads(line))}
        except PinoctlError as error:
            return {"error": {"kind": type(error).__name__, "text": str(error), "hint": error.hint}}
        except Exception as error:  # noqa: BLE001  # a request that breaks must not take the gate along
            return {"error": {"kind": type(error).__name__, "text": f"the gate failed: {error!r}", "hint": None}}

    async def close(self) -> None:
        """Stop listening and cut everyone off."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
