"""Wait until an app is ready: its URL is known and answered (spec 3.5)."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.agent.probe import Answer, Probe, is_here
from orchestrator.agent.urls import IsHere, candidates, cut_url, find_addresses, is_web, with_hint
from orchestrator.engine.redaction import HIDDEN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from orchestrator.agent.proc import Listening

DECLARED, OPENED, BELOW, ANNOUNCED, PRINTED, PORT = "local.url", "opened", "script", "announced", "printed", "port"
_RANK = {DECLARED: 0, OPENED: 1, BELOW: 2, ANNOUNCED: 3, PRINTED: 4, PORT: 4}
TICK = 0.1
PORTS_EVERY = 0.5
SLOWEST = 1.0
TLS_AFTER = 2
LONGEST_LINE = 8192
SETTLED = 3.0
FRESH = 1.0  # how old in seconds an answer may be when it decides
PRINTING = 300.0
LONGEST = 4.0


@dataclass(frozen=True, slots=True)
class Ready:
    """Name the URL that answered and where it was found.

    `source`: local.url, opened, script (the local.url of another script), announced, printed, port or none.
    """

    url: str | None
    source: str


class NotReadyError(Exception):
    """Say why the app will not get ready."""


@dataclass(slots=True)
class Candidate:
    """Be one URL to try."""

    url: str
    source: str
    number: int
    answer: Answer | None = None
    task: asyncio.Task[Answer | None] | None = None
    answered: float = 0.0
    again: bool = False
    tries: int = 0
    next_try: float = 0.0

    @property
    def rank(self) -> tuple[int, int, int]:
        """Order of preference: what scripts say, pages before APIs, announced ones, the latest."""
        page = self.answer is not None and self.answer.page
        return (0 if self.source in {DECLARED, OPENED, BELOW} else 1 if page else 2, _RANK[self.source], -self.number)


@dataclass(slots=True)
class Readiness:
    """Collect what is known about an app's address while its start script works, and wait for an answer.

    `name` is the variable that holds the URL (PINOKIO_SHARE_VAR). Everything that waits is a parameter: `probe`,
    `ports` (what the app listens on now), `clock` and `sleep`. `timeout` in seconds counts from the last step begun;
    without `strict` it is stretched, up to four times, while the app still prints.
    """

    probe: Probe
    ports: Callable[[], Iterable[Listening]]
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    name: str = "url"
    timeout: float = 1800.0
    strict: bool = False
    here: IsHere = is_here
    known: dict[str, Candidate] = field(default_factory=dict)
    opened: str | None = None
    alive: Callable[[], bool] = lambda: True
    _ended: bool = False
    _waits: bool = False
    _lines: str = ""
    _stepped: float = 0.0
    _printed: float = 0.0
    _failure: str | None = None
    _old_ports: set[int] = field(default_factory=set)
    _ports_at: float = 0.0
    _news: float = 0.0

    def __post_init__(self) -> None:
        self._stepped = self._printed = self._ports_at = self.clock()
        self._old_ports = {one.port for one in self.ports()}

    # what the agent tells

    def local(self, name: str, value: object, *, own: bool = True) -> None:
        """Take a variable that a script stored: the start script itself (`own`), or one that it started."""
        url = cut_url(value) if name == self.name else None
        if url:
            self._add(url, DECLARED if own else BELOW)

    def opens(self, url: str) -> None:
        """Take a page that a script opens in the browser; scripts of 2023 say in no other way where the app is."""
        self.opened = url
        here = cut_url(url)
        if here and HIDDEN not in url:
            self._add(here, OPENED)

    def output(self, text: str) -> None:
        """Take output of the app's scripts; addresses are found line by line, also in the line not yet ended."""
        self._printed = self.clock()
        whole, newline, rest = (self._lines + text).rpartition("\n")
        self._lines = rest[-LONGEST_LINE:]
        for found in find_addresses(with_hint(whole)) if newline else ():
            self._add(found.url, ANNOUNCED if found.announced else PRINTED)

    def stepped(self, method: str = "") -> None:
        """Note that the start script began another step: it is still at work, unless it only waits from now on."""
        self._stepped = self.clock()
        self._waits = method == "process.wait"

    def ended(self) -> None:
        """Note that the start script came to its end and left its servers running."""
        self._ended = True

    def failed(self, reason: str) -> None:
        """Note that the app cannot get ready any more."""
        self._failure = self._failure or reason

    # what the agent waits for

    async def wait(self) -> Ready:
        """Return the best URL as soon as it is answered and nothing better is to be expected; raises NotReadyError."""
        try:
            while True:
                if self._failure:
                    raise NotReadyError(self._failure)
                ready = self._look()
                if ready:
                    return ready
                self._check_time()
                await self.sleep(TICK)
        finally:
            for candidate in self.known.values():
                if candidate.task is not None:
                    candidate.task.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await candidate.task

    def _look_at_ports(self) -> None:
        if self.clock() - self._ports_at < PORTS_EVERY:
            return
        self._ports_at = self.clock()
        for one in self.ports():
            if one.port not in self._old_ports:
                host = f"[{one.host}]" if ":" in one.host else one.host
                self._add(f"http://{host}:{one.port}/", PORT)

    def _look(self) -> Ready | None:
        self._look_at_ports()
        for candidate in list(self.known.values()):
            self._try(candidate)
        answered = [one for one in self.known.values() if one.answer is not None and one.answer.ready]
        best = min(answered, key=lambda one: one.rank, default=None)
        if best is not None and (best.source == DECLARED or self._nothing_better(best)):
            if self.clock() - best.answered <= FRESH:
                return Ready(best.url, best.source)
            best.answer, best.again, best.next_try = None, True, 0.0  # while others were awaited, it may have gone
        if best is None and self._ended and not self.known and not self.alive():
            return Ready(self.opened, "none")  # a daemon without servers, 3.5 step 6
        return None

    def _nothing_better(self, best: Candidate) -> bool:
        declared = any(one.source == DECLARED for one in self.known.values())
        quiet = self.clock() - max(self._stepped, self._news)
        if declared:  # what the script declares is awaited, unless it stays dead while another address answers
            return quiet >= 10 * SETTLED
        if best.source == OPENED:
            return True
        if best.source == BELOW:  # a helper's, perhaps: the start script may be about to say where the app itself is
            return self._ended or quiet >= (SETTLED if self._waits else 10 * SETTLED)
        page = best.answer is not None and best.answer.page
        return quiet >= SETTLED or (self._ended and page and best.source == ANNOUNCED)

    def _check_time(self) -> None:
        now = self.clock()
        waited = now - self._stepped
        if waited < self.timeout:
            return
        if not self.strict and now - self._printed < PRINTING and waited < LONGEST * self.timeout:
            return
        tried = ", ".join(f"`{one.url}`" for one in list(self.known.values())[:4])
        raise NotReadyError(
            f"no answer after {waited:.0f} s, "
            + (f"tried {tried}" if tried else "and the app named no address and listens on no port")
        )

    def _add(self, url: str, source: str) -> None:
        if is_web(url):
            return
        for one in candidates(url, is_here=self.here):
            here = self.known.get(one)
            if here is None:
                if len(self.known) < 64:  # noqa: PLR2004  # a log full of addresses must not become a port scan
                    self.known[one] = Candidate(one, source, len(self.known))
                    self._news = self.clock()
            elif _RANK[source] < _RANK[here.source]:
                here.source = source

    def _try(self, candidate: Candidate) -> None:
        if candidate.task is not None and candidate.task.done():
            candidate.answer = None if candidate.task.cancelled() else candidate.task.result()
            candidate.task = None
            if candidate.answer is not None and candidate.answer.ready:
                candidate.answered = self.clock()
                if not candidate.again:
                    self._news = candidate.answered
            elif candidate.answer is None and candidate.source == PORT and candidate.tries == TLS_AFTER:
                self._add(candidate.url.replace("http:", "https:", 1), PORT)  # it speaks something else: TLS, perhaps
        if candidate.task is None and not (candidate.answer and candidate.answer.ready):
            if self.clock() < candidate.next_try:
                return
            candidate.tries += 1
            candidate.next_try = self.clock() + min(TICK * 1.3**candidate.tries, SLOWEST)
            candidate.task = asyncio.ensure_future(self.probe(candidate.url))
