"""Ask whether the user is sure, for what cannot be undone."""

from __future__ import annotations

from orchestrator.commands import ask
from orchestrator.engine.errors import BadInputError


def confirm(question: str, *, yes: bool) -> bool:
    """Return whether to go on: `--yes`, or a person who says so; raise BadInputError where nobody can be asked."""
    if yes:
        return True
    if not ask.can_ask():
        raise BadInputError(f"{question}: nobody can be asked here", hint="say so with `--yes`")
    person = ask.at_terminal()
    try:
        return bool(ask.ask_field({"key": "sure", "title": question, "type": "checkbox"}, person))
    except ask.GoneError:
        return False
