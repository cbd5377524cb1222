"""`shell.run`, `shell.start`, `shell.enter`, `shell.write`, `shell.stop` (spec 7.1, 8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.engine.call import Call, method
from orchestrator.engine.errors import ScriptError
from orchestrator.engine.methods.parameters import given, number, optional_text, wrong
from orchestrator.engine.shell.activation import conda_target
from orchestrator.engine.shell.entering import enter as enter_shell
from orchestrator.engine.shell.matching import HANDLER_KEYS, handlers_of
from orchestrator.engine.shell.message import Line, lines, operator
from orchestrator.engine.shell.request import ShellRequest
from orchestrator.engine.values import UNDEFINED, to_text, truthy


@method("shell.run")
async def run(call: Call) -> Any:
    """Run commands in shells of their own and return the last one's `{id, response, stdout, event}` (8)."""
    return await call.engine.shells.run(call.run, request_of(call, _params(call)))


@method("shell.start")
async def start(call: Call) -> str:
    """Open a shell that stays, and return its id, which is the folder unless given (7.1)."""
    params = _params(call)
    params["id"] = _id(call, params)
    message = params.get("message")
    if isinstance(message, (list, tuple)) and not truthy(params.get("chain", UNDEFINED)):
        params["message"] = "\n".join(line.text for line in lines(message))
    return await call.engine.shells.start(call.run, request_of(call, params))


@method("shell.enter")
async def enter(call: Call) -> Any:
    """Type messages with Enter into a shell that runs, and wait for a handler's `return` (7.1)."""
    return await _enter(call, newline=True)


@method("shell.write")
async def write(call: Call) -> Any:
    """Type messages as they are into a shell that runs, and wait for a handler's `return` (7.1)."""
    call.mapping()
    return await _enter(call, newline=False)


@method("shell.stop")
async def stop(call: Call) -> Any:
    """Kill the shell of an id, or all of a group (7.1)."""
    params = _params(call)
    group = optional_text(call, params, "group")
    if group:
        await call.engine.shells.kill_group(group)
    else:
        await call.engine.shells.stop(_id(call, params))
    return UNDEFINED


async def _enter(call: Call, *, newline: bool) -> Any:
    params = _params(call)
    shell = call.engine.shells.find(_id(call, params))
    on = handlers_of(params.get("on"), call.warn, method=call.method, known=HANDLER_KEYS | {"return"})
    message = params.get("message")
    texts = [line.text for line in lines(message)]
    return await enter_shell(shell, call.engine.sidecar, texts, on, newline=newline)


def request_of(call: Call, params: Mapping[str, Any]) -> ShellRequest:
    """Check the params of a step that starts shells (8.1); raise ScriptError where one has a wrong type."""
    path = call.path("path", params["path"]) if truthy(params.get("path", UNDEFINED)) else call.cwd
    env = given(params, "env")
    if env is not None and not isinstance(env, Mapping):
        raise wrong(call, "env", "an object", env)
    remove = given(params, "-env")
    if remove is not None and not (isinstance(remove, (list, tuple)) and all(isinstance(name, str) for name in remove)):
        raise wrong(call, "-env", "an array of names", remove)
    chain = params.get("chain", UNDEFINED)
    sudo = truthy(params.get("sudo", UNDEFINED))
    interactive = given(params, "input")
    return ShellRequest(
        path=path,
        lines=tuple(_lines(params.get("message"), chain)),
        operator=operator(chain),
        env=env,
        remove=remove,
        conda=conda_target(params.get("conda"), params.get("conda_python"), cwd=path),
        venv=params.get("venv"),
        venv_python=params.get("venv_python"),
        on=tuple(handlers_of(params.get("on"), call.warn, method=call.method)),
        interactive=interactive is True,
        stays=not sudo
        and (truthy(interactive) or truthy(params.get("persistent", UNDEFINED)) or call.method == "shell.start"),
        sudo=sudo,
        program=optional_text(call, params, "shell") or None,
        id=to_text(params["id"]) if truthy(params.get("id", UNDEFINED)) else None,
        cols=_size(call, params, "cols"),
        rows=_size(call, params, "rows"),
    )


def _lines(message: Any, chain: Any) -> list[Line]:
    return lines(UNDEFINED if message is None else message, chain)


def _params(call: Call) -> dict[str, Any]:
    return {} if call.params in (None, UNDEFINED) else call.mapping()


def _id(call: Call, params: Mapping[str, Any]) -> str:
    found = given(params, "id")
    if found is None or found == "":
        return call.cwd
    if not isinstance(found, (str, int, float)):
        raise wrong(call, "id", "a string", found)
    return to_text(found)


def _size(call: Call, params: Mapping[str, Any], key: str) -> int | None:
    size = number(call, params, key)
    if size is None:
        return None
    if not 1 <= size <= 10000:  # noqa: PLR2004  # what terminals can be
        raise ScriptError(f"`{call.method}` needs a sensible number as `{key}`, got {to_text(size)}")
    return int(size)
