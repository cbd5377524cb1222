"""`gradio.predict`: one call of a Gradio app (spec 7.5)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.engine.background import in_thread
from orchestrator.engine.call import Call, method
from orchestrator.engine.errors import ScriptError
from orchestrator.engine.methods.parameters import given, number
from orchestrator.engine.redaction import redact_url

_FILES = ("image", "video", "audio", "file")  # `{image: PATH}` among the arguments uploads a file or names a URL


@method("gradio.predict")
async def predict(call: Call) -> Any:
    """Call `path` of the Gradio app at `uri` with `params`; the result is `{data: [...]}`, one element an output."""
    params = call.mapping()
    uri = params.get("uri")
    if not isinstance(uri, str) or not uri.startswith(("http://", "https://")):
        raise ScriptError("`gradio.predict` needs the URL of a Gradio app as `uri`")
    arguments = given(params, "params")
    if not isinstance(arguments, (list, tuple, Mapping, type(None))):
        raise ScriptError("`gradio.predict` needs an array as `params`")
    endpoint = params.get("path")
    index = None if isinstance(endpoint, str) else number(call, params, "path")
    cwd = call.cwd

    def work() -> Any:
        from gradio_client import Client, handle_file  # noqa: PLC0415  # takes over a second to import

        def argument(value: Any) -> Any:
            if isinstance(value, Mapping) and len(value) == 1:
                kind, place = next(iter(value.items()))
                if kind in _FILES and isinstance(place, str):
                    return handle_file(place if "://" in place else str(Path(cwd, place)))
            return value

        client = Client(uri, verbose=False, download_files=False, analytics_enabled=False)
        try:
            where = {"fn_index": int(index)} if index is not None else {"api_name": endpoint} if endpoint else {}
            if isinstance(arguments, Mapping):
                return client.predict(**{key: argument(value) for key, value in arguments.items()}, **where)
            return client.predict(*[argument(value) for value in arguments or []], **where)
        finally:
            client.close()

    try:
        result = await in_thread(work)
    except asyncio.CancelledError:
        raise
    except Exception as error:
        raise ScriptError(
            f"`gradio.predict` failed at `{redact_url(uri)}`: {error or type(error).__name__}",
            hint="check that the app runs and that `path` and `params` are those of its API",
        ) from error
    return {"data": list(result) if isinstance(result, tuple) else [result]}
