"""JavaScript values in Python, and the JSON that carries them between the two.

JSON has no `undefined`, Buffer, function or match array; each travels as an object with one `$` key, the encoding of
the conformance files: `{"$undefined": true}`, `{"$buffer": base64}`, `{"$function": name}`,
`{"$match": [...], "index", "groups", "input"}`, `{"$error": message}`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final


class Undefined:
    """Be JavaScript's `undefined`: falsy, and one single object."""

    _instance: Undefined | None = None

    def __new__(cls) -> Undefined:  # noqa: PYI034  # there is no subclass, and `Self` is not in Python 3.10
        """Return the one object."""
        if cls._instance is None:
            cls._instance = super().__new__(cls)
        return cls._instance

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "undefined"


UNDEFINED: Final = Undefined()


@dataclass(frozen=True, slots=True)
class Match:
    """Hold a JavaScript match array: `items[0]` the whole text, then the groups (UNDEFINED where one took no part)."""

    items: tuple[Any, ...]
    index: int = 0
    groups: Mapping[str, Any] | None = None
    input: str = ""


@dataclass(frozen=True, slots=True)
class Opaque:
    """Stand for a value that only the sidecar can hold (a function, a Promise, a class instance).

    `encoded` is what the journal and traces show; `handle` names the live value in the sidecar while its run lasts.
    """

    encoded: Mapping[str, Any] = field(default_factory=dict)
    handle: str | None = None


def encode(value: Any) -> Any:  # noqa: PLR0911  # one return per kind of value
    """Turn a Python value into JSON that the sidecar, the journal and traces read."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Undefined):
        return {"$undefined": True}
    if isinstance(value, (bytes, bytearray)):
        return {"$buffer": base64.b64encode(value).decode("ascii")}
    if isinstance(value, Match):
        return {
            "$match": [encode(item) for item in value.items],
            "index": value.index,
            "groups": encode(dict(value.groups)) if value.groups is not None else None,
            "input": value.input,
        }
    if isinstance(value, Opaque):
        return {**value.encoded, **({"handle": value.handle} if value.handle else {})}
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    raise TypeError(f"a {type(value).__name__} has no JavaScript counterpart")


def decode(value: Any) -> Any:  # noqa: PLR0911  # as above
    """Turn JSON from the sidecar into Python values; the inverse of `encode`."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("$undefined") is True:
        return UNDEFINED
    if isinstance(value.get("$buffer"), str):
        try:
            return base64.b64decode(value["$buffer"], validate=True)
        except (binascii.Error, ValueError):
            return {key: decode(item) for key, item in value.items()}
    if isinstance(value.get("$match"), list):
        groups, index = value.get("groups"), value.get("index")
        return Match(
            tuple(decode(item) for item in value["$match"]),
            index if isinstance(index, int) else 0,
            decode(groups) if isinstance(groups, dict) else None,
            str(value.get("input") or ""),
        )
    if "$function" in value or "$error" in value or "$opaque" in value:
        return Opaque({key: item for key, item in value.items() if key != "handle"}, value.get("handle"))
    return {key: decode(item) for key, item in value.items()}


def truthy(value: Any) -> bool:
    """Tell whether JavaScript takes a value for true: objects and arrays always, `0`, `""`, NaN, null never."""
    if isinstance(value, (Mapping, list, tuple, Match, Opaque, bytes, bytearray)):
        return True
    if isinstance(value, float) and value != value:  # noqa: PLR0124  # NaN is the one value unequal to itself
        return False
    return bool(value)


def to_text(value: Any) -> str:  # noqa: PLR0911  # as above
    """Convert a value to text as JavaScript's `String(value)` does (spec 6.1, rule 4)."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:  # noqa: PLR2004  # JavaScript's own limit
        return str(int(value))
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "replace")
    if isinstance(value, (list, tuple)):
        return ",".join("" if item is None or isinstance(item, Undefined) else to_text(item) for item in value)
    if isinstance(value, Match):
        return to_text(list(value.items))
    if isinstance(value, Mapping):
        return "[object Object]"
    return str(value)


def plain(value: Any) -> Any:
    """Reduce a value to what `JSON.stringify` keeps: matches become arrays, undefined members vanish."""
    if isinstance(value, Match):
        return [plain(item) for item in value.items]
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items() if not isinstance(item, (Undefined, Opaque))}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (Undefined, Opaque)):
        return None
    if isinstance(value, (bytes, bytearray)):
        return {"type": "Buffer", "data": list(value)}
    return value


def holds_live_values(value: Any) -> bool:
    """Tell whether a value has a part that only a living sidecar can hold, so that it cannot be stored for later."""
    if isinstance(value, Opaque):
        return True
    if isinstance(value, Mapping):
        return any(holds_live_values(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return any(holds_live_values(item) for item in value)
    return False
