"""What a step asks of a shell, read and checked; no effects yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.engine.shell.activation import CondaTarget

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.engine.shell.message import Line


@dataclass(frozen=True, slots=True)
class ShellRequest:
    """Be the checked params of `shell.run` or `shell.start` (8.1).

    `path` is absolute; `lines` holds one entry per shell; `interactive` is `input: true`, `stays` means that the prompt
    does not end the step.
    """

    path: str
    lines: tuple[Line, ...]
    operator: str = "&&"
    env: Mapping[str, Any] | None = None
    remove: Any = None
    conda: CondaTarget = field(default_factory=lambda: CondaTarget("base"))
    venv: Any = None
    venv_python: Any = None
    on: tuple[Mapping[str, Any], ...] = ()
    interactive: bool = False
    stays: bool = False
    sudo: bool = False
    program: str | None = None
    id: str | None = None
    cols: int | None = None
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """Be one shell to start: a line of a request with its environment and what is typed."""

    id: str
    text: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    reports: bool
    on: tuple[Mapping[str, Any], ...]
