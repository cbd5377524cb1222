"""A program for test_resume.py: runs a script as the agent does, and kills itself with SIGKILL where it is told to.

usage: python -m tests.engine.killed HOME SCRIPT STATE MODE, with MODE `boundary` (right after each new position is stored),
`start` (when a step begins, once for each beginning) or `never`.
"""

# ruff: noqa: E501  # tables of scripts and JavaScript read best with one case on a line

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.engine.answers import Answers
from orchestrator.engine.engine import Engine
from orchestrator.engine.hardware import HardwareProfile
from orchestrator.engine.home import Home


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Killer:
    def __init__(self, state: Path, mode: str) -> None:
        self.state = state
        self.mode = mode
        self.killed = json.loads((state / "killed").read_text()) if (state / "killed").exists() else []

    def once(self, what: str) -> None:
        if what not in self.killed:
            (self.state / "killed").write_text(json.dumps([*self.killed, what]))
            die()

    def stored(self) -> dict[str, Any]:
        return json.loads((self.state / "positions").read_text()) if (self.state / "positions").exists() else {}

    def checkpoint(self, positions: dict[str, Any]) -> None:
        text = json.dumps(positions, sort_keys=True)
        new = positions != self.stored()
        beside = self.state / "positions.new"
        beside.write_text(text)
        beside.rename(self.state / "positions")
        if self.mode == "boundary" and new and positions:
            die()

    def event(self, kind: str, data: Mapping[str, Any]) -> None:
        if kind == "step.start" and self.mode == "start":
            self.once(
                f"{data['script']} {data['index']} {len((self.state / 'effects').read_text()) if (self.state / 'effects').exists() else 0}"
            )

    def output(self, script: str, raw: str) -> None:
        """Drop output."""


async def main(home: str, script: str, state: str, mode: str) -> None:
    killer = Killer(Path(state), mode)
    engine = await Engine.open(
        Home(Path(home)),
        sink=killer,
        answers=Answers(),
        profile=HardwareProfile(),
        checkpoint=killer.checkpoint,
        resume=killer.stored(),
    )
    result = await engine.start(script)
    await engine.close()
    (Path(state) / "result").write_text(
        json.dumps([result.status, result.error, result.result, result.failed_children])
    )


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
