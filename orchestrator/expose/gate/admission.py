"""Admission: who may enter an app, by token, link, session, password or because the app is open to all."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from orchestrator.engine.errors import PinoctlError
from orchestrator.expose.gate import origins, pages, sessions
from orchestrator.expose.gate.audit import Audit, Seldom
from orchestrator.expose.gate.contract import Answer, Pass, Seen
from orchestrator.expose.gate.doors import Doors, Outcome
from orchestrator.expose.gate.requests import (
    Forms,
    asks_for_page,
    cleaned,
    is_address,
    local,
    own_path,
    same_place,
    wants_html,
    wants_json,
    without_tokens,
)
from orchestrator.expose.gate.visitors import Visitor, look_at

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable

    from orchestrator.expose.gate.keys import Grant, Keys
    from orchestrator.expose.gate.sessions import Session

REFUSED_METHODS: Final = frozenset({"CONNECT", "TRACE"})
_IN_A_BROWSER: Final = "This link has to be opened in a browser"


class Admission:
    """Decides about every request to the gate; one for all its ports (a Gatekeeper).

    `keys` know tokens, links and people, and the time of day. `clock` returns seconds and never goes back (for
    limits). `public` and `framed` say which apps are open to all and which are shown in a page of another site;
    `allowed` are the origins (`https://host`) that may frame them and send requests with the visitor's cookie. `apps`
    lists what the one port for all offers.
    """

    def __init__(
        self,
        keys: Keys,
        *,
        nonce: str,
        clock: Callable[[], float] = time.monotonic,
        public: Collection[str] | Callable[[str], bool] = (),
        framed: Collection[str] | Callable[[str], bool] = (),
        allowed: Collection[str] = (),
        apps: Callable[[], Iterable[str]] | None = None,
        audit: Audit | None = None,
        title: str = "pinoctl",
    ) -> None:
        self._keys = keys
        self._nonce = nonce
        self._public = public if callable(public) else frozenset(public).__contains__
        self._allowed = tuple(allowed)
        self._apps = apps or keys.apps
        self._log = Seldom(audit, clock)
        self._doors = Doors(keys, clock, framed if callable(framed) else frozenset(framed).__contains__, audit)
        self._title = title

    def decide(self, seen: Seen) -> Pass | Answer | Awaitable[Answer]:
        """Say what becomes of a request."""
        if seen.method in REFUSED_METHODS:
            return pages.plain(405, f"{seen.method} is not done here\n")
        if not is_address(seen.target) and (seen.method, seen.target) != ("OPTIONS", "*"):
            return pages.plain(400, "the address has to be a path, without blanks or control characters\n")
        own = own_path(seen.target)
        try:
            return self._app(seen) if own in {None, "state"} else self._own(seen, own or "")
        except PinoctlError:  # the key file cannot be written: nothing that needs it can be done
            return self._say(seen, 503, "The gate cannot write its keys now; try again later")

    def lasts(self, passed: Pass) -> bool:
        """Tell whether what let a request in still would, and note that it does not."""
        by = passed.by
        if self._public(passed.app) or (by is not None and self._keys.holds(by, passed.app)):
            return True
        way, who = (by.way, by.who) if by is not None else ("open to all", "")
        self._log.note("ended", app=passed.app, way=way, who=who)
        return False

    # -- an app's addresses

    def _app(self, seen: Seen) -> Pass | Answer:
        visitor = look_at(seen, self._keys)
        if (decided := self._by_link(seen, visitor)) is not None:
            return decided
        if visitor.by_header is not None:
            return self._pass_by_token(seen, visitor.by_header)
        app = seen.app or self._chosen(visitor)
        if app is None:
            return self._choose(seen, visitor)
        if self._public(app):
            # What is open to all is open to other sites' pages as well: a cookie of ours gives them nothing more, and
            # apps are embedded elsewhere. What the app itself keeps in cookies is the app's to protect, as without us.
            return replace(self._pass(seen, app, None), closed=False)
        session = visitor.opens(app)
        return self._stranger(seen, visitor) if session is None else self._by_cookie(seen, app, session)

    def _by_cookie(self, seen: Seen, app: str, session: Session) -> Pass | Answer:
        own = origins.is_own if origins.changes(seen) else origins.may_read
        if own(seen, self._allowed):
            return self._pass(seen, app, session, self._doors.renewed(seen, session) if asks_for_page(seen) else ())
        self._log.note("refused", app=app, peer=seen.peer, way="another origin", who=session.who)
        text = "This request comes from a page of another site; a program proves itself by the header Authorization"
        return self._say(seen, 403, text)

    def _by_link(self, seen: Seen, visitor: Visitor) -> Pass | Answer | None:
        """Decide by a token in the address; None when there is none that counts."""
        grant = visitor.by_query
        if grant is None:
            return None
        is_page, session = asks_for_page(seen), visitor.opens(grant.app)
        clean = same_place(without_tokens(seen.target, self._is_token))
        if self._keys.is_plain(grant):
            if is_page:
                return self._moved(visitor, clean, self._doors.enter(seen, grant, known=session))
            return self._pass_by_token(seen, grant)
        if session is not None:  # who came in by this link before, or by another way
            return self._moved(visitor, clean, self._doors.choice(seen, grant.app)) if is_page else None
        if self._public(grant.app):
            return None
        return self._doors.offer(grant, self._look(seen), clean) if is_page else self._no_page(seen, grant)

    def _no_page(self, seen: Seen, grant: Grant) -> Answer:
        return self._say(seen, 403, self._doors.why_not(grant) or _IN_A_BROWSER)

    def _pass_by_token(self, seen: Seen, grant: Grant) -> Pass:
        by = grant.session
        self._log.note("entered", app=grant.app, peer=seen.peer, way=f"{by.way} of a program", who=by.who)
        return self._pass(seen, grant.app, by)

    def _pass(self, seen: Seen, app: str, by: Session | None, cookies: tuple[str, ...] = ()) -> Pass:
        target = without_tokens(seen.target, self._is_token)
        return Pass(app, target, cleaned(seen.headers, self._is_token), cookies, by=by)

    def _is_token(self, forms: Forms) -> bool:
        return self._keys.opened_by(*forms) is not None

    def _stranger(self, seen: Seen, visitor: Visitor) -> Answer:
        if visitor.guesses:
            if wait := self._doors.waits(seen.peer):
                return self._limited(seen, wait)
            self._doors.wrong(seen.peer, visitor.guesses)
            self._log.note("refused", app=seen.app or "", peer=seen.peer, way="wrong token")
        if asks_for_page(seen):
            goes_to, people = same_place(seen.target), bool(self._keys.people())
            return pages.login(401, self._look(seen), goes_to=goes_to, people=people)
        if visitor.ended is not None:
            text = self._doors.why_not(visitor.ended) or _IN_A_BROWSER
        else:
            text = "This app is closed: give its token in the header Authorization (Bearer) or X-Pinoctl-Token"
        return self._say(seen, 401, text, (("www-authenticate", 'Bearer realm="pinoctl"'),))

    # -- the one port for all

    def _open_to(self, visitor: Visitor) -> list[str]:
        named = visitor.by_header.app if visitor.by_header is not None else None
        return [app for app in self._apps() if self._public(app) or app == named or visitor.opens(app)]

    def _chosen(self, visitor: Visitor) -> str | None:
        open_to = self._open_to(visitor)
        if visitor.choice in open_to:
            return visitor.choice
        return open_to[0] if len(open_to) == 1 else None

    def _choose(self, seen: Seen, visitor: Visitor) -> Answer:
        if not self._open_to(visitor):
            return self._stranger(seen, visitor)
        if asks_for_page(seen):
            return pages.redirect("/.pinoctl/apps")
        return self._say(seen, 404, "No app was chosen; `/.pinoctl/apps` lists them, `/.pinoctl/go/NAME` chooses one")

    # -- the gate's own addresses

    def _own(self, seen: Seen, path: str) -> Answer | Awaitable[Answer]:
        reads = {"GET", "HEAD"}
        known: dict[str, Callable[[], Answer | Awaitable[Answer]]] = {}
        if path in {"nonce", "health"}:
            known = dict.fromkeys(reads, lambda: pages.plain(200, self._nonce if path == "nonce" else "ok"))
        elif path == "login":
            known = dict.fromkeys(reads, lambda: self._ask(seen)) | {"POST": lambda: self._login(seen)}
        elif path == "logout":
            known = dict.fromkeys(reads, lambda: pages.logout(self._look(seen)))
            known["POST"] = lambda: self._logout(seen)
        elif path == "apps" and seen.app is None:
            known = dict.fromkeys(reads, lambda: self._list(seen))
        elif path.startswith("go/") and seen.app is None:
            known = dict.fromkeys(reads, lambda: self._go(seen, path.removeprefix("go/")))
        if not known or seen.upgrade:
            return self._say(seen, 404, "There is nothing at this address of the gate")
        if (does := known.get(seen.method)) is None:
            allow = (("allow", ", ".join(sorted(known))),)
            return self._say(seen, 405, f"{seen.method} does nothing at this address", allow)
        return does()

    def _ask(self, seen: Seen) -> Answer:
        goes_to = local(self._doors.next_of(seen))
        return pages.login(200, self._look(seen), goes_to=goes_to, people=bool(self._keys.people()))

    def _login(self, seen: Seen) -> Answer | Awaitable[Answer]:
        if not origins.is_own(seen, self._allowed):
            self._log.note("refused", app=seen.app or "", peer=seen.peer, way="login from another origin")
            return self._say(seen, 403, "This form was sent by a page of another site")
        visitor = look_at(seen, self._keys)
        outcome = self._doors.login(seen, visitor)
        if isinstance(outcome, Outcome):
            return self._after_login(seen, visitor, outcome)

        async def later() -> Answer:
            return self._after_login(seen, visitor, await outcome)

        return later()

    def _after_login(self, seen: Seen, visitor: Visitor, outcome: Outcome) -> Answer:
        if outcome.wait:
            return self._limited(seen, outcome.wait)
        if outcome.cookies is not None:
            return self._moved(visitor, outcome.goes_to, outcome.cookies)
        self._log.note("refused", app=seen.app or "", peer=seen.peer, way=f"login: {outcome.reason}", who=outcome.who)
        return pages.login(
            outcome.status,
            self._look(seen),
            goes_to=outcome.goes_to,
            people=bool(self._keys.people()),
            wrong=outcome.wrong,
        )

    def _logout(self, seen: Seen) -> Answer:
        if not origins.is_own(seen, self._allowed):
            return self._say(seen, 403, "This form was sent by a page of another site")
        self._log.note("left", app=seen.app or "", peer=seen.peer)
        visitor = look_at(seen, self._keys)
        return pages.redirect("/.pinoctl/login", self._doors.leave(seen, visitor))

    def _list(self, seen: Seen) -> Answer:
        visitor = look_at(seen, self._keys)
        if not (open_to := self._open_to(visitor)):
            return self._stranger(seen, visitor)
        names = sorted(open_to, key=str.casefold)
        as_json = wants_json(seen) and not wants_html(seen)
        return pages.listed(names) if as_json else pages.apps(self._look(seen), names)

    def _go(self, seen: Seen, app: str) -> Answer:
        visitor = look_at(seen, self._keys)
        goes_to = local(self._doors.next_of(seen))
        grant = visitor.by_query
        if grant is not None and grant.app == app and not visitor.opens(app):
            if self._keys.is_plain(grant):
                return self._moved(visitor, goes_to, self._doors.enter(seen, grant))
            return self._doors.offer(grant, self._look(seen), goes_to)
        if app in self._open_to(visitor):
            return self._moved(visitor, goes_to, self._doors.choice(seen, app))
        return self._stranger(seen, visitor)

    # -- answers

    def _moved(self, visitor: Visitor, goes_to: str, cookies: tuple[str, ...]) -> Answer:
        """Send a browser on; where that leads it to another app, without what it kept of the one before.

        On one port for all the same address is a page of every app.
        """
        chosen = [value for line in cookies if (value := sessions.chosen_by(line)) is not None]
        answer = pages.redirect(goes_to, cookies)
        if not chosen or chosen == [visitor.choice]:
            return answer
        return replace(answer, headers=(*answer.headers, ("clear-site-data", '"cache"')))

    def _limited(self, seen: Seen, wait: float) -> Answer:
        seconds = max(1, math.ceil(wait))
        self._log.note("limited", app=seen.app or "", peer=seen.peer)
        text = f"Too many wrong tokens or passwords were tried; try again in {seconds} seconds"
        return self._say(seen, 429, text, (("retry-after", str(seconds)),))

    def _say(self, seen: Seen, status: int, text: str, more: Iterable[tuple[str, str]] = ()) -> Answer:
        html = self._look(seen) if wants_html(seen) and not seen.upgrade else None
        return pages.message(status, text, html=html, as_json=wants_json(seen), more=more)

    def _look(self, seen: Seen) -> pages.Look:
        framed = self._doors.framed(seen.app)
        return pages.Look(self._title, self._allowed if framed else None)
