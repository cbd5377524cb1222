"""Which questions an app will ask while its scripts run (spec 4, 7.6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.engine.errors import ScriptError
from orchestrator.engine.forms import Field, fallback, fields_of, requirements_of
from orchestrator.engine.values import UNDEFINED
from orchestrator.plan.plan import Question

if TYPE_CHECKING:
    from orchestrator.engine.dry_run.records import PlannedStep, ScriptPlan


def questions_of(scripts: Sequence[ScriptPlan]) -> tuple[Question, ...]:
    """Return the questions of planned scripts in their order, each key of a script once.

    `required` are those that no default answers: without an answer the script ends there.
    """
    found: dict[tuple[str, str], Question] = {}
    for script in scripts:
        for field in requirements_of(script.pre, script.env):
            found.setdefault((script.script, field.key), _question(script.script, field))
        for step in script.steps:
            for field in _fields(step):
                found.setdefault((step.script, field.key), _question(step.script, field))
    return tuple(found.values())


def _fields(step: PlannedStep) -> list[Field]:
    if not step.executed or not isinstance(step.params, Mapping):
        return []
    if step.method == "filepicker.open":
        title = step.params.get("title")
        return [Field("paths", type="file", title=title if isinstance(title, str) else "", required=False)]
    if step.method != "input":
        return []
    try:
        return fields_of(step.params.get("form"))
    except ScriptError:
        return []  # the step itself fails when it is reached, and the plan shows its params


def _question(script: str, field: Field) -> Question:
    standing_in: Any = fallback(field)
    return Question(
        script=script,
        key=field.key,
        title=field.title,
        kind=field.type,
        default=None if field.secret or standing_in is UNDEFINED else standing_in,
        choices=tuple(value for value, _ in field.choices),
        required=standing_in is UNDEFINED,
        secret=field.secret,
    )
