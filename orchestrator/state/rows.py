"""What is remembered of an app, and how it is put right by the facts (design, decision 8). Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from orchestrator.state.app_state import AppState, Phase

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

KILLED = "it was killed before it ended"


@dataclass(frozen=True, slots=True)
class AppRow:
    """Hold one app as the index knows it; times are seconds since 1970, `origin` a URL without secrets."""

    name: str
    path: str
    origin: str | None = None
    ref: str | None = None
    place: str = "host"
    state: AppState = field(default_factory=AppState)
    url: str | None = None
    script: str | None = None
    agent_pid: int | None = None
    agent_started: float | None = None
    created: float = 0.0
    updated: float = 0.0


@dataclass(frozen=True, slots=True)
class Fact:
    """Hold what is true of one app now, from its folder, its journal and its agent.

    `state` is the journal's last word, None when there is no journal; `alive` whether the process that wrote it lives.
    """

    name: str
    path: str
    origin: str | None = None
    ref: str | None = None
    place: str = "host"
    state: AppState | None = None
    alive: bool = False
    url: str | None = None
    script: str | None = None
    agent_pid: int | None = None
    agent_started: float | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """Say what to write: rows to put, names to forget; `rows` is the whole index afterwards."""

    rows: tuple[AppRow, ...]
    put: tuple[AppRow, ...]
    forget: tuple[str, ...]


def reconcile(rows: Iterable[AppRow], facts: Iterable[Fact], *, now: float) -> Changes:
    """Put the index right: facts win, apps without facts are forgotten, what cannot be known from facts is kept.

    An install whose process died has failed; an app whose agent died is stopped, and has no URL.
    """
    known = {row.name.casefold(): row for row in rows}
    result: list[AppRow] = []
    put: list[AppRow] = []
    seen: set[str] = set()
    for fact in facts:
        key = fact.name.casefold()
        if key in seen:
            continue
        seen.add(key)
        old = known.get(key)
        new = from_fact(fact, old)
        if old is None:
            new = replace(new, created=now, updated=now)
        elif new != old:
            new = replace(new, updated=now)
        if new != old:
            put.append(new)
        result.append(new)
    forget = tuple(row.name for key, row in known.items() if key not in seen)
    return Changes(tuple(sorted(result, key=lambda row: row.name.casefold())), tuple(put), forget)


def from_fact(fact: Fact, old: AppRow | None = None) -> AppRow:
    """Make the row that a fact calls for; without a journal the state remembered stays, if it can still be true."""
    said = fact.state or (old.state if old is not None else AppState())
    state = said if fact.alive else settle(said)
    serves = fact.alive and state.phase is Phase.READY
    return AppRow(
        name=fact.name,
        path=fact.path,
        origin=fact.origin or (old.origin if old is not None else None),
        ref=fact.ref or (old.ref if old is not None else None),
        place=fact.place,
        state=state,
        url=(fact.url or (old.url if old is not None else None)) if serves else None,
        script=fact.script or (old.script if old is not None else None),
        agent_pid=fact.agent_pid if fact.alive else None,
        agent_started=fact.agent_started if fact.alive else None,
        created=old.created if old is not None else 0.0,
        updated=old.updated if old is not None else 0.0,
    )


def settle(state: AppState) -> AppState:
    """Return what a state comes to when nobody works on the app any more."""
    if state.phase is Phase.INSTALLING:
        return replace(state, phase=Phase.FAILED, reason=state.reason or KILLED)
    if state.phase in {Phase.STARTING, Phase.READY}:
        return AppState(Phase.STOPPED)
    return state


COLUMNS = (
    "name", "path", "origin", "ref", "place", "state", "step", "steps", "step_name", "reason", "url", "script",
    "agent_pid", "agent_started", "created", "updated",
)  # fmt: skip


def to_columns(row: AppRow) -> dict[str, Any]:
    """Spread a row over the columns of the table."""
    plain = {each.name: getattr(row, each.name) for each in fields(row) if each.name != "state"}
    state = asdict(row.state)
    return {**plain, "state": state.pop("phase").value, **state}


def from_columns(columns: Mapping[str, Any]) -> AppRow:
    """Gather a row from the columns of the table; raise ValueError for a state that does not exist."""
    rest = dict(columns)
    state = AppState(
        Phase(rest.pop("state")), rest.pop("step"), rest.pop("steps"), rest.pop("step_name"), rest.pop("reason")
    )
    return AppRow(**rest, state=state)
