"""One request passed on to an app, and what comes back, both at once.

Heads go through h11, and bodies where both sides frame them differently (HTTP/1.0). All others, and upgraded
connections, go straight from one connection to the other.
"""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

import h11

from orchestrator.expose.gate.answers import HEAD_LIMIT, read_head
from orchestrator.expose.gate.apps import Activity
from orchestrator.expose.gate.heads import to_app, to_client, trailers, words
from orchestrator.expose.gate.passage import Chunks, Counted, FramingError
from orchestrator.expose.gate.reading import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.expose.gate.contract import Headers, Pass
    from orchestrator.expose.gate.pool import Pool
    from orchestrator.expose.gate.reading import Request
    from orchestrator.expose.gate.trust import Public
    from orchestrator.expose.gate.wire import Wire
from orchestrator.expose.gate.sessions import is_ours
from orchestrator.expose.guard.use import Messages

FLUSH_SECONDS = 60.0  # for a slow reader to take the end of what was sent
HALF_SECONDS = 300.0  # for one side of an upgraded connection to end after the other one has
UPLOAD_SECONDS = 0.1  # for the end of an upload that was answered
CLIENT_GONE = 499  # as nginx writes it in its log

_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS"})
_REFUSING = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN, HTTPStatus.MISDIRECTED_REQUEST})
_BODILESS = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})


class NobodyError(Exception):
    """Nobody answers where the app should be."""


class GarbageError(Exception):
    """The app's answer cannot be read, and nothing of it was passed on."""


