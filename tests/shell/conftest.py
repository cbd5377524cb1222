"""Fakes with the attributes that shells use of an engine and a run, and a matcher in Python (spec 8.7, 8.8)."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.engine.call import METHODS, Call
from orchestrator.engine.events import Recorder
from orchestrator.engine.home import Home
from orchestrator.engine.methods import shell as _shell  # noqa: F401  # registers the methods
from orchestrator.engine.shell.shells import Shells
from orchestrator.engine.values import UNDEFINED, Match

LONG = 60.0  # seconds that anything here may take on a busy machine
FLAGS = {"i": re.IGNORECASE, "s": re.DOTALL, "m": re.MULTILINE}
DEFAULTS = [
    {"event": "/error:/i", "break": True},
    {"event": "/errno /i", "break": True},
    {"event": "/error:.*triton/i", "break": False},
]


@dataclass
class FakeOutcome:
    kind: str = "none"
    event: Any = UNDEFINED
    errors: list[str] = field(default_factory=list)
    triggers: list[Any] = field(default_factory=list)
    notifies: list[Any] = field(default_factory=list)
    buffer: str = ""
    behind: int = 0


class FakeSidecar:
    """Match as the JavaScript side does, without its finer points."""

    def __init__(self) -> None:
        self.open: dict[str, dict[str, Any]] = {}
        self.fed: list[str] = []
        self.delay = 0.0

    async def match_open(self, key: str, handlers: Any, *, interactive: bool, banner: str) -> None:
        self.open[key] = {
            "on": [*handlers, *DEFAULTS],
            "input": interactive,
            "buffer": banner,
            "seen": {},
            "event": UNDEFINED,
        }

    @staticmethod
    def pattern(text: Any) -> re.Pattern[str] | None:
        found = re.fullmatch(r"/(.*)/([a-z]*)", text, re.DOTALL) if isinstance(text, str) else None
        return re.compile(found[1], sum(FLAGS.get(flag, 0) for flag in found[2])) if found else None

    def errors(self, state: dict[str, Any], text: str) -> list[str]:
        rest = re.sub(r"[\r\n]", "", text)
        for handler in state["on"]:
            if handler.get("break") is False:
                rest = self.pattern(handler["event"]).sub("", rest)
        return [
            found[0]
            for handler in state["on"]
            if handler.get("break")
            for found in self.pattern(handler["event"]).finditer(rest)
        ]

    async def match_feed(self, key: str, text: str) -> FakeOutcome:
        self.fed.append(text)
        if self.delay:
            await asyncio.sleep(self.delay)
        state = self.open[key]
        clean = re.sub(r"\x1b(\[[0-?]*[ -/]*[@-~]|[=>])", "", text).replace("\r\n", "\n").replace("\r", "\n")
        state["buffer"] = buffer = (state["buffer"] + clean)[-max(300, len(clean)) :]
        out = FakeOutcome(buffer=buffer)
        for number, handler in enumerate(state["on"]):
            if not handler.get("event"):
                continue
            pattern = self.pattern(handler["event"])
            if pattern is None:
                return FakeOutcome("invalid", errors=["not a pattern"])
            match = next(
                (found for found in pattern.finditer(buffer) if found[0] not in state["seen"].get(number, ())), None
            )
            if match is None:
                continue
            state["seen"].setdefault(number, []).append(match[0])
            errors = self.errors(state, buffer) if handler.get("break") else []
            value = Match((match[0], *match.groups()), match.start(), None, buffer)
            if "break" not in handler or errors:
                state["event"] = value
            if handler.get("trigger"):
                out.triggers.append((handler["trigger"], value))
            if handler.get("kill") or handler.get("done"):
                out.kind = "kill" if handler.get("kill") else "done"
                break
            if errors and not state["input"]:
                out.kind, out.errors = "break", errors
                break
        out.event = state["event"]
        return out

    async def match_end(self, key: str, text: str) -> FakeOutcome:
        state = self.open[key]
        return FakeOutcome(event=state["event"], errors=self.errors(state, text))

    def match_close(self, key: str) -> None:
        self.open.pop(key, None)

    async def screen_match(self, handlers: Any, text: str, raw: str, chunk: str) -> tuple[bool, Any]:
        for handler in handlers:
            if handler.get("event") and self.pattern(handler["event"]).search(text):
                return True, handler["return"]
        return False, UNDEFINED


class FakeRun:
    """Be a run: a folder and a log."""

    def __init__(self, cwd: Path) -> None:
        self.id, self.key, self.cwd, self.app = "r1", str(cwd / "script.json"), str(cwd), None
        self.path, self.name = self.key, "script.json"
        self.log = Recorder()
        self.triggered: list[tuple[str, Match]] = []

    def output(self, raw: str) -> None:
        self.log.output(self.name, raw)

    def warn(self, text: str) -> None:
        self.log.event("warning", {"text": text})

    def event(self, kind: str, data: Mapping[str, Any]) -> None:
        self.log.event(kind, data)

    def notify(self, text: str) -> None:
        self.log.event("notify", {"text": text})

    def trigger(self, name: str, match: Match) -> None:
        self.triggered.append((name, match))


class FakeConda:
    def __init__(self) -> None:
        self.there = False
        self.installs = 0

    @property
    def root(self) -> Path:
        return Path("/nowhere/miniforge")

    def present(self) -> bool:
        return self.there

    async def install(self) -> list[str]:
        self.installs += 1
        self.there = True
        return []


class World:
    """Hold an engine with shells, and call methods on it."""

    def __init__(self, tmp_path: Path) -> None:
        self.home = Home(tmp_path / "home")
        self.cwd = tmp_path / "app folder"  # with a blank, as some homes have
        self.cwd.mkdir()
        self.sidecar = FakeSidecar()
        self.conda = FakeConda()
        self.run_ = FakeRun(self.cwd)
        self.asked: list[tuple[Any, Any, bool]] = []
        self.engine: Any = SimpleNamespace(
            home=self.home,
            sidecar=self.sidecar,
            tools=SimpleNamespace(conda=self.conda),
            sleep=asyncio.sleep,
            shell_environment=self.environment,
            resolve=lambda uri, cwd: os.path.normpath(f"{cwd}/{uri}"),
        )
        self.shells = self.engine.shells = Shells(self.engine)

    async def environment(
        self, run: Any, env: Any = None, *, remove: Any = None, conda_base: bool = False
    ) -> dict[str, str]:
        self.asked.append((env, remove, conda_base))
        return {
            "PATH": os.environ["PATH"],
            "PS1": "<<PINOKIO_SHELL>> ",
            "HOME": str(self.cwd),
            "LANG": "C.UTF-8",
            **{key: str(value) for key, value in (env or {}).items()},
        }

    async def call(self, method: str, params: Any = UNDEFINED) -> Any:
        return await METHODS[method](Call(engine=self.engine, run=self.run_, method=method, params=params))

    async def shell(self, message: Any = UNDEFINED, **params: Any) -> Any:
        """Run `shell.run`."""
        return await self.call("shell.run", {"message": message, **params} if message is not UNDEFINED else params)

    @property
    def output(self) -> str:
        return self.run_.log.all_text()

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [data for name, data in self.run_.log.events if name == kind]


@pytest.fixture
async def world(tmp_path: Path) -> Any:
    made = World(tmp_path)
    yield made
    await made.shells.close()


async def until(condition: Callable[[], Any]) -> None:
    """Wait until something is true; fail when it never is."""
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0.02)


def processes_with(marker: str) -> list[int]:
    """Return processes whose command line holds a text."""
    found = []
    for name in [path.name for path in Path("/proc").iterdir()]:
        if name.isdigit() and int(name) != os.getpid():
            try:
                if marker.encode() in Path(f"/proc/{name}/cmdline").read_bytes():
                    found.append(int(name))
            except OSError:
                continue
    return found
