"""The few members of an engine and a run that methods use, for tests of methods alone."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from orchestrator.engine.answers import Answers
from orchestrator.engine.call import METHODS, Call
from orchestrator.engine.events import Recorder
from orchestrator.engine.home import Home
from orchestrator.engine.values import UNDEFINED


class FakeSidecar:
    """Keep memory in dictionaries; dot paths are the sidecar's business and not done here."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.store: dict[tuple[str, str], dict[str, Any]] = {}

    async def memory(self, path: str, op: str, store: str, params: Any) -> Any:
        self.calls.append((op, store, copy.deepcopy(params)))
        values = self.store.setdefault((path, store), {})
        if op == "set" and isinstance(params, dict):
            values.update(params)
        elif op == "rm":
            for key in params:
                values.pop(key, None)
        return None

    async def snapshot(self, path: str) -> dict[str, Any]:
        return dict(self.store.get((path, "local"), {}))

    async def edit_json(self, path: str, op: str, params: Any) -> None:
        self.calls.append(("edit_json", path, op, params))

    async def read_json(self, path: str) -> Any:
        return json.loads(Path(path).read_text()) if Path(path).exists() else None  # noqa: ASYNC240  # tiny files

    async def load(self, path: str) -> Any:
        return json.loads(Path(path).read_text()) if Path(path).exists() else None  # noqa: ASYNC240  # tiny files


class FakeRun:
    def __init__(self, home: Home, sink: Recorder, script: str) -> None:
        self.id = "r1"
        self.path = str(home.api / "app" / script)
        self.key = self.path
        self.cwd = str(home.api / "app")
        self.app: Path | None = home.api / "app"
        self.name = f"app/{script}"
        self.sink = sink
        self.stopped = asyncio.Event()

    def output(self, raw: str) -> None:
        self.sink.output(self.name, raw)

    def warn(self, text: str) -> None:
        self.event("warning", {"text": text})

    def event(self, kind: str, data: Any) -> None:
        self.sink.event(kind, data)


class FakeEngine(SimpleNamespace):
    __hash__ = object.__hash__


class Bench:
    """Call methods on a home of their own."""

    def __init__(self, root: Path, answers: Answers | None = None) -> None:
        self.home = Home(root)
        self.app = root / "api" / "app"
        self.app.mkdir(parents=True)
        self.sink = Recorder()
        self.sidecar = FakeSidecar()
        self.env: dict[str, str] = {}
        self.slept: list[float] = []
        self.run = FakeRun(self.home, self.sink, "start.json")
        self.engine: Any = FakeEngine(
            home=self.home,
            sink=self.sink,
            sidecar=self.sidecar,
            answers=answers or Answers(),
            resolve=self._resolve,
            base_env={key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ},
            clock=time.monotonic,
            sleep=self._sleep,
            shell_environment=self._shell_environment,
            environment=SimpleNamespace(template=lambda script: {**self.engine.base_env, **self.env}),
        )

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(min(seconds, 0.01))

    async def _shell_environment(self, run: Any, step_env: Any = None) -> dict[str, str]:
        return {**self.engine.base_env, **self.env, **(step_env or {})}

    def _resolve(self, uri: str, cwd: str | None) -> str:
        if uri.startswith("~/"):
            return os.path.normpath(self.home.root / uri[2:])
        return os.path.normpath(os.path.join(cwd or "/", uri))  # noqa: PTH118  # text in, text out

    async def __call__(self, name: str, params: Any = UNDEFINED, **more: Any) -> Any:
        call = Call(
            engine=self.engine,
            run=self.run,
            method=name,
            params=params,
            step={"method": name, "params": params},
            **more,
        )
        return await METHODS[name](call)

    def text(self) -> str:
        return self.sink.all_text()

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [data for seen, data in self.sink.events if seen == kind]
