"""Trying again after failures that may pass, with growing pauses."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from orchestrator.engine.download.model import Settings, Stop, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_LONGEST_ASKED = 300.0  # seconds that a server's `Retry-After` is obeyed


def persistently(
    action: Callable[[], T],
    *,
    settings: Settings,
    stop: Stop,
    note: Callable[[str], None],
    position: Callable[[], int] = lambda: 0,
) -> T:
    """Call `action` until it stops raising TransientError, at most `settings.tries` times in a row without progress.

    `position` tells progress: a failure after some starts the count anew. The last error is raised.
    """
    import tenacity  # noqa: PLC0415  # start-up time

    failures, reached = 0, position()

    def after(_: tenacity.RetryCallState) -> None:
        nonlocal failures, reached
        now = position()
        failures, reached = (1 if now > reached else failures + 1), now

    def pause(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.wait if isinstance(error, TransientError) else None
        return min(asked, _LONGEST_ASKED) if asked is not None else min(2.0 ** (failures - 1), settings.longest_wait)

    def tell(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        wait = state.next_action.sleep if state.next_action else 0
        note(f"{error}; trying again in {wait:g} s")

    def sleep(seconds: float) -> None:
        stop.check()
        (settings.sleep or stop.wait)(seconds)
        stop.check()

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(TransientError),
        stop=lambda _: failures >= settings.tries,
        wait=pause,
        after=after,
        before_sleep=tell,
        sleep=sleep,
        reraise=True,
    )(action)
