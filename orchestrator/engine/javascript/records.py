"""What the JavaScript sidecar is given and what it answers, as plain records."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from orchestrator.engine.javascript.process import MEMORY
from orchestrator.engine.values import UNDEFINED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.engine.confinement import Confinement
    from orchestrator.engine.hardware import HardwareProfile


class Host(Protocol):
    """Answer what JavaScript asks of Python, and take what it prints."""

    async def call(self, op: str, payload: dict[str, Any]) -> Any:
        """Answer one question; `payload["run"]` is the run that asks, or an empty string.

        The questions: `port` {port?}, `ports` {count}, `exec` {params}, `shell.<name>` {params, options},
        `stop` {path}, `script.start` {params}, `download` {params}, `import` {kind, uri}.
        An exception rejects the launcher's promise.
        """

    def output(self, run: str, raw: str) -> None:
        """Take text for the terminal of a run (an empty string when it is not known which), CRLF at line ends."""


class Silence:
    """Refuse every question and drop every output."""

    async def call(self, op: str, payload: dict[str, Any]) -> Any:
        """Refuse a question."""
        del payload
        raise NotImplementedError(f"`{op}` has no answer here")

    def output(self, run: str, raw: str) -> None:
        """Drop output."""


@dataclass(frozen=True, slots=True)
class SidecarConfig:
    """Say how a sidecar starts.

    `env` is the environment of the process and of templates until `set_env` gives another; its `PATH` answers `which`.
    `request_timeout` is in seconds, None for no limit; `memory` is in MiB: for the heap, and again for the rest.
    `which` answers `kernel.which` from a table instead of the disk (dry runs).
    """

    home: str
    profile: HardwareProfile
    env: Mapping[str, str] = field(default_factory=dict)
    confined: Confinement | None = None
    request_timeout: float | None = None
    memory: int = MEMORY
    which: Mapping[str, str | None] | None = None
    node: str | None = None

    @classmethod
    def confined_for(
        cls,
        home: str,
        profile: HardwareProfile,
        *,
        request_timeout: float = 20.0,
        which: Mapping[str, str | None] | None = None,
        roots: tuple[str, ...] = (),
    ) -> SidecarConfig:
        """Return the configuration of a sidecar that only plans or evaluates menus: confined, small, timed.

        `roots` are folders that it may read besides the home and the apps linked from there.
        """
        from orchestrator.engine.confinement import Confinement, clean_environment  # noqa: PLC0415  # needs ctypes

        return cls(
            home,
            profile,
            env=clean_environment(home),
            confined=Confinement(roots=roots),
            request_timeout=request_timeout,
            memory=512,
            which=which,
        )


@dataclass(frozen=True, slots=True)
class Opened:
    """Describe a script that was loaded.

    `ids` has one entry per step, `ports` tells of each whether it mentions `port`; `actions` are the keys that can be
    run (spec 4).
    """

    steps: int
    ids: list[str | None]
    daemon: bool
    on_stop: Any
    title: str
    env: list[dict[str, Any]]
    pre: list[dict[str, Any]]
    requires: Any
    actions: list[str]
    description: str = ""
    version: Any = None
    ports: list[bool] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Rendered:
    """Hold one rendered step.

    `method` is None when missing and an Opaque when it is a function. `has_next` tells whether the step has a `next` of
    its own; `next` is then that (an id turned into its index where there is one), else the following index or None.
    `run` is what `when` decided (spec 5.4), `condition` its text as the launcher wrote it, None where it is no text.
    """

    method: Any
    params: Any
    step: dict[str, Any]
    has_next: bool
    next: Any
    run: bool
    when: Any
    returns: Any
    notify: Any
    queue: Any
    uri: Any
    warnings: list[str]
    condition: str | None = None


@dataclass(frozen=True, slots=True)
class CallResult:
    """Hold what a function of the launcher gave; `next` is UNDEFINED unless it assigned `req.next` (`redirected`)."""

    value: Any
    next: Any = UNDEFINED
    redirected: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """Tell what a chunk of output meant to the event patterns (spec 8.7, 8.8).

    `kind` is `none`, `done`, `kill`, `break` or `invalid`; `event` the match captured last or UNDEFINED; `errors` what
    the break patterns found (for `invalid`, the one message); `buffer` the text that was matched; `behind` how many
    characters of the chunk follow the line in which a `done` or `kill` match ended.
    """

    kind: str
    event: Any
    errors: list[str]
    triggers: list[tuple[str, Any]]
    notifies: list[Any]
    buffer: str
    behind: int = 0


@dataclass(frozen=True, slots=True)
class MenuState:
    """Hold the state that a menu is evaluated with; keys are absolute script paths.

    `exists` answers every question whether a file is there, None looks at the disk.
    """

    running: Mapping[str, Any] = field(default_factory=dict)
    ready: frozenset[str] | set[str] = frozenset()
    local: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    global_: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    exists: bool | None = None


@dataclass(frozen=True, slots=True)
class Menu:
    """Hold an app's metadata and menu.

    Each item has its own keys that JSON can carry, plus `link` (what a browser would open), `path` (the absolute path
    of a local target) and `query` (arguments from the href's query string and `params`, all strings). `root` is ""
    or "pinokio" (spec 1.2), `found` whether there is a `pinokio.js`, `error` what the launcher threw.
    """

    items: list[dict[str, Any]]
    meta: dict[str, Any]
    root: str
    found: bool
    error: str | None
