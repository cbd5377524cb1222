"""The forms of a shell's `message` (spec 8.2), turned into the lines that are typed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.engine.errors import ScriptError
from orchestrator.engine.values import UNDEFINED, to_text, truthy

OPERATORS = {"&": "&&", "|": "||", "*": ";"}


@dataclass(frozen=True, slots=True)
class Line:
    """Be what one shell gets typed: `text`, possibly several lines, and variables that it refers to."""

    text: str
    variables: Mapping[str, str] = field(default_factory=dict)


def operator(chain: Any) -> str:
    """Return the operator that joins activation and messages (8.2, 8.6): `&&` unless `chain` says otherwise."""
    return OPERATORS.get(chain, "&&") if isinstance(chain, str) else "&&"


def quote(text: str) -> str:
    """Put single quotes round a text for bash, always."""
    return "'" + text.replace("'", "'\\''") + "'"


def lines(message: Any, chain: Any = None) -> list[Line]:
    """Return what to type, one entry per shell; none when an array holds nothing to run.

    A missing or empty message is one empty entry: only the activation runs then.
    """
    if not isinstance(message, (list, tuple)):
        return [_line([message], "")] if truthy(message) else [Line("")]
    if truthy(chain):
        return [_line([item for item in message if truthy(item)], operator(chain))]
    return [_line([item], "") for item in message if truthy(item)]


def _line(items: list[Any], joined_by: str) -> Line:
    variables: dict[str, str] = {}
    texts = [_text(item, variables) for item in items]
    if joined_by:
        texts = [text for text in texts if text.strip()]
    return Line(f" {joined_by} ".join(texts), variables)


def _text(item: Any, variables: dict[str, str]) -> str:
    if isinstance(item, str):
        if "\0" in item:
            raise ScriptError("`message` holds a NUL character, which cannot be typed into a shell")
        return item.replace("\r\n", "\n")
    if isinstance(item, Mapping):
        return " ".join(_quoted(word, variables) for word in words(item))
    if isinstance(item, (int, float)) and not isinstance(item, bool):
        return to_text(item)
    raise ScriptError(f"`message` has to be text, an object with `_`, or an array of these, got {type(item).__name__}")


def _quoted(word: str, variables: dict[str, str]) -> str:
    if "\n" not in word and "\r" not in word:
        return quote(word)
    name = f"PINOKIO_ARG_{len(variables)}"
    variables[name] = word
    return f'"${name}"'


def words(command: Mapping[str, Any]) -> list[str]:
    """Return the argv of an object: its positionals (`_`), then its flags in order.

    `true` gives `--k`, `false` `--no-k`, one-letter keys `-k`, arrays repeat the flag, nested objects `--k.sub`; null
    and values that are still an unresolved template are dropped.
    """
    positionals = command.get("_", [])
    if not isinstance(positionals, (list, tuple)):
        positionals = [positionals]
    found = [to_text(item) for item in positionals if _given(item)]
    for key, value in command.items():
        if key != "_":
            found.extend(_flag(key, value))
    return found


def _flag(key: str, value: Any) -> Iterator[str]:
    if not _given(value):
        return
    name = key if key.startswith("-") else f"-{key}" if len(key) == 1 else f"--{key}"
    if value is True:
        yield name
    elif value is False:
        yield f"--no-{key.lstrip('-')}"
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _flag(key, item)
    elif isinstance(value, Mapping):
        for sub, item in value.items():
            yield from _flag(f"{key}.{sub}", item)
    else:
        yield name
        yield to_text(value)


def _given(value: Any) -> bool:
    if value is None or value is UNDEFINED:
        return False
    return not (isinstance(value, str) and value.startswith("{{") and value.endswith("}}"))
