"""The gate: a port on which every request is judged by a keeper, and passed on to an app or answered here."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import h11

from orchestrator.engine.errors import PinoctlError
from orchestrator.expose.gate.apps import Activity, Meter, State
from orchestrator.expose.gate.contract import Pass, Seen
from orchestrator.expose.gate.crowd import Crowd
from orchestrator.expose.gate.exchange import CLIENT_GONE, Exchange, GarbageError, NobodyError
from orchestrator.expose.gate.heads import words
from orchestrator.expose.gate.pool import Pool
from orchestrator.expose.gate.reading import RefusedError, Request, read_request
from orchestrator.expose.gate.requests import OWN
from orchestrator.expose.gate.trust import Public, Trust, seen_through
from orchestrator.expose.gate.waiting import STATE_PATH, answer, broken_answer, state_answer, waiting_answer
from orchestrator.expose.gate.wire import Wire
from orchestrator.expose.guard.use import counts

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Coroutine, Iterator, Mapping

    from orchestrator.expose.gate.apps import Apps
    from orchestrator.expose.gate.contract import Answer, Gatekeeper

BACKLOG = 4096  # as many as Linux allows: whoever was connected before a restart comes back at once
OWN_BODY_LIMIT = 16 * 1024  # bytes of a form of ours
MOST_FILES = 65536
OWN_HOST_TRIES = 3  # in vain, before refusals of an app are taken for what they say

_log = logging.getLogger(__name__)


class GateError(PinoctlError):
    """The gate could not be opened."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the gate waits, in seconds; bodies and upgraded connections that move may last for ever."""

    head: float = 10.0  # for a head, from its first byte
    idle: float = 75.0  # for the next request
    body: float = 600.0  # for the next byte of a body that a client sends
    flush: float = 60.0  # for a slow client to take the end of an answer
    linger: float = 5.0  # for a client to end a connection that we have ended
    recheck: float = 1.0  # before it is asked again whether those who are inside may stay
    waiting: int = 512  # connections without a request that was let through; beyond these the oldest are cut ...
    grace: float = 2.0  # ... that have waited for longer
    files: int = MOST_FILES  # open ones of this process beyond which a connection ends another one; fewer if it may


