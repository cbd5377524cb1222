"""What the life cycle needs of the engine and of the launcher: small protocols, so that tests can stand in for both."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Result(Protocol):
    """Tell how a run ended (`RunResult` of the engine)."""

    status: str
    daemon: bool
    error: str | None
    hint: str | None
    step: int | None
    method: str | None
    failed_children: list[str]


class EngineLike(Protocol):
    """Run scripts; the part of `Engine` that an agent uses."""

    async def start(self, path: str, payload: Any = ...) -> Any:
        """Run a script to its end, or a daemon to its last step."""

    async def stop(self, path: str) -> Any:
        """Stop a script and all it started."""

    async def close(self) -> None:
        """Stop everything."""

    def running(self, path: str) -> bool:
        """Tell whether a script is running."""

    def running_scripts(self) -> Mapping[str, Any]:
        """Return the running scripts by path."""

    async def local(self, path: str) -> dict[str, Any]:
        """Return a script's local variables."""

    async def menu(self, app: Path) -> Any:
        """Evaluate an app's menu."""

    def name_of(self, path: str) -> str:
        """Return a script's name in events."""


@dataclass(frozen=True, slots=True)
class Target:
    """Name a script to run, with the arguments that its menu item gave."""

    path: str
    args: Mapping[str, Any] = field(default_factory=dict)

    def is_served_by(self, other: Target) -> bool:
        """Tell whether another target is the same script with at least these arguments."""
        return self.path == other.path and all(other.args.get(key) == value for key, value in self.args.items())


@dataclass(frozen=True, slots=True)
class Plan:
    """Say which scripts an app offers at the moment (spec 3.5).

    `stage` is what the menu says comes next: `install`, `start`, `running`, or `unknown` for menus that never change.
    `lists_start`: the menu itself lists the start script. One that does so while it asks for the installation has no
    test of whether the app is installed. `error` is why the menu could not be evaluated; the scripts are those on disk
    then.
    """

    install: Target | None = None
    start: Target | None = None
    update: Target | None = None
    reset: Target | None = None
    others: tuple[Target, ...] = ()
    stage: str = "unknown"
    lists_start: bool = False
    error: str = ""

    def offered(self, wanted: Target) -> Target:
        """Return a script that somebody named, with what its menu item gives along below what they gave."""
        same = (one for one in (self.start, *self.others) if one is not None and one.path == wanted.path)
        item = next(same, wanted)
        return Target(wanted.path, {**item.args, **wanted.args})

    def to_json(self) -> dict[str, Any]:
        """Return the plan as the journal shows it."""
        named = {"install": self.install, "start": self.start, "update": self.update, "reset": self.reset}
        return {**{key: target.path if target else None for key, target in named.items()}, "stage": self.stage}


class App(Protocol):
    """Know one app's launcher."""

    name: str
    folder: Path

    async def prepare(self, engine: Any, target: Target | None) -> None:
        """Create the app's ENVIRONMENT, get the variables that a script requires (4); raises MissingAnswersError."""

    async def plan(self, engine: Any) -> Plan:
        """Evaluate the menu and choose the scripts."""

    def share_variable(self) -> str:
        """Return the name of the variable that holds the URL (PINOKIO_SHARE_VAR)."""

    def shares(self) -> bool:
        """Tell whether the app's variables ask for a public tunnel (PINOKIO_SHARE_CLOUDFLARE)."""

    async def recover(self) -> bool:
        """Undo an update that a crash interrupted; tells whether there was one."""

    async def save(self) -> Any:
        """Keep what is needed to come back from a failed update."""

    async def restore(self, saved: Any) -> None:
        """Go back to what was saved."""

    async def discard(self, saved: Any) -> None:
        """Forget what was saved."""
