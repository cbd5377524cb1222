"""The contract of a place, where an app lives: the host is one, containers are another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.agent.client import Client


class Place(Protocol):
    """Be somewhere apps can live."""

    @property
    def name(self) -> str:
        """Name of the place: `host` or `container`."""

    def prepare(self) -> None:
        """Create what every app here needs; nothing happens when it is there."""

    def spawn(self, app: str) -> Client:
        """Return a connection to the app's agent, started if there is none; raises PinoctlError."""

    def leave(self, app: str) -> None:
        """Stop what `spawn` started for this command alone, unless something of the app is up there now."""

    def find(self, app: str, *, timeout: float = 10.0) -> Client | None:
        """Connect to the app's agent, None when it has none; raises AgentGoneError when it does not answer."""

    def stop(self, app: str) -> bool:
        """Stop the app with its agent; False when it had none."""

    def status(self, app: str, *, timeout: float = 1.0) -> dict[str, Any] | None:
        """Return what the app's agent says of it, as this machine sees it; None without one, `{}` when it is silent."""

    def mirror_logs(self, app: str) -> None:
        """Bring the copy of the app's logs in HOME/logs up to date, where they are written elsewhere."""

    def seen(self, app: str, answer: Mapping[str, Any]) -> dict[str, Any]:
        """Return an agent's answer as this machine sees it: with a URL that can be reached from here."""

    def reachable(self, app: str, text: str) -> str:
        """Return a text of the app's with the URLs of its servers as they can be reached from here."""
