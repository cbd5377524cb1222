"""Real sidecars for the tests of everything that is JavaScript."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from orchestrator.engine.hardware import Gpu, HardwareProfile
from orchestrator.engine.javascript import Sidecar, SidecarConfig

LONG = 60.0  # seconds that anything here may take on a busy machine
ROWS = Path(__file__).parent.parent / "conformance"
NVIDIA = HardwareProfile(
    gpu="nvidia",
    gpus=(Gpu("nvidia corporation", "ad102 [geforce rtx 4090]", "560.35.03"),),
    gpu_model="ad102 [geforce rtx 4090]",
    gpu_driver="560.35.03",
    gpu_target="sm_89",
    vram=24,
    ram=64,
)


def rows(name: str) -> list[Any]:
    """Read the observed outcomes of one file, as parameters named by their ids."""
    lines = (ROWS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [pytest.param(row, id=row["id"]) for row in map(json.loads, lines)]


@dataclass
class TestHost:
    """Answer ports, record everything else."""

    __test__ = False
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    printed: list[tuple[str, str]] = field(default_factory=list)

    async def call(self, op: str, payload: dict[str, Any]) -> Any:
        self.asked.append((op, payload))
        match op:
            case "port":
                return True if "port" in payload else 42003
            case "ports":
                return [42003 + number for number in range(payload["count"])]
            case "shell.run" | "exec":
                return {"stdout": "out", "id": "1"}
        raise ValueError(f"no `{op}` here")

    def output(self, run: str, raw: str) -> None:
        self.printed.append((run, raw))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "api").mkdir()
    return tmp_path


@pytest.fixture
def host() -> TestHost:
    return TestHost()


async def until(condition: Callable[[], Any]) -> None:
    """Wait until something is true; fail when it never is."""
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        await asyncio.sleep(0.01)


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return folder


def config(home: Path, **more: Any) -> SidecarConfig:
    return SidecarConfig(**{"home": str(home), "profile": NVIDIA, "env": dict(os.environ), "memory": 512, **more})


@pytest_asyncio.fixture
async def sidecar(home: Path, host: TestHost) -> AsyncIterator[Sidecar]:
    started = await Sidecar.start(config(home), host)
    yield started
    await started.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sidecar]:
    """One sidecar for a whole module of rows."""
    home = tmp_path_factory.mktemp("home")
    (home / "api").mkdir()
    started = await Sidecar.start(config(home), TestHost())
    yield started
    await started.close()
