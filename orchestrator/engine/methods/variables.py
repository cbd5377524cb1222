"""`local.*`, `global.*`, raw `set` and `rm`, `load` and `import` (spec 7.3), with the sharing side effects of 7.8."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from orchestrator.engine.call import Call, method
from orchestrator.engine.errors import ScriptError
from orchestrator.engine.methods.json_files import edit_files
from orchestrator.engine.methods.parameters import given, to_flag, variables_of, wrong
from orchestrator.engine.values import UNDEFINED, encode

_STORES = ("local", "global")


@method("local.set")
async def local_set(call: Call) -> Any:
    """Set local variables by dot path; an array replaces the whole object (7.3)."""
    await _set(call, "local", call.params)
    return UNDEFINED


@method("global.set")
async def global_set(call: Call) -> Any:
    """Set variables of the per-script store that outlives the run (7.3)."""
    await _set(call, "global", call.params)
    return UNDEFINED


@method("local.rm")
async def local_rm(call: Call) -> Any:
    """Remove local variables by dot path (7.3)."""
    await _rm(call, "local", call.params)
    return UNDEFINED


@method("global.rm")
async def global_rm(call: Call) -> Any:
    """Remove variables of the per-script store by dot path (7.3)."""
    await _rm(call, "global", call.params)
    return UNDEFINED


@method("local.import")
async def local_import(call: Call) -> Any:
    """Copy the local variables of other scripts into this one's, under the names given (7.3)."""
    found: dict[str, Any] = {}
    for name, uri in call.mapping().items():
        found[literal(name)] = await call.engine.sidecar.snapshot(call.path(name, uri))
    await _set(call, "local", found)
    return UNDEFINED


@method("set")
async def raw_set(call: Call) -> Any:
    """Set in several stores at once: `local`, `global`, `self` or `json` files (7.3)."""
    await _raw(call, "set")
    return UNDEFINED


@method("rm")
async def raw_rm(call: Call) -> Any:
    """Remove from several stores at once: `local`, `global`, `self` or `json` files (7.3)."""
    await _raw(call, "rm")
    return UNDEFINED


@method("load")
async def load(call: Call) -> Any:
    """Return the named modules and JSON files, null for missing ones (7.3)."""
    paths = {name: call.path(name, value) for name, value in call.mapping().items()}
    return {name: await call.engine.sidecar.load(path) for name, path in paths.items()}


@method("import")
async def import_(call: Call) -> Any:
    """End the script: no version of the desktop engine could do this (7.3)."""
    raise ScriptError(
        f"`{call.method}` has never worked in the desktop engine",
        hint="use `load`, or `local.import` for another script's variables",
    )


def literal(name: str) -> str:
    """Write a name so that dots in it are no path."""
    return f"[{json.dumps(name)}]" if any(character in name for character in ".[") else name


async def _raw(call: Call, op: str) -> None:
    params = call.mapping()
    for store in _STORES:
        if given(params, store) is not None:
            await (_set if op == "set" else _rm)(call, store, params[store])
    for key in ("self", "json"):
        if isinstance(params.get(key), Mapping):
            await edit_files(call, op, key, params[key])
        elif given(params, key) is not None:
            raise wrong(call, key, "an object", params[key])
    if "key" in params:
        call.print(f"{call.method}: the desktop's key store does not exist here")


async def _set(call: Call, store: str, params: Any) -> None:
    if not isinstance(params, (Mapping, list)):
        raise wrong(call, store if call.method in {"set", "rm"} else "params", "an object", params)
    await call.engine.sidecar.memory(call.run.path, "set", store, params)
    if store == "local" and isinstance(params, Mapping):
        _share(call, params)


async def _rm(call: Call, store: str, params: Any) -> None:
    if not isinstance(params, list) or not all(isinstance(key, (str, int)) for key in params):
        raise wrong(call, store if call.method in {"set", "rm"} else "params", "an array of names", params)
    await call.engine.sidecar.memory(call.run.path, "rm", store, [str(key) for key in params])


def _share(call: Call, params: Mapping[str, Any]) -> None:
    """Tell that the variable with the app's URL was set, and what stands in for the desktop's sharing (7.8)."""
    variables = variables_of(call)
    name = variables.get("PINOKIO_SHARE_VAR") or "url"
    if name not in params:
        return
    value = params[name]
    # The value stays whole: the agent opens it, and a query may be what lets a browser in.
    call.run.event("local.url", {"name": name, "value": encode(value)})
    if to_flag(variables.get("PINOKIO_SHARE_CLOUDFLARE")):
        call.print("PINOKIO_SHARE_CLOUDFLARE is on: pinoctl's own gate and tunnel stand in for it")
    if to_flag(variables.get("PINOKIO_SHARE_LOCAL")):
        call.print("PINOKIO_SHARE_LOCAL is on: nothing is opened to the local network, `pinoctl expose` is what to use")
