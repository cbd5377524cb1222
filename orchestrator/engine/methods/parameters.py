"""Checking what steps give as `params`: every error names the method and the parameter."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.engine.errors import ScriptError
from orchestrator.engine.values import UNDEFINED, Match, Opaque, Undefined, to_text

if TYPE_CHECKING:
    from orchestrator.engine.call import Call

_MISSING = (None, UNDEFINED)


def kind(value: Any) -> str:
    """Name the type of a value in the words of JavaScript."""
    if value is None:
        return "null"
    if isinstance(value, Undefined):
        return "nothing"
    names: list[tuple[Any, str]] = [
        (bool, "true or false"),
        ((int, float), "a number"),
        (str, "a string"),
        ((bytes, bytearray), "a Buffer"),
        ((list, tuple, Match), "an array"),
        (Opaque, "a function"),
        (Mapping, "an object"),
    ]
    return next((name for types, name in names if isinstance(value, types)), type(value).__name__)


def wrong(call: Call, key: str, needed: str, value: Any) -> ScriptError:
    """Make the error for a parameter of a wrong type."""
    return ScriptError(f"`{call.method}` needs {needed} as `{key}`, got {kind(value)}")


def given(params: Mapping[str, Any], key: str) -> Any:
    """Return a parameter, None when it is missing, null or undefined."""
    value = params.get(key)
    return None if value is UNDEFINED else value


def optional_text(call: Call, params: Mapping[str, Any], key: str) -> str | None:
    """Return a string parameter, None when it is not given."""
    value = given(params, key)
    if value is not None and not isinstance(value, str):
        raise wrong(call, key, "a string", value)
    return value


def optional_mapping(call: Call, params: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return an object parameter, `{}` when it is not given."""
    value = given(params, key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise wrong(call, key, "an object", value)
    return dict(value)


def number(call: Call, params: Mapping[str, Any], key: str) -> float | None:
    """Return a number, which may be written as a string, None when it is not given."""
    value = given(params, key)
    if value is None or value == "":
        return None
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError:
            pass
    raise wrong(call, key, "a number", value)


def plain_path(call: Call, key: str, value: Any) -> str:
    """Resolve a path against the script's folder and nothing else: `~/` has no meaning (the `pr` column of spec 7)."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise ScriptError(f"`{call.method}` needs a path as `{key}`, got {value!r}")
    return os.path.abspath(os.path.join(call.cwd, value))  # noqa: PTH100, PTH118  # resolve() would follow links


def to_flag(value: Any) -> bool:
    """Tell whether a variable is switched on: `true` or `1` (7.8)."""
    return to_text(value).strip().lower() in {"true", "1"} if value not in _MISSING else False


def variables_of(call: Call) -> dict[str, str]:
    """Return the variables that templates of this script see (9.5)."""
    return dict(call.engine.environment.template(call.run.path))
