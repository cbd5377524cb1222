"""Where an unfinished install stands, kept through crashes (position.json)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from orchestrator.agent.files import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_SYNC_EVERY = 1.0


class PositionStore:
    """Store the engine's checkpoints of one root script while that script is at work.

    Start scripts are not recorded: their servers die with the agent, so they always begin at their first step.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._root: str | None = None
        self._synced = -_SYNC_EVERY

    def begin(self, script: str) -> None:
        """Record checkpoints from now on, for one script."""
        self._root = script

    def save(self, runs: Mapping[str, Any]) -> None:
        """Take a checkpoint: script path → position. Ones without the root script come after its end, for nothing."""
        if self._root is None or self._root not in runs:
            return
        sync = self._clock() - self._synced >= _SYNC_EVERY
        try:
            write_json(self._path, {"version": 1, "script": self._root, "runs": dict(runs)}, sync=sync)
        except OSError:  # on a full disk an older position means only that more is done again
            return
        if sync:
            self._synced = self._clock()

    def finish(self, *, good: bool) -> None:
        """End the recording; a good end removes the position, any other keeps it for the next try."""
        self._root = None
        if good:
            self.forget()

    def forget(self) -> None:
        """Throw the position away."""
        self._path.unlink(missing_ok=True)

    def load(self, script: str) -> dict[str, Any] | None:
        """Return what the engine's `resume` takes, if a run of this script was left unfinished."""
        saved = read_json(self._path)
        if not isinstance(saved, dict) or saved.get("script") != script or not isinstance(saved.get("runs"), dict):
            return None
        return dict(saved["runs"])

    def step(self, script: str) -> int | None:
        """Return the step that an unfinished run of this script would go on with."""
        runs = self.load(script)
        here = runs.get(script) if runs else None
        return here.get("next") if isinstance(here, dict) and isinstance(here.get("next"), int) else None
