"""What the gate's key file holds: tokens of apps, shares, people; and how it is written as JSON."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

VERSION = 1
KEY_BYTES = 32  # of the key that signs sessions
TOKEN_BYTES = 24  # 192 bits, 32 characters
ID_BYTES = 4

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class AppKey:
    """The token that opens an app; a session of another generation is over."""

    token: str = field(repr=False)
    generation: int


@dataclass(frozen=True, slots=True)
class Share:
    """A link to one app: `expires` is seconds since 1970 or None, `once` opens one browser, `used` by one already."""

    id: str
    token: str = field(repr=False)
    app: str
    expires: float | None
    once: bool
    used: bool
    label: str


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a password; `apps` they may enter, None for all."""

    user: str
    apps: tuple[str, ...] | None
    generation: int
    password: str = field(repr=False)  # as `passwords.hashed` writes it

    def may_enter(self, app: str) -> bool:
        """Tell whether this app is one of theirs."""
        return self.apps is None or app in self.apps


@dataclass(slots=True)
class Book:
    """Everything in the key file; `counter` numbers the generations, none is ever given twice."""

    key: bytes = field(default_factory=lambda: secrets.token_bytes(KEY_BYTES), repr=False)
    counter: int = 0
    apps: dict[str, AppKey] = field(default_factory=dict)
    shares: dict[str, Share] = field(default_factory=dict)
    people: dict[str, Person] = field(default_factory=dict)

    def generation(self) -> int:
        """Return a number that no token and no password had before."""
        self.counter += 1
        return self.counter


def new_token() -> str:
    """Return 192 random bits as 32 characters that need no quoting in an address."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def dump(book: Book) -> str:
    """Write a book as JSON."""
    content = {
        "version": VERSION,
        "key": book.key.hex(),
        "counter": book.counter,
        "apps": {app: asdict(key) for app, key in book.apps.items()},
        "shares": [asdict(share) for share in book.shares.values()],
        "people": [asdict(person) for person in book.people.values()],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def load(text: str) -> Book:
    """Read a book from JSON; raises ValueError when it is none, or one of a later version."""
    content = json.loads(text)
    if not isinstance(content, dict) or content.get("version") != VERSION:
        raise ValueError("it is not a key file of this version")
    try:
        key = bytes.fromhex(content["key"])
        if len(key) != KEY_BYTES:
            raise ValueError("its signing key has the wrong length")
        shares = [_filled(Share, each) for each in content["shares"]]
        people = [_filled(Person, {**each, "apps": _apps(each["apps"])}) for each in content["people"]]
        return Book(
            key=key,
            counter=int(content["counter"]),
            apps={str(app): _filled(AppKey, each) for app, each in content["apps"].items()},
            shares={share.id: share for share in shares},
            people={person.user: person for person in people},
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it lacks {error}") from error


def _apps(given: Any) -> tuple[str, ...] | None:
    return None if given is None else tuple(map(str, given))


def _filled(kind: type[_T], given: dict[str, Any]) -> _T:
    made = kind(**{each.name: given[each.name] for each in fields(kind)})  # type: ignore[arg-type]  # only dataclasses
    token = getattr(made, "token", "-")
    if not isinstance(token, str) or not token:
        raise ValueError("one of its tokens is empty")  # it would let everyone in
    return made
