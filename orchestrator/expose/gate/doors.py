"""The ways in and out: what a token, a link or a password is worth, which cookies follow, and who has to wait."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from orchestrator.expose.gate import pages, sessions
from orchestrator.expose.gate.limits import Limits
from orchestrator.expose.gate.requests import local
from orchestrator.expose.gate.sessions import Session

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from orchestrator.expose.gate.audit import Audit
    from orchestrator.expose.gate.book import Person
    from orchestrator.expose.gate.contract import Answer, Seen
    from orchestrator.expose.gate.keys import Grant, Keys
    from orchestrator.expose.gate.visitors import Visitor

_MOST_FIELDS: Final = 20
_FORM: Final = "application/x-www-form-urlencoded"
MOST_PASSWORDS: Final = 8  # that wait for their turn; looking at one takes some 80 ms


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a login: `cookies` when it was right, `wait` when it was not looked at, else why not.

    `wrong` is for the visitor, `reason` and `who` for the audit log (a name only when somebody is called so).
    """

    goes_to: str
    cookies: tuple[str, ...] | None = None
    wait: float = 0.0
    status: int = 401
    wrong: str = ""
    reason: str = ""
    who: str = ""


class Doors:
    """Lets people in and out; `clock` returns seconds and never goes back."""

    def __init__(
        self, keys: Keys, clock: Callable[[], float], framed: Callable[[str], bool], audit: Audit | None
    ) -> None:
        self._keys = keys
        self._framed = framed
        self._audit = audit
        self._limits = Limits(clock)
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._worker = ThreadPoolExecutor(1, "password")  # scrypt lets the other threads run meanwhile

    # -- waiting

    def waits(self, peer: str) -> float:
        """Say for how many seconds who comes with a wrong token is told to wait."""
        return self._limits.wait(peer)

    def wrong(self, peer: str, guesses: Iterable[bytes]) -> None:
        """Count wrong tokens and cookies, each once for an address."""
        for guess in guesses:
            self._limits.wrong(peer, guess)

    # -- what links are worth

    def why_not(self, grant: Grant) -> str:
        """Say why a link opens nothing any more; empty when it does."""
        share = grant.share
        if share is None:
            return ""
        if not self._keys.lasts(share):
            return "This link has expired"
        return "This link was used already, and opens one browser only" if share.once and share.used else ""

    def offer(self, grant: Grant, look: pages.Look, goes_to: str) -> Answer:
        """Show the page of a link that opens one browser only, or say that it has ended."""
        if why := self.why_not(grant):
            return pages.message(403, why, html=look)
        return pages.once(look, token=grant.share.token if grant.share else "", goes_to=goes_to)

    # -- in and out

    def enter(self, seen: Seen, grant: Grant, *, known: Session | None = None) -> tuple[str, ...]:
        """Make the cookies for who came by a token; `known` is their session so far, if it opens the app as well."""
        share = grant.share
        end = self._keys.clock() + sessions.LASTS
        if share is not None and share.expires is not None:
            end = min(end, share.expires)
        session = replace(grant.session, end=int(end))
        way, who = session.way, session.who
        if known is not None and known.way == "token" and share is not None:
            return self.choice(seen, grant.app)  # the better session stays
        if known is None or (known.way, known.who) != (way, who):
            self._note("entered", seen, app=grant.app, way=way, who=who)
        return (self._cookie(seen, session), *self.choice(seen, grant.app))

    def renewed(self, seen: Seen, session: Session) -> tuple[str, ...]:
        """Make a new cookie for a session that is in its second half; a link's end is not put off."""
        now = self._keys.clock()
        share = self._keys.book.shares.get(session.who) if session.way == "share" else None
        if session.end - now > sessions.LASTS / 2 or (share is not None and share.expires is not None):
            return ()
        longer = Session(session.app, session.way, session.who, session.generation, int(now + sessions.LASTS))
        return (self._cookie(seen, longer),)

    def choice(self, seen: Seen, app: str) -> tuple[str, ...]:
        """Make the cookie by which the one port for all knows where to go; none at an app's own port."""
        if seen.app is not None:
            return ()
        framed = self.framed(app)
        return (sessions.set_cookie(sessions.CHOICE, app, seconds=sessions.LASTS, secure=seen.secure, framed=framed),)

    def leave(self, seen: Seen, visitor: Visitor) -> tuple[str, ...]:
        """Make the cookies that end the visitor's sessions at this port."""
        bases = {sessions.PERSON}
        if seen.app is not None:
            bases.add(sessions.cookie_of(seen.app))
        else:
            bases |= {sessions.CHOICE, *(sessions.cookie_of(each.app) for each in visitor.sessions if each.app)}
        framed = self.framed(seen.app)
        kinds = (True, False) if seen.secure else (False,)
        lines = [
            sessions.set_cookie(base, "", seconds=0, secure=secure, framed=framed)
            for base in sorted(bases)
            for secure in kinds
        ]
        return tuple(lines)

    def framed(self, app: str | None) -> bool:
        """Tell whether an app is shown in a page of another site; at the one port for all, whether any is."""
        return any(map(self._framed, self._keys.apps())) if app is None else self._framed(app)

    def next_of(self, seen: Seen) -> str:
        """Return where the visitor wanted to go, as the address says; not to be trusted."""
        fields = parse_qsl(seen.target.partition("?")[2], keep_blank_values=True)
        return next((value for name, value in fields if name == "next"), "/")

    def login(self, seen: Seen, visitor: Visitor) -> Outcome | Awaitable[Outcome]:
        """Look at the fields of the login form: a token (or a whole link), or name and password, which takes time."""
        kind = next((value for name, value in seen.headers if name == "content-type"), "")
        if kind.partition(";")[0].strip().lower() != _FORM:
            return Outcome("/", status=415, wrong="This is not what the form sends", reason="no form")
        try:
            text = seen.body.decode("utf-8", "replace")
            fields = dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS))
        except ValueError:
            return Outcome("/", status=400, wrong="This is not what the form sends", reason="too many fields")
        goes_to = local(fields.get("next", "/"))
        if token := _token_in(fields.get("token", "")):
            return self._by_token(seen, visitor, token, goes_to)
        if user := fields.get("user", "").strip():
            return self._by_password(seen, user, fields.get("password", ""), goes_to)
        return Outcome(goes_to, status=400, wrong="Enter the token, or your name and password", reason="empty")

    def _by_token(self, seen: Seen, visitor: Visitor, token: str, goes_to: str) -> Outcome:
        raw = token.encode("utf-8", "surrogateescape")
        grant = self._keys.opened_by(raw)
        if grant is None or seen.app not in {None, grant.app}:
            if wait := self._limits.wait(seen.peer):
                return Outcome(goes_to, wait=wait)
            self._limits.wrong(seen.peer, raw)
            return Outcome(goes_to, wrong="This token opens nothing here", reason="wrong token")
        share = grant.share
        if share is not None and not self._keys.is_plain(grant):
            if visitor.opens(grant.app):
                return Outcome(goes_to, self.choice(seen, grant.app))
            if why := self.why_not(grant):
                return Outcome(goes_to, status=403, wrong=why, reason="ended link", who=share.id)
            if not self._keys.use(share.id):
                why = "This link was used by another browser just now"
                return Outcome(goes_to, status=403, wrong=why, reason="used link", who=share.id)
        return Outcome(goes_to, self.enter(seen, grant))

    async def _by_password(self, seen: Seen, user: str, password: str, goes_to: str) -> Outcome:
        wrong = Outcome(goes_to, wrong="Name or password is wrong", reason="wrong password")
        if not self._keys.people():
            return wrong
        wait = self._limits.wait_for_password(seen.peer, user)
        if wait or self._waiting >= MOST_PASSWORDS:
            return Outcome(goes_to, wait=wait or 1.0)
        self._waiting += 1
        try:
            async with self._turn:  # one after the other, so that each wrong one counts before the next is looked at
                if wait := self._limits.wait_for_password(seen.peer, user):
                    return Outcome(goes_to, wait=wait)
                self._limits.tried_password()
                loop = asyncio.get_running_loop()
                person = await loop.run_in_executor(self._worker, self._keys.by_password, user, password)
                if person is None:
                    self._limits.wrong_password(seen.peer, user)
        finally:
            self._waiting -= 1
        known = self._keys.book.people.get(user)
        if person is None or person != known:  # or they were removed, or got another one, in the meantime
            return replace(wrong, who=user if known is not None else "")
        if seen.app is not None and not person.may_enter(seen.app):
            return Outcome(goes_to, status=403, wrong="You may not enter this app", reason="not their app", who=user)
        return Outcome(goes_to, self._enter_person(seen, person))

    def _enter_person(self, seen: Seen, person: Person) -> tuple[str, ...]:
        end = int(self._keys.clock() + sessions.LASTS)
        self._note("login", seen, app=seen.app or "", way="password", who=person.user)
        return (self._cookie(seen, Session("", "person", person.user, person.generation, end)),)

    def _cookie(self, seen: Seen, session: Session) -> str:
        base = sessions.base_of(session)
        seconds = max(0, session.end - int(self._keys.clock()))
        framed = self.framed(session.app or seen.app)
        value = sessions.seal(session, self._keys.book.key)
        return sessions.set_cookie(base, value, seconds=seconds, secure=seen.secure, framed=framed)

    def _note(self, event: str, seen: Seen, *, app: str, way: str, who: str) -> None:
        if self._audit is not None:
            self._audit.note(event, app=app, peer=seen.peer, way=way, who=who)


def _token_in(given: str) -> str:
    """Take the token out of what a person pasted: it may be the whole link."""
    text = given.strip()
    if "://" not in text:
        return text
    fields = parse_qsl(text.partition("#")[0].partition("?")[2])
    return next((value for name, value in fields if name == "token"), text)
