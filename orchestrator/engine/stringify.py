"""`JSON.stringify` for Python values."""

from __future__ import annotations

import json
import math
from typing import Any

from orchestrator.engine.values import plain


def _numbers(value: Any) -> Any:
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return int(value) if value.is_integer() and abs(value) < 1e21 else value  # noqa: PLR2004  # JavaScript's limit
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    return value


def stringify(value: Any, *, indent: int | None = None) -> str:
    """Write a value as JavaScript does: no escapes but the needed ones, whole floats as integers, NaN as null."""
    separators = (",", ":") if indent is None else (",", ": ")
    text = json.dumps(_numbers(plain(value)), ensure_ascii=False, separators=separators, indent=indent)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")  # lone surrogates are written as escapes
