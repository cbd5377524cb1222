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
from orchestrator.expose.gate.trust import Trust
from orchestrator.expose.surroundings import survey

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.engine.home import Home
    from orchestrator.expose.gate.audit import Audit
    from orchestrator.expose.gate.trust import Networks

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


def proxies_of(home: Home, environ: Mapping[str, str]) -> Networks:
    """Return whose word about visitors counts: the provider's proxy, or what PINOCTL_TRUSTED_PROXY names.

    Raises BadInputError for a variable of pinoctl's that makes no sense.
    """
    # A proxy at an address of the user's is no proxy of the platform's: who it is, only its own variable says.
    around = survey(home, {name: value for name, value in environ.items() if name != "PINOCTL_PUBLIC_URL"})
    return tuple(ipaddress.ip_network(each) for each in around.way.proxies)


async def open_gate(
    app: str,
    port: int,
    *,
    token: str | None,
    public: bool,
    target: Callable[[], tuple[str, int] | None],
    state: Callable[[], str],
    proxies: Networks = (),
    audit: Audit | None = None,
    host: str = EVERYWHERE,
) -> str | None:
    """Open the gate for an app and return the token that opens it: the given one, else a new one; None for `public`.

    Sessions outlive the container as long as the token stays the same. Who comes from one of `proxies` may say for
    whom; nobody else may, as what Docker and pods put before a container passes on what visitors claim. Raises
    GateError when the port is taken, BadInputError for a token that can be guessed.
    """
    chosen = None if public else token if token is not None else new_token()
    keys = Keys.of_token(app, new_token() if chosen is None else chosen, audit=audit)
    keeper = Admission(
        keys, nonce=secrets.token_urlsafe(), public=(app,) if public else (), apps=lambda: (app,), audit=audit
    )
    await Gate.listen(
        host,
        port,
        keeper=keeper,
        app=app,
        apps=OneApp(target, state),
        trust=Trust(proxies, forwarded_host=True),
    )
    return chosen
