"""Asking the gate for its nonce from outside: the only proof that a public URL leads to it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping  # noqa: TC003  # Get is looked at when the program runs
from dataclasses import dataclass
from typing import Final, Protocol

NONCE_PATH: Final = "/.pinoctl/nonce"
MOST: Final = 4096
_OK: Final = 200


@dataclass(frozen=True, slots=True)
class Reply:
    """Hold an answer's status and the beginning of its body, or why there was none (then the status is 0)."""

    status: int = 0
    text: str = ""
    problem: str = ""


class Get(Protocol):
    """Ask an address; `verify` False: whoever signed its certificate, as the nonce in the answer is the proof."""

    async def __call__(self, url: str, headers: Mapping[str, str], seconds: float, *, verify: bool = True) -> Reply:
        """Return the answer; never raise but when cancelled."""


def verdict(reply: Reply, nonce: str) -> str:
    """Say in a few words why an answer is not the gate's, "" when it is."""
    if reply.problem:
        return reply.problem
    if reply.status != _OK:
        return f"it answers {reply.status}"
    return "" if reply.text.strip() == nonce else "something else answers there"


async def get(url: str, headers: Mapping[str, str], seconds: float, *, verify: bool = True) -> Reply:
    """GET a URL on a new connection, without following redirects; never raises but when cancelled."""
    import aiohttp  # noqa: PLC0415  # start-up time of commands

    try:
        async with (
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=seconds),
                trust_env=True,
                connector=aiohttp.TCPConnector(force_close=True, use_dns_cache=False),
            ) as session,
            session.get(url, headers=headers, allow_redirects=False, ssl=verify) as answer,
        ):
            body = await answer.content.read(MOST)
            return Reply(answer.status, body.decode("utf-8", "replace"))
    except asyncio.TimeoutError:
        return Reply(problem=f"no answer within {seconds:g} s")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return Reply(problem=_short(error))


def _short(error: Exception) -> str:
    import aiohttp  # noqa: PLC0415  # as above; loaded already

    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name cannot be resolved"
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return "its certificate is refused"
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        return f"cannot connect: {os.strerror(number) if number else error.os_error}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the connection is closed without an answer"
    return str(error) or type(error).__name__
