"""The files of one app's agent: its socket and lock in `run`, its journal, logs and position in `logs/<app>`."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.engine.home import Home


@dataclass(frozen=True, slots=True)
class AgentFiles:
    """Name every file of one app's agent; `app` is the app folder's name as it is spelt in `HOME/api`.

    `kept` is the folder of what belongs to the installation rather than to its history: in a container it lies in the
    image, while the logs lie on a volume. `history` is where it logs, where that is not in the home.
    """

    home: Home
    app: str
    kept: Path | None = None
    history: Path | None = None

    @property
    def socket(self) -> Path:
        """Unix socket that the agent answers on, mode 600."""
        return self.home.run / f"{self.app}.sock"

    @property
    def lock(self) -> Path:
        """File that a living agent holds locked (flock) all its life."""
        return self.home.run / f"{self.app}.agent.lock"

    @property
    def folder(self) -> Path:
        """Folder of everything that the agent writes."""
        return self.history or self.home.logs / self.app

    @property
    def journal(self) -> Path:
        """Events, one JSON object per line (docs/journal.md)."""
        return self.folder / "journal.jsonl"

    @property
    def terminal(self) -> Path:
        """Raw terminal output of all scripts."""
        return self.folder / "terminal.log"

    @property
    def agent_log(self) -> Path:
        """What the agent process itself prints: nothing, unless it breaks."""
        return self.folder / "agent.log"

    @property
    def state(self) -> Path:
        """The app's last known state, for when nobody else is left to ask."""
        return (self.kept or self.folder) / "state.json"

    @property
    def position(self) -> Path:
        """Where an unfinished install stands."""
        return (self.kept or self.folder) / "position.json"

    def prepare(self) -> None:
        """Create the folders, closed to other users."""
        for folder in (self.home.run, self.folder, *([self.kept] if self.kept else [])):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)


def write_json(path: Path, value: Any, *, sync: bool = False) -> None:
    """Replace a JSON file in one move, so that readers and crashes see the old one or the new one (mode 600)."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(value, file, separators=(",", ":"))
            if sync:
                file.flush()
                os.fdatasync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def read_json(path: Path) -> Any:
    """Return what a JSON file holds, None when it is missing, unreadable or torn."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
