"""`hf.download`, `hf.upload`, `hf.login`, `hf.logout`: the Hugging Face command line (spec 7.5)."""

from __future__ import annotations

from typing import Any

from orchestrator.engine.call import Call, method
from orchestrator.engine.errors import ScriptError
from orchestrator.engine.methods.shell import request_of
from orchestrator.engine.shell.message import words

CONSUMED = frozenset({"path", "env"})


@method("hf.download")
async def download(call: Call) -> Any:
    """Run `hf download ARGS ; ls` in a shell; every param but `path` and `env` becomes an argument, unquoted (7.5)."""
    arguments = words(_arguments(call))
    return await _run(call, " ".join(["hf", "download", *arguments, ";", "ls"]))


@method("hf.upload")
async def upload(call: Call) -> Any:
    """Run `hf upload ARGS` in a shell, each argument quoted (7.5)."""
    arguments = _arguments(call)
    positionals = arguments.pop("_")
    return await _run(call, {"_": ["hf", "upload", *positionals], **arguments})


@method("hf.login")
async def login(call: Call) -> dict[str, str]:
    """Answer whether a token is there: the desktop's login page has no counterpart here (7.5)."""
    if call.engine.base_env.get("HF_TOKEN") or (call.engine.home.cache / "HF_AUTH" / "token").is_file():
        return {"status": "authenticated"}
    call.warn(
        "`hf.login` needs a page to log in on, which there is none of here; set `HF_TOKEN` to a token of "
        "https://huggingface.co/settings/tokens, in the environment or in the ENVIRONMENT file"
    )
    return {"status": "unauthenticated"}


@method("hf.logout")
async def logout(call: Call) -> dict[str, str]:
    """Do nothing, and say where the token comes from (7.5)."""
    call.warn("`hf.logout` has nothing to log out of here; unset `HF_TOKEN` or remove it from the ENVIRONMENT file")
    return {"status": "unauthenticated"}


def _arguments(call: Call) -> dict[str, Any]:
    params = {key: value for key, value in call.mapping().items() if key not in CONSUMED}
    positionals = params.get("_", [])
    if isinstance(positionals, str):
        positionals = [positionals]
    if not isinstance(positionals, (list, tuple)) or not positionals:
        raise ScriptError(
            f"`{call.method}` needs an array as `_`",
            hint='its first element is the repository, as in `_: ["owner/name"]`',
        )
    return {**params, "_": list(positionals)}


async def _run(call: Call, message: Any) -> Any:
    params = {key: value for key, value in call.mapping().items() if key in CONSUMED}
    return await call.engine.shells.run(call.run, request_of(call, {**params, "message": message}))
