"""`env.set` and `env.switch`: variables in the app's ENVIRONMENT file (spec 7.3, 9.3)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

from orchestrator.engine.call import Call, method
from orchestrator.engine.environment.files import ensure_app_file, set_app_values
from orchestrator.engine.errors import ScriptError
from orchestrator.engine.methods.parameters import variables_of, wrong
from orchestrator.engine.redaction import is_secret
from orchestrator.engine.values import UNDEFINED, to_text

_ONE_AT_A_TIME = threading.Lock()  # two scripts of an app may set variables at once


@method("env.set")
async def env_set(call: Call) -> Any:
    """Set variables of the app, for templates and shells from the next step on."""
    await _store(call, {name: _value(call, name, value) for name, value in call.mapping().items()})
    return UNDEFINED


@method("env.switch")
async def env_switch(call: Call) -> Any:
    """Move variables to the next of their options; an unset one gets the first, any other value stays."""
    variables = variables_of(call)
    chosen: dict[str, str] = {}
    for name, options in call.mapping().items():
        if not isinstance(options, list) or not options:
            raise wrong(call, name, "an array of options", options)
        texts = [_value(call, name, option) for option in options]
        now = variables.get(name)
        if not now:
            chosen[name] = texts[0]
        elif now in texts:
            chosen[name] = texts[(texts.index(now) + 1) % len(texts)]
    await _store(call, chosen)
    return UNDEFINED


def _value(call: Call, name: str, value: Any) -> str:
    if isinstance(value, (Mapping, list, bytes)):
        raise wrong(call, name, "a string", value)
    text = "" if value is None or value is UNDEFINED else to_text(value)
    if "\0" in text:
        raise ScriptError(f"`{call.method}` cannot store `{name}`: its value holds a NUL character")
    return text


async def _store(call: Call, values: Mapping[str, str]) -> None:
    app, home = call.run.app, call.engine.home
    if app is None:
        raise ScriptError(f"`{call.method}` needs an app below `{home.api}`, and this script belongs to none")
    if not values:
        return

    def work() -> None:
        with _ONE_AT_A_TIME:
            ensure_app_file(home, app)
            set_app_values(home, app, values)

    await asyncio.to_thread(work)
    for name, value in values.items():
        call.print(f"{name}={'***' if is_secret(name) and value else value}")
