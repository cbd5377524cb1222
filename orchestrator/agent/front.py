"""What stands before an app whose image runs by itself (`docker run -p 8080:8080 IMAGE`): a token, or no entry.

Each connection carries one request. What comes after it is never passed on, as a proxy before us may send the requests
of many people over one connection, and only the first one was looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import secrets
import socket
import struct
import time
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from orchestrator.agent.admission import Admission, Decision
from orchestrator.agent.forward import BACKLOG, CONNECT_SECONDS, ForwardError, addresses, arrived
from orchestrator.agent.http1 import (
    HEAD_LIMIT,
    PIECE,
    TO_THE_END,
    Head,
    NothingSentError,
    RefusedError,
    Request,
    parse_request,
    parse_response,
    pass_body,
    read_lines,
)

if TYPE_CHECKING:
    from collections.abc import Callable

HEALTH = b"/pinoctl/health"
HEAD_SECONDS = 10.0
FLUSH_SECONDS = 60.0  # for a slow client to take the end of an answer
LINGER_SECONDS = 2.0  # for a client to take it before the connection is cut
MOST_IGNORED = 1 << 20  # bytes after a request that are read and thrown away
RETRY_SECONDS = 2

_STYLE = (
    "<style>body{font:16px system-ui,sans-serif;max-width:24em;margin:15vh auto;padding:0 1em}"
    "input,button{font:inherit;padding:.4em;margin:.2em 0}</style>"
)
_PAGE = '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
_LOGIN = (
    f"{_PAGE}<title>Token needed</title>{_STYLE}<h1>Token needed</h1>"
    '<p>This app is open to those who have its token. It stands in the log of the container.</p><form method="get">'
    '<input type="password" name="token" aria-label="Token" autocomplete="current-password" required autofocus>'
    " <button>Open</button></form>"
)
_WAIT = (
    f'{_PAGE}<meta http-equiv="refresh" content="{RETRY_SECONDS}"><title>Not ready yet</title>{_STYLE}'
    "<h1>Not ready yet</h1><p>State: {state}</p><p>This page looks again by itself.</p>"
)


def new_token() -> str:
    """Make a token of 192 random bits, safe in addresses and headers."""
    return secrets.token_urlsafe(24)


class Front:
    """Lets requests through to the app that carry the token; made by `listen`."""

    def __init__(
        self,
        token: str | None,
        target: Callable[[], tuple[str, int] | None],
        state: Callable[[], str],
        clock: Callable[[], float],
    ) -> None:
        self._admission = None if token is None else Admission(token, clock)
        self._target = target
        self._state = state
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    async def listen(
        cls,
        host: str,
        port: int,
        *,
        token: str | None,
        target: Callable[[], tuple[str, int] | None],
        state: Callable[[], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> Front:
        """Listen on host and port (0 takes a free one; `.port` says which).

        `token` None lets everyone in. `target` says for each request where the app is, None while it is nowhere;
        `state` says in a word how it is, `ready` when it serves. Raises ForwardError when the port is taken, ValueError
        for an empty token.
        """
        front = cls(token, target, state, clock)
        try:
            front._server = await asyncio.start_server(front._accept, host, port, limit=HEAD_LIMIT, backlog=BACKLOG)
        except OSError as error:
            raise ForwardError(
                f"cannot listen on port {port} of `{host}`: {error.strerror or error}",
                hint="End what listens there, or choose another port",
            ) from error
        return front

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._server.sockets[0].getsockname()[1]) if self._server is not None else 0

    async def close(self) -> None:
        """Stop listening and end every connection; when this returns, no task and no socket is left."""
        if self._server is None:
            return
        self._server.close()
        while self._tasks:
            running = list(self._tasks)
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await asyncio.sleep(0)  # aborted transports close their sockets in the loop's next round
        await self._server.wait_closed()
        self._server = None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(_Client(reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, client: _Client) -> None:
        try:
            with contextlib.suppress(OSError, NothingSentError):
                await self._handle(client)
                await client.finish()
        finally:
            client.writer.transport.abort()

    async def _handle(self, client: _Client) -> None:
        try:
            lines = await asyncio.wait_for(read_lines(client.reader), HEAD_SECONDS)
            request = parse_request(lines)
        except asyncio.TimeoutError:
            await client.answer(HTTPStatus.REQUEST_TIMEOUT)
            return
        except asyncio.IncompleteReadError:
            await client.answer(HTTPStatus.BAD_REQUEST)
            return
        except RefusedError as error:
            await client.answer(error.status, f"{error}\n")
            return
        client.request = request
        if request.path == HEALTH and request.method in {b"GET", b"HEAD"}:
            healthy = self._state() == "ready"
            status = HTTPStatus.OK if healthy else HTTPStatus.SERVICE_UNAVAILABLE
            await client.answer(status, "ok" if healthy else "not ready")
        elif await self._admit(client, request):
            await self._forward(client, request if self._admission is None else self._admission.clean(request))

    async def _admit(self, client: _Client, request: Request) -> bool:
        if self._admission is None:
            return True
        decision = self._admission.decide(request, client.peer)
        if decision is Decision.REDIRECT:
            scheme = request.head.first(b"x-forwarded-proto").partition(b",")[0].strip().lower()
            headers = {
                "Location": self._admission.location(request).decode("latin-1"),
                "Set-Cookie": self._admission.set_cookie(secure=scheme == b"https"),
                "Referrer-Policy": "no-referrer",
            }
            await client.answer(HTTPStatus.SEE_OTHER, "", headers=headers)
        elif decision is Decision.LIMITED:
            wait = {"Retry-After": str(self._admission.seconds_closed(client.peer))}
            await client.answer(HTTPStatus.TOO_MANY_REQUESTS, "too many wrong tokens, wait a minute\n", headers=wait)
        elif decision is Decision.UNKNOWN:
            need = "a token is needed: `Authorization: Bearer TOKEN`, or `?token=TOKEN` once\n"
            bearer = {"WWW-Authenticate": 'Bearer realm="pinoctl"'}
            await client.answer(HTTPStatus.UNAUTHORIZED, need, page=_LOGIN, headers=bearer)
        return decision is Decision.PASS

    async def _forward(self, client: _Client, request: Request) -> None:
        app = await _connect(self._target())
        if app is None:
            state = self._state()
            page = _WAIT.replace("{state}", html.escape(state))
            retry = {"Retry-After": str(RETRY_SECONDS)}
            await client.answer(HTTPStatus.SERVICE_UNAVAILABLE, f"not ready yet: {state}\n", page=page, headers=retry)
            return
        try:
            await _Exchange(client, request, *app).run()
        finally:
            app[1].transport.abort()


class _Client:
    """One connection of a client, and what we ourselves answer on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.request: Request | None = None
        peer = writer.get_extra_info("peername")
        self.peer = str(peer[0]) if peer else ""

    async def answer(
        self, status: int, text: str | None = None, *, page: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        """Answer with a text of our own; browsers that ask for a page get `page` if there is one."""
        known = HTTPStatus(status)
        kind, body = "text/plain", f"{known.phrase}\n" if text is None else text
        request = self.request
        wants_page = (
            request is not None and not request.upgrade and b"text/html" in request.head.first(b"accept").lower()
        )
        if page is not None and wants_page:
            kind, body = "text/html", page
        content = body.encode("utf-8", "replace")
        fields = {
            "Content-Type": f"{kind}; charset=utf-8",
            "Content-Length": str(len(content)),
            "Cache-Control": "no-store",
            "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'",
            "X-Content-Type-Options": "nosniff",
            **(headers or {}),
            "Connection": "close",
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.writer.write(f"HTTP/1.1 {known.value} {known.phrase}\r\n{head}\r\n".encode("latin-1"))
        if request is None or request.method != b"HEAD":
            self.writer.write(content)
        await self.writer.drain()

    async def finish(self) -> None:
        """End our side once all is sent, and wait a little for the client to end its own.

        Cutting off a client that is still sending would reset the connection, and it might never see the answer.
        """
        with contextlib.suppress(asyncio.TimeoutError):
            self.writer.transport.set_write_buffer_limits(high=0)
            await asyncio.wait_for(self.writer.drain(), FLUSH_SECONDS)
            self.writer.write_eof()
            await asyncio.wait_for(_ignore(self.reader), LINGER_SECONDS)


class _Exchange:
    """One request passed on to the app, and what comes back."""

    def __init__(self, client: _Client, request: Request, reader: _AppReader, writer: asyncio.StreamWriter) -> None:
        self._client = client
        self._request = request
        self._reader = reader
        self._writer = writer
        self._answered = False
        self._sent = asyncio.Event()  # the body is passed on: what the client sends now is something else

    async def run(self) -> None:
        """Pass everything on until the answer is complete or one side is gone."""
        head = self._request.head if self._request.upgrade else self._request.head.without(b"upgrade").closing()
        self._writer.write(head.encode())
        loop = asyncio.get_running_loop()
        sending, receiving = loop.create_task(self._send()), loop.create_task(self._receive())
        try:
            await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
            error = sending.exception() if sending.done() else None
            if not receiving.done() and isinstance(error, RefusedError):
                if not self._answered:
                    await self._client.answer(error.status, f"{error}\n")
                return
            if error is None or self._client.reader.exception() is None:
                # An app may answer before it has taken everything, so what went wrong in sending does not end this.
                await receiving
        finally:
            for task in (sending, receiving):
                task.cancel()
            await asyncio.gather(sending, receiving, return_exceptions=True)

    async def _send(self) -> None:
        try:
            await pass_body(self._client.reader, self._writer, self._request.length)
        except asyncio.IncompleteReadError:
            self._writer.write_eof()
            return
        finally:
            self._sent.set()
        if not self._request.upgrade:
            await self._watch()

    async def _watch(self) -> None:
        """Tell the app when the client ends its side: most then stop working on what nobody waits for."""
        await self._sent.wait()
        if await _ignore(self._client.reader):
            self._writer.write_eof()

    async def _receive(self) -> None:
        client = self._client
        try:
            status, head, length = await self._answer_head()
        except (RefusedError, NothingSentError, asyncio.IncompleteReadError, OSError):
            self._answered = True
            await client.answer(HTTPStatus.BAD_GATEWAY, "the app gave no answer that can be read\n")
            return
        self._answered = True
        if status == HTTPStatus.SWITCHING_PROTOCOLS:
            client.writer.write(head.encode())
            await self._sent.wait()
            await self._splice()
            return
        client.writer.write(head.closing().encode())
        # An upgrade that the app does not want is a request like any other: what comes after it goes nowhere.
        watching = asyncio.get_running_loop().create_task(self._watch()) if self._request.upgrade else None
        try:
            await pass_body(self._reader, client.writer, length)
            if length == TO_THE_END and self._reader.broken is not None:
                _reset(client.writer)
        except (RefusedError, asyncio.IncompleteReadError, OSError):
            _reset(client.writer)
        finally:
            if watching is not None:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)

    async def _answer_head(self) -> tuple[int, Head, int]:
        """Read the head of the app's answer; interim ones before it are passed on at once."""
        while True:
            status, head, length = parse_response(await read_lines(self._reader), self._request.method)
            if status >= HTTPStatus.OK:
                return status, head, length
            if status == HTTPStatus.SWITCHING_PROTOCOLS:
                if not self._request.upgrade:
                    raise RefusedError(HTTPStatus.BAD_GATEWAY, "it changes protocols without being asked")
                return status, head, length
            self._client.writer.write(head.encode())
            await self._client.writer.drain()

    async def _splice(self) -> None:
        """Pass bytes both ways, each way until its own end."""
        loop = asyncio.get_running_loop()
        ways = (
            loop.create_task(_pump(self._client.reader, self._writer)),
            loop.create_task(_pump(self._reader, self._client.writer)),
        )
        try:
            await asyncio.gather(*ways)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(PIECE):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


async def _ignore(reader: asyncio.StreamReader) -> bool:
    """Throw away what comes; returns whether the sender ended (False: it goes on and on)."""
    ignored = 0
    while ignored < MOST_IGNORED:
        data = await reader.read(PIECE)
        if not data:
            return True
        ignored += len(data)
    return False


class _AppReader(asyncio.StreamReader):
    """What the app sent can still be read after it reset the connection, as one does that answers early and leaves."""

    broken: Exception | None = None

    def set_exception(self, exc: Exception) -> None:
        self.broken = exc
        self.feed_eof()


class _AppProtocol(asyncio.StreamReaderProtocol):
    """Keeps what had arrived when a connection broke."""

    def __init__(self, reader: _AppReader, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(reader, loop=loop)
        self.reader = reader
        self.transport: asyncio.Transport | None = None
        self.ended = False

    def eof_received(self) -> bool | None:
        self.ended = True
        return super().eof_received()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and self.transport is not None and not self.ended:
            self.reader.feed_data(arrived(self.transport))
        super().connection_lost(exc)


async def _connect(target: tuple[str, int] | None) -> tuple[_AppReader, asyncio.StreamWriter] | None:
    if target is None:
        return None
    loop = asyncio.get_running_loop()
    for host in addresses(target[0]):
        reader = _AppReader(HEAD_LIMIT, loop)
        factory = partial(_AppProtocol, reader, loop)
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            opening = loop.create_connection(factory, host, target[1])
            transport, protocol = await asyncio.wait_for(opening, CONNECT_SECONDS)
            return reader, asyncio.StreamWriter(transport, protocol, reader, loop)
    return None


def _reset(writer: asyncio.StreamWriter) -> None:
    """Cut a connection off so that what has been sent does not look complete."""
    with contextlib.suppress(OSError):
        linger = struct.pack("ii", 1, 0)  # for no time: the peer sees a reset, not an end
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()
