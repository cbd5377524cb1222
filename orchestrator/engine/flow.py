"""Which step comes next: pure rules over step numbers and ids (spec 5.2.7, 5.7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.engine.errors import ScriptError
from orchestrator.engine.values import UNDEFINED

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Following:
    """Name the step to do next: `index` for the loop, `label` as the script wrote it (traces show that)."""

    index: int
    label: Any


def after(index: int, steps: int) -> Following | None:
    """Return the step behind `index`, or None behind the last."""
    return Following(index + 1, index + 1) if index + 1 < steps else None


def _whole(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str):
        text = value.strip()
        return int(text) if text.isascii() and text.isdigit() else None
    return None


def resolve_next(value: Any, *, ids: Sequence[str | None], steps: int) -> Following | None:
    """Turn a step's `next` into the step it names, None to end the run.

    A string names the first step with that id, or holds a number (section 15: numbers in strings are coerced). What
    names no step is an error, where the desktop ends silently.
    """
    if value is None or value is UNDEFINED:
        return None
    if isinstance(value, str) and value in ids:
        index = ids.index(value)
        return Following(index, index)
    index_or_none = _whole(value)
    if index_or_none is None:
        known = ", ".join(f"`{known_id}`" for known_id in ids if known_id) or "none has an id"
        raise ScriptError(
            f"`next` is {value!r}, which is neither a step's id nor a number", hint=f"ids in this script: {known}"
        )
    if not 0 <= index_or_none < steps:
        raise ScriptError(f"`next` is {value!r}, but the script has steps 0 to {steps - 1}")
    return Following(index_or_none, value if isinstance(value, str) else index_or_none)


def find_last(step_id: Any, ids: Sequence[str | None]) -> int | None:
    """Return the last step with an id, as `jump` looks it up (5.7), or None."""
    for index in range(len(ids) - 1, -1, -1):
        if ids[index] is not None and ids[index] == step_id:
            return index
    return None