class Gate:
    """One open port; made by `listen`. `trust` may be changed while it is open."""

    def __init__(self, keeper: Gatekeeper, app: str | None, apps: Apps, *, meter: Meter, patience: Patience) -> None:
        self.trust = Trust()
        self.keeper, self.app, self.apps, self.meter, self.patience = keeper, app, apps, meter, patience
        self.audit: Callable[[Mapping[str, object]], None] = _silent
        self.local_host: Callable[[str], bool] = _never
        self.pool = Pool()
        self.own_host: dict[str, int] = {}  # 1 for apps that want their own Host, else how often in vain it was tried
        self._server: asyncio.Server | None = None
        self._tls = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._wires: set[Wire] = set()
        self.crowd = Crowd(patience.waiting, patience.grace, min(patience.files, _many_files()))
        self._beside: list[asyncio.Task[None]] = []
        self.visited: dict[Wire, Pass] = {}  # what let each connection in that is at an app now

    @classmethod
    async def listen(
        cls,
        host: str,
        port: int,
        *,
        keeper: Gatekeeper,
        app: str | None,
        apps: Apps,
        trust: Trust | None = None,
        audit: Callable[[Mapping[str, object]], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        meter: Meter | None = None,
        tls: ssl.SSLContext | None = None,
        patience: Patience | None = None,
        local_host: Callable[[str], bool] | None = None,
    ) -> Gate:
        """Listen on host and port (0 takes a free one; `.port` says which), for one app or (`app` None) for all.

        Gates that share a `meter` count together. `local_host` tells for which apps Host is to be their own address
        instead of the browser's. `audit` is told of every request: method, path, status, bytes, ms, peer, app; never a
        query, a header or a body. Raises GateError when the port is taken.
        """
        gate = cls(keeper, app, apps, meter=meter or Meter(clock), patience=patience or Patience())
        gate.trust = trust or gate.trust
        gate.audit, gate.local_host = audit or _silent, local_host or _never
        gate._tls = tls is not None
        try:
            gate._server = await asyncio.get_running_loop().create_server(
                gate._wire,
                host,
                port,
                backlog=BACKLOG,
                ssl=tls,
                ssl_handshake_timeout=None if tls is None else gate.patience.head,
            )
        except OSError as error:
            raise GateError(
                f"cannot listen on port {port} of `{host}`: {error.strerror or error}",
                hint="End what listens there, or choose another port",
            ) from error
        gate.beside(gate._sift())
        return gate

    @property
    def port(self) -> int:
        """The port that is listened on; 0 when it is closed."""
        return int(self._server.sockets[0].getsockname()[1]) if self._server and self._server.sockets else 0

    def activity(self, app: str) -> Activity:
        """Return the counters of an app; they go on counting."""
        return self.meter.of(app)

    def beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something for as long as the port is open."""
        self._beside.append(asyncio.get_running_loop().create_task(work))

    def drop(self, app: str) -> None:
        """End every connection that is at this app now, open WebSockets first of all."""
        for wire in [wire for wire, passed in self.visited.items() if passed.app == app]:
            wire.abort()

    async def _sift(self) -> None:
        """End what was let in by something that holds no more: a link that expired, a password that was changed."""
        while True:
            await asyncio.sleep(self.patience.recheck)
            asked: dict[tuple[str, object], bool] = {}  # a thousand connections of one session are one question
            for wire, passed in list(self.visited.items()):
                by = (passed.app, passed.by)
                if by not in asked:
                    asked[by] = self.keeper.lasts(passed)
                if not asked[by]:
                    wire.abort()

    async def close(self) -> None:
        """Stop listening and end every connection; when this returns, no task and no socket is left."""
        if self._server is None:
            return
        self._server.close()
        beside, self._beside = self._beside, []
        while self._tasks or self._wires or beside:
            running = [*self._tasks, *beside]
            beside = []
            for task in running:
                task.cancel()
            for wire in list(self._wires):  # which ends also a visit that lost its cancellation, see `within`
                wire.abort()
            await asyncio.gather(*running, return_exceptions=True)
            await asyncio.sleep(0)  # aborted transports close their sockets in the loop's next round
        self.pool.close()
        await asyncio.sleep(0)
        await self._server.wait_closed()
        self._server = None

    def _wire(self) -> Wire:
        return Wire(self._accept, self._wires.discard)

    def _accept(self, wire: Wire) -> None:
        self._wires.add(wire)
        self.crowd.arrive(wire)
        task = asyncio.get_running_loop().create_task(Visit(self, wire, tls=self._tls).serve())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Visit:
    """One connection of a client, and its requests one after the other."""

    def __init__(self, gate: Gate, wire: Wire, *, tls: bool) -> None:
        self._gate, self._wire, self._tls = gate, wire, tls

    async def serve(self) -> None:
        """Answer until the client ends, or has to be sent away."""
        wire = self._wire
        try:
            while await self._await_request():
                if not await self._one():
                    await self._finish()
                    break
                if wire.full:  # whoever does not read our answers gets no more of them
                    await asyncio.wait_for(wire.drain(), self._gate.patience.flush)
                self._gate.crowd.rest(wire)
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
            pass
        except Exception:  # noqa: BLE001  # whatever it is, it ends this connection and nobody else's
            _log.exception("a request broke the gate's own code; its connection is cut")
        finally:
            self._gate.crowd.leave(wire)
            wire.abort()

    async def _await_request(self) -> bool:
        with self._at_most(self._gate.patience.idle):
            return await self._wire.readable()

    @contextlib.contextmanager
    def _at_most(self, seconds: float) -> Iterator[None]:
        """Let nobody wait longer than this for what the client may send."""
        timer = asyncio.get_running_loop().call_later(seconds, self._wire.give_up)
        try:
            yield
        finally:
            timer.cancel()

    async def _one(self) -> bool:
        """Answer one request; returns whether there may be another."""
        gate, wire = self._gate, self._wire
        began, before = time.monotonic(), wire.sent
        try:
            with self._at_most(gate.patience.head):
                request = await read_request(wire)
        except RefusedError as error:
            status = HTTPStatus.REQUEST_TIMEOUT if wire.gave_up else error.status
            self._say(None, answer(status, f"{error}\n"), keep=False)
            self._tell(None, (gate.app, status, wire.peer), began, before)
            return False
        if request is None:
            return False
        public = seen_through(gate.trust, wire.peer, request.headers, tls=self._tls)
        visit = _Handling(self, gate, wire, request, public)
        try:
            keep = await visit.run()
        finally:
            self._tell(request, (visit.app or gate.app, visit.status, public.peer), began, before)
        return keep

    def _say(self, request: Request | None, said: Answer, *, keep: bool) -> None:
        self._wire.write(written(request, said, keep=keep))

    def _tell(self, request: Request | None, told: tuple[str | None, int, str], began: float, before: int) -> None:
        app, status, peer = told
        path = "" if request is None else request.path
        if request is not None and request.own:  # names of our own paths may carry what is secret further down
            path = OWN + path.removeprefix(OWN).partition("/")[0]
        self._gate.audit(
            {
                "event": "request",
                "app": app,
                "method": request.method if request is not None else "",
                "path": path,
                "status": status,
                "bytes": self._wire.sent - before,
                "ms": round((time.monotonic() - began) * 1000, 1),
                "peer": peer,
            }
        )

    async def _finish(self) -> None:
        """End our side once all is sent, and wait a little for the client to end its own.

        Cutting off a client that is still sending would reset the connection, and it might never see the answer.
        """
        wire, patience = self._wire, self._gate.patience
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(wire.flush(), patience.flush)
            wire.write_eof()
            wire.gave_up = False
            with self._at_most(patience.linger):
                while await wire.receive():
                    pass


class _Handling:
    """One request at the gate: judged, then passed on or answered."""

    def __init__(self, visit: Visit, gate: Gate, wire: Wire, request: Request, public: Public) -> None:
        self._visit, self._gate, self._wire, self._request, self._public = visit, gate, wire, request, public
        self.app: str | None = None
        self.status = 0

    async def run(self) -> bool:
        """Answer; returns whether the client may send another request."""
        request, gate = self._request, self._gate
        body = b""
        unread = request.has_body
        if request.own and request.method == "POST" and unread:
            with self._visit._at_most(gate.patience.head):  # noqa: SLF001  # two parts of one thing
                try:
                    body = await own_body(self._wire, request)
                except RefusedError as error:
                    return self._say(answer(error.status, f"{error}\n"), keep=False)
            unread = False
        decision = gate.keeper.decide(
            Seen(
                method=request.method,
                target=request.target,
                headers=request.headers,
                peer=self._public.peer,
                secure=self._public.secure,
                host=self._public.host,
                upgrade=request.upgrade,
                app=gate.app,
                body=body,
            )
        )
        keep = request.keeps and not unread
        if isinstance(decision, Awaitable):
            decision = await decision
        if not isinstance(decision, Pass):
            gate.crowd.turn_away(self._wire)
            return self._say(decision, keep=keep)
        gate.crowd.let_in(self._wire)
        self.app = decision.app
        if request.own:
            own = request.path == STATE_PATH
            said = state_answer(decision.app, self._state()) if own else answer(HTTPStatus.NOT_FOUND, "not found\n")
            return self._say(said, keep=keep, cookies=decision.cookies)
        return await self._forward(decision, keep=keep)

    async def _forward(self, passed: Pass, *, keep: bool) -> bool:
        gate, request, wire = self._gate, self._request, self._wire
        target = gate.apps.target(passed.app)
        if target is None:
            return self._say(waiting_answer(passed.app, self._state(), request), keep=keep, cookies=passed.cookies)
        exchange = Exchange(wire, request, passed, self._public, target)
        # What an open page does by itself is no use of the app.
        activity = gate.meter.of(passed.app) if counts(passed.target) else Activity()
        activity.open += 1
        activity.last_request = gate.meter.clock()
        tried = gate.own_host.get(passed.app, 0)
        gate.visited[wire] = passed
        try:
            await exchange.run(
                gate.pool,
                activity,
                gate.meter.clock,
                local_host=tried > 0 or gate.local_host(passed.app),
                try_own_host=tried > -OWN_HOST_TRIES,
                body_seconds=gate.patience.body,
            )
        except NobodyError:
            gate.apps.lost(passed.app)
            return self._say(waiting_answer(passed.app, self._state(), request), keep=keep, cookies=passed.cookies)
        except GarbageError:
            if wire.lost:
                self.status = CLIENT_GONE
                return False
            return self._say(broken_answer(passed.app, request), keep=keep, cookies=passed.cookies)
        except RefusedError as error:
            return self._say(answer(error.status, f"{error}\n"), keep=False)
        finally:
            gate.visited.pop(wire, None)
            activity.open -= 1
            activity.last_request = activity.last_byte = gate.meter.clock()
            self.status = self.status or exchange.status
        if exchange.refused_host:
            gate.own_host[passed.app] = 1 if exchange.wants_own_host else tried - 1
        return exchange.keep and not wire.lost

    def _state(self) -> State:
        """Say how the app is to who waits for it: one that is ready and does not answer is starting at best."""
        app = self.app or ""
        state = self._gate.apps.state(app)
        if state.word == "ready" and (self._request.path != STATE_PATH or self._gate.apps.target(app) is None):
            return State("starting", "it does not answer yet")
        return state

    def _say(self, said: Answer, *, keep: bool, cookies: tuple[str, ...] = ()) -> bool:
        self.status = said.status
        if cookies:
            said = type(said)(said.status, (*said.headers, *(("set-cookie", one) for one in cookies)), said.body)
        self._wire.write(written(self._request, said, keep=keep))
        return keep


async def own_body(wire: Wire, request: Request) -> bytes:
    """Read a form of our own; raises RefusedError (413 beyond OWN_BODY_LIMIT, 400 for one that cannot be read)."""
    if request.length is not None and request.length > OWN_BODY_LIMIT:
        raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the form is too long")
    if "100-continue" in words(request.headers, "expect"):
        wire.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    reader, body = request.parser, bytearray()
    while True:
        try:
            event = reader.next_event()
            if event is h11.NEED_DATA:
                reader.receive_data(await wire.receive())
                continue
        except h11.RemoteProtocolError as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"{error}") from error
        if not isinstance(event, h11.Data):
            wire.unread(reader.trailing_data[0])
            return bytes(body)
        body += event.data
        if len(body) > OWN_BODY_LIMIT:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the form is too long")


def written(request: Request | None, said: Answer, *, keep: bool) -> bytes:
    """Write an answer of our own as it goes over the wire."""
    status = HTTPStatus(said.status)
    bodiless = status in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}
    lines = [f"HTTP/1.1 {status.value} {status.phrase}"]
    lines += [f"{name}: {value}" for name, value in said.headers if name not in {"content-length", "connection"}]
    if not bodiless:
        lines.append(f"content-length: {len(said.body)}")
    if not keep:
        lines.append("connection: close")
    if any(sign in line for line in lines for sign in "\r\n\0"):
        raise ValueError("a header of our own has a line end in it")
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    return head if bodiless or (request is not None and request.method == "HEAD") else head + said.body


def _many_files() -> int:
    """Raise the soft limit of open files: every open page needs two, and many systems start with 1024.

    Returns how many connections may take: the rest is for those to apps that follow, and for files.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft == resource.RLIM_INFINITY or soft >= most:
        return most * 3 // 4
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    return soft * 3 // 4


def _silent(_event: Mapping[str, object]) -> None:
    """Tell nobody."""


def _never(_app: str) -> bool:
    return False
