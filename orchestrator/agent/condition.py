"""The state of one app with its URL, as the agent stores and reports it; the words are `orchestrator.state`'s."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from orchestrator.state.app_state import AppState, Phase

NOT_INSTALLED: Final = Phase.NOT_INSTALLED.value
INSTALLING: Final = Phase.INSTALLING.value
STOPPED: Final = Phase.STOPPED.value
STARTING: Final = Phase.STARTING.value
READY: Final = Phase.READY.value
FAILED: Final = Phase.FAILED.value
WORDS: Final = tuple(phase.value for phase in Phase)


@dataclass(frozen=True, slots=True)
class Condition:
    """Hold an app's state: `step` (from 1) of `steps` while it installs or where it failed, `reason` when it failed."""

    word: str = NOT_INSTALLED
    step: int | None = None
    steps: int | None = None
    reason: str | None = None
    url: str | None = None

    @property
    def app_state(self) -> AppState:
        """The state without its URL, as the library keeps it."""
        return AppState(Phase(self.word), step=self.step, steps=self.steps, reason=self.reason or "")

    def __str__(self) -> str:
        """Return the state as people read it: `installing (step 3 of 7)`, `failed (step 3, no space left)`."""
        return str(self.app_state)

    def at(self, step: int, steps: int | None) -> Condition:
        """Return the same state at another step."""
        return replace(self, step=step, steps=steps)

    def to_json(self) -> dict[str, Any]:
        """Return the state as `status`, the journal and state.json have it."""
        return {
            "word": self.word,
            "state": str(self),
            "step": self.step,
            "steps": self.steps,
            "reason": self.reason,
            "url": self.url,
        }

    @classmethod
    def from_json(cls, value: Any) -> Condition | None:
        """Read a state back, None when it is none of ours."""
        if not isinstance(value, Mapping) or value.get("word") not in WORDS:
            return None
        number = {key: value.get(key) if isinstance(value.get(key), int) else None for key in ("step", "steps")}
        text = {key: value.get(key) if isinstance(value.get(key), str) else None for key in ("reason", "url")}
        return cls(word=value["word"], **number, **text)
