"""`json.*` and `self.*`: JSON files next to a script (spec 7.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.engine.call import Call, method
from orchestrator.engine.methods.parameters import plain_path, wrong
from orchestrator.engine.values import UNDEFINED


@method("json.set", "self.set")
async def json_set(call: Call) -> Any:
    """Set members of JSON files by dot path; an array replaces the document (7.3)."""
    await edit_files(call, "set", "params", call.mapping())
    return UNDEFINED


@method("json.rm", "self.rm")
async def json_rm(call: Call) -> Any:
    """Remove members of JSON files by dot path; a missing file becomes `{}` (7.3)."""
    await edit_files(call, "rm", "params", call.mapping())
    return UNDEFINED


@method("json.get")
async def json_get(call: Call) -> Any:
    """Set local variables to parsed JSON files, null for missing ones (7.3)."""
    for name, file in call.mapping().items():
        path = plain_path(call, name, file)
        if path.endswith(".json"):
            value = await call.engine.sidecar.read_json(path)
            await call.engine.sidecar.memory(call.run.path, "set", "local", {name: value})
    return UNDEFINED


async def edit_files(call: Call, op: str, key: str, files: Mapping[str, Any]) -> None:
    """Edit JSON files: `op` is `set` with an object or array for each file, or `rm` with an array of dot paths.

    Names that do not end in `.json` are left alone, as the desktop does.
    """
    for file, edit in files.items():
        path = plain_path(call, key, file)
        if not path.endswith(".json"):
            continue
        if op == "rm" and not isinstance(edit, list):
            raise wrong(call, f"{key}.{file}", "an array of names", edit)
        if op == "set" and not isinstance(edit, (Mapping, list)):
            raise wrong(call, f"{key}.{file}", "an object or an array", edit)
        await call.engine.sidecar.edit_json(path, op, edit)
