"""The URL that the platform itself leads to a port: no process, nothing between, so it comes first.

Not where strangers have servers at other ports of the same address: browsers send cookies to every port of an address,
so a tunnel that the user set up is better there. What is free for everyone is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from orchestrator.expose.tunnels.provider import Here, Needs, Possible, Start, Told

_NEEDS: Final = Needs()
SHARED_RANK: Final = 28  # after all that a user sets up, before what is free for everyone


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
            return Possible(ok=False, why=f"`{where}` has no URL of its own for the gate's port", hint=here.remedy)
        rank = SHARED_RANK if here.own.shared else 0
        return Possible(ok=True, why=f"`{where}` leads `{here.own.url}` to the gate", rank=rank, caveat=here.own.note)

    def command(self, port: int, here: Here, program: str) -> Start:  # noqa: ARG002  # there is none
        """Start nothing: the URL is there."""
        if here.own is None:
            raise ValueError("asked for a URL that `possible` denied")
        own = here.own
        return Start(port=port, url=own.url.rstrip("/"), inside=own.inside, verify=own.verify, hint=own.hint)

    def read(self, line: str, stream: str, start: Start) -> Told | None:  # noqa: ARG002  # nothing writes
        """Read nothing."""
        return None
