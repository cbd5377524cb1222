"""Feeds a shell's output to the event matcher, whole lines first (spec 8.7, 8.8, 8.13)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol

from orchestrator.engine.errors import PinoctlError, ScriptError
from orchestrator.engine.shell.session import ANSI
from orchestrator.engine.values import UNDEFINED, Match, Undefined

REST_OF_LINE: Final = 0.05  # seconds to wait for the rest of a line (8.13)
LONGEST_PART: Final = 4096  # characters of an unfinished line that are kept back
HANDLER_KEYS: Final = frozenset({"event", "done", "kill", "break", "once", "trigger", "notify"})


class Outcome(Protocol):
    """Be what the matcher answers; `kind` is `none`, `done`, `kill`, `break` or `invalid`."""

    @property
    def kind(self) -> str:
        """How the step ends, if it does."""

    @property
    def event(self) -> Match | Undefined:
        """The last capture."""

    @property
    def errors(self) -> Sequence[str]:
        """What break patterns found."""

    @property
    def triggers(self) -> Sequence[tuple[str, Match]]:
        """Names and matches of triggers that fired."""

    @property
    def notifies(self) -> Sequence[Any]:
        """Notifications to show."""

    @property
    def buffer(self) -> str:
        """The text that was matched."""

    @property
    def behind(self) -> int:
        """How many characters were fed after the line that decided."""


class Matcher(Protocol):
    """Be the part of the JavaScript sidecar that matches events."""

    async def match_open(self, key: str, handlers: Sequence[Any], *, interactive: bool, banner: str) -> Any:
        """Begin to match a shell."""

    async def match_feed(self, key: str, text: str) -> Any:
        """Match more output."""

    async def match_end(self, key: str, text: str) -> Any:
        """Check the final text."""

    def match_close(self, key: str) -> None:
        """Forget a shell."""


class Matching:
    """Match one shell's output; `decided` gets the outcome that ends the step, if there is one.

    `position` then tells how many characters of the output came up to the end of the line that decided. What followed
    in the same read came later: whether two lines are read together is chance, and must not decide whether a step
    succeeds.
    """

    def __init__(
        self, matcher: Matcher, key: str, *, on_trigger: Callable[[str, Match], None], on_notify: Callable[[Any], None]
    ) -> None:
        self._matcher = matcher
        self._key = key
        self._on_trigger = on_trigger
        self._on_notify = on_notify
        self._loop = asyncio.get_running_loop()
        self._lock = asyncio.Lock()
        self._part = ""
        self._taken = 0
        self.position: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._flushes: set[asyncio.Task[None]] = set()
        self._open = False
        self._begin: Callable[[], Awaitable[Any]] | None = None
        self.decided: asyncio.Future[Outcome] = self._loop.create_future()

    async def open(self, handlers: Sequence[Any], *, interactive: bool, banner: str) -> None:
        """Begin; raise ScriptError when the handlers are no handlers."""
        self._begin = partial(self._matcher.match_open, self._key, handlers, interactive=interactive, banner=banner)
        await self._begin()
        self._open = True

    async def feed(self, text: str) -> None:
        """Match output; an unfinished line waits a moment for its rest, so that no match is cut off."""
        if not self._open or self.decided.done():
            return
        text = self._part + text
        end = max(text.rfind("\n"), text.rfind("\r", 0, len(text) - 1)) + 1
        if len(text) - end > LONGEST_PART or not ANSI.sub("", text[end:]).strip("\r "):
            end = len(text)
        self._part = text[end:]
        if end:
            self._cancel_timer()
            await self._match(text[:end])
        if self._part and self._timer is None:
            self._timer = self._loop.call_later(REST_OF_LINE, self._rest_did_not_come)

    async def flush(self) -> None:
        """Match what was kept back: no more will come."""
        self._cancel_timer()
        part, self._part = self._part, ""
        if part:
            await self._match(part)
        async with self._lock:
            return

    async def end(self, text: str) -> Outcome:
        """Return the final outcome: the last capture, and the errors in the final text (8.8)."""
        outcome: Outcome = await self._again(self._matcher.match_end, text)
        return outcome

    async def _again(self, ask: Callable[[str, str], Awaitable[Any]], text: str) -> Any:
        """Ask the matcher; begin anew, without what was matched before, when it was killed meanwhile."""
        try:
            return await ask(self._key, text)
        except PinoctlError:
            if self._begin is None:
                raise
            await self._begin()
            return await ask(self._key, text)

    def close(self) -> None:
        """Forget this shell's matching."""
        self._cancel_timer()
        if self._open:
            self._open = False
            self._matcher.match_close(self._key)

    async def _match(self, text: str) -> None:
        async with self._lock:
            if not self._open or self.decided.done():
                return
            try:
                outcome: Outcome = await self._again(self._matcher.match_feed, text)
            except PinoctlError as error:
                if not self.decided.done():
                    self.decided.set_exception(error)
                    self.decided.exception()  # nobody may be waiting for it
                return
            self._taken += len(text)
            if outcome.kind in {"done", "kill"}:
                self.position = self._taken - outcome.behind
            for name, match in outcome.triggers:
                self._on_trigger(name, match)
            for notice in outcome.notifies:
                self._on_notify(notice)
            if outcome.kind != "none" and not self.decided.done():
                self.decided.set_result(outcome)

    def _rest_did_not_come(self) -> None:
        self._timer = None
        task = asyncio.ensure_future(self.flush())
        self._flushes.add(task)
        task.add_done_callback(self._flushes.discard)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def handlers_of(
    on: Any, warn: Callable[[str], None], *, method: str, known: frozenset[str] = HANDLER_KEYS
) -> list[Mapping[str, Any]]:
    """Check the `on` of a step: an array of objects; unknown keys are warned of and ignored."""
    if on is None or on is UNDEFINED:
        return []
    if isinstance(on, Mapping):
        on = [on]
    if not isinstance(on, (list, tuple)):
        raise ScriptError(f"`{method}` needs an array as `on`")
    found = [handler for handler in on if isinstance(handler, Mapping)]
    if len(found) < len([handler for handler in on if handler is not None]):
        raise ScriptError(f"`{method}` has something in `on` that is no object")
    for handler in found:
        for key in handler:
            if key not in known:
                warn(f"`{key}` in `on` means nothing to `{method}`; it is ignored")
    return found
