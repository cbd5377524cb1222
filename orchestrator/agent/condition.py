"""The state of one app, in the six words that every output uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

NOT_INSTALLED: Final = "not installed"
INSTALLING: Final = "installing"
STOPPED: Final = "stopped"
STARTING: Final = "starting"
READY: Final = "ready"
FAILED: Final = "failed"
WORDS: Final = (NOT_INSTALLED, INSTALLING, STOPPED, STARTING, READY, FAILED)


@dataclass(frozen=True, slots=True)
class Condition:
    """Hold an app's state: `step` (from 1) and `steps` while it installs or when it failed there, `reason` when it failed."""

    word: str = NOT_INSTALLED
    step: int | None = None
    steps: int | None = None
    reason: str | None = None
    url: str | None = None

    def __str__(self) -> str:
        """Return the state as people read it: `installing (step 3 of 7)`, `failed (step 3, no space left)`."""
        if self.word == INSTALLING and self.step:
            return f"{self.word} (step {self.step}" + (f" of {self.steps})" if self.steps else ")")
        if self.word == FAILED:
            details = [f"step {self.step}"] if self.step else []
            details += [self.reason] if self.reason else []
            return f"{self.word} ({', '.join(details)})" if details else self.word
        return self.word

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
