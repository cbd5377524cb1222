"""What is true of the apps of a home right now: folders, agents, what agents left; and the index put right by it."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from orchestrator.agent.files import AgentFiles, read_json
from orchestrator.commands.apps import link_target
from orchestrator.engine.errors import PinoctlError
from orchestrator.launcher.names import installed, same_name, valid_name
from orchestrator.places.choosing import HOST, place_of
from orchestrator.state.app_state import AppState, Phase, render
from orchestrator.state.library import Library
from orchestrator.state.rows import AppRow, Fact, reconcile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator.engine.home import Home
    from orchestrator.places.container.place import ContainerPlace
    from orchestrator.places.place import Place

PATIENCE: Final = 1.0
"""Seconds that an agent gets to answer; one that does not is shown by what it wrote last."""


@dataclass(frozen=True, slots=True)
class View:
    """Hold one app as `status` shows it: its row in the index, and what its agent says (`{}` without one)."""

    row: AppRow
    log: str
    live: Mapping[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """The state in the words that every output uses."""
        return render(self.row.state)

    def stopped_by(self, guard: str) -> View:
        """Return the view of an app that a guard stopped for this reason, "" for none, unless it is up again."""
        if not guard or self.row.state.phase is not Phase.STOPPED:
            return self
        return replace(self, row=replace(self.row, state=AppState(Phase.STOPPED, reason=f"by its guard: {guard}")))

    def to_json(self) -> dict[str, Any]:
        """Return what `status --json` prints of an app."""
        row, state = self.row, self.row.state
        return {
            "app": row.name, "state": self.state, "phase": state.phase.value, "step": state.step, "steps": state.steps,
            "reason": state.reason or None, "url": row.url, "place": row.place, "origin": row.origin, "ref": row.ref,
            "path": row.path,
            "log": self.log, "pid": row.agent_pid, "since": row.agent_started,
            **{key: self.live.get(key, empty) for key, empty in _LIVE.items()},
        }  # fmt: skip


_LIVE: Final[dict[str, Any]] = {
    "running": [],
    "ports": [],
    "usage": {},
    "restarts": 0,
    "questions": [],
    "failed_children": [],
}


def state_of(said: Mapping[str, Any]) -> AppState | None:
    """Read a state as agents report and store it, None when it is none of ours."""
    try:
        phase = Phase(said.get("word"))
    except ValueError:
        return None
    step, steps, reason = said.get("step"), said.get("steps"), said.get("reason")
    return AppState(
        phase,
        step if isinstance(step, int) else None,
        steps if isinstance(steps, int) else None,
        reason=reason if isinstance(reason, str) else "",
    )


def known_apps(home: Home) -> list[str]:
    """List the apps of a home: the folders, and whatever still has an agent though its folder is gone."""
    names: list[str] = []
    with contextlib.suppress(OSError):  # a home that cannot be one has no apps
        names = installed(home)
    with contextlib.suppress(OSError):
        for entry in os.listdir(home.run):  # noqa: PTH208  # names are all that is needed
            name, ending = os.path.splitext(entry)  # noqa: PTH122  # a name, not a path
            if ending == ".sock" and valid_name(name) and not any(same_name(name, other) for other in names):
                names.append(name)
    return names


def survey(home: Home, names: Iterable[str] | None = None) -> list[View]:
    """Return the apps with the index reconciled; all of them are reconciled, `names` says which are returned.

    An index that cannot be written is only left out. Its loss costs nothing but the times in it.
    """
    asker = Asker(home)
    live = {name: asker.ask(name) for name in known_apps(home)}
    facts = [_fact(home, name, said) for name, said in live.items() if said or os.path.lexists(home.app(name))]
    try:
        with Library(home.library, facts=lambda: [_with_origin(home, fact) for fact in facts]) as library:
            old = {row.name for row in library.all()}
            rows = library.reconcile([fact if fact.name in old else _with_origin(home, fact) for fact in facts])
    except (PinoctlError, OSError):
        rows = list(reconcile((), [_with_origin(home, fact) for fact in facts], now=0.0).rows)
    wanted = None if names is None else {name.casefold() for name in names}
    return [
        View(row, str(AgentFiles(home, row.name).terminal), live.get(row.name) or {})
        for row in rows
        if wanted is None or row.name.casefold() in wanted
    ]


@dataclass
class Asker:
    """Ask the agents of one home; a daemon is connected to once for all of them, also one that does not answer."""

    home: Home
    _containers: ContainerPlace | None = field(default=None, init=False)
    _trouble: Exception | None = field(default=None, init=False)

    def ask(self, name: str) -> dict[str, Any] | None:
        """Return what an app's agent says, None without one, `{}` from one that does not answer in time."""
        place = place_of(self.home, name)
        if place.name == HOST:
            return _answer(place, name)
        try:
            return _answer(self._connected(), name)
        except (PinoctlError, OSError) as error:
            return _unknown(place, error)

    def _connected(self) -> ContainerPlace:
        from orchestrator.places.container.place import ContainerPlace  # noqa: PLC0415  # hosts need nothing of it

        if self._trouble is not None:
            raise self._trouble
        if self._containers is None:
            place = ContainerPlace(self.home)
            try:
                place.overlook()
            except (PinoctlError, OSError) as error:
                self._trouble = error
                raise
            self._containers = place
        return self._containers


def ask_agent(home: Home, name: str) -> dict[str, Any] | None:
    """Return what an app's agent says, None without one, `{}` from one that does not answer in time."""
    return _answer(place_of(home, name), name)


def _answer(place: Place, name: str) -> dict[str, Any] | None:
    try:
        return place.status(name, timeout=PATIENCE)
    except (PinoctlError, OSError) as error:
        return {} if place.name == HOST else _unknown(place, error)


def _unknown(place: Place, error: Exception) -> dict[str, Any]:
    return {"word": "failed", "reason": str(error), "place": place.name, "alive": False}


def _fact(home: Home, name: str, said: dict[str, Any] | None) -> Fact:
    stored = read_json(AgentFiles(home, name).state)
    stored = stored if isinstance(stored, dict) else {}
    source = said or stored
    state = state_of(source)
    folder = home.app(name)
    if not folder.is_dir():
        gone = f"its folder `{link_target(folder)}` is gone"
        return Fact(
            name,
            str(folder),
            state=AppState(Phase.FAILED, reason=gone),
            alive=said is not None,
            agent_pid=(said or {}).get("pid"),
        )
    alive = said is not None and said.get("alive", True) is True
    return Fact(
        name, str(folder), place=str(source.get("place") or "host"), state=state, alive=alive, url=source.get("url"),
        agent_pid=source.get("pid") if alive else None, agent_started=source.get("since") if alive else None,
    )  # fmt: skip


def _with_origin(home: Home, fact: Fact) -> Fact:
    """Look up where an app came from, which takes git and so is done once per app."""
    from orchestrator.engine.repositories import remote_of  # noqa: PLC0415  # rarely needed
    from orchestrator.launcher import git  # noqa: PLC0415  # as above
    from orchestrator.launcher.target import hide_secrets  # noqa: PLC0415

    folder = home.app(fact.name)
    if not folder.is_dir():
        return fact
    remote = remote_of(folder)
    return replace(fact, origin=hide_secrets(remote) if remote else None, ref=git.ref_of(folder))
