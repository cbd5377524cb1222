"""The keys of the gate: tokens of apps, links that expire, people with passwords, in one file of this home."""

from __future__ import annotations

import contextlib
import copy
import fcntl
import hashlib
import hmac
import os
import re
import secrets
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeVar

from orchestrator.engine.environment.files import write_atomically
from orchestrator.engine.errors import BadInputError, PinoctlError
from orchestrator.expose.gate import passwords
from orchestrator.expose.gate.book import ID_BYTES, AppKey, Book, Person, Share, dump, load, new_token
from orchestrator.expose.gate.sessions import FOREVER, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from orchestrator.expose.gate.audit import Audit

_T = TypeVar("_T")
_APP: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_USER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,62}")
REMEMBER: Final = 7 * 86400.0  # seconds that an expired link is still known as such
HARD_TO_GUESS: Final = 22  # characters of a token that somebody else chose: 128 bits, if it is random
TRANSIENT: Final = 10.0  # seconds in which a file that cannot be read may be so by chance, as when descriptors run out


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token opens: an app, by its own token (`share` is None) or by a link."""

    app: str
    generation: int
    share: Share | None = None

    @property
    def session(self) -> Session:
        """What somebody who shows the token has for as long as it opens the app."""
        way, who = ("share", self.share.id) if self.share else ("token", "")
        return Session(self.app, way, who, self.generation, FOREVER)


class Keys:
    """Reads and changes the key file at `path`; `clock` returns seconds since 1970.

    Other processes may change the file at any time: each question looks whether it is still the same one. While it
    cannot be read nothing opens anything, after a moment in which what was known still does; `say` is told. Raises
    PinoctlError when the file cannot be read at first, or not be written.
    """

    def __init__(
        self,
        path: Path | None,
        clock: Callable[[], float] = time.time,
        audit: Audit | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._path = path
        self.clock = clock
        self._audit = audit
        self._say = say
        self._broken_since: float | None = None
        self._guard = threading.RLock()
        self._known: tuple[int, int, int] | None = None
        self._book = Book()
        self._digests: list[tuple[bytes, Grant]] = []
        if path is not None:
            self._refresh(first=True)

    @classmethod
    def of_token(cls, app: str, token: str, clock: Callable[[], float] = time.time, audit: Audit | None = None) -> Keys:
        """Make keys without a file, of one app whose token is given: sessions survive as long as that token does.

        Raises BadInputError for a token that could be guessed: no limit on guesses keeps those out who come from many
        addresses, but for one that keeps the owner out as well.
        """
        if len(token) < HARD_TO_GUESS:
            raise BadInputError(
                f"a token of fewer than {HARD_TO_GUESS} characters can be guessed, and this one has {len(token)}",
                hint="`openssl rand -hex 16` makes a good one; without any, one is made and shown",
            )
        keys = cls(None, clock, audit)
        raw = token.encode("utf-8", "surrogateescape")
        book = Book(key=hmac.digest(b"pinoctl sessions of a given token", raw, "sha256"))
        book.apps[_checked_app(app)] = AppKey(token, 0)
        keys._adopt(book)
        return keys

    # -- what commands do

    def token(self, app: str) -> str:
        """Return the app's token, made when it has none."""
        if (known := self.book.apps.get(app)) is not None:
            return known.token
        _checked_app(app)

        def make(book: Book) -> str:
            if app not in book.apps:
                book.apps[app] = AppKey(new_token(), book.generation())
            return book.apps[app].token

        return self._change(make)

    def renew(self, app: str) -> str:
        """Give the app a new token: the old one and all sessions by it or by links end; links that last stay valid."""
        _checked_app(app)

        def make(book: Book) -> str:
            book.apps[app] = AppKey(new_token(), book.generation())
            return book.apps[app].token

        token = self._change(make)
        self._note("token renewed", app=app)
        return token

    def share(self, app: str, seconds: float | None = None, *, once: bool = False, label: str = "") -> Share:
        """Make a link's token for the app that ends after so many seconds (None: never) or opens one browser only."""
        _checked_app(app)
        if seconds is not None and not 0 < seconds < float("inf"):
            raise BadInputError("a link has to last for some time", hint="say for example `--for 2h`")

        def make(book: Book) -> Share:
            if app not in book.apps:
                book.apps[app] = AppKey(new_token(), book.generation())
            name = secrets.token_hex(ID_BYTES)
            while name in book.shares:
                name = secrets.token_hex(ID_BYTES)
            expires = None if seconds is None else self.clock() + seconds
            share = Share(name, new_token(), app, expires, once, used=False, label=label[:100])
            book.shares[name] = share
            return share

        share = self._change(make)
        self._note("share made", app=app, who=share.id)
        return share

    def use(self, share_id: str) -> bool:
        """Use up a link for one browser; False when somebody else was first, or it has ended."""

        def mark(book: Book) -> Share | None:
            share = book.shares.get(share_id)
            if share is None or share.used or not self.lasts(share):
                return None
            book.shares[share_id] = replace(share, used=True)
            return share

        share = self._change(mark)
        if share is not None:
            self._note("share used", app=share.app, who=share_id)
        return share is not None

    def revoke(self, share_id: str) -> Share:
        """Take a link back: it and the sessions by it end at their next request; raises BadInputError for none."""
        share = self._change(lambda book: book.shares.pop(share_id, None))
        if share is None:
            raise BadInputError(f"there is no link `{share_id}`", hint="`pinoctl shares` lists them")
        self._note("share revoked", app=share.app, who=share_id)
        return share

    def shares(self, app: str | None = None) -> list[Share]:
        """List the links that last, those of one app or all."""
        return [each for each in self.book.shares.values() if self.lasts(each) and app in {None, each.app}]

    def set_password(self, user: str, password: str, apps: Iterable[str] | None = None) -> None:
        """Let somebody in by name and password, to these apps or to all; a new password ends their sessions."""
        if not _USER.fullmatch(user):
            raise BadInputError(
                f"{user!r} cannot be a user's name", hint="use letters, digits and `._@+-`, at most 63 of them"
            )
        passwords.check_strength(password)
        chosen = None if apps is None else tuple(sorted({_checked_app(app) for app in apps}))
        secret = passwords.hashed(password)

        def keep(book: Book) -> None:
            book.people[user] = Person(user, chosen, book.generation(), secret)

        self._change(keep)
        self._note("password set", who=user)

    def forget(self, user: str) -> None:
        """Let somebody in no more; raises BadInputError when nobody is called so."""
        if self._change(lambda book: book.people.pop(user, None)) is None:
            raise BadInputError(
                f"nobody called `{user}` has a password", hint="`pinoctl people list` shows those who have"
            )
        self._note("person forgotten", who=user)

    def people(self) -> list[Person]:
        """List who has a password."""
        return list(self.book.people.values())

    def remove(self, app: str) -> None:
        """Forget the token and the links of an app that is gone; nobody has a right to a later one of its name."""

        def drop(book: Book) -> bool:
            for share in [each for each in book.shares.values() if each.app == app]:
                del book.shares[share.id]
            theirs = [each for each in book.people.values() if each.apps is not None and app in each.apps]
            for person in theirs:
                left = tuple(each for each in person.apps or () if each != app)
                book.people[person.user] = replace(person, apps=left)
            return book.apps.pop(app, None) is not None or bool(theirs)

        if self._change(drop):
            self._note("keys removed", app=app)

    # -- what admission asks

    @property
    def book(self) -> Book:
        """Everything as the file has it now; not to be changed."""
        self._refresh()
        return self._book

    def apps(self) -> list[str]:
        """List the apps that have a token."""
        return list(self.book.apps)

    def lasts(self, share: Share) -> bool:
        """Tell whether a link has not expired."""
        return share.expires is None or share.expires > self.clock()

    def is_plain(self, grant: Grant) -> bool:
        """Tell whether a token opens its app as often as it is sent, and still does."""
        return grant.share is None or (not grant.share.once and self.lasts(grant.share))

    def opened_by(self, *forms: bytes) -> Grant | None:
        """Find what a token opens, whether it still lasts or not; every known token is compared, each takes its time.

        `forms` are what the sender may have meant by what was sent.
        """
        self._refresh()
        given = [hashlib.sha256(form).digest() for form in forms]
        found: Grant | None = None
        for digest, grant in self._digests:
            for each in given:
                if hmac.compare_digest(digest, each):
                    found = grant
        return found

    def holds(self, session: Session, app: str) -> bool:
        """Tell whether a session (of ours, its signature is right) opens this app now."""
        book = self.book
        if session.end <= self.clock():
            return False
        if session.way == "person":
            person = book.people.get(session.who)
            return person is not None and person.generation == session.generation and person.may_enter(app)
        key = book.apps.get(app)
        if key is None or session.app != app or session.generation != key.generation:
            return False
        if session.way == "share":
            share = book.shares.get(session.who)
            return share is not None and share.app == app and self.lasts(share)
        return session.way == "token"

    def by_password(self, user: str, password: str) -> Person | None:
        """Return who this is, None when name or password are wrong; both take as long."""
        person = self.book.people.get(user)
        return person if passwords.matches(password, person.password if person else None) else None

    # -- the file

    def _refresh(self, *, first: bool = False) -> None:
        if self._path is None:
            return
        known = _signature(self._path)
        if known == self._known and not first:
            return
        with self._guard:
            try:
                self._adopt(self._read())
            except PinoctlError as error:
                if first:
                    raise
                self._cannot_read(error)
                return  # and the next question tries again: the same file may be read then
            self._known = known
            if self._broken_since is not None:
                self._broken_since = None
                self._tell("the gate's keys can be read again")

    def _cannot_read(self, error: PinoctlError) -> None:
        """Let nobody in by what was known once, unless that passes in a moment: it may have been taken back since."""
        now = self.clock()
        if self._broken_since is None:
            self._broken_since = now
            self._tell(f"{error}; if that lasts, nobody is let in")
        if abs(now - self._broken_since) >= TRANSIENT:
            self._adopt(Book(key=self._book.key))

    def _tell(self, text: str) -> None:
        if self._say is not None:
            self._say(text)

    def _read(self) -> Book:
        if self._path is None:
            return copy.deepcopy(self._book)
        try:
            return load(self._path.read_text("utf-8"))
        except FileNotFoundError:
            return Book()
        except (OSError, ValueError) as error:
            raise PinoctlError(
                f"the gate's keys in `{self._path}` cannot be read: {error}",
                hint="put the file right, or remove it: then every token, link and password is made anew",
            ) from error

    def _change(self, change: Callable[[Book], _T]) -> _T:
        with self._guard, _locked(self._path):
            book = self._read()
            result = change(book)
            long_gone = self.clock() - REMEMBER
            for share in [each for each in book.shares.values() if each.expires is not None]:
                if share.expires is not None and share.expires < long_gone:
                    del book.shares[share.id]
            if self._path is not None:
                write_atomically(self._path, dump(book), 0o600)
                self._known = _signature(self._path)
            self._adopt(book)
        return result

    def _adopt(self, book: Book) -> None:
        digests = [(_digest(key.token), Grant(app, key.generation)) for app, key in book.apps.items()]
        digests.extend(
            (_digest(share.token), Grant(share.app, key.generation, share))
            for share in book.shares.values()
            if (key := book.apps.get(share.app)) is not None
        )
        self._book, self._digests = book, digests

    def _note(self, event: str, *, app: str = "", who: str = "") -> None:
        if self._audit is not None:
            self._audit.note(event, app=app, who=who)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _checked_app(app: str) -> str:
    if not _APP.fullmatch(app):
        raise BadInputError(f"{app!r} cannot be the name of an app", hint="`pinoctl status` shows their names")
    return app


def _signature(path: Path) -> tuple[int, int, int] | None:
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_mtime_ns, about.st_ino, about.st_size


@contextlib.contextmanager
def _locked(path: Path | None) -> Iterator[None]:
    """Keep other processes from changing the file meanwhile."""
    if path is None:
        yield
        return
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise PinoctlError(
            f"`{path.parent}` cannot be written to: {error.strerror or error}",
            hint="check the permissions and the free space of that folder, or set PINOCTL_HOME to another one",
        ) from error
    try:
        with contextlib.suppress(OSError):  # some network file systems have no locks; then only the rename protects
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
