"""What an agent does for the place that it is in: nothing on the host; in a container ports, health and checkpoints."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from orchestrator.agent.condition import READY
from orchestrator.agent.files import read_json, write_json
from orchestrator.agent.saving import Cost, Unsaved, due
from orchestrator.agent.scrub import Order, mounted, scrub_as_root
from orchestrator.engine.errors import PinoctlError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from orchestrator.agent.condition import Condition
    from orchestrator.agent.files import AgentFiles
    from orchestrator.agent.forward import Forwarder
    from orchestrator.agent.proc import Listening

SLACK: Final = 120.0  # seconds between the making of a container and its agent's start
LEFT: Final = 75  # exit status of a build's agent that left for a checkpoint (EX_TEMPFAIL)


class Inside:
    """Be told what concerns the place that an agent is in; the host needs nothing of it."""

    place = "host"
    saves = False
    remembers = False  # whether variables that a command lends are needed after a restart that nobody asked for

    def became(self, condition: Condition) -> None:
        """Take a new state of the app."""

    def event(self, kind: str, data: Mapping[str, Any]) -> None:
        """Take an event of the engine."""

    def listens(self, ports: Sequence[Listening]) -> None:
        """Take the ports that the app listens on."""

    def forwards(self) -> dict[str, int]:
        """Return which port of the place leads to which port of the app, as text."""
        return {}

    def wrote(self, text: str) -> None:
        """Take terminal text, secrets blanked."""

    def scrub(self, secrets: Collection[str]) -> None:
        """Take the secrets that are known, before anything is saved."""

    async def between_steps(self, *, following: int | None, last: bool, idle: bool) -> None:
        """Take that a position was stored, where the place `saves`.

        `following` is the next step of the outermost script, None in a script below it, `last` tells that one step is
        left, `idle` that nothing of the app is at work.
        """

    def go_on(self, *, leave: bool) -> None:
        """Let a build go on that waits for its checkpoint, or leave the container."""


class InContainer(Inside):
    """Serve an app in its container: `run` is the folder of what lives only while the container does."""

    place = "container"
    remembers = True

    def __init__(self, run: Path, forwarder: Forwarder | None = None) -> None:
        self._run = run
        self._forwarder = forwarder
        self._main: int | None = None
        self._ports: dict[int, int] = {}
        self._listening: list[tuple[str, int]] = []

    def became(self, condition: Condition) -> None:
        """Tell the health check, and forward to the app's page."""
        with contextlib.suppress(OSError):
            draft = self._run / ".word"
            draft.write_text(condition.word, "utf-8")
            draft.replace(self._run / "word")
        self._main = _port_of(condition.url) if condition.word == READY else None
        self._assign()

    def listens(self, ports: Sequence[Listening]) -> None:
        """Forward to further servers as well."""
        found = [(one.host, one.port) for one in ports]
        if found != self._listening:
            self._listening = found
            self._assign()

    def _assign(self) -> None:
        if self._forwarder is not None:
            self._ports = self._forwarder.assign(self._main, self._listening)

    def target(self) -> tuple[str, int] | None:
        """Return where the app's page is, None while it is not ready."""
        return None if self._main is None else ("127.0.0.1", self._main)

    def wrote(self, text: str) -> None:
        """Show on the container's own output what the app prints."""
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.write(text)
            sys.stdout.flush()

    def forwards(self) -> dict[str, int]:
        """Return the app's ports and the container's that lead to them."""
        return {str(port): reserved for port, reserved in self._ports.items()}


