"""The gate of an image that runs by itself (`docker run -p 8080:8080 IMAGE`): the same as everywhere, for one app."""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestrator.expose.gate.admission import Admission
from orchestrator.expose.gate.apps import State
from orchestrator.expose.gate.book import new_token
from orchestrator.expose.gate.keys import Keys
from orchestrator.expose.gate.proxy import Gate
from orchestrator.expose.gate.trust import LOOPBACK, Trust

if TYPE_CHECKING:
    from collections.abc import Callable

# proxies of providers and of Docker itself come from these, and say there who asks
NEAR: Final = tuple(
    ipaddress.ip_network(each) for each in ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16")
)
EVERYWHERE: Final = "0.0.0.0"  # noqa: S104  # a container's own port: published or not, that is its user's choice


@dataclass(frozen=True, slots=True)
class OneApp:
    """Tell the gate of the only app there is."""

    where: Callable[[], tuple[str, int] | None]
    how: Callable[[], str]

    def target(self, app: str) -> tuple[str, int] | None:  # noqa: ARG002  # there is only one
        """Say where it listens."""
        return self.where()

    def state(self, app: str) -> State:  # noqa: ARG002  # as above
        """Say how it is."""
        return State(self.how())

    def lost(self, app: str) -> None:
        """Do nothing: where it listens is asked for every request."""


async def open_gate(
    app: str,
    port: int,
    *,
    token: str | None,
    public: bool,
    target: Callable[[], tuple[str, int] | None],
    state: Callable[[], str],
    host: str = EVERYWHERE,
) -> str | None:
    """Open the gate for an app and return the token that opens it: the given one, else a new one; None for `public`.

    Sessions outlive the container as long as the token stays the same. Raises GateError when the port is taken,
    BadInputError for an empty token.
    """
    chosen = None if public else token if token is not None else new_token()
    keys = Keys.of_token(app, new_token() if chosen is None else chosen)
    keeper = Admission(keys, nonce=secrets.token_urlsafe(), public=(app,) if public else (), apps=lambda: (app,))
    await Gate.listen(
        host,
        port,
        keeper=keeper,
        app=app,
        apps=OneApp(target, state),
        trust=Trust((*LOOPBACK, *NEAR), forwarded_host=True),
    )
    return chosen
