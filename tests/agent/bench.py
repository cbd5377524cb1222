"""One app's life cycle with a stand-in engine, and everything that it told."""

from __future__ import annotations

import asyncio

from orchestrator.agent.contracts import Plan, Target
from orchestrator.agent.installing import Installing
from orchestrator.agent.lifecycle import Lifecycle
from orchestrator.agent.outcome import Desk, Record
from orchestrator.agent.position import PositionStore
from orchestrator.agent.probe import Answer
from orchestrator.agent.ready import Readiness
from orchestrator.agent.serving import Serving
from tests.agent.fakes import FakeApp, FakeEngine, FakeResult, FakeTime

URL = "http://127.0.0.1:7860/"


class Bench:
    """One app, its life cycle, and everything that it told."""

    def __init__(self, tmp_path, *plans, record=None):
        self.time = FakeTime()
        self.folder = tmp_path / "app"
        self.install, self.start, self.update = (
            Target(str(self.folder / f"{name}.js")) for name in ("install", "start", "update")
        )
        self.app = FakeApp(self.folder, *(plans or (self.plan("start"),)))
        self.engine = FakeEngine()
        self.told: list[tuple[str, dict]] = []
        self.stored: list[str] = []
        self.answers = {URL: Answer(200, page=True)}
        self.positions = PositionStore(tmp_path / "position.json", clock=self.time.clock)
        self.record = record or Record()
        desk = Desk(
            self.app,
            self.record,
            lambda kind, data: self.told.append((kind, dict(data))),
            lambda record: self.stored.append(str(record.condition)),
            lambda: ["last line"],
        )
        serving = Serving(
            desk, readiness=self.readiness, probe=self.probe, clock=self.time.clock, sleep=self.time.sleep
        )
        self.life = Lifecycle(desk, Installing(desk, self.positions), serving, open_engine=self.open)
        self.engine.scripts[self.install.path] = self.ends()
        self.engine.scripts[self.start.path] = self.serves()
        self.engine.scripts[self.update.path] = self.ends()

    def plan(self, stage, **keywords):
        return Plan(**{"install": self.install, "start": self.start, "update": self.update, "stage": stage, **keywords})

    async def open(self):
        return self.engine

    async def probe(self, url):
        return self.answers.get(url)

    def readiness(self, options, name):
        return Readiness(
            probe=self.probe,
            ports=list,
            clock=self.time.clock,
            sleep=self.time.sleep,
            name=name,
            timeout=options.timeout or 100,
            strict=True,
        )

    def event(self, kind, **data):
        self.life.event(kind, data)

    def ends(self, **result):
        async def script(_engine, _payload):
            await asyncio.sleep(0)
            return FakeResult(**result)

        return script

    def serves(self, **result):
        async def script(_engine, _payload):
            self.event("shell.start", id="s1", script="app/start.js", pid=1)
            self.event("local.url", script="app/start.js", name="url", value=URL)
            return FakeResult(**{"daemon": True, **result})

        return script

    def kinds(self):
        return [kind for kind, _ in self.told]

    def of(self, kind):
        return [data for name, data in self.told if name == kind]

    def started(self):
        return [path.rpartition("/")[2] for path, _ in self.engine.started]

    async def settle(self):
        for _ in range(200):
            await asyncio.sleep(0)
