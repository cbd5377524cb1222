"""`process.wait`: wait for a time, a URL, files or ports, or until the script is stopped (spec 7.5)."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from orchestrator.engine.background import in_thread
from orchestrator.engine.call import Call, method
from orchestrator.engine.errors import ScriptError
from orchestrator.engine.methods.parameters import given, number, optional_mapping, optional_text
from orchestrator.engine.readiness import Options, check, is_up
from orchestrator.engine.redaction import redact_url
from orchestrator.engine.values import UNDEFINED

if TYPE_CHECKING:
    from collections.abc import Awaitable


@method("process.wait")
async def wait(call: Call) -> Any:
    """Wait as `app`, `sec`, `min`, `uri`, `url` or `on` say, whichever comes first here; else until stopped."""
    params = {} if call.params is None or call.params is UNDEFINED else call.mapping()
    message = optional_text(call, params, "message")
    if given(params, "app") is not None:
        call.print("process.wait: apps of a desktop are not waited for")
        return UNDEFINED
    seconds = number(call, params, "sec") or 60 * (number(call, params, "min") or 0)
    if seconds:
        await _until_stopped(call, call.engine.sleep(max(seconds, 0)))
        return UNDEFINED
    for key in ("uri", "url"):
        url = optional_text(call, params, key)
        if url:
            await _wait_for_url(call, url, number(call, params, "interval") or 1.0, message)
            return UNDEFINED
    if given(params, "on") is not None:
        await _wait_on(call, Options.parse(optional_mapping(call, params, "on")))
        return UNDEFINED
    await call.run.stopped.wait()
    return UNDEFINED


async def _until_stopped(call: Call, work: Awaitable[Any]) -> Any:
    """Await something, but no longer than the script runs; an error of the work is raised."""
    task, stop = asyncio.ensure_future(work), asyncio.ensure_future(call.run.stopped.wait())
    try:
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else UNDEFINED
    finally:
        for pending in (task, stop):
            pending.cancel()


async def _wait_for_url(call: Call, url: str, interval: float, message: str | None) -> None:
    """Ask with GET every `interval` seconds until the final status is 2xx."""
    if not url.startswith(("http://", "https://")):
        raise ScriptError(f"`{call.method}` needs an `http` or `https` URL, got `{url}`")
    env = dict(call.engine.base_env)
    call.print(f"waiting for {redact_url(url)}")

    async def poll() -> None:
        while True:
            if message:
                call.print(message)
            if await in_thread(lambda: is_up("GET", url, env, interval)):
                return
            await call.engine.sleep(interval)

    await _until_stopped(call, poll())


async def _wait_on(call: Call, options: Options) -> None:
    """Wait for all resources of a `wait-on` request, in milliseconds as that package counts."""
    env, clock = dict(call.engine.base_env), call.engine.clock
    began = clock()
    call.print("waiting for " + ", ".join(redact_url(resource) for resource in options.resources))

    async def poll() -> None:
        await call.engine.sleep(options.delay / 1000)
        while True:
            ready = [await in_thread(partial(check, name, call.cwd, env, options)) for name in options.resources]
            if all(up is not options.reverse for up in ready):
                return
            if options.timeout is not None and (clock() - began) * 1000 >= options.timeout:
                late = [name for name, up in zip(options.resources, ready, strict=True) if up is options.reverse]
                raise ScriptError(f"`{call.method}` waited {options.timeout / 1000:g} s in vain for {', '.join(late)}")
            await call.engine.sleep(options.interval / 1000)

    await _until_stopped(call, poll())
