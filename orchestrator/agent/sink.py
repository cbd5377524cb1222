"""Where the engine's events and output go: journal, terminal log, clients, and whoever waits for the app."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.agent.proc import Process, process

if TYPE_CHECKING:
    from orchestrator.agent.journal import Journal
    from orchestrator.agent.server import Server
    from orchestrator.agent.terminal import TerminalLog
    from orchestrator.engine.redactor import Redactor

LINGER = 0.02
BATCH = 64 * 1024

Listener = Callable[[str, Mapping[str, Any]], None]


class AgentSink:
    """Take events at once, and output in batches, a fiftieth of a second apart at most; events never overtake output.

    Methods may call from threads; everything is then handed to the agent's loop.
    """

    def __init__(
        self,
        journal: Journal,
        terminal: TerminalLog,
        server: Server,
        redactor: Redactor,
        *,
        boot: str,
        look: Callable[[int], Process | None] = process,
    ) -> None:
        self._journal = journal
        self._terminal = terminal
        self._server = server
        self._redactor = redactor
        self._boot = boot
        self._look = look
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._batch: list[tuple[str, str]] = []
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None
        self.on_event: Listener = lambda _kind, _data: None
        self.on_output: Callable[[str, str], None] = lambda _script, _raw: None
        self.on_written: Callable[[str], None] = lambda _text: None

    def event(self, kind: str, data: Mapping[str, Any]) -> None:
        """Journal one event and tell everybody."""
        if threading.get_ident() != self._thread:
            self._loop.call_soon_threadsafe(self.event, kind, dict(data))
            return
        self.flush()
        if kind == "shell.start" and isinstance(data.get("pid"), int):
            found = self._look(data["pid"])
            data = {**data, "started": found.started if found else None, "boot": self._boot}
        self._server.event(self._journal.write(kind, data))
        self.on_event(kind, data)

    def output(self, script: str, raw: str) -> None:
        """Take terminal text."""
        if threading.get_ident() != self._thread:
            self._loop.call_soon_threadsafe(self.output, script, raw)
            return
        if not raw:
            return
        self._batch.append((script, raw))
        self._size += len(raw)
        if self._size >= BATCH:
            self.flush()
        elif self._timer is None:
            self._timer = self._loop.call_later(LINGER, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self._batch:
            self.flush()
        else:
            self._release()

    def flush(self) -> None:
        """Write out the batch."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch, self._batch, self._size = self._batch, [], 0
        at = 0
        while at < len(batch):
            script, texts = batch[at][0], []
            while at < len(batch) and batch[at][0] == script:
                texts.append(batch[at][1])
                at += 1
            raw = "".join(texts)
            self.on_output(script, raw)
            self._write(script, self._redactor.feed(script, raw))
        if self._redactor.holding:
            self._timer = self._loop.call_later(5 * LINGER, self._tick)

    def _write(self, script: str, text: str) -> None:
        if text:
            self._server.output(script, text, self._terminal.write(text))
            self.on_written(text)

    def close(self) -> None:
        """Write what is left."""
        self.flush()
        self._release()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _release(self) -> None:
        for script, text in self._redactor.flush().items():
            self._write(script, text)
