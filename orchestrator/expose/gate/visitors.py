"""Who a visitor is: what their tokens and sessions open, and what of theirs is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.expose.gate import requests, sessions

if TYPE_CHECKING:
    from orchestrator.expose.gate.contract import Seen
    from orchestrator.expose.gate.keys import Grant, Keys
    from orchestrator.expose.gate.requests import Forms
    from orchestrator.expose.gate.sessions import Session


@dataclass(frozen=True, slots=True)
class Visitor:
    """What a request brought that counts, for the app of its port.

    `by_query` may be a link that has ended or opens one browser only; `by_header` never is, that is `ended` then.
    `sessions` are signed by us, and may be over. `guesses` are tokens and cookies that are nothing. `choice` is the
    app last chosen.
    """

    keys: Keys
    by_query: Grant | None
    by_header: Grant | None
    ended: Grant | None
    sessions: tuple[Session, ...]
    guesses: tuple[bytes, ...]
    choice: str

    def opens(self, app: str) -> Session | None:
        """Return the session that opens this app now."""
        return next((each for each in self.sessions if self.keys.holds(each, app)), None)


def look_at(seen: Seen, keys: Keys) -> Visitor:
    """Look at what a request carries."""
    carried = requests.carried(seen)
    guesses: list[bytes] = []

    def first(given: tuple[Forms, ...]) -> Grant | None:
        found: Grant | None = None
        for forms in given:  # all of them, whichever is right
            grant = keys.opened_by(*forms)
            if grant is None or seen.app not in {None, grant.app}:
                guesses.append(forms[0])
            elif found is None or not keys.is_plain(found):
                found = grant
        return found

    by_query, by_header = first(carried.query), first(carried.headers)
    plain = by_header is not None and keys.is_plain(by_header)
    valid: list[Session] = []
    key = keys.book.key
    for name, value in carried.cookies:
        base = name.removeprefix(sessions.SECURE_PREFIX)
        if base == sessions.CHOICE:
            continue
        if (session := sessions.unseal(value, key)) is not None:
            if base == sessions.base_of(session):
                valid.append(session)
        elif seen.app is None or base in {sessions.PERSON, sessions.cookie_of(seen.app)}:
            guesses.append(value.encode("latin-1", "replace"))  # those of other ports come along, and are not for here
    choices = [value for name, value in carried.cookies if name.removeprefix(sessions.SECURE_PREFIX) == sessions.CHOICE]
    return Visitor(
        keys,
        by_query,
        by_header if plain else None,
        None if plain else by_header,
        tuple(valid),
        tuple(guesses),
        choices[0] if choices else "",
    )
