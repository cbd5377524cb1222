"""The fixed answers that take the place of every side effect in a dry run (dry-run.md).

The table holds the real methods where they touch nothing but the script's own memory, and an answer for every other
method; what it does not hold gives undefined.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from orchestrator.engine import methods
from orchestrator.engine.call import IGNORED
from orchestrator.engine.errors import PinoctlError
from orchestrator.engine.methods.script import start as really_start
from orchestrator.engine.values import UNDEFINED, Match, to_text, truthy

if TYPE_CHECKING:
    from orchestrator.engine.call import Call, Method

PORT: Final = 42003
URL: Final = "http://127.0.0.1:7860"
COMMANDS: Final = (
    "git python python3 pip uv conda node npm npx ffmpeg hf huggingface-cli 7z curl wget bash g++ gcc cmake make nvcc"
    " nvidia-smi"
)
WHICH: Final[Mapping[str, str | None]] = {command: f"/usr/bin/{command}" for command in COMMANDS.split()}
REAL: Final = frozenset({"log", "jump", "goto", "json.get", "script.return"})
OWN_STORES: Final = ("local", "global")  # what the legacy `set` and `rm` may really change
REAL_FAMILIES: Final = ("local.", "global.")


def find(name: str) -> Method | None:
    """Return what a method is in a dry run; None when the engine has no method of that name."""
    if methods.find(name) is None:
        return None
    if name in REAL or name.startswith(REAL_FAMILIES):
        return methods.find(name)
    answer: Method = ANSWERS.get(name, nothing)
    return answer


def exists(name: str) -> bool:
    """Tell whether the engine has a method of that name, or does nothing for it on purpose."""
    return name.startswith("kernel.") or name in IGNORED or methods.find(name) is not None


async def nothing(call: Call) -> Any:
    """Give undefined, without an effect."""
    del call
    return UNDEFINED


def _fixed(make: Callable[[], Any]) -> Method:
    async def answer(call: Call) -> Any:
        del call
        return make()

    return answer


async def _command(call: Call) -> Any:
    """Answer for a command: an event where a handler ends it, as if its server had printed an address."""
    ends = any(
        isinstance(handler, Mapping) and (truthy(handler.get("done")) or truthy(handler.get("kill")))
        for handler in _handlers(call)
    )
    return {"id": "dry", "response": "", "stdout": "", "event": Match((URL, URL)) if ends else UNDEFINED}


async def _shell(call: Call) -> Any:
    """Answer with the id of a shell that was opened: the one asked for, or the folder it would be in (spec 7.1)."""
    params = _params(call)
    given = params.get("id")
    if truthy(given):
        return given
    path = params.get("path")
    return call.engine.resolve(path, call.cwd) if isinstance(path, str) and path else call.cwd


async def _typed(call: Call) -> Any:
    """Answer for what is typed into a shell: the first handler's `return`, rendered on a match of an address."""
    first = next((handler for handler in _handlers(call) if isinstance(handler, Mapping)), {})
    if "return" not in first:
        return UNDEFINED
    event = {"matches": [[URL, URL]], "cleaned": "", "raw": ""}
    return await call.engine.sidecar.render(first["return"], {"event": event}, "once")


async def _stores(call: Call) -> Any:
    """Do what the legacy `set` and `rm` say of the script's own memory, and nothing of what they say of files."""
    own = {store: value for store, value in _params(call).items() if store in OWN_STORES}
    really = methods.find(call.method)
    return await really(replace(call, params=own)) if own and really is not None else UNDEFINED


async def _input(call: Call) -> Any:
    """Answer a form with its defaults: `default`, else the first of `items`, else nothing."""
    form = _params(call).get("form")
    fields = [entry for entry in form if isinstance(entry, Mapping)] if isinstance(form, (list, tuple)) else []
    return {to_text(entry["key"]): _default(entry) for entry in fields if "key" in entry}


def _default(entry: Mapping[str, Any]) -> Any:
    if entry.get("default", None) not in (None, UNDEFINED):
        return entry["default"]
    items = entry.get("items")
    if isinstance(items, (list, tuple)) and items:
        first = items[0]
        return first.get("value", UNDEFINED) if isinstance(first, Mapping) else first
    return False if entry.get("type") == "checkbox" else ""


async def _script(call: Call) -> Any:
    """Run a script of the same app for real; a git URL, another app's script or a missing file is only recorded."""
    uri = _params(call).get("uri")
    if not isinstance(uri, str) or uri.startswith("http"):
        return UNDEFINED
    try:
        path = call.engine.resolve(uri, call.cwd)
    except PinoctlError:
        return UNDEFINED
    if call.run.app is None or not path.startswith(f"{call.run.app}/") or not os.path.isfile(path):  # noqa: ASYNC240, PTH113  # one look at a local disk
        return UNDEFINED
    return await really_start(call)


def _params(call: Call) -> Mapping[str, Any]:
    return call.params if isinstance(call.params, Mapping) else {}


def _handlers(call: Call) -> list[Any]:
    given = _params(call).get("on")
    return list(given) if isinstance(given, (list, tuple)) else []


ANSWERS: Final[Mapping[str, Method]] = {
    "set": _stores,
    "rm": _stores,
    "shell.run": _command,
    "hf.download": _command,
    "shell.start": _shell,
    "shell.enter": _typed,
    "shell.write": _typed,
    "fs.read": _fixed(str),
    "input": _input,
    "filepicker.open": _fixed(lambda: {"paths": []}),
    "net": _fixed(dict),
    "gradio.predict": _fixed(lambda: {"data": []}),
    "modal": _fixed(dict),
    "loading.start": _fixed(dict),
    "loading.end": _fixed(dict),
    "script.start": _script,
    "script.run": _script,
}
