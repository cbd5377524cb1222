"""The fields of `input` forms and required variables, and what counts as an answer to one (spec 4, 7.6)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.engine.disk import disk
from orchestrator.engine.errors import ScriptError
from orchestrator.engine.redaction import is_secret
from orchestrator.engine.values import UNDEFINED, to_text, truthy

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)  # what a number field lets pass
_YES, _NO = frozenset({"true", "1", "yes", "on", "y"}), frozenset({"false", "0", "no", "off", "n", ""})


@dataclass(frozen=True, slots=True)
class Field:
    """Describe one question; `choices` are (value, text) pairs, `default` is UNDEFINED when there is none."""

    key: str
    type: str = "text"
    title: str = ""
    description: str = ""
    required: bool = False
    default: Any = UNDEFINED
    choices: tuple[tuple[str, str], ...] = ()

    @property
    def secret(self) -> bool:
        """Tell whether answers to it must stay out of output and events."""
        return is_secret(self.key, self.type)

    def to_json(self) -> dict[str, Any]:
        """Return the question as clients and the journal get it; a secret's default is left out."""
        default = {} if self.default is UNDEFINED or self.secret else {"default": to_text(self.default)}
        return {
            "key": self.key,
            "type": self.type,
            "title": self.title or self.key,
            "description": self.description,
            "required": self.required,
            "secret": self.secret,
            "choices": [{"value": value, "text": text} for value, text in self.choices],
            **default,
        }


def fields_of(form: Any) -> list[Field]:
    """Read the `form` of an `input` step; entries without a `key` ask nothing."""
    if form is None or form is UNDEFINED:
        return []
    if not isinstance(form, (list, tuple)):
        raise ScriptError(f"`input` needs an array as `form`, got {type(form).__name__}")
    entries = [
        entry for entry in form if isinstance(entry, Mapping) and isinstance(entry.get("key"), str) and entry["key"]
    ]
    return [_field(entry, entry["key"], required=truthy(entry.get("required", UNDEFINED))) for entry in entries]


def requirements_of(pre: Any, env: Any) -> list[Field]:
    """Read the variables that a script requires: `pre` wins over `env`, strings in the arrays mean nothing (spec 4)."""
    listed = pre if isinstance(pre, Sequence) and not isinstance(pre, str) and len(pre) > 0 else env
    found: dict[str, Field] = {}
    for entry in listed if isinstance(listed, Sequence) and not isinstance(listed, str) else ():
        if isinstance(entry, Mapping):
            name = next((entry[key] for key in ("env", "key") if isinstance(entry.get(key), str) and entry[key]), None)
            if name is not None and name not in found:
                found[name] = _field(entry, name, required=True)
    return list(found.values())


def _field(entry: Mapping[str, Any], key: str, *, required: bool) -> Field:
    default = entry.get("default", UNDEFINED)
    items = entry.get("items")
    if not isinstance(items, (list, tuple)):
        items = ()
    kind = entry.get("type") if isinstance(entry.get("type"), str) else "text"
    return Field(
        key=key,
        type=str(kind).lower(),
        title=_text(entry.get("title")),
        description=_text(entry.get("description")),
        required=required,
        default=UNDEFINED if default is None else default,
        choices=tuple(_choice(item) for item in items),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _choice(item: Any) -> tuple[str, str]:
    if not isinstance(item, Mapping):
        return to_text(item), to_text(item)
    text, value = item.get("text"), item.get("value")
    return to_text(text if value is None else value), to_text(value if text is None else text)


def convert(field: Field, answer: Any) -> Any:
    """Turn an answer into what the desktop's form would return: a boolean, bytes or a string (7.6).

    Raises ScriptError for an answer that the field cannot take.
    """
    if field.type == "checkbox":
        return _boolean(field, answer)
    if field.type == "file":
        return _file(field, answer)
    text = to_text(answer) if answer is not None and answer is not UNDEFINED else ""
    if field.choices:
        return _chosen(field, text)
    if field.type == "number" and text.strip() and not _NUMBER.fullmatch(text.strip()):
        given = "the answer given" if field.secret else f"`{text}`"
        raise ScriptError(f"{given} is no number, as `{field.key}` must be", hint=f"use `--answer {field.key}=1`")
    return text


def fallback(field: Field) -> Any:
    """Return what an unanswered field gets, UNDEFINED when it is required and nothing stands in for an answer."""
    if field.type == "checkbox":
        return UNDEFINED if field.required and field.default is UNDEFINED else truthy(field.default)
    if field.choices:
        wanted = "" if field.default is UNDEFINED else to_text(field.default)
        return next((value for value, text in field.choices if wanted and wanted in {value, text}), field.choices[0][0])
    value = "" if field.default is UNDEFINED or field.type == "file" else to_text(field.default)
    return UNDEFINED if field.required and not value else value


def is_empty(field: Field, value: Any) -> bool:
    """Tell whether a required field would still count as empty with this value."""
    return value is UNDEFINED or (
        field.type != "checkbox" and value in {"", None} if not isinstance(value, bytes) else False
    )


def _boolean(field: Field, answer: Any) -> bool:
    if isinstance(answer, bool):
        return answer
    text = "" if answer is None or answer is UNDEFINED else to_text(answer).strip().lower()
    if text in _YES or text in _NO:
        return text in _YES
    raise ScriptError(
        f"the answer to `{field.key}` must be true or false", hint=f"give it with `--answer {field.key}=true`"
    )


def _chosen(field: Field, text: str) -> str:
    found = next((value for value, _ in field.choices if text == value), None)
    found = found if found is not None else next((value for value, shown in field.choices if text == shown), None)
    if found is not None:
        return found
    offered = ", ".join(f"`{value}`" for value, _ in field.choices)
    given = "the answer given" if field.secret else f"`{text}`"
    raise ScriptError(f"{given} is no choice of `{field.key}`", hint=f"choose one of {offered}")


def _file(field: Field, answer: Any) -> bytes | str:
    if isinstance(answer, (bytes, bytearray)):
        return bytes(answer)
    if answer is None or answer is UNDEFINED or answer == "":
        return ""
    if not isinstance(answer, (str, os.PathLike)) or "\0" in str(answer):
        raise ScriptError(
            f"the answer to `{field.key}` must be the path of a file", hint=f"give it with `--answer {field.key}=PATH`"
        )
    path = Path(answer).expanduser()
    with disk(f"read the answer to `{field.key}`:", path):
        return path.read_bytes()
