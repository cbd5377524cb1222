"""The contract of a place, where an app lives and its agent runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class Place(Protocol):
    """Be somewhere an app can live; the host is one, a container is another."""

    name: str

    def prepare(self) -> None:
        """Create what every app here needs; nothing happens when it is there."""

    def app_folder(self, app: str) -> Path:
        """Return the folder that an app's launcher is in, as seen from inside the place."""

    def start_agent(self, app: str, command: Sequence[str], env: Mapping[str, str]) -> int:
        """Start an app's agent so that it outlives this command, and return its process id."""
