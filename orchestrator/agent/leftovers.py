"""Find what a killed agent left running, by what its journal recorded, and never anything else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.agent.proc import PROC, Process, descendants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Recorded:
    """Name a shell's process as the journal recorded it: `started` in clock ticks since boot."""

    pid: int
    started: int


def recorded_shells(events: Iterable[Mapping[str, Any]], boot: str) -> dict[str, Recorded]:
    """Return the shells, by id, that agents started in this boot and did not see end."""
    alive: dict[str, Recorded] = {}
    for event in events:
        kind = event.get("kind")
        if kind == "shell.start" and event.get("boot") == boot:
            pid, started = event.get("pid"), event.get("started")
            if isinstance(pid, int) and isinstance(started, int):
                alive[str(event.get("id"))] = Recorded(pid, started)
        elif kind == "shell.end":
            alive.pop(str(event.get("id")), None)
    return alive


def find_leftovers(
    shells: Iterable[Recorded], table: Mapping[int, Process], *, belongs: Callable[[Process], bool]
) -> list[Process]:
    """Return the processes that belong to recorded shells, the shells themselves last.

    A number counts only with the start time that was recorded with it. Members of a dead shell's session count when
    `belongs` recognises them, since a session's number is taken as long as it has members.
    """
    found: dict[int, Process] = {}
    for shell in shells:
        leader = table.get(shell.pid)
        if leader is not None and leader.started != shell.started:
            continue
        members = [
            one
            for one in table.values()
            if one.session == shell.pid and one.pid != shell.pid and one.started >= shell.started and belongs(one)
        ]
        roots = [*members, *([leader] if leader is not None and leader.state != "Z" else [])]
        for root in roots:
            for one in [*descendants(root.pid, table), root]:
                found.setdefault(one.pid, one)
    return list(found.values())


class Mark:
    """Recognise processes of one home by their environment, which every shell gets and children inherit."""

    def __init__(self, home: Path, proc: Path = PROC) -> None:
        self._text = str(home).encode()
        self._proc = proc

    def __call__(self, one: Process) -> bool:
        """Tell whether a process was started with this home in its environment."""
        try:
            return self._text in (self._proc / str(one.pid) / "environ").read_bytes()
        except OSError:
            return False
