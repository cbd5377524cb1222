"""The URL that the platform itself leads to a port: no process, nothing between, so it comes first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from orchestrator.expose.tunnels.provider import Here, Needs, Possible, Start, Told

_NEEDS: Final = Needs()


@dataclass(frozen=True, slots=True)
class PlatformUrl:
    """Hand out `Here.own`."""

    name: str = "own"
    needs: Needs = _NEEDS
    patience: int = 1

    def possible(self, here: Here) -> Possible:
        """Tell whether the platform has a URL for us."""
        where = here.platform or "this machine"
        if here.own is None:
            return Possible(ok=False, why=f"`{where}` has no URL of its own for the gate's port")
        return Possible(ok=True, why=f"`{where}` leads `{here.own.url}` to the gate", rank=0, caveat=here.own.note)

    def command(self, port: int, here: Here, program: str) -> Start:  # noqa: ARG002  # there is none
        """Start nothing: the URL is there."""
        if here.own is None:
            raise ValueError("asked for a URL that `possible` denied")
        return Start(port=port, url=here.own.url.rstrip("/"), probe=here.own.probe)

    def read(self, line: str, stream: str, start: Start) -> Told | None:  # noqa: ARG002  # nothing writes
        """Read nothing."""
        return None
