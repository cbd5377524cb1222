"""What the sidecar's replies are turned into: outcomes of matches, and exceptions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from orchestrator.engine.errors import JavaScriptError, LoadError, ScriptError
from orchestrator.engine.javascript.records import Outcome
from orchestrator.engine.values import decode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LONGEST_MESSAGE: Final = 2000  # characters of an error that a launcher made


def outcome_of(answer: Mapping[str, Any]) -> Outcome:
    """Read what a chunk of output meant to the event patterns."""
    triggers: Sequence[tuple[str, Any]] = [(key, decode(match)) for key, match in answer["triggers"]]
    return Outcome(
        kind=answer["kind"],
        event=decode(answer["event"]),
        errors=answer["errors"],
        triggers=list(triggers),
        notifies=decode(answer["notifies"]),
        buffer=answer["buffer"],
        behind=int(answer.get("behind") or 0),
    )


def _shortened(text: str) -> str:
    """Cut an error's text that a launcher made endless."""
    return text if len(text) <= LONGEST_MESSAGE else f"{text[:LONGEST_MESSAGE]}…"


def exception_of(error: Mapping[str, Any]) -> Exception:
    """Turn an error of the sidecar into the exception that stands for it."""
    message, name = _shortened(str(error.get("message", ""))), error.get("name", "Error")
    if name == "LoadFailure":
        return LoadError(message, no_steps=error.get("code") == "no-steps")
    if name == "ScriptProblem":
        return ScriptError(message)
    return JavaScriptError(message, name=name, stack=error.get("stack", ""), code=error.get("code"))