class InBuild(Inside):
    """Install an app in a build container: note the steps that are done, and stop between two of them to be saved.

    `private` is where files go that hold secrets; `ask` tells the control plane that a checkpoint is due (False when
    nobody hears).
    """

    place = "container"
    saves = True

    def __init__(
        self,
        files: AgentFiles,
        cost: Cost,
        *,
        private: Path,
        clock: Callable[[], float] = time.monotonic,
        written: Callable[[], int],
        leave: Callable[[int], None] = os._exit,
        scrub: Callable[[Order], object] = scrub_as_root,
        everywhere: str = "/",
        mounted: Callable[[], tuple[str, ...]] = mounted,
    ) -> None:
        self._scrub = scrub
        self._everywhere = everywhere
        self._mounted = mounted
        self.ask: Callable[[str, Unsaved], bool] = lambda _how, _unsaved: False
        self._file = (files.kept or files.folder) / "steps.json"
        self._roots = (files.home.app(files.app), Path.home(), files.kept or files.folder)
        self._private = private
        self._began = time.time()
        self._cost = cost
        self._clock = clock
        self._written = written
        self._leave = leave
        self._since = clock()
        self._at_start = written()
        self._answer: asyncio.Future[bool] | None = None
        known = read_json(self._file)
        self.steps: list[list[Any]] = known if isinstance(known, list) else []
        self._seen = {json.dumps(each) for each in self.steps}

    def event(self, kind: str, data: Mapping[str, Any]) -> None:
        """Note a step that is done or was skipped, and write the list when a run is over."""
        if kind == "step.skip" or (kind == "step.end" and not data.get("error")):
            each = [data.get("script"), data.get("index")]
            if json.dumps(each) not in self._seen:
                self._seen.add(json.dumps(each))
                self.steps.append(each)
        elif kind == "run.end":
            self.write()

    def write(self) -> None:
        """Write the list of steps."""
        write_json(self._file, self.steps, sync=True)

    def scrub(self, secrets: Collection[str]) -> None:
        """Move files that hold secrets out of what becomes an image; raises PinoctlError where one cannot be moved."""
        try:
            self._scrub(
                Order(
                    roots=tuple(map(str, self._roots)),
                    secrets=tuple(secrets),
                    private=str(self._private),
                    since=self._began - SLACK,
                    everywhere=self._everywhere,
                    apart=self._mounted(),
                )
            )
        except OSError as error:
            raise PinoctlError(
                f"`{error.filename}` holds a secret that cannot be kept out of the image: {error.strerror}",
                hint="have the scripts write it into the app's folder, or remove it when it has served",
            ) from error

    async def between_steps(self, *, following: int | None, last: bool, idle: bool) -> None:
        """Wait for a checkpoint where one is due; the process ends here when it is to leave."""
        del following
        self.write()
        if not idle:
            return
        unsaved = Unsaved(self._clock() - self._since, self._written() - self._at_start, last)
        how = due(unsaved, self._cost)
        if how is None:
            return
        self._answer = asyncio.get_running_loop().create_future()
        if not self.ask(how, unsaved):
            self._answer = None
            return
        asked = self._clock()
        leave = await self._answer
        self._answer = None
        if leave:
            self._leave(LEFT)
        # Where images are kept as files, each commit walks all of them: the fixed cost grows with the image.
        fixed = self._clock() - asked - max(0.0, unsaved.written) / self._cost.rate
        self._cost = Cost(max(self._cost.fixed, fixed), self._cost.rate)
        self._since = self._clock()

    def go_on(self, *, leave: bool) -> None:
        """Take the control plane's answer."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(leave)


class UpTo(Inside):
    """Install in the foreground and leave before a step of the script (`until`, from 0), None for its end."""

    place = "container"
    saves = True

    def __init__(self, until: int | None, *, leave: Callable[[int], None] = os._exit) -> None:
        self.flush: Callable[[], None] = lambda: None
        self._until = until
        self._leave = leave

    def wrote(self, text: str) -> None:
        """Show what the app prints."""
        sys.stdout.write(text)
        sys.stdout.flush()

    async def between_steps(self, *, following: int | None, last: bool, idle: bool) -> None:
        """End the process where it is told to; the position is stored, so that the next one goes on."""
        del last
        if self._until is not None and following is not None and following >= self._until and idle:
            self.flush()
            self._leave(0)


def _port_of(url: str | None) -> int | None:
    if not url:
        return None
    try:
        split = urlsplit(url)
        port = split.port
    except ValueError:
        return None
    return port or (443 if split.scheme == "https" else 80)
