"""`shell.enter` and `shell.write`: typing into a shell that runs, and waiting for what it shows (spec 7.1)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from orchestrator.engine.errors import ScriptError
from orchestrator.engine.values import UNDEFINED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.engine.shell.live import LiveShell


class ScreenMatcher(Protocol):
    """Be the part of the JavaScript sidecar that matches a whole screen."""

    async def screen_match(self, handlers: Sequence[Any], text: str, raw: str, chunk: str) -> tuple[bool, Any]:
        """Return whether a handler fires, and its `return`."""


async def enter(
    shell: LiveShell, matcher: ScreenMatcher, texts: Sequence[str], on: Sequence[Mapping[str, Any]], *, newline: bool
) -> Any:
    """Type texts and wait for the first handler with a `return` that fires; return what it says, undefined without one.

    A handler with `event: null` fires when the prompt is back. Raises ScriptError when the shell ends before any fires.
    """
    waiting = [handler for handler in on if "return" in handler]
    by_pattern = [handler for handler in waiting if handler.get("event")]
    by_prompt = next((handler for handler in waiting if not handler.get("event")), None)
    chunks: asyncio.Queue[str] = asyncio.Queue()

    async def heard(text: str) -> None:
        chunks.put_nowait(text)

    shell.watchers.add(heard)
    try:
        for text in texts:
            if newline:
                shell.session.type(text)
            else:
                shell.session.write(text)
        if not waiting:
            return UNDEFINED
        found = await _first_shown(shell, matcher, chunks, by_pattern, by_prompt)
    finally:
        shell.watchers.discard(heard)
    shell.session.screen.clear()
    return found


async def _first_shown(
    shell: LiveShell,
    matcher: ScreenMatcher,
    chunks: asyncio.Queue[str],
    by_pattern: list[Mapping[str, Any]],
    by_prompt: Mapping[str, Any] | None,
) -> Any:
    session = shell.session
    ended = asyncio.ensure_future(session.ended.wait())
    returned = asyncio.ensure_future(session.returned.wait())
    try:
        while True:
            get = asyncio.ensure_future(chunks.get())
            waits = [get, ended, *([returned] if by_prompt is not None else [])]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if get.done():
                raw = get.result()
                while not chunks.empty():
                    raw += chunks.get_nowait()
                if by_pattern:
                    matched, value = await matcher.screen_match(by_pattern, session.screen.visible(), raw, raw)
                    if matched:
                        return value
            else:
                get.cancel()
            if by_prompt is not None and returned.done() and chunks.empty():
                return by_prompt["return"]
            if ended.done() and chunks.empty():
                raise ScriptError(f"shell `{shell.id}` ended before any `on` of it fired")
    finally:
        ended.cancel()
        returned.cancel()
