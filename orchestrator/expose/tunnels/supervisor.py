"""One tunnel under supervision: started, probed from outside, watched, reconnected, failed over, ended.

The rules. A provider is up when the gate answers with its nonce at the public URL, not when it prints one. A URL that
answers is never left for a better provider: that would pull it away from under its users. When it breaks, the same
provider is tried first, then the others from the best on; after a round in which all failed, the next one begins with
the best, after a wait that grows, for as long as the tunnel is wanted. Only problems that cannot pass (a wrong token)
take a provider out for good. When the gate itself does not answer on this machine, nobody else is blamed for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal

from orchestrator.engine.errors import PinoctlError
from orchestrator.expose.tunnels.backoff import Backoff
from orchestrator.expose.tunnels.probing import NONCE_PATH, Get, get, verdict
from orchestrator.expose.tunnels.provider import PROBE_HEADERS, Here, Provider, Start, Told
from orchestrator.expose.tunnels.spawn import Running, spawn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

Status = Literal["connecting", "up", "reconnecting", "failed"]
HIDDEN: Final = "***"
LAST_LINES: Final = 20
LAST_WORDS: Final = 1.0  # seconds for what a program wrote to be read after its end
PATIENCE: Final = 3


@dataclass(frozen=True, slots=True)
class State:
    """Tell how the tunnel is.

    `since` is the wall-clock time (seconds) of the status, `reason` why it is not up ("" when it is), `hint` what to
    do about that, `tries` the starts since it was last up, `caveat` what to know about this provider.
    """

    status: Status
    provider: str = ""
    url: str = ""
    since: float = 0.0
    reason: str = ""
    hint: str = ""
    tries: int = 0
    caveat: str = ""


@dataclass(frozen=True, slots=True)
class Timing:
    """Set the limits, in seconds: all of them are for one try.

    `url`: until a URL is printed; `reach`: until it answers, `own` the same for the platform's URL at first; `probe`:
    for one answer; `every`: between probes of what is up; `again`: after a probe that failed; `misses`: failed probes
    in a row that mean it is down; `held`: how long it must be up to count as working.
    """

    url: float = 45.0
    reach: float = 60.0
    own: float = 20.0
    probe: float = 10.0
    every: float = 30.0
    again: float = 3.0
    misses: int = 3
    held: float = 60.0


@dataclass(frozen=True, slots=True)
class Effects:
    """Hold what reaches outside, for tests to replace; `provide` finds or fetches a provider's program."""

    provide: Callable[[str, Here], Awaitable[str]]
    spawn: Callable[[Start], Awaitable[Running]] = spawn
    get: Get = get
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    random: Callable[[], float] = random.random


class _Down(Exception):  # noqa: N818  # an outcome, not an error
    def __init__(self, reason: str, *, final: bool = False, hint: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.final = final
        self.hint = hint


@dataclass(slots=True)
class _Link:
    """What is known of one try: filled in by the readers of its output."""

    provider: Provider
    start: Start
    url: str = ""
    guessed: bool = False
    problem: str = ""
    hint: str = ""
    final: bool = False
    ended: int | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    last: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES))

    def hear(self, told: Told) -> None:
        """Take in what a line told; a URL that was printed beats one that was guessed from a port."""
        if told.url and told.url != self.url and (self.guessed or not self.url or not told.port):
            self.url, self.guessed = told.url, bool(told.port)
            self.changed.set()
        if told.problem:
            self.problem, self.hint = told.problem, told.hint
        if told.final:
            self.final = True
            self.changed.set()

    def check(self) -> None:
        """Raise _Down when it is over."""
        if self.final or self.ended is not None:
            raise self.down(f"it ended with status {self.ended}")

    def down(self, otherwise: str) -> _Down:
        said = self.problem or next((line for line in reversed(self.last) if line.strip()), "")
        reason = f"{otherwise}: {said}" if said and not self.problem else said or otherwise
        for secret in filter(None, self.start.secrets):
            reason = reason.replace(secret, HIDDEN)
        return _Down(reason, final=self.final, hint=self.hint)


