"""What requests of clients carry along, checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.agent.contracts import Target
from orchestrator.agent.outcome import UpOptions
from orchestrator.engine.errors import BadInputError


def up_options(request: Mapping[str, Any], script: Callable[[str], str]) -> UpOptions:
    """Read what `up` asks for; `script` finds the path of a script by its name."""
    start = request.get("start")
    return UpOptions(
        fresh=request.get("fresh") is True,
        from_step=whole(request, "from_step"),
        timeout=seconds(request, "timeout"),
        start=Target(script(start), arguments(request)) if isinstance(start, str) else None,
    )


def install_options(request: Mapping[str, Any]) -> UpOptions:
    """Read what `install` asks for."""
    return UpOptions(
        fresh=request.get("fresh") is True,
        from_step=whole(request, "from_step"),
        trusted=request.get("trusted") is True,
    )


def arguments(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments for a script."""
    given = request.get("args")
    if given is not None and not isinstance(given, Mapping):
        raise BadInputError("`args` is an object")
    return dict(given or {})


def whole(request: Mapping[str, Any], key: str) -> int | None:
    """Return a whole number, None when it is not given."""
    value = request.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise BadInputError(f"`{key}` is a whole number, got {value!r}")
    return value


def seconds(request: Mapping[str, Any], key: str) -> float | None:
    """Return a number of seconds above 0, None when it is not given."""
    value = request.get(key)
    if value is not None and (
        isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf")
    ):
        raise BadInputError(f"`{key}` is a number of seconds, got {value!r}")
    return value
