"""What the proxy of the gate and its admission say to each other: a request as seen, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from orchestrator.expose.gate.sessions import Session

Headers = tuple[tuple[str, str], ...]  # names in lower case, values decoded as Latin-1, in order


@dataclass(frozen=True, slots=True)
class Seen:
    """A request, as far as admission needs it."""

    method: str
    target: str  # path and query as in the request line (Latin-1)
    headers: Headers
    peer: str  # address of who asks, behind trusted proxies
    secure: bool  # HTTPS as the browser sees it
    host: str  # authority as the browser sees it
    upgrade: bool  # asks for a WebSocket (or any other) upgrade
    app: str | None  # whose port this is; None: the one port for all, routed by cookie
    body: bytes = b""  # only of POST below /.pinoctl/, at most 16 KiB


@dataclass(frozen=True, slots=True)
class Pass:
    """Let it through to this app, cleaned of what is ours."""

    app: str
    target: str
    headers: Headers
    cookies: tuple[str, ...] = ()  # values of Set-Cookie to add to the answer
    closed: bool = True  # what the app answers is not for everyone, so not for shared caches either
    by: Session | None = field(default=None, compare=False)  # what opened the app; None: it is open to all


@dataclass(frozen=True, slots=True)
class Answer:
    """Say this instead: a login page, a redirect, 401, 403, 429, the nonce ..."""

    status: int
    headers: Headers
    body: bytes = b""


class Gatekeeper(Protocol):
    """Decide about requests; only admission knows tokens, cookies, links, passwords and limits."""

    def decide(self, seen: Seen) -> Pass | Answer | Awaitable[Answer]:
        """Say what becomes of a request; what takes computing time, as a password does, is awaited."""

    def lasts(self, passed: Pass) -> bool:
        """Tell whether what let a request in still would: what came of it goes on only for as long."""
