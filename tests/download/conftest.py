"""One download against one server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.engine.download.fetch import fetch
from orchestrator.engine.download.model import Order, Outcome, Settings, Stop
from tests.download.servers import Habits, Server, serving


class Getter:
    """Download from one server into one folder, with limits that suit small files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.habits = Habits(content=bytes(range(256)) * 2000)
        self.waits: list[float] = []
        self.text = ""
        self.stop = Stop()
        self.stop_when: Callable[[], bool] = lambda: False  # asked whenever something is printed
        self.server: Server
        self.settings: dict[str, Any] = {
            "connections": 4,
            "parallel_from": 100_000,
            "chunk": 16_384,
            "tries": 4,
            "stall": 60.0,
            "save_every": 0.0,
            "report_every": 0.01,
            "env": {},
            "sleep": self.waits.append,
        }

    def __call__(
        self,
        name: str = "file.bin",
        *,
        to: str | None = "file.bin",
        checksum: tuple[str, str] | None = None,
        **settings: Any,
    ) -> Outcome:
        def write(text: str) -> None:
            self.text += text
            if self.stop_when():
                self.stop.set()

        order = Order(
            f"{self.server.url}/{name}",
            folder=self.folder if to is None else None,
            path=self.folder / to if to else None,
            checksum=checksum,
        )
        return fetch(order, settings=Settings(**{**self.settings, **settings}), stop=self.stop, write=write)

    @property
    def target(self) -> Path:
        return self.folder / "file.bin"

    @property
    def noted(self) -> int:
        """How many bytes of an unfinished download are noted as there."""
        note = self.folder / "file.bin.part.json"
        return sum(done for _, _, done in json.loads(note.read_text())["segments"]) if note.exists() else 0

    def left(self) -> list[str]:
        return sorted(path.name for path in self.folder.rglob("*"))


@pytest.fixture
def get(tmp_path: Path) -> Iterator[Getter]:
    getter = Getter(tmp_path / "down")
    with serving(getter.habits) as server:
        getter.server = server
        yield getter


Get = Callable[..., Outcome]