class Tunnel:
    """Keep a public URL for the gate's port, by the first of `providers` (best first) that works.

    `told` hears every state, in order; what it raises ends the supervision. `left` hears of each provider that was
    given up without having held: its name, why, and what to do about that. Make it inside a running loop, then
    `start()`; `close()` ends everything.
    """

    def __init__(
        self,
        port: int,
        providers: Sequence[Provider],
        here: Here,
        *,
        nonce: str,
        told: Callable[[State], None],
        effects: Effects,
        timing: Timing | None = None,
        caveats: Mapping[str, str] | None = None,
        left: Callable[[str, str, str], None] = lambda _name, _why, _hint: None,
    ) -> None:
        self._port = port
        self._providers = tuple(providers)
        self._here = here
        self._nonce = nonce
        self._told = told
        self._effects = effects
        self._timing = timing or Timing()
        self._caveats = caveats or {}
        self._left = left
        self._task: asyncio.Task[None] | None = None
        self._tries = 0
        self._rounds = Backoff(effects.random)
        self._out: dict[str, str] = {}  # providers that are out for good, and why
        self._was_up = False
        self._up_at: float | None = None
        self.state = State("connecting", since=effects.now())

    @property
    def ended(self) -> bool:
        """Whether nothing is tried any more: every provider is out for good."""
        return self._task is not None and self._task.done()

    def start(self) -> None:
        """Begin; states come by the callback."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """End the tunnel; when this returns, its processes are gone."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    async def wait(self) -> None:
        """Wait until there is nothing left to try; raises what `told` raised."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def _run(self) -> None:
        try:
            await self._keep()
        except Exception as error:  # an error of ours, which must not look like a tunnel that still connects
            with contextlib.suppress(Exception):
                self._tell("failed", provider="", reason=f"the supervision failed: {type(error).__name__}: {error}")
            raise

    async def _keep(self) -> None:
        order = list(self._providers)
        while True:
            reasons: list[str] = []
            hint = ""
            queue = deque(order)
            while queue:
                provider = queue.popleft()
                if provider.name in self._out:
                    continue
                down, held = await self._tries_of(provider)
                if held:  # it worked until just now: everything else is worth a try again
                    queue = deque([each for each in order if each is not provider])
                    reasons.clear()
                elif self._up_at is None:
                    self._left(provider.name, down.reason, down.hint)
                reasons.append(f"`{provider.name}`: {down.reason}")
                hint = down.hint or hint
            left = [each for each in order if each.name not in self._out]
            said = (
                "; ".join(reasons or [f"`{name}`: {why}" for name, why in self._out.items()]) or "nothing is possible"
            )
            self._tell("failed", reason=said, hint=hint, provider="")
            if not left:
                return
            await self._effects.sleep(self._rounds.wait())

    async def _tries_of(self, provider: Provider) -> tuple[_Down, bool]:
        """Try a provider until it failed often enough in a row; returns why it did, and whether it held in between."""
        in_a_row, held, backoff = 0, False, Backoff(self._effects.random)
        while True:
            self._tries += 1
            self._up_at = None
            down = await self._once(provider)
            if self._up_at is not None and self._effects.clock() - self._up_at >= self._timing.held:
                in_a_row, held = 0, True
                backoff.reset()
                self._rounds.reset()
            in_a_row += 1
            if down.final:
                self._out[provider.name] = down.reason
            # What has worked is given more time than what never did: its users know the URL.
            if down.final or in_a_row >= (max(provider.patience, PATIENCE) if held else provider.patience):
                return down, held
            self._tell(self._trying(), provider=provider.name, reason=down.reason, hint=down.hint)
            await self._effects.sleep(backoff.wait())

    async def _once(self, provider: Provider) -> _Down:
        """Start a provider, keep it up as long as it goes, and end it; returns why it is down."""
        self._tell(self._trying(), provider=provider.name, reason=self.state.reason)
        running: Running | None = None
        readers: list[asyncio.Task[None]] = []
        try:
            programs = provider.needs.programs
            program = await self._effects.provide(programs[0], self._here) if programs else ""
            link = _Link(provider, provider.command(self._port, self._here, program))
            if link.start.argv:
                running = await self._effects.spawn(link.start)
                reading = asyncio.create_task(self._read(link, running))
                readers = [reading, asyncio.create_task(self._wait_for_end(link, running, reading))]
            else:
                link.url = link.start.url
            await self._connect(link)
            await self._watch(link)
        except _Down as down:
            return down
        except PinoctlError as error:
            return _Down(str(error), hint=error.hint or "")
        except OSError as error:  # a full disk, say, when its files are written
            return _Down(f"cannot start it: {error}")
        finally:
            for reader in readers:
                reader.cancel()
            if running is not None:
                await running.end()
            await asyncio.gather(*readers, return_exceptions=True)
        raise AssertionError("watching ends by an exception only")

    async def _connect(self, link: _Link) -> None:
        """Wait until there is a URL, and until it leads to the gate."""
        end = self._effects.clock() + self._timing.url
        while not link.url:
            link.check()
            if (left := end - self._effects.clock()) <= 0:
                raise link.down(f"no URL within {self._timing.url:g} s")
            await self._pause(link, left)
        end = self._effects.clock() + link.start.settle
        while (left := end - self._effects.clock()) > 0:
            link.check()
            await self._pause(link, left)
        await self._reach(link)

    async def _reach(self, link: _Link) -> None:
        limit = self._timing.reach if link.start.argv or self._was_up else self._timing.own
        end = self._effects.clock() + limit
        pause = 0.2
        while True:
            link.check()
            url = link.url
            problem = await self._probe(url, link)
            if not problem and url == link.url:
                break
            if problem and self._effects.clock() >= end and not await self._probe_gate(link):
                raise _Down(f"`{url}` does not lead to the gate: {problem}", hint=link.hint or link.start.hint)
            await self._pause(link, pause)
            pause = min(pause * 1.5, self._timing.again)
        self._was_up = True
        self._tries = 0
        self._up_at = self._effects.clock()
        self._tell("up", provider=link.provider.name, url=url)

    async def _watch(self, link: _Link) -> None:
        """Probe now and then; raises _Down when the tunnel is over, whatever the reason."""
        misses, pause, url = 0, self._timing.every, link.url
        while True:
            await self._pause(link, pause)
            link.check()
            if link.url != url:
                self._tell("reconnecting", provider=link.provider.name, url=link.url, reason="it has another URL now")
                await self._reach(link)
                misses, pause, url = 0, self._timing.every, link.url
                continue
            problem = await self._probe(url, link)
            if not problem:
                misses, pause = 0, self._timing.every
                if self.state.status != "up":
                    self._tell("up", provider=link.provider.name, url=url)
                continue
            pause = self._timing.again
            link.check()
            if gate := await self._probe_gate(link):
                self._tell(
                    "reconnecting", provider=link.provider.name, url=url, reason=f"the gate does not answer: {gate}"
                )
                continue
            misses += 1
            if misses >= self._timing.misses:
                raise _Down(f"`{url}` does not lead to the gate any more: {problem}", hint=link.start.hint)

    async def _probe(self, url: str, link: _Link) -> str:
        verify = link.start.verify
        reply = await self._effects.get(url + NONCE_PATH, PROBE_HEADERS, self._timing.probe, verify=verify)
        return verdict(reply, self._nonce)

    async def _probe_gate(self, link: _Link) -> str:
        return await self._probe(link.start.inside or f"http://127.0.0.1:{self._port}", link)

    async def _pause(self, link: _Link, seconds: float) -> None:
        """Sleep, but wake up when something changes; also ends when that happened before."""
        sleeping = asyncio.ensure_future(self._effects.sleep(seconds))
        changing = asyncio.ensure_future(link.changed.wait())
        try:
            await asyncio.wait({sleeping, changing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in (sleeping, changing):
                each.cancel()
            await asyncio.gather(sleeping, changing, return_exceptions=True)
        link.changed.clear()

    async def _read(self, link: _Link, running: Running) -> None:
        async for stream, line in running.lines():
            link.last.append(line)
            try:
                told = link.provider.read(line, stream, link.start)
            except Exception as error:  # noqa: BLE001  # an error of ours; other providers may do
                told = Told(problem=f"its output cannot be understood: {error!r}", final=True)
            if told is not None:
                link.hear(told)

    async def _wait_for_end(self, link: _Link, running: Running, reading: asyncio.Task[None]) -> None:
        status = await running.wait()
        # Its last words, which say why, may still be on their way; what it started may hold its output open for ever.
        sleeping = asyncio.ensure_future(self._effects.sleep(LAST_WORDS))
        try:
            await asyncio.wait({reading, sleeping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
        link.ended = status
        link.changed.set()

    def _trying(self) -> Status:
        return "reconnecting" if self._was_up else "connecting"

    def _tell(self, status: Status, *, provider: str, url: str = "", reason: str = "", hint: str = "") -> None:
        state = State(
            status,
            provider=provider,
            url=url,
            reason="" if status == "up" else reason,
            hint=hint,
            tries=self._tries,
            caveat=self._caveats.get(provider, ""),
        )
        same = replace(self.state, since=0.0) == state
        if same:
            return
        since = self.state.since if self.state.status == status else self._effects.now()
        self.state = replace(state, since=since)
        self._told(self.state)
