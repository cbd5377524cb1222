"""A shell of a run: its session, its matching, and what happened to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.engine.errors import PinoctlError, ScriptError
from orchestrator.engine.shell.matching import Matcher, Matching, Outcome
from orchestrator.engine.shell.session import Session, SessionSpec

if TYPE_CHECKING:
    from orchestrator.engine.run import Run
    from orchestrator.engine.shell.spawner import Kept, Spawner
    from orchestrator.engine.values import Match


class LiveShell:
    """Be one shell from its start until nothing of it lives.

    `over` says how it ended: `prompt`, `exit`, `done`, `kill`, `break`, `invalid`, `stopped`; None while it works.
    """

    def __init__(self, shell_id: str, run: Run, matcher: Matcher, *, key: str) -> None:
        self.id = shell_id
        self.run = run
        self.group = run.key
        self.detached = False
        self.stopped = False
        self.over: str | None = None
        self.watchers: set[Callable[[str], Awaitable[None]]] = set()
        self.matching = Matching(matcher, key, on_trigger=self._trigger, on_notify=self._notify)
        self._session: Session | None = None
        self._ended = False
        self._awaits = False

    @property
    def session(self) -> Session:
        """The session, once it is started."""
        assert self._session is not None  # noqa: S101  # start() comes first
        return self._session

    @property
    def started(self) -> bool:
        """Whether there is a process that can be typed to."""
        return self._session is not None

    @property
    def alive(self) -> bool:
        """Whether any process of this shell may live."""
        return self._session is None or self._session.alive

    async def start(
        self, spawner: Spawner, spec: SessionSpec, *, on: tuple[Mapping[str, Any], ...], interactive: bool
    ) -> None:
        """Show the banner, begin to match, start the process."""
        banner = f"\n████\n██ Starting Shell {self.id}\n"
        self._awaits = any(handler.get("event") and (handler.get("done") or handler.get("kill")) for handler in on)
        await self.matching.open(on, interactive=interactive, banner=banner)
        self.run.output(banner.replace("\n", "\r\n"))
        self._session = await Session.start(spawner, spec, self._heard)
        self.run.event("shell.start", {"id": self.id, "pid": self._session.pid, "path": spec.cwd})

    async def ready(self) -> None:
        """Wait for the first prompt; raise ScriptError when the program could not be executed."""
        await self._first(self.session.ready.wait(), self.matching.decided)
        if self.session.failure is not None:
            raise ScriptError(
                f"the shell could not start: {self.session.failure}", hint="check `path` and `shell` of the step"
            )

    async def until_over(self, *, stays: bool) -> Outcome | None:
        """Wait until the step is over: by an event, by the prompt unless the shell stays, or by the terminal's end.

        Sets `over` and returns the outcome of an event, None where none decided.
        """
        session, decided = self.session, self.matching.decided
        ends = [session.ended.wait()] if stays else [session.returned.wait(), session.ended.wait()]
        await self._first(decided, *ends)
        if not decided.done():
            await self.matching.flush()
        if self.stopped:
            self.over = "stopped"
        elif decided.done():
            outcome = decided.result()
            self.over = outcome.kind
            return outcome
        else:
            self.over = "exit" if session.ended.is_set() else "prompt"
        return None

    async def linger(self, seconds: float) -> None:
        """Let a shell that printed an error say the rest of it: until it is done, at most that long."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._first(self.session.returned.wait(), self.session.ended.wait()), seconds)

    async def until_returned(self) -> None:
        """Wait until the prompt is back or nothing of the shell lives."""
        await self._first(self.session.returned.wait(), self.session.gone())

    async def kill(self, *, how: str | None = None) -> None:
        """Kill everything, and tell of the end once."""
        if how == "stopped":
            self.stopped = True
        left = await self._session.kill() if self._session is not None else []
        if left:
            self.run.warn(f"shell `{self.id}` left processes that could not be killed: {', '.join(map(str, left))}")
        self.tell_end(how)

    async def end(self, *, how: str | None = None) -> Kept | None:
        """End the shell as the desktop does after a step, tell of it once, and return the keeper of what stays."""
        stays = await self._session.end() if self._session is not None else None
        self.tell_end(how)
        return stays

    def abandon(self) -> None:
        """Have everything killed without waiting."""
        if self._session is not None:
            self._session.abandon()
        self.tell_end("stopped")

    def tell_end(self, how: str | None = None) -> None:
        """Report the shell's end, once."""
        self.matching.close()
        if self._ended or self._session is None:
            return
        self._ended = True
        why = how or self.over
        told = {"id": self.id, "status": self._session.status, "how": why, "detached": self.detached}
        if self._awaits and why in {"prompt", "exit"} and not self.detached:
            told["missed"] = True  # the step waited for something that was never printed
        self.run.event("shell.end", told)

    def note(self, text: str) -> None:
        """Write the desktop engine's closing line into the log."""
        self.run.output(f"\r\n\r\n██ {text} Shell {self.id}\r\n\r\n")

    async def _heard(self, text: str) -> None:
        self.run.output(text)
        await self.matching.feed(text)
        for watcher in tuple(self.watchers):
            await watcher(text)

    def _trigger(self, name: str, match: Match) -> None:
        self.run.trigger(name, match)

    def _notify(self, notice: Any) -> None:
        text = notice.get("html", "") if isinstance(notice, Mapping) else notice
        self.run.notify(str(text))

    @staticmethod
    async def _first(*waits: Any) -> None:
        """Wait for the first of several things and let go of the others."""
        tasks = [asyncio.ensure_future(wait) for wait in waits]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task, wait in zip(tasks, waits, strict=True):
                if task is not wait:
                    task.cancel()


async def run_quietly(work: Awaitable[Any]) -> None:
    """Await something in the background whose failure would concern nobody any more."""
    with contextlib.suppress(PinoctlError, OSError):
        await work
