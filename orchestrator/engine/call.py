"""What a method is called with, and how methods find their function (spec 7.0)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.engine.errors import ScriptError
from orchestrator.engine.values import UNDEFINED

if TYPE_CHECKING:
    from orchestrator.engine.engine import Engine
    from orchestrator.engine.run import Run

Method = Callable[["Call"], Awaitable[Any]]


@dataclass(slots=True)
class Call:
    """Carry one execution of a step to its method.

    `params` are the rendered params (UNDEFINED if the step has none), `step` the whole rendered step. A method returns
    the value that becomes the next `input` (UNDEFINED for none) and raises ScriptError to end the script. It may assign
    `next` to redirect the flow (5.7).
    """

    engine: Engine
    run: Run
    method: str
    params: Any
    step: Mapping[str, Any] = field(default_factory=dict)
    index: int = 0
    input: Any = UNDEFINED
    next: Any = UNDEFINED

    @property
    def cwd(self) -> str:
        """Folder that relative paths of the step start from."""
        return self.run.cwd

    def print(self, text: str) -> None:
        """Write a line of our own to the script's terminal."""
        self.run.output(text.replace("\r\n", "\n").replace("\n", "\r\n") + "\r\n")

    def warn(self, text: str) -> None:
        """Log a warning, in the terminal and in the journal."""
        self.run.warn(text)

    def mapping(self) -> dict[str, Any]:
        """Return params as an object, or end the script when they are something else."""
        if not isinstance(self.params, Mapping):
            kind = "nothing" if self.params in (None, UNDEFINED) else type(self.params).__name__
            raise ScriptError(f"`{self.method}` needs an object as `params`, got {kind}")
        return dict(self.params)

    def path(self, key: str, value: Any) -> str:
        """Resolve a path parameter by the rules of spec 5.9, or end the script when it is not a path."""
        if not isinstance(value, str) or not value or "\0" in value:
            raise ScriptError(f"`{self.method}` needs a path as `{key}`, got {value!r}")
        return self.engine.resolve(value, self.cwd)


METHODS: dict[str, Method] = {}
WITHOUT_EFFECTS = frozenset(
    {"log", "jump", "goto", "local.set", "local.rm", "global.set", "global.rm", "script.return", "notify"}
)  # what touches nothing outside the script's own memory
IGNORED = frozenset({"proxy.start"})  # spec 7.7: skipped with a log line


def method(*names: str) -> Callable[[Method], Method]:
    """Register a function under one or more method names."""

    def register(function: Method) -> Method:
        for name in names:
            METHODS[name] = function
        return function

    return register
