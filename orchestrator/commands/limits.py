"""The limits after which an app or its machine is stopped: the options read, and how they are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.expose.exposures import MACHINE
from orchestrator.expose.guard.durations import parse, parse_hours, parse_limit, rough, show

if TYPE_CHECKING:
    from collections.abc import Mapping


def limits_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the options say of limits, as the gate takes it, None for what was not given. Raises BadInputError.

    Spans are in seconds, 0 for none any more.
    """
    idle, hours = options.get("stop_after_idle"), options.get("max_hours")
    return {
        "idle_seconds": None if idle is None else parse_limit(idle, parse, what="`--stop-after-idle`"),
        "most_seconds": None if hours is None else parse_limit(hours, parse_hours, what="`--max-hours`"),
        "at_end": options.get("stop_what"),
    }


def cautions(app: str, given: Mapping[str, Any], shown: Mapping[str, Any]) -> list[str]:
    """Say what of the wish to stop the machine will come to nothing; `shown` is what the gate made of `given`."""
    if why := shown.get("cannot_stop_because"):
        return [costs(app, why)]
    if given.get("at_end") == MACHINE and not _limits(shown):
        return ["`--stop-what machine` does nothing without a limit: `--stop-after-idle 30m`, or `--max-hours 8`"]
    return []


def costs(app: str, why: str) -> str:
    """Say that nothing will stop the machine."""
    return f"when `{app}` is stopped by itself, the machine goes on and costs money: {why}"


def stops(shown: Mapping[str, Any]) -> str:
    """Say in a few words what is stopped, when, and after what, `-` for nothing."""
    limits = " or ".join(_limits(shown))
    if not limits:
        return "-"
    left = shown.get("stops_in")
    when = f"after {limits}" if left is None else f"in {rough(left)} ({limits})"
    what = "app" if shown.get("cannot_stop_because") else shown.get("stop_what")
    return f"{what} {when}"


def _limits(shown: Mapping[str, Any]) -> list[str]:
    named = (("stop_after_idle", "unused"), ("max_seconds", "in all"))
    return [f"{show(seconds)} {words}" for name, words in named if (seconds := shown.get(name))]
