"""What a dry run of a script yields, as plain records."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from orchestrator.engine.values import UNDEFINED


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """Describe one step that a dry run reached.

    `script` is relative to the app's folder (a script that `script.start` began has its own steps, after the step that
    began it), `index` the step's index or its label, `method` None when the step has none and `"function"` for an
    inline function, `params` the rendered params (UNDEFINED when the step has none), `cwd` the absolute folder that
    relative paths of the step start from, `when` the condition as the launcher wrote it, None without one.
    `step` holds the other rendered keys of the step (`id`, `uri`, `notify`, `returns`, `next`, `queue`).
    """

    script: str
    index: int | str
    executed: bool
    method: str | None
    params: Any = UNDEFINED
    cwd: str = ""
    when: str | None = None
    step: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ScriptPlan:
    """Describe the dry run of one script.

    `app` is the app's absolute folder, `script` the path below it, `status` one of `end`, `error`, `step-limit`,
    `load-error`; `pre` and `env` are the variables the script asks for before its first step (spec 4); `local` and
    `result` what its memory and its last step held at the end. `trace` holds the lines of the trace, without the
    closing one. `no_steps` tells of a file that loads and is no script.
    """

    app: str
    script: str
    status: str
    steps: tuple[PlannedStep, ...] = ()
    error: str | None = None
    hint: str | None = None
    daemon: bool = False
    result: Any = UNDEFINED
    local: dict[str, Any] = field(default_factory=dict)
    pre: tuple[dict[str, Any], ...] = ()
    env: tuple[dict[str, Any], ...] = ()
    trace: tuple[dict[str, Any], ...] = ()
    no_steps: bool = False
