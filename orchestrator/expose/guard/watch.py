"""The loop of a guard: look at an app, or at all of a machine, every quarter of a minute, warn, and stop it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from orchestrator.expose.guard.states import Sample, worst
from orchestrator.expose.within import within

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from orchestrator.expose.guard.states import HoursGuard, IdleGuard, Meter, Verdict

EVERY: Final = 15.0
SAMPLE_SECONDS: Final = 30.0
SAVE_EVERY: Final = 60.0
MOST_SKIPPED: Final = 20  # samples between two tries of a stop that fails, so that a provider is not hammered


class Watch:
    """Judge samples until it is time to stop, and stop.

    `sample` is asked for what is seen now; `warn` is told a warning once when it comes up, and None when use has taken
    it back; `stop` is told why, and is tried again, ever less often, while it raises and the reason lasts. `trouble`
    is told once what is wrong with sampling, and each time that a stop failed. `save` gets the meter of the hours once
    a minute. `clock` is the samples' monotonic clock. Whatever a callback raises ends nothing.
    """

    def __init__(
        self,
        *,
        sample: Callable[[], Awaitable[Sample]],
        warn: Callable[[Verdict | None], None],
        stop: Callable[[Verdict], Awaitable[None]],
        clock: Callable[[], float],
        idle: IdleGuard | None = None,
        hours: HoursGuard | None = None,
        trouble: Callable[[str], None] = lambda _: None,
        save: Callable[[Meter], None] = lambda _: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        every: float = EVERY,
        sample_seconds: float = SAMPLE_SECONDS,
    ) -> None:
        self._sample = sample
        self._warn = warn
        self._stop = stop
        self._clock = clock
        self._idle = idle
        self._hours = hours
        self._trouble = trouble
        self._save = save
        self._sleep = sleep
        self._every = every
        self._sample_seconds = sample_seconds
        self._warned = False
        self._saved: float | None = None
        self._failures = 0
        self._skip = 0
        self._judged = 0.0
        self.verdict: Verdict | None = None  # the newest, for status and the gate's pages
        self.blind = ""  # why nothing can be seen now
        self.failure = ""  # why the stop that is due failed last
        self.stopped = False

    @property
    def left(self) -> float | None:
        """Say in how many seconds the stop comes if nothing changes, None where it was not judged or is done."""
        if self.verdict is None or self.stopped:
            return None
        # Not more than what passes between two looks: while nothing can be seen nothing becomes idle.
        passed = min(max(0.0, self._clock() - self._judged), self._every)
        return max(0.0, self.verdict.seconds_left - passed)

    async def run(self) -> None:
        """Watch until the stop succeeded, or this is cancelled; without any guard return at once."""
        if self._idle is None and self._hours is None:
            return
        while not self.stopped:
            await self.once()
            if not self.stopped:
                await self._sleep(self._every)

    async def once(self) -> None:
        """Take one sample and do what follows from it."""
        sample = await self._look()
        verdicts = []
        if self._idle is not None and sample is not None:
            verdicts.append(self._idle.judge(sample))
        if self._hours is not None:
            # The hours go on whether or not anything can be seen.
            now = self._clock() if sample is None else sample.now
            verdicts.append(self._hours.judge(sample or Sample(now, None, 0, None, working=False)))
            self._keep(self._hours, now)
        if not verdicts:
            return
        self.verdict, self._judged = worst(verdicts), self._clock()
        if self.verdict.kind == "stop":
            await self._end(self.verdict)
            return
        self._failures, self._skip, self.failure = 0, 0, ""
        if (warning := self.verdict.kind == "warn") != self._warned:
            self._warned = warning
            self._guarded(lambda: self._warn(self.verdict if warning else None))

    async def _look(self) -> Sample | None:
        try:
            sample = await within(self._sample_seconds, self._sample())
        except asyncio.TimeoutError:
            self._cannot_see(f"no answer within {self._sample_seconds:g} s")
        except Exception as error:  # noqa: BLE001  # the guard outlives whatever it looks at
            self._cannot_see(str(error) or type(error).__name__)
        else:
            self.blind = ""
            return sample
        return None

    def _cannot_see(self, why: str) -> None:
        before, self.blind = self.blind, f"the guard cannot see whether the app is used: {why}"
        if not before:
            self._guarded(lambda: self._trouble(self.blind))

    def _keep(self, hours: HoursGuard, now: float) -> None:
        if self._saved is None or now - self._saved >= SAVE_EVERY:
            self._saved = now
            self._guarded(lambda: self._save(hours.meter))

    async def _end(self, verdict: Verdict) -> None:
        if self._skip > 0:
            self._skip -= 1
            return
        try:
            await self._stop(verdict)
        except Exception as error:  # noqa: BLE001  # tried again, as long as there is a reason to
            self._failures += 1
            self._skip = min(2**self._failures - 1, MOST_SKIPPED)
            self.failure = str(error) or type(error).__name__
            again = (self._skip + 1) * self._every
            told = f"could not stop ({verdict.reason}), next try in {again:g} s: {self.failure}"
            self._guarded(lambda: self._trouble(told))
        else:
            self.stopped = True

    @staticmethod
    def _guarded(tell: Callable[[], None]) -> None:
        with contextlib.suppress(Exception):  # a full disk or a closed terminal must not end the guard
            tell()
