"""`fs.download` (spec 7.2)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from orchestrator.engine.background import in_thread
from orchestrator.engine.call import Call, method
from orchestrator.engine.download.model import CancelledError, Order, Outcome, Settings, Stop, parse_checksum
from orchestrator.engine.errors import ScriptError
from orchestrator.engine.methods.parameters import given, optional_text, wrong
from orchestrator.engine.redaction import redact_url
from orchestrator.engine.values import UNDEFINED


@method("fs.download")
async def download(call: Call) -> Any:
    """Download one file, or several into `dir`; what is complete is skipped, what is begun is resumed."""
    for order in orders(call):
        await _one(call, order)
    return UNDEFINED


def orders(call: Call) -> list[Order]:
    """Read the params of a step; everything is checked before anything is asked of a server."""
    params = call.mapping()
    value = next((params[key] for key in ("url", "uri") if given(params, key) is not None), None)
    if value is None:
        raise ScriptError("`fs.download` needs a URL as `url` or `uri`")
    urls = list(value) if isinstance(value, (list, tuple)) else [value]
    if not urls or not all(isinstance(url, str) and url.strip() for url in urls):
        raise wrong(call, "url", "a URL, or an array of URLs with `dir`,", value)
    checksum = parse_checksum(optional_text(call, params, "sha256"), optional_text(call, params, "checksum"))
    folder = call.path("dir", params["dir"]) if given(params, "dir") is not None else None
    path = call.path("path", params["path"]) if given(params, "path") is not None else None
    if isinstance(value, (list, tuple)):
        if folder is None:
            raise ScriptError("`fs.download` needs a folder as `dir` for an array of URLs")
        if checksum is not None and len(urls) > 1:
            raise ScriptError("`fs.download` takes a checksum for one URL only", hint="use one step for each file")
        path = None
    if folder is None and path is None:
        raise ScriptError("`fs.download` needs a folder as `dir`, or a file name as `path`")
    return [
        Order(
            url.strip(),
            folder=None if path else Path(folder or ""),
            path=Path(path) if path else None,
            checksum=checksum,
        )
        for url in urls
    ]


async def _one(call: Call, order: Order) -> Outcome | None:
    from orchestrator.engine.download.fetch import fetch  # noqa: PLC0415  # start-up time

    loop, stop = asyncio.get_running_loop(), Stop()
    settings = Settings(env=dict(call.engine.base_env))
    call.print(f"download {redact_url(order.url)}")

    def write(text: str) -> None:
        if not stop.is_set():
            loop.call_soon_threadsafe(call.run.output, text)

    stopping = asyncio.ensure_future(call.run.stopped.wait())
    stopping.add_done_callback(lambda _: stop.set())
    try:
        outcome = await in_thread(lambda: fetch(order, settings=settings, stop=stop, write=write), cancel=stop.set)
    except CancelledError:
        return None
    finally:
        stopping.cancel()
    call.run.event(
        "download",
        {"url": redact_url(order.url), "path": str(outcome.path), "size": outcome.size, "status": outcome.status},
    )
    return outcome
