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
    """Say where a run goes on: the next step, its `input`, the `local` variables then, and which children failed.

    `asked` says that a person named the step, so that one which is not there is a mistake.
    """

    next: int
    input: Any
    local: Any
    failed: tuple[str, ...] = ()
    asked: bool = False


def digest(path: str, payload: Any) -> str:
    """Return what makes two runs the same work: the script's text and what it was given."""
    try:
        text = Path(path).read_bytes()
    except OSError:
        text = b""
    return hashlib.sha256(text + b"\0" + json.dumps(encode(payload), sort_keys=True).encode()).hexdigest()


@dataclass(slots=True)
class Positions:
    """Track the positions of unfinished runs by script path, and give back those of an earlier engine once each.

    A script that another one started keeps its position, also at its end, until the step that started it is recorded as
    done: whatever the moment of a crash, the caller's step then goes on inside the child instead of doing it again.
    """

    checkpoint: Checkpoint | None = None
    earlier: dict[str, Any] = field(default_factory=dict)
    current: dict[str, Any] = field(default_factory=dict)
    withheld: Callable[[Any], bool] = lambda _value: False
    trusted: bool = False  # the steps before the stored positions are known to be what they were

    def take(self, path: str, payload: Any) -> Position | None:
        """Return where an earlier run of the same script with the same payload stopped, if it did."""
        saved = self.earlier.pop(path, None)
        if not isinstance(saved, Mapping) or not (self.trusted or saved.get("digest") == digest(path, payload)):
            return None
        following = saved.get("next")
        if not isinstance(following, int) or isinstance(following, bool) or following < 0:
            return None
        self.current[path] = dict(saved)  # it counts until the run gets further: a second crash may come before
        failed = saved.get("failed")
        names = tuple(str(name) for name in failed) if isinstance(failed, (list, tuple)) else ()
        asked = saved.get("asked") is True
        return Position(following, decode(saved.get("input")), decode(saved.get("local")), names, asked)

    def reached(self, path: str, payload: Any, reached: Position, *, parent: str | None = None) -> None:
        """Record that everything before a step is done, and let go of the scripts that those steps started.

        Live values cannot be stored and secrets must not be; the position before them stays then.
        """
        kept = [reached.input, reached.local]
        if self.checkpoint is None or holds_live_values(kept) or self.withheld(kept):
            return
        known = self.current.get(path)
        saved = {
            "next": reached.next,
            "input": encode(reached.input),
            "local": encode({} if reached.local is UNDEFINED else reached.local),
            "digest": known["digest"] if known and not self.trusted else digest(path, payload),
        }
        if parent is not None:
            saved["parent"] = parent
        if reached.failed:
            saved["failed"] = list(reached.failed)
        for store in (self.current, self.earlier):
            self._drop_below(store, path)
        self.current[path] = saved
        self.checkpoint({**self.earlier, **self.current})

    def ended(self, path: str) -> None:
        """Forget a run that came to its end, with what it started."""
        if self.checkpoint is not None and self.current.pop(path, None) is not None:
            self._drop_below(self.current, path)
            self.checkpoint({**self.earlier, **self.current})

    @staticmethod
    def _drop_below(store: dict[str, Any], path: str) -> None:
        below = [
            child
            for child, saved in store.items()
            if isinstance(saved, Mapping) and saved.get("parent") == path and child != path
        ]
        for child in below:
            if store.pop(child, None) is not None:
                Positions._drop_below(store, child)
