"""`input`, `filepicker.open`, `modal`, `loading.*` and other steps that talk to a person (spec 7.6, headless)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from orchestrator.engine.call import Call, method
from orchestrator.engine.forms import fields_of
from orchestrator.engine.methods.parameters import given, optional_text
from orchestrator.engine.redaction import redact
from orchestrator.engine.values import UNDEFINED, to_text


@method("input")
async def input_(call: Call) -> Any:
    """Return the answers to the form by key, `{}` without a form; secret answers are never shown."""
    params = _params(call)
    title, description = optional_text(call, params, "title") or "", optional_text(call, params, "description") or ""
    _say(call, title, description)
    fields = fields_of(given(params, "form"))
    if fields:
        call.run.event(
            "input.wait", {"index": call.index, "title": title, "fields": [field.to_json() for field in fields]}
        )
    answers = await call.engine.answers.form(
        call.run.name, call.index, given(params, "form"), title=title, description=description
    )
    types = {field.key: field.type for field in fields}
    shown = {
        key: f"{len(value)} bytes" if isinstance(value, bytes) else value
        for key, value in redact(answers, types).items()
    }
    for key, value in shown.items():
        call.print(f"  {key}: {to_text(value)}")
    if fields:
        call.run.event("input.done", {"index": call.index, "answers": shown})
    return answers


@method("filepicker.open")
async def filepicker(call: Call) -> Any:
    """Return `{paths: [...]}` from the answers, or end the script."""
    return {"paths": await call.engine.answers.files(_params(call), where=call.method)}


@method("modal")
async def modal(call: Call) -> Any:
    """Log what the dialog would say and go on."""
    _log_texts(call)
    return {}


@method("loading.start", "loading.end")
async def loading(call: Call) -> Any:
    """Log what the spinner would say and go on."""
    _log_texts(call)
    return {}


@method("notify", "push")
async def notify(call: Call) -> Any:
    """Log the text of a notification."""
    params = _params(call)
    text = _plain(*(params.get(key) for key in ("title", "html", "message")))
    call.print(text)
    href = params.get("href")
    call.run.event("notify", {"text": text, **({"href": href} if isinstance(href, str) else {})})
    return UNDEFINED


@method("htmlmodal.open", "htmlmodal.update", "htmlmodal.close")
async def htmlmodal(call: Call) -> Any:
    """Log the dialog; a dialog that waits gets its first action as the answer."""
    _log_texts(call)
    params = _params(call)
    return {"action": _first_action(params)} if params.get("await") is True else params


def _params(call: Call) -> dict[str, Any]:
    """Return params, `{}` when the step has none."""
    return {} if call.params is None or call.params is UNDEFINED else call.mapping()


def _first_action(params: Mapping[str, Any]) -> str:
    actions = params.get("actions")
    for action in actions if isinstance(actions, (list, tuple)) else ():
        name = action.get("id", action.get("action", action.get("key"))) if isinstance(action, Mapping) else action
        if isinstance(name, str) and name:
            return name
    return "close"


def _log_texts(call: Call) -> None:
    params = _params(call)
    _say(call, *(params.get(key) for key in ("title", "description", "message", "html")))


def _say(call: Call, *texts: Any) -> None:
    text = _plain(*texts)
    if text:
        call.print(text)


def _plain(*texts: Any) -> str:
    """Join texts on one line, without HTML tags."""
    joined = ": ".join(text for text in texts if isinstance(text, str) and text)
    return re.sub(r"\s+", " ", re.sub(r"<[^<>]*>", " ", joined)).strip()
