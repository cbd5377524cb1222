"""A bench with a home of its own for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

import orchestrator.engine.methods.desktop
import orchestrator.engine.methods.download
import orchestrator.engine.methods.env
import orchestrator.engine.methods.exec
import orchestrator.engine.methods.fs
import orchestrator.engine.methods.gradio
import orchestrator.engine.methods.interaction
import orchestrator.engine.methods.json_files
import orchestrator.engine.methods.link
import orchestrator.engine.methods.net
import orchestrator.engine.methods.process
import orchestrator.engine.methods.variables  # noqa: F401  # imported so that they register
from tests.methods.fakes import Bench


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "home")
