"""Where the answers to `input` forms, required variables and file pickers come from (spec 4, 7.6)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.engine.errors import BadInputError, MissingAnswersError, ScriptError
from orchestrator.engine.forms import Field, convert, fallback, fields_of, is_empty, requirements_of
from orchestrator.engine.redaction import is_secret, redact, redact_url
from orchestrator.engine.values import UNDEFINED

FILES = "filepicker"  # the key that answers a `filepicker.open`, which has none of its own


@dataclass(frozen=True, slots=True)
class Question:
    """Ask a person something: `kind` is `form`, `variables` or `files`, `where` the script or app that needs it."""

    kind: str
    where: str
    fields: tuple[Field, ...]
    title: str = ""
    description: str = ""
    index: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the question for a client on the other side of a socket."""
        return {
            "kind": self.kind,
            "where": self.where,
            "title": self.title,
            "description": self.description,
            "index": self.index,
            "fields": [field.to_json() for field in self.fields],
        }


Client = Callable[[Question], Awaitable["Mapping[str, Any] | None"]]


class Answers:
    """Combine the answers given beforehand, a client that can ask a person, and defaults, in this order.

    Secret answers are told to `on_secret` before any script gets them, so that whoever logs can blank them.
    `given` is an object by key, or an array with one object per `input` step in order; `pairs` go before both. `client`
    may be set and taken away at any time; it answers None when the person went away, which leaves the defaults.
    """

    def __init__(
        self,
        given: Mapping[str, Any] | Sequence[Any] | None = None,
        *,
        pairs: Mapping[str, Any] | None = None,
        client: Client | None = None,
    ) -> None:
        self._pairs = dict(pairs or {})
        self._by_key: dict[str, Any] = {}
        self._in_order: list[Mapping[str, Any]] = []
        self.client = client
        self.on_secret: Callable[[str], None] = lambda _value: None
        self._secrets: set[str] = set()
        if isinstance(given, Mapping):
            self._by_key = dict(given)
        elif given is not None:
            self._in_order = [_element(item) for item in given]

    @classmethod
    def from_options(cls, pairs: Iterable[str] = (), document: Any = None, *, client: Client | None = None) -> Answers:
        """Read `--answer KEY=VALUE` pairs and the content of an `--answers` file, an object or an array of objects.

        A key given more than once gets an array. Raises BadInputError.
        """
        read: dict[str, Any] = {}
        for pair in pairs:
            key, equals, value = pair.partition("=")
            if not equals or not key:
                raise BadInputError(f"`--answer` needs KEY=VALUE, got `{key or pair}`")
            if key in read:
                value_list = read[key] if isinstance(read[key], list) else [read[key]]
                read[key] = [*value_list, value]
            else:
                read[key] = value
        if document is not None and not isinstance(document, (Mapping, list, tuple)):
            raise BadInputError("answers must be an object by key, or an array with one object per `input` step")
        return cls(document, pairs=read, client=client)

    async def form(
        self, run_name: str, step_index: int, form: Any, *, title: str = "", description: str = ""
    ) -> dict[str, Any]:
        """Return the answers to the form of an `input` step, `{}` without a form.

        Raises MissingAnswersError with all required fields that stay empty, ScriptError for an answer of a wrong kind.
        """
        fields = fields_of(form)
        if not fields:
            if self._in_order and not self._in_order[0]:
                self._in_order.pop(0)  # the `{}` that stands for a step which asks nothing
            return {}
        own = self._in_order.pop(0) if self._in_order else {}
        question = Question("form", run_name, tuple(fields), title, description, step_index)
        found = await self._collect(question, {**self._by_key, **own, **self._pairs})
        return {field.key: found[field.key] for field in fields}

    async def variables(self, app_name: str, env_now: Mapping[str, str], requirements: Any) -> dict[str, str]:
        """Return the required variables that the environment lacks, for the app's ENVIRONMENT (spec 4).

        `requirements` is an object with `pre` and `env`, or the one array. Raises MissingAnswersError.
        """
        both = requirements if isinstance(requirements, Mapping) else {"pre": requirements}
        fields = [field for field in requirements_of(both.get("pre"), both.get("env")) if not env_now.get(field.key)]
        if not fields:
            return {}
        known: dict[str, Any] = {}
        for element in reversed(self._in_order):
            known.update(element)
        return await self._collect(
            Question("variables", app_name, tuple(fields)), {**known, **self._by_key, **self._pairs}
        )

    async def files(self, params: Mapping[str, Any], *, where: str = "filepicker.open") -> list[str]:
        """Return the paths that a `filepicker.open` gets: the answer to `filepicker`, or what a client picks.

        Raises MissingAnswersError without one, ScriptError for a path that is not there.
        """
        title = params.get("title") if isinstance(params.get("title"), str) else "a path"
        answer = {**self._by_key, **self._pairs}.get(FILES)
        if answer is None and self.client is not None:
            kind = params.get("type") if isinstance(params.get("type"), str) else "file"
            asked = await self.client(
                Question("files", where, (Field(FILES, type=str(kind), title=str(title), required=True),))
            )
            answer = (asked or {}).get(FILES)
        paths = [str(path) for path in (answer if isinstance(answer, (list, tuple)) else [answer]) if path]
        if not paths:
            raise MissingAnswersError({FILES: str(title)}, where=f"`{where}`")
        if len(paths) > 1 and not params.get("multiple"):
            raise ScriptError(f"`{where}` takes one path, got {len(paths)}", hint="give one `--answer filepicker=PATH`")
        return [_existing(path, where, save=bool(params.get("save"))) for path in paths]

    async def _collect(self, question: Question, known: Mapping[str, Any]) -> dict[str, Any]:
        found = {
            field.key: convert(field, known[field.key]) for field in question.fields if _is_given(known, field.key)
        }
        open_fields = tuple(
            field for field in question.fields if field.key not in found or _lacks(field, found[field.key])
        )
        if open_fields and self.client is not None:
            asked = await self.client(
                Question(
                    question.kind, question.where, open_fields, question.title, question.description, question.index
                )
            )
            found.update(
                {
                    field.key: convert(field, asked[field.key])
                    for field in open_fields
                    if asked and _is_given(asked, field.key)
                }
            )
        missing: dict[str, str] = {}
        for field in question.fields:
            if field.key not in found:
                found[field.key] = fallback(field)
            if _lacks(field, found[field.key]):
                missing[field.key] = field.title
        if missing:
            raise MissingAnswersError(missing, where=f"`{question.where}`")
        for field in question.fields:
            if field.secret and isinstance(found[field.key], str) and found[field.key]:
                self._secrets.add(found[field.key])
                self.on_secret(found[field.key])
        return found

    def holds_secret(self, value: Any) -> bool:
        """Tell whether a secret answer stands anywhere in a value."""
        if isinstance(value, str):
            return any(secret in value for secret in self._secrets)
        if isinstance(value, Mapping):
            return any(self.holds_secret(item) for item in value.values())
        return isinstance(value, (list, tuple)) and any(self.holds_secret(item) for item in value)


def _element(item: Any) -> Mapping[str, Any]:
    if item is None:
        return {}
    if not isinstance(item, Mapping):
        raise BadInputError("every element of an array of answers must be an object by key")
    return dict(item)


def _is_given(known: Mapping[str, Any], key: str) -> bool:
    return key in known and known[key] is not None and known[key] is not UNDEFINED


def _lacks(field: Field, value: Any) -> bool:
    return field.required and is_empty(field, value)


def _existing(path: str, where: str, *, save: bool) -> str:
    full = Path(path).expanduser().absolute()
    if not save and not full.exists():
        raise ScriptError(
            f"the path `{full}` given to `{where}` does not exist", hint="check `--answer filepicker=PATH`"
        )
    return str(full)


__all__ = ["FILES", "Answers", "Client", "Field", "Question", "is_secret", "redact", "redact_url", "requirements_of"]
