"""Which apps are exposed and how: what commands ask for, kept in HOME/gate/exposed.json so that a new gate goes on."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

from orchestrator.engine.errors import BadInputError
from orchestrator.expose.guard.durations import LONGEST

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from orchestrator.engine.home import Home

AUTO: Final = "auto"
NONE: Final = "none"
OWN: Final = "own"
APP: Final = "app"
MACHINE: Final = "machine"


@dataclass(frozen=True, slots=True)
class GateFiles:
    """Name the files of a home's gate; the folder is nobody else's (mode 700)."""

    home: Home

    @property
    def folder(self) -> Path:
        """Folder of all that outlives the gate's process."""
        return self.home.root / "gate"

    @property
    def keys(self) -> Path:
        """Tokens, links and passwords."""
        return self.folder / "keys.json"

    @property
    def audit(self) -> Path:
        """Who entered, who did not."""
        return self.folder / "audit.jsonl"

    @property
    def exposed(self) -> Path:
        """The exposures."""
        return self.folder / "exposed.json"

    @property
    def accounts(self) -> Path:
        """Tokens and settings of tunnels."""
        return self.folder / "accounts.json"

    @property
    def log(self) -> Path:
        """What the gate's process prints: what its tunnels say, and whatever breaks."""
        return self.folder / "gate.log"

    @property
    def socket(self) -> Path:
        """Unix socket that the gate's process answers on; no app can have this name."""
        return self.home.run / ".gate.sock"

    @property
    def lock(self) -> Path:
        """File that a living gate holds locked."""
        return self.home.run / ".gate.lock"

    def prepare(self) -> None:
        """Create the folders, closed to other users."""
        for folder in (self.home.run, self.folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)


@dataclass(frozen=True, slots=True)
class Exposure:
    """Say how an app is exposed.

    `port` is the gate's (0: any), `door` the one that tunnels lead to. `tunnel` is a provider's name, `auto` or `none`.
    `streams`: it sends server-sent events, which some tunnels hold back. `public` lets everyone in. `framed` lets other
    sites show it in a frame. After `idle_seconds` without use or `most_seconds` altogether, which `meter`
    counts, `at_end` says what is stopped: the `app` or the `machine`. `active` is False while the app is down;
    `stopped` is why the guard stopped it, until it is exposed again.
    """

    app: str
    port: int = 0
    door: int = 0
    tunnel: str = AUTO
    public: bool = False
    framed: bool = False
    streams: bool = True
    idle_seconds: float | None = None
    most_seconds: float | None = None
    at_end: str = APP
    meter: dict[str, Any] | None = None
    active: bool = True
    stopped: str = ""

    def changed(self, given: Mapping[str, Any]) -> Exposure:
        """Return the exposure with what was given (not None) put in; raises BadInputError for what it cannot be."""
        return _checked(replace(self, **{key: value for key, value in given.items() if value is not None}))


def _text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _flag(value: object) -> bool:
    return isinstance(value, bool)


def _number(value: object) -> bool:
    return isinstance(value, int)


def _span(value: object) -> bool:
    return value is None or (isinstance(value, (int, float)) and 0 <= value <= LONGEST)


_RIGHT: Final[dict[str, Callable[[object], bool]]] = {
    "app": _text, "port": _number, "door": _number, "tunnel": _text, "public": _flag, "framed": _flag,
    "streams": _flag, "idle_seconds": _span, "most_seconds": _span,
    "at_end": lambda value: value in (APP, MACHINE),
    "meter": lambda value: isinstance(value, (dict, type(None))),
    "active": _flag, "stopped": lambda value: isinstance(value, str),
}  # fmt: skip


def _checked(found: Exposure) -> Exposure:
    for field in fields(found):
        value = getattr(found, field.name)
        if not _RIGHT[field.name](value):
            raise BadInputError(
                f"`{field.name}` of an exposure cannot be `{value!r}`", hint="docs/expose.md tells how apps are exposed"
            )
    # 0 takes a limit back
    return replace(found, idle_seconds=found.idle_seconds or None, most_seconds=found.most_seconds or None)


def read(path: Path, warn: Callable[[str], None] = lambda _text: None) -> dict[str, Exposure]:
    """Return the exposures by app; what cannot be read is left out and told, as a gate must come up all the same."""
    try:
        stored = json.loads(path.read_text("utf-8"))["apps"]
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError):
        stored = None
    if not isinstance(stored, list):
        warn(f"`{path}` cannot be read: which apps were exposed, and how, has to be given again")
        return {}
    known = {field.name for field in fields(Exposure)}
    found = {}
    for row in stored:
        try:
            exposure = _checked(Exposure(**{key: value for key, value in row.items() if key in known}))
        except (BadInputError, TypeError, AttributeError):
            warn(f"`{path}` cannot be read in part: an app that was exposed has to be exposed again")
            continue
        found[exposure.app] = exposure
    return found


def write(path: Path, exposures: Mapping[str, Exposure]) -> None:
    """Replace the file in one move (mode 600); raises PinoctlError."""
    from orchestrator.engine.environment.files import write_atomically  # noqa: PLC0415  # rarely needed by commands

    write_atomically(path, json.dumps({"version": 1, "apps": [asdict(each) for each in exposures.values()]}, indent=1))