class Exchange:
    """One request and its answer; `status` is what the client was told, `keep` whether it may ask again."""

    def __init__(self, client: Wire, request: Request, passed: Pass, public: Public, target: tuple[str, int]) -> None:
        self.status = 0
        self.keep = False
        self.upgraded = False
        self.refused_host = False  # the app was asked again with its own address as Host
        self.wants_own_host = False  # which helped
        self._client, self._request, self._passed = client, request, passed
        self._public, self._target = public, target
        self._activity = Activity()
        self._clock: Callable[[], float] = float
        self._body_seconds = 0.0
        self._look = False

    async def run(
        self,
        pool: Pool,
        activity: Activity,
        clock: Callable[[], float],
        *,
        local_host: bool = False,
        try_own_host: bool = False,
        body_seconds: float = 600.0,
    ) -> None:
        """Pass everything on until the answer is complete or one side is gone; `activity` counts what passes.

        `local_host` gives the app its own address as Host; `try_own_host` does so when it refuses the browser's, and
        `wants_own_host` tells that it helped. A client that sends nothing of its body for `body_seconds` is sent away.

        Raises NobodyError and GarbageError when the client has been told nothing yet, and RefusedError when it cannot
        be understood itself.
        """
        self._activity, self._clock, self._body_seconds = activity, clock, body_seconds
        self.refused_host = False
        await self._ask(pool, local_host=local_host, look=try_own_host and not local_host)
        if self.refused_host:
            await self._ask(pool, local_host=True, look=False)
            self.wants_own_host = self.status not in _REFUSING

    async def _ask(self, pool: Pool, *, local_host: bool, look: bool) -> None:
        """Ask the app; with `look` an answer that may mean the Host is not passed on."""
        request = self._request
        headers = to_app(self._passed.headers, self._public, self._target, local_host=local_host)
        if request.upgrade:
            headers += (("connection", "Upgrade"), ("upgrade", "websocket"))
        if request.length is None:
            headers += (("transfer-encoding", "chunked"),)
        elif request.length or any(name == "content-length" for name, _ in request.headers):
            headers += (("content-length", str(request.length)),)
        # An app may end a kept connection at the moment we use it; only what may be asked twice goes over one.
        repeatable = request.method in _REPEATABLE and not request.has_body and not request.upgrade
        self._look = look and repeatable
        if repeatable:
            kept = pool.kept(self._target)
            if kept is not None and await self._over(kept, headers, pool, reused=True):
                return
        app = await pool.fresh(self._target)
        if app is None:
            raise NobodyError
        await self._over(app, headers, pool)

    async def _over(self, app: Wire, headers: Headers, pool: Pool, *, reused: bool = False) -> bool:
        """Ask over this connection; returns False when a reused one turned out to be gone."""
        parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_LIMIT)
        try:
            head = parser.send(
                h11.Request(method=self._request.method, target=self._passed.target, headers=_raw(headers))
            )
        except h11.LocalProtocolError as error:
            app.abort()
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"{error}") from error
        client = self._client
        app.on_end = None
        client.on_lost = app.abort
        client.on_bytes = app.on_bytes = self._touch
        loop = asyncio.get_running_loop()
        sending: asyncio.Task[None] | None = None
        reusable = False
        before = app.arrived
        try:
            app.write(head)
            if self._request.has_body:
                sending = loop.create_task(self._send(app))
            else:
                parser.send(h11.EndOfMessage())
                self._watch(app)
            if client.lost:
                app.abort()
            try:
                response = await self._head(app, parser, sending)
            except GarbageError:
                if reused and app.arrived == before and not client.lost:
                    return False
                raise
            if response is not None and self._look and response.status_code in _REFUSING:
                self.refused_host = True
            elif response is not None:
                reusable = await self._answer(app, parser, response, sending)
        finally:
            client.on_end = client.on_lost = client.on_bytes = app.on_bytes = None
            if sending is not None:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
            if reusable and not client.lost:
                pool.give(self._target, app)
            else:
                app.abort()
        return True

    async def _send(self, app: Wire) -> None:
        """Pass the body on; when the client stops half-way the app is told, and may still answer."""
        client, request = self._client, self._request
        waiting = asyncio.get_running_loop().create_task(self._expect_more())
        try:
            if request.length is not None:
                await client.pass_on(app, Counted(request.length))
            else:
                # Trailers end here: the guard has not seen them, and apps add them to the headers that it has.
                await client.pass_on(app, Chunks(lambda _late: ()))
        except FramingError as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"{error}") from error
        except asyncio.IncompleteReadError:
            app.write_eof()
        except ConnectionResetError:
            return
        finally:
            waiting.cancel()
        self._watch(app)

    async def _expect_more(self) -> None:
        """Send a client away that has stopped in the midst of its body; one that is held back by us is waited for."""
        client, before = self._client, -1
        while client.arrived != before or client.held_back:
            before = client.arrived
            await asyncio.sleep(self._body_seconds)
        client.abort()

    def _touch(self, _data: bytes) -> None:
        self._activity.last_byte = self._clock()

    def _listener(self) -> Callable[[bytes], None]:
        """Make what hears a client's side of a WebSocket: messages that somebody meant are requests of their own."""
        messages, activity, clock = Messages(), self._activity, self._clock

        def hear(data: bytes) -> None:
            activity.last_byte = clock()
            if messages.feed(data):
                activity.last_request = activity.last_byte

        return hear

    def _watch(self, app: Wire) -> None:
        """Tell the app when the client ends its side: most then stop working on what nobody waits for."""
        self._client.on_end = app.write_eof
        if self._client.ended and not self._client.held:
            app.write_eof()

    async def _head(self, app: Wire, parser: h11.Connection, sending: asyncio.Task[None] | None) -> h11.Response | None:
        """Wait for the head of the answer, passing interim ones on; None after an upgraded connection has ended."""
        if sending is not None:
            sending.add_done_callback(partial(_stop_waiting, app))
        while True:
            event = _read(parser, await read_head(app))
            if isinstance(event, h11.Response):
                return event
            if not isinstance(event, h11.InformationalResponse):
                if sending is not None and app.gave_up:
                    await sending  # which raises why
                raise GarbageError
            if event.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
                await self._switch(app, event)
                return None
            if self._request.version == "1.1":
                told = h11.InformationalResponse(
                    status_code=event.status_code, headers=_raw(self._cleaned(event)), reason=event.reason
                )
                self._client.write(self._request.parser.send(told))

    async def _answer(
        self, app: Wire, parser: h11.Connection, response: h11.Response, sending: asyncio.Task[None] | None
    ) -> bool:
        """Pass the answer on; returns whether the app's connection can be used again."""
        client, request = self._client, self._request
        theirs = _decoded(response)
        chunked = bool(words(theirs, "transfer-encoding"))
        length = None if chunked else next((int(value) for name, value in theirs if name == "content-length"), None)
        self.status = response.status_code
        uploading = sending is not None and not sending.done()
        self.keep = request.keeps and not (uploading and self.status >= HTTPStatus.BAD_REQUEST)
        headers = self._cleaned(response) + tuple(("set-cookie", cookie) for cookie in self._passed.cookies)
        if length is not None and self.status != HTTPStatus.NO_CONTENT:
            headers += (("content-length", str(length)),)
        if not self.keep:
            headers += (("connection", "close"),)
        try:
            head = request.parser.send(
                h11.Response(status_code=self.status, headers=_raw(headers), reason=response.reason)
            )
            if request.method == "HEAD" or self.status in _BODILESS:
                length = 0
                client.write(head)
            elif length is not None or (chunked and request.version == "1.1"):
                await app.pass_on(client, Chunks(trailers) if length is None else Counted(length), first=head)
            else:
                client.write(head)
                await self._pass_events(app, parser)
        except (h11.ProtocolError, FramingError, asyncio.IncompleteReadError):
            self.keep = False
            client.reset()
            return False
        except ConnectionResetError:
            self.keep = False
            return False
        if sending is not None and not sending.done():
            await asyncio.wait({sending}, timeout=UPLOAD_SECONDS)
        sent = sending is None or (sending.done() and sending.exception() is None)
        self.keep = self.keep and sent
        ends = response.http_version < b"1.1" or "close" in words(theirs, "connection")
        return sent and not ends and request.method != "HEAD" and (chunked or length is not None)

    async def _pass_events(self, app: Wire, parser: h11.Connection) -> None:
        client, writer = self._client, self._request.parser
        while True:
            event = await _next_event(app, parser)
            if isinstance(event, h11.Data):
                client.write(_joined(writer, event))
                await client.drain()
                continue
            if app.broken:
                raise h11.RemoteProtocolError("the answer is cut off")
            after = trailers(_decoded(event)) if isinstance(event, h11.EndOfMessage) else ()
            client.write(writer.send(h11.EndOfMessage(headers=_raw(after) if self._request.version == "1.1" else [])))
            app.unread(parser.trailing_data[0])
            return

    async def _switch(self, app: Wire, event: h11.InformationalResponse) -> None:
        """Answer an upgrade, and pass bytes both ways, each way until its own end."""
        client, writer = self._client, self._request.parser
        headers = self._cleaned(event) + tuple(("set-cookie", cookie) for cookie in self._passed.cookies)
        kinds = ", ".join(value for name, value in _decoded(event) if name == "upgrade")
        headers += (("connection", "Upgrade"), ("upgrade", kinds))
        self.status, self.upgraded = event.status_code, True
        client.on_end = client.on_lost = None
        writer.next_event()  # the end of the request, after which its sender may be switched
        client.write(
            writer.send(h11.InformationalResponse(status_code=101, headers=_raw(headers), reason=event.reason))
        )
        loop = asyncio.get_running_loop()
        self._activity.upgraded += 1
        if kinds.lower() == "websocket":
            client.on_bytes = self._listener()
        ways = {loop.create_task(_one_way(client, app)), loop.create_task(_one_way(app, client))}
        try:
            done, others = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            if others and not any(way.exception() for way in done):
                await asyncio.wait(others, timeout=HALF_SECONDS)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(app.flush(), FLUSH_SECONDS)
        finally:
            self._activity.upgraded -= 1
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    def _cleaned(self, event: h11.Response | h11.InformationalResponse) -> Headers:
        closed = self._passed.closed and isinstance(event, h11.Response)
        return to_client(_decoded(event), self._public, self._target, closed=closed, is_ours=is_ours)


def _stop_waiting(app: Wire, sending: asyncio.Task[None]) -> None:
    """Wait for no answer to a request that cannot be read to its end."""
    if not sending.cancelled() and sending.exception() is not None:
        app.give_up()


async def _one_way(source: Wire, sink: Wire) -> None:
    await source.pass_on(sink, Counted(None))
    sink.write_eof()


def _read(parser: h11.Connection, head: bytes) -> object:
    """Read the head of an answer; None when it is none."""
    try:
        parser.receive_data(head)
        return parser.next_event()
    except h11.RemoteProtocolError:
        return None


async def _next_event(wire: Wire, parser: h11.Connection) -> h11.Event | type[h11.PAUSED]:
    while True:
        event = parser.next_event()
        if event is not h11.NEED_DATA:
            return event  # type: ignore[return-value]  # NEED_DATA is ruled out, which the types cannot say
        parser.receive_data(await wire.receive())


def _joined(parser: h11.Connection, event: h11.Data) -> bytes:
    return b"".join(parser.send_with_data_passthrough(event) or ())


def _raw(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def _decoded(event: h11.Response | h11.InformationalResponse | h11.EndOfMessage) -> Headers:
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers)
