"""A bench: the real engine on a home of its own, with scripts written by the test."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestrator.engine.answers import Answers
from orchestrator.engine.engine import Engine
from orchestrator.engine.events import Recorder
from orchestrator.engine.hardware import HardwareProfile
from orchestrator.engine.home import Home
from orchestrator.engine.run import RunResult
from orchestrator.engine.trace import Trace
from orchestrator.engine.values import UNDEFINED

NUMBERS = count(1)
LONG = 100.0  # seconds that anything here may take on a busy machine


@dataclass
class Bench:
    home: Home
    engine: Engine
    sink: Recorder
    app: Path = field(default_factory=Path)

    def write(self, name: str, content: Any) -> str:
        """Write a script: text as it is, a list as the steps, a dict as the script."""
        path = self.app / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, list):
            content = {"run": content}
        path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
        return str(path)

    async def run(self, path: str, payload: Any = UNDEFINED) -> RunResult:
        return await asyncio.wait_for(self.engine.start(path, payload), LONG)

    async def steps(self, *steps: Any, name: str = "main.json", payload: Any = UNDEFINED, **top: Any) -> RunResult:
        return await self.run(self.write(name, {"run": list(steps), **top}), payload)

    async def js(self, text: str, name: str = "main.js", payload: Any = UNDEFINED) -> RunResult:
        return await self.run(self.write(name, text), payload)

    def lines(self) -> list[str]:
        """All that scripts printed so far, without the terminals of shells."""
        return [raw.removesuffix("\r\n") for _, raw in self.sink.text if raw.endswith("\r\n") and "\x1b" not in raw]

    def said(self, kind: str = "warning") -> list[str]:
        return [str(data.get("text")) for what, data in self.sink.events if what == kind]

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [data for what, data in self.sink.events if what == kind]

    def trace(self) -> Trace:
        self.engine.trace = Trace()
        return self.engine.trace

    def read(self, name: str) -> str:
        return (self.app / name).read_text("utf-8")


async def until(condition: Callable[[], Any], seconds: float = LONG) -> None:
    """Wait until something is true; fail when it never is."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.01)


def log(text: str, **more: Any) -> dict[str, Any]:
    return {"method": "log", "params": {"text": text}, **more}


def shell(message: Any, **params: Any) -> dict[str, Any]:
    return {"method": "shell.run", "params": {"message": message, **params}}


def start(uri: str, **params: Any) -> dict[str, Any]:
    return {"method": "script.start", "params": {"uri": uri, **params}}


def descendants() -> set[int]:
    """All living processes below this one."""
    found = set()
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE:
                found.add(process.pid)
    return found


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """One home for all tests of a worker: its base environment is made once; every test has an app of its own."""
    return Home(tmp_path_factory.mktemp("engine") / "home")


@pytest.fixture
async def bench(shared_home: Home) -> AsyncIterator[Bench]:
    before = descendants()
    sink = Recorder()
    engine = await Engine.open(
        shared_home, sink=sink, answers=Answers(), profile=HardwareProfile(), environ=dict(os.environ)
    )
    made = Bench(shared_home, engine, sink)
    made.app = shared_home.app(f"app{next(NUMBERS)}")
    made.app.mkdir(parents=True)
    try:
        yield made
    finally:
        await asyncio.wait_for(engine.close(), LONG)
    await until(lambda: descendants() <= before)
