"""Ask a URL for an answer, the way a browser would, and tell what came back; raw asyncio keeps the agent small."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

_HEAD = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """Hold one HTTP answer; `page` is true for what a person would look at: HTML, a redirect or a login."""

    status: int
    page: bool

    @property
    def ready(self) -> bool:
        """Tell whether a server that answers so is up: everything below 500."""
        return self.status < 500  # noqa: PLR2004  # HTTP's own number


Probe = Callable[[str], Awaitable["Answer | None"]]


async def http_probe(url: str, *, connect_timeout: float = 5.0, answer_timeout: float = 60.0) -> Answer | None:
    """Send one GET and return the answer, None when nobody answers in HTTP.

    Certificates are not checked: the server is on this machine, and self-signed ones are usual. A slow first answer is
    waited for, since many apps load a model on it.
    """
    writer: asyncio.StreamWriter | None = None
    try:
        split = urlsplit(url)
        secure = split.scheme == "https"
        port = split.port or (443 if secure else 80)
        reader, opened = await asyncio.wait_for(
            asyncio.open_connection(split.hostname, port, ssl=_unchecked() if secure else None, limit=_HEAD),
            connect_timeout,
        )
        target = (split.path or "/") + (f"?{split.query}" if split.query else "")
        writer = opened
        opened.write(
            f"GET {target} HTTP/1.1\r\nHost: {split.netloc}\r\nUser-Agent: pinoctl\r\n"
            "Accept: text/html,*/*\r\nConnection: close\r\n\r\n".encode()
        )
        head = await asyncio.wait_for(_head(reader), answer_timeout)
        return parse_answer(head)
    except (OSError, ValueError, EOFError, asyncio.TimeoutError, asyncio.LimitOverrunError):
        return None
    finally:
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                await asyncio.wait_for(writer.wait_closed(), 1)


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        return error.partial
    except asyncio.LimitOverrunError:
        return await reader.read(_HEAD)


def _unchecked() -> object:
    import ssl  # noqa: PLC0415  # megabytes that only apps with TLS should cost

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def parse_answer(head: bytes) -> Answer | None:
    """Parse the head of an HTTP answer, None when it is none; a TLS server's complaint about plain HTTP is none."""
    status_line, _, rest = head.partition(b"\r\n")
    words = status_line.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():  # noqa: PLR2004  # version and status
        return None
    status = int(words[1])
    if status == 400 and b"HTTPS" in head.upper():  # noqa: PLR2004  # nginx, Node and Go answer so on a TLS port
        return None
    headers = rest.lower()
    kind = next(
        (line.partition(b":")[2].strip() for line in headers.split(b"\r\n") if line.startswith(b"content-type:")), b""
    )
    return Answer(status, kind.startswith((b"text/html", b"application/xhtml")) or 300 <= status < 400 or status == 401)  # noqa: PLR2004  # HTTP's own numbers


def is_here(host: str) -> bool:
    """Tell whether a host is an address or the name of this machine; nothing is sent anywhere."""
    if host == socket.gethostname().lower():
        return True
    with contextlib.suppress(OSError, ValueError):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        numbers = socket.inet_pton(family, host)
        if any(numbers):
            with socket.socket(family, socket.SOCK_DGRAM) as test:
                test.bind((host, 0))
                return True
    return False
