"""Stand-ins for the engine, the launcher and time, with which the agent's tests never wait."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.agent.contracts import Plan, Target
from orchestrator.engine.errors import PinoctlError
from orchestrator.engine.values import UNDEFINED


@dataclass
class FakeResult:
    status: str = "end"
    daemon: bool = False
    result: Any = None
    error: str | None = None
    hint: str | None = None
    step: int | None = None
    method: str | None = None
    failed_children: list[str] = field(default_factory=list)


class FakeTime:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        for _ in range(5):
            await asyncio.sleep(0)


class FakePositions:
    def __init__(self) -> None:
        self.earlier: dict[str, Any] = {}
        self.current: dict[str, Any] = {}


class FakeEngine:
    """Run scripts that are Python coroutines: `scripts[path](engine, payload) -> FakeResult`."""

    def __init__(self, home: Any = None, *, sink: Any = None, answers: Any = None, checkpoint: Any = None) -> None:
        self.home = home
        self.sink = sink
        self.answers = answers
        self.checkpoint = checkpoint or (lambda _positions: None)
        self.positions = FakePositions()
        self.scripts: dict[str, Any] = {}
        self.runs: dict[str, asyncio.Task[Any]] = {}
        self.daemons: set[str] = set()
        self.started: list[tuple[str, Any]] = []
        self.stopped: list[str] = []
        self.closed = False

    def name_of(self, path: str) -> str:
        return "/".join(Path(path).parts[-2:])

    async def start(self, path: str, payload: Any = UNDEFINED) -> FakeResult:
        if path in self.runs:
            return FakeResult("running", daemon=path in self.daemons)
        self.started.append((path, payload))
        if path not in self.scripts:
            raise PinoctlError(f"there is no script `{path}`")
        self.runs[path] = asyncio.ensure_future(self.scripts[path](self, payload))
        try:
            result = await asyncio.shield(self.runs[path])
        except asyncio.CancelledError:
            if self.runs.get(path) is not None and not self.runs[path].cancelled():
                raise
            return FakeResult("stopped")
        if result.status == "end" and result.daemon:
            self.daemons.add(path)
        else:
            self.runs.pop(path, None)
        return result

    async def stop(self, path: str) -> bool:
        self.stopped.append(path)
        self.daemons.discard(path)
        task = self.runs.pop(path, None)
        if task is None:
            return False
        task.cancel()
        await asyncio.wait({task})
        await asyncio.sleep(0)
        return True

    async def close(self) -> None:
        for path in list(self.runs):
            await self.stop(path)
        self.closed = True

    def running(self, path: str) -> bool:
        return path in self.runs

    def running_scripts(self) -> dict[str, Any]:
        return dict(self.runs)

    async def local(self, path: str) -> dict[str, Any]:
        return {}

    async def menu(self, app: Path) -> Any:
        return {"menu": [{"text": "Start", "href": "start.js"}]}


class FakeApp:
    """An app whose plan is whatever `plans` says next; the last one stays."""

    def __init__(self, folder: Path, *plans: Plan) -> None:
        self.name = folder.name
        self.folder = folder
        self.plans = list(plans)
        self.prepared: list[Target | None] = []
        self.saved: list[str] = []
        self.secrets: dict[str, str] = {}

    async def prepare(self, engine: Any, target: Target | None) -> None:
        self.prepared.append(target)

    async def plan(self, engine: Any) -> Plan:
        return self.plans.pop(0) if len(self.plans) > 1 else self.plans[0]

    def variables(self) -> dict[str, str]:
        return self.secrets

    def share_variable(self) -> str:
        return "url"

    def shares(self) -> bool:
        return self.secrets.get("PINOKIO_SHARE_CLOUDFLARE") == "true"

    def script(self, name: str) -> str:
        return str(self.folder / name)

    async def recover(self) -> bool:
        interrupted = bool(self.saved) and self.saved[-1] == "save"
        if interrupted:
            self.saved.append("recover")
        return interrupted

    async def save(self) -> str:
        self.saved.append("save")
        return "saved"

    async def restore(self, saved: Any) -> None:
        self.saved.append("restore")

    async def discard(self, saved: Any) -> None:
        self.saved.append("discard")
