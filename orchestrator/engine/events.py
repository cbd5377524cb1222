"""What the engine tells the world while it works: events for the journal, and raw terminal output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol


class Sink(Protocol):
    """Receive what the engine does; the agent journals it, `script run` prints it, tests collect it."""

    def event(self, kind: str, data: Mapping[str, Any]) -> None:
        """Take one event; `kind` is one of the table in docs/journal.md, `data` is JSON-able."""

    def output(self, script: str, raw: str) -> None:
        """Take terminal text of a script, unfiltered: CRLF, ANSI sequences and carriage returns included."""


class Silent:
    """Drop everything."""

    def event(self, kind: str, data: Mapping[str, Any]) -> None:
        """Drop an event."""

    def output(self, script: str, raw: str) -> None:
        """Drop output."""


class Recorder:
    """Keep everything, for tests."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.text: list[tuple[str, str]] = []

    def event(self, kind: str, data: Mapping[str, Any]) -> None:
        """Keep an event."""
        self.events.append((kind, dict(data)))

    def output(self, script: str, raw: str) -> None:
        """Keep output."""
        self.text.append((script, raw))

    def kinds(self) -> list[str]:
        """Return the kinds of the events so far, in order."""
        return [kind for kind, _ in self.events]

    def all_text(self) -> str:
        """Return all output so far."""
        return "".join(raw for _, raw in self.text)


Clock = Callable[[], float]
