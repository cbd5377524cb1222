"""`jump`, `goto` and `log` (spec 5.7, 7.5)."""

from __future__ import annotations

import json
from typing import Any

from orchestrator.engine.call import Call, method
from orchestrator.engine.flow import find_last
from orchestrator.engine.values import UNDEFINED, plain, to_text, truthy


@method("jump", "goto")
async def jump(call: Call) -> Any:
    """Go on with the step that `index` or `id` names; the result is `params` or `input` (5.7).

    The last step with the id wins; an unknown id falls through to the next step.
    """
    params = call.mapping()
    if "index" in params:
        call.next = params["index"]
    elif "id" in params and call.run.opened is not None:
        found = find_last(params["id"], call.run.opened.ids)
        if found is None:
            call.warn(
                f"`{call.method}` names step `{to_text(params['id'])}`, which does not exist: the next step follows"
            )
        else:
            call.next = found
    given = params.get("params", UNDEFINED)
    return given if truthy(given) else params.get("input", UNDEFINED)


@method("log")
async def log(call: Call) -> Any:
    """Print the first of `raw`, `text`, `json`, `json2` that is given, and a newline (7.5)."""
    params = call.params if isinstance(call.params, dict) else {}
    for key in ("raw", "text", "json", "json2"):
        if key in params and params[key] is not UNDEFINED:
            call.print(_shown(key, params[key]))
            break
    else:
        call.print("")
    return UNDEFINED


def _shown(kind: str, value: Any) -> str:
    if kind in {"raw", "text"}:
        return to_text(value)
    separators = (",", ":") if kind == "json" else (",", ": ")
    return json.dumps(plain(value), ensure_ascii=False, separators=separators, indent=None if kind == "json" else 2)
