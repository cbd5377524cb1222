"""`script.*`: scripts that start, stop and answer each other (spec 7.4, 11.1)."""

from __future__ import annotations

from typing import Any

from orchestrator.engine.call import Call, method
from orchestrator.engine.errors import ScriptError
from orchestrator.engine.values import UNDEFINED


def _uri(call: Call, params: dict[str, Any]) -> str:
    uri = params.get("uri")
    if not isinstance(uri, str) or not uri:
        raise ScriptError(f"`{call.method}` needs a script or repository as `uri`, got {uri!r}")
    return uri


def _option(call: Call, params: dict[str, Any], key: str) -> str | None:
    value = params.get(key)
    if value in (None, UNDEFINED, "", False):
        return None
    if not isinstance(value, str) or value.startswith("-"):
        raise ScriptError(f"`{call.method}` needs the name of a branch or commit as `{key}`, got {value!r}")
    return value


async def _fetched(call: Call, params: dict[str, Any]) -> str:
    """Clone or update the repository that a git URL names, and return the script's path."""
    uri = _uri(call, params)
    if uri.startswith("http"):
        await call.engine.repositories.fetch(
            uri,
            branch=_option(call, params, "branch"),
            commit=_option(call, params, "hash"),
            pull=bool(params.get("pull")),
            output=call.run.output,
            env=await call.engine.shell_environment(call.run),
        )
    return call.engine.resolve(uri, call.cwd)


@method("script.start", "script.run")
async def start(call: Call) -> Any:
    """Run another script and wait for its result; a failed one gives undefined and the caller goes on (7.4, 11.1)."""
    params = call.mapping()
    path = await _fetched(call, params)
    payload = params.get("params", UNDEFINED)
    result = await call.engine.start(path, payload, parent=call.run)
    if result.status == "running":
        call.print(f"`{call.engine.name_of(path)}` is already running")
        return UNDEFINED
    if result.status == "error":
        call.run.failed_children.append(call.engine.name_of(path))
        call.warn(f"`{call.engine.name_of(path)}` failed, its caller goes on: {result.error}")
        return UNDEFINED
    call.run.failed_children.extend(result.failed_children)
    return result.result if result.status == "end" else UNDEFINED


@method("script.stop")
async def stop(call: Call) -> Any:
    """Stop one script or several; names are relative to the calling script (7.4, section 15)."""
    given = call.mapping().get("uri")
    for uri in given if isinstance(given, (list, tuple)) else [given]:
        path = call.engine.resolve(_uri(call, {"uri": uri}), call.cwd)
        await call.engine.stop(path)
    return UNDEFINED


@method("script.return")
async def give_back(call: Call) -> Any:
    """Make the params the step's result; the script goes on (7.4)."""
    return call.params


@method("script.download")
async def download(call: Call) -> Any:
    """Clone the repository that `uri` names, without running anything (7.4)."""
    params = call.mapping()
    uri = _uri(call, params)
    await _fetched(call, params)
    return uri


@method("script.restart")
async def restart(call: Call) -> Any:
    """Stop a script, this one by default, and start it again right after (7.4)."""
    params = call.params if isinstance(call.params, dict) else {}
    itself = params.get("uri", UNDEFINED) in (None, UNDEFINED)
    path = call.run.path if itself else call.engine.resolve(_uri(call, params), call.cwd)
    payload = params.get("params", call.run.payload if itself else UNDEFINED)
    await call.engine.stop(path)
    call.engine.start_later(path, payload)
    return {"uri": path, "scheduled": True, "self": path == call.run.path, "params": payload}


@method("script.ready")
async def ready(call: Call) -> Any:
    """Tell whether a script's last run reached its end (7.4, 11.4)."""
    params = call.params if isinstance(call.params, dict) else {}
    uri = params.get("uri")
    return call.engine.ready(call.engine.resolve(uri, call.cwd) if isinstance(uri, str) else call.run.path)
