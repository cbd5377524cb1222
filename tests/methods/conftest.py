"""A bench with a home of its own for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.engine import methods
from tests.methods.fakes import Bench

methods.load_all()


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "home")
