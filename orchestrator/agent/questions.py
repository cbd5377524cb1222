"""Questions of scripts that wait for a client's answer."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.engine.errors import BadInputError

if TYPE_CHECKING:
    from orchestrator.engine.answers import Question
    from orchestrator.engine.redactor import Redactor

Emit = Callable[[str, Mapping[str, Any]], None]


@dataclass(slots=True)
class _Waiting:
    data: dict[str, Any]
    question: Question
    future: asyncio.Future[Mapping[str, Any] | None]


class Questions:
    """Pass questions to clients and answers back; the first answer counts."""

    def __init__(self, emit: Emit, redactor: Redactor) -> None:
        self._emit = emit
        self._redactor = redactor
        self._numbers = itertools.count(1)
        self._waiting: dict[str, _Waiting] = {}

    async def ask(self, question: Question) -> Mapping[str, Any] | None:
        """Wait for the answers to a question; None when the last client that could answer went away."""
        number = f"q{next(self._numbers)}"
        form = question.to_json()
        waiting = _Waiting(
            {"script": question.where, "id": number, "form": form}, question, asyncio.get_running_loop().create_future()
        )
        self._waiting[number] = waiting
        self._emit("question", waiting.data)
        try:
            return await waiting.future
        finally:
            del self._waiting[number]
            self._emit("answered", {"id": number})

    def answer(self, number: Any, values: Any) -> None:
        """Take an answer; raises BadInputError for a question that does not wait."""
        waiting = self._waiting.get(str(number))
        if waiting is None or waiting.future.done():
            raise BadInputError(
                f"no question `{number}` waits for an answer", hint="another client may have answered it"
            )
        if not isinstance(values, Mapping):
            raise BadInputError("an answer is an object by key")
        self._redactor.add(
            str(values[field.key]) for field in waiting.question.fields if field.secret and values.get(field.key)
        )
        waiting.future.set_result(dict(values))

    def abandon(self) -> None:
        """Let every question wait no longer, since nobody is left to answer."""
        for waiting in self._waiting.values():
            if not waiting.future.done():
                waiting.future.set_result(None)

    def pending(self) -> list[dict[str, Any]]:
        """Return the questions that wait."""
        return [waiting.data for waiting in self._waiting.values()]
