"""A home with a launcher in it, and a dry run of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestrator.engine.dry_run.dry_run import DryRun
from orchestrator.engine.hardware import Gpu, HardwareProfile
from orchestrator.engine.home import Home

PROFILE = HardwareProfile(
    gpu="nvidia",
    gpus=(Gpu("nvidia corporation", "nvidia geforce rtx 4090", "560.35.03"),),
    gpu_model="nvidia geforce rtx 4090",
    gpu_driver="560.35.03",
    gpu_target="sm_89",
    vram=24,
    ram=64,
)
Write = Callable[..., Path]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.api.mkdir(parents=True)
    return home


@pytest.fixture
def write(home: Home) -> Write:
    """Return a function that puts files into an app of the home; values that are not text become JSON."""

    def put(files: Mapping[str, Any], app: str = "app") -> Path:
        for name, content in files.items():
            path = home.app(app) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        return home.app(app)

    return put


@pytest.fixture
async def dry(home: Home, write: Write) -> AsyncIterator[DryRun]:
    run = await DryRun.open(home, PROFILE, seconds=60)
    yield run
    await run.close()
