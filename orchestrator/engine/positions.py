"""Where unfinished runs stand, so that an install goes on from its last finished step after a crash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.engine.values import UNDEFINED, decode, encode, holds_live_values

Checkpoint = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Position:
    """Say where a run goes on: the step to do next, its `input`, and the `local` variables at that point."""

    next: int
    input: Any
    local: Any


def digest(path: str, payload: Any) -> str:
    """Return what makes two runs the same work: the script's text and what it was given."""
    try:
        text = Path(path).read_bytes()
    except OSError:
        text = b""
    return hashlib.sha256(text + b"\0" + json.dumps(encode(payload), sort_keys=True).encode()).hexdigest()


@dataclass(slots=True)
class Positions:
    """Track the positions of unfinished runs by script path, and give back those of an earlier engine once each."""

    checkpoint: Checkpoint | None = None
    earlier: dict[str, Any] = field(default_factory=dict)
    current: dict[str, Any] = field(default_factory=dict)

    def take(self, path: str, payload: Any) -> Position | None:
        """Return where an earlier run of the same script with the same payload stopped, if it did."""
        saved = self.earlier.pop(path, None)
        if not isinstance(saved, Mapping) or saved.get("digest") != digest(path, payload):
            return None
        following = saved.get("next")
        if not isinstance(following, int) or isinstance(following, bool) or following < 0:
            return None
        return Position(following, decode(saved.get("input")), decode(saved.get("local")))

    def reached(self, path: str, payload: Any, following: int, value: Any, local: Any) -> None:
        """Record that everything before step `following` is done; live values cannot be stored, so they undo the record."""
        if self.checkpoint is None:
            return
        if holds_live_values(value) or holds_live_values(local):
            self.current.pop(path, None)
        else:
            known = self.current.get(path)
            mark = known["digest"] if known else digest(path, payload)
            self.current[path] = {"next": following, "input": encode(value), "digest": mark,
                                  "local": encode(local if local is not UNDEFINED else {})}
        self.checkpoint({**self.earlier, **self.current})

    def ended(self, path: str) -> None:
        """Forget a run that came to its end."""
        if self.checkpoint is not None and self.current.pop(path, None) is not None:
            self.checkpoint({**self.earlier, **self.current})
