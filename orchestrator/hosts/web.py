"""Requests to a provider's own interface: what is asked, what came back, and the one function that asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

SECONDS: Final = 20.0
LARGEST: Final = 64 << 10  # bytes of an answer that are read


@dataclass(frozen=True, slots=True)
class Request:
    """Hold a request; headers and body are never printed, as they may hold a key."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """Hold the status of an answer and the beginning of its text."""

    status: int
    text: str = ""


Ask = Callable[[Request], Awaitable[Response]]  # raises OSError or TimeoutError when nobody answers


async def ask(request: Request, seconds: float = SECONDS) -> Response:
    """Send a request and return the answer; redirects are not followed, so that a key goes nowhere else.

    Raises OSError or TimeoutError when nobody answers.
    """
    import aiohttp  # noqa: PLC0415  # takes longer to load than most commands run

    timeout = aiohttp.ClientTimeout(total=seconds)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
            session.request(
                request.method,
                request.url,
                headers=dict(request.headers),
                data=request.body or None,
                allow_redirects=False,
            ) as answer,
        ):
            text = b""
            async for part in answer.content.iter_any():
                text += part
                if len(text) >= LARGEST:
                    break
            return Response(answer.status, text[:LARGEST].decode("utf-8", "replace"))
    except aiohttp.ClientError as error:
        raise OSError(str(error) or type(error).__name__) from None  # its chain could print the request's headers
