"""The contract of a place, where an app lives."""

from __future__ import annotations

from typing import Protocol


class Place(Protocol):
    """Be somewhere an app can live; the host is one, a container is another."""

    name: str

    def prepare(self) -> None:
        """Create what every app here needs; nothing happens when it is there."""
