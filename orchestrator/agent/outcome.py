"""What the parts of the life cycle share: options, failures, and the desk where state is kept and told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.agent.condition import FAILED, Condition
from orchestrator.engine.errors import PinoctlError, advice
from orchestrator.engine.redaction import redact_url

if TYPE_CHECKING:
    from orchestrator.agent.contracts import App, EngineLike, Target

Emit = Callable[[str, Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class UpOptions:
    """Say how to bring an app up: `fresh` forgets where an install stopped, `from_step` (from 1) goes on there.

    `trusted` takes a stored position though the script's text changed since: somebody compared the steps before it.
    `timeout` in seconds is how long to wait for the URL; `start` is another start script than the menu's default.
    """

    fresh: bool = False
    from_step: int | None = None
    timeout: float | None = None
    start: Target | None = None
    trusted: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """Tell what failed: the script, the step (from 1) and its method if known, why, and the last lines printed."""

    reason: str
    script: str | None = None
    step: int | None = None
    method: str | None = None
    hint: str | None = None
    lines: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the failure as the journal and replies have it."""
        return {
            "script": self.script,
            "step": self.step,
            "method": self.method,
            "reason": self.reason,
            "hint": self.hint,
            "lines": list(self.lines),
        }


class UpFailedError(PinoctlError):
    """Carry a failure up to whoever asked."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason, hint=failure.hint)
        self.failure = failure


@dataclass(slots=True)
class Record:
    """Hold what must outlive the agent.

    `installed` is the install script that ended well, where the menu cannot tell whether the app is installed. `start`
    is how the app was started last where that was chosen (`path`, `args`), None for the menu's own choice; arguments
    that look like secrets are not kept.
    """

    condition: Condition = field(default_factory=Condition)
    installed: str | None = None
    failed_children: list[str] = field(default_factory=list)
    start: dict[str, Any] | None = None


@dataclass(slots=True)
class Desk:
    """Keep an app's record, and tell the journal and the state file of every change."""

    app: App
    record: Record
    emit: Emit
    store: Callable[[Record], None]
    last_lines: Callable[[], list[str]]

    @property
    def condition(self) -> Condition:
        """The app's state now."""
        return self.record.condition

    def become(self, condition: Condition) -> None:
        """Take on a state."""
        if condition != self.record.condition:
            self.record.condition = condition
            self.store(self.record)
            shown = {**condition.to_json(), "url": redact_url(condition.url) if condition.url else None}
            self.emit("state", shown)

    def fail(self, failure: Failure) -> None:
        """Take on a failure."""
        self.emit("failed", self._told(failure))
        self.become(Condition(FAILED, step=failure.step, reason=failure.reason))

    async def guarded(self, work: Awaitable[object]) -> dict[str, Any]:
        """Do a piece of work and turn its failure into a state and an answer."""
        failure: Failure | None = None
        try:
            await work
        except UpFailedError as error:
            failure = error.failure
        except (PinoctlError, OSError) as error:
            failure = Failure(str(error), hint=getattr(error, "hint", None), lines=tuple(self.last_lines()))
        if failure is not None:
            self.fail(failure)
        return self.answer(failure)

    def answer(self, failure: Failure | None) -> dict[str, Any]:
        """Return what `up` answers."""
        return {
            "state": str(self.condition),
            "url": self.condition.url,
            "failed": self._told(failure) if failure else None,
            "failed_children": list(self.record.failed_children),
        }

    def _told(self, failure: Failure) -> dict[str, Any]:
        """Return a failure as programs read it, whose hint they may show as it is."""
        return {**failure.to_json(), "hint": advice(failure.hint, self.app.name)}

    def failure_of(self, engine: EngineLike, target: Target, result: Any) -> Failure:
        """Return the failure that a run's result tells of."""
        ended = "it was stopped" if result.status == "stopped" else f"it ended with status `{result.status}`"
        return Failure(
            result.error or ended,
            script=engine.name_of(target.path),
            step=result.step + 1 if result.step is not None else None,
            method=result.method,
            hint=result.hint,
            lines=tuple(self.last_lines()),
        )
