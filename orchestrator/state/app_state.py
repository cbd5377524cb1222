"""The six states an app can be in, and the one function that words them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Phase(str, Enum):
    """Name a state as it is stored; `render` words it for people."""

    NOT_INSTALLED = "not installed"
    INSTALLING = "installing"
    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class AppState:
    """Hold a state: `step` (from 1) of `steps` and `step_name` while installing or failed.

    `reason` is why it failed, or was stopped by itself.
    """

    phase: Phase = Phase.NOT_INSTALLED
    step: int | None = None
    steps: int | None = None
    step_name: str = ""
    reason: str = ""

    @property
    def active(self) -> bool:
        """Tell whether something must be working on the app for this to be true."""
        return self.phase in {Phase.INSTALLING, Phase.STARTING, Phase.READY}

    def __str__(self) -> str:
        return render(self)


def render(state: AppState) -> str:
    """Word a state: `installing (step 3 of 7)`, `failed (step, reason)`, `stopped (reason)`, or just its name."""
    if state.phase is Phase.INSTALLING and state.step is not None:
        return f"installing ({_step(state)})"
    if state.phase is Phase.FAILED:
        parts = [part for part in (state.step_name or _step(state), " ".join(state.reason.split())) if part]
        return f"failed ({', '.join(parts)})" if parts else "failed"
    if state.phase is Phase.STOPPED and state.reason:
        return f"stopped ({' '.join(state.reason.split())})"
    return str(state.phase.value)


def _step(state: AppState) -> str:
    if state.step is None:
        return ""
    return f"step {state.step} of {state.steps}" if state.steps else f"step {state.step}"
