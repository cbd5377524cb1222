"""When idleness or the hours used call for a stop: state machines on samples, without clocks or effects.

Every time here is in seconds of the system's monotonic clock, which no setting of the date moves and which stands
still while the machine is suspended. So neither a corrected clock nor a closed lid makes an app idle or costs it hours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from orchestrator.engine.errors import BadInputError
from orchestrator.expose.guard.durations import MINUTE, rough, show

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Kind = Literal["fine", "warn", "stop"]

BUSY_PERCENT: Final = 5.0  # a card at rest shows 0, now and then 1 or 2
LONGEST_GAP: Final = 60.0  # what a pause between two samples adds to idleness at most
LEAST_IDLE: Final = MINUTE
WARNING: Final = 5 * MINUTE
GRACE: Final = 60.0  # a warning stands this long before the stop, also when the guard itself was away

_ORDER: Final[Mapping[Kind, int]] = {"stop": 0, "warn": 1, "fine": 2}


@dataclass(frozen=True, slots=True)
class Sample:
    """Hold what was seen of an app at one moment.

    `now` and `last_request` are on the same monotonic clock; `last_request` is when a request began or something
    moved in it last (None: never). `open_connections` counts answers that are still on their way, streams included;
    WebSockets are left out, because they stay open as long as a page. `gpu_busy` is in percent, None when it cannot
    be told. `working` means that the app is being installed or started.
    """

    now: float
    last_request: float | None
    open_connections: int
    gpu_busy: float | None
    working: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """Say what a guard thinks: `seconds_left` until the stop if nothing changes, `reason` as half a sentence."""

    kind: Kind
    reason: str
    seconds_left: float


def warning_span(span: float) -> float:
    """Say how many seconds before the end of a span the warning comes: five minutes, or a quarter if that is less."""
    return min(WARNING, span / 4)


class _Limit:
    """A span that is used up: fine, then a warning, then the stop, never without a warning that stood for a while."""

    def __init__(self, span: float) -> None:
        self.span = span
        self._window = warning_span(span)
        self._grace = min(self._window, GRACE)
        self._warned: float | None = None

    def judge(self, used: float, now: float, reason: str) -> Verdict:
        left = self.span - used
        if left > self._window:
            self._warned = None
            return Verdict("fine", reason, left)
        if self._warned is None:
            self._warned = now
        left = max(left, self._grace - max(0.0, now - self._warned), 0.0)
        return Verdict("warn" if left > 0 else "stop", reason, left)


class IdleGuard:
    """Stop what nobody has used for a span (seconds, a minute at least): no requests, and no work of the GPU.

    A pause between two samples longer than LONGEST_GAP adds only that: who could not look cannot say that nothing
    happened. Raises BadInputError for a span that is too short.
    """

    def __init__(self, span: float, *, busy: float = BUSY_PERCENT) -> None:
        if span < LEAST_IDLE:
            raise BadInputError(
                f"`{show(span)}` is too short a time to call an app idle",
                hint=f"Give {show(LEAST_IDLE)} or more; `30m` is a good start",
            )
        self._limit = _Limit(span)
        self._busy = busy
        self._before: float | None = None
        self._idle = 0.0

    def judge(self, sample: Sample) -> Verdict:
        """Say whether the app has been idle for too long; any use takes a warning back."""
        gap = 0.0 if self._before is None else max(0.0, sample.now - self._before)
        self._before = sample.now
        use = self._use(sample)
        self._idle = 0.0 if use else self._idle + min(gap, LONGEST_GAP)
        if sample.last_request is not None:
            self._idle = min(self._idle, max(0.0, sample.now - sample.last_request))
        seen = "" if sample.gpu_busy is not None else " (whether the GPU works cannot be seen here)"
        return self._limit.judge(self._idle, sample.now, use or f"not used for {rough(self._idle)}{seen}")

    def _use(self, sample: Sample) -> str:
        if sample.working:
            return "being installed or started"
        if sample.open_connections > 0:
            return "answering a request"
        if sample.gpu_busy is not None and sample.gpu_busy >= self._busy:
            return f"the GPU is {sample.gpu_busy:.0f} % busy"
        return ""


@dataclass(frozen=True, slots=True)
class Meter:
    """Hold how long something has run: `elapsed` seconds up to the moment `at` of the monotonic clock of one boot.

    `boot` is the kernel's id of the boot, "" where there is none. It goes into a file as `to_json` writes it.
    """

    elapsed: float
    at: float
    boot: str

    @classmethod
    def begin(cls, now: float, boot: str) -> Meter:
        """Begin to count at this moment."""
        return cls(0.0, now, boot)

    def read(self, now: float, boot: str) -> Meter:
        """Count on to this moment.

        Within a boot the monotonic clock tells exactly what has passed, also while no process of ours ran. Time
        between two boots is not counted: the machine was off, and the date cannot be trusted to tell for how long.
        """
        passed = now - self.at if boot == self.boot and boot else 0.0
        return Meter(self.elapsed + max(0.0, passed), now, boot)

    def to_json(self) -> dict[str, Any]:
        """Write this for a file."""
        return {"elapsed": self.elapsed, "at": self.at, "boot": self.boot}

    @classmethod
    def from_json(cls, data: Any) -> Meter | None:
        """Read what `to_json` wrote; None for anything else, also for numbers that no clock shows."""
        try:
            elapsed, at, boot = float(data["elapsed"]), float(data["at"]), data["boot"]
        except (KeyError, TypeError, ValueError, OverflowError):
            return None
        sane = 0 <= elapsed < float("inf") and abs(at) < float("inf") and isinstance(boot, str)
        return cls(elapsed, at, boot) if sane else None


class HoursGuard:
    """Stop what has run for a number of seconds since `up`, used or not.

    `meter` is what was kept from earlier processes, read up to now by the caller (`Meter.read`) or just begun. Within
    this process the samples' clock counts on. Raises BadInputError for a limit of nothing.
    """

    def __init__(self, limit: float, meter: Meter) -> None:
        if limit <= 0:
            raise BadInputError("a limit of no hours would stop the app at once", hint="Give `--max-hours 8`, say")
        self._limit = _Limit(limit)
        self.meter = meter

    def judge(self, sample: Sample) -> Verdict:
        """Say whether the hours are used up; nothing but a new `up` gives them back."""
        passed = max(0.0, sample.now - self.meter.at)
        self.meter = replace(self.meter, elapsed=self.meter.elapsed + passed, at=max(sample.now, self.meter.at))
        reason = f"running for {rough(self.meter.elapsed)} of {rough(self._limit.span)}"
        return self._limit.judge(self.meter.elapsed, sample.now, reason)


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """Choose what counts among what several guards say: a stop before a warning, then what ends first."""
    return min(verdicts, key=lambda verdict: (_ORDER[verdict.kind], verdict.seconds_left))


def together(samples: Iterable[Sample], now: float) -> Sample:
    """Make one sample of a machine from those of its apps: it is in use as long as any of them is."""
    apps = list(samples)
    requests = [one.last_request for one in apps if one.last_request is not None]
    loads = [one.gpu_busy for one in apps if one.gpu_busy is not None]
    return Sample(
        now=now,
        last_request=max(requests, default=None),
        open_connections=sum(one.open_connections for one in apps),
        gpu_busy=max(loads, default=None),
        working=any(one.working for one in apps),
    )
