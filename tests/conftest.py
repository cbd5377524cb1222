"""What all tests share: the order in which they run, and what a bare machine lacks."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

SLOW = ("slow", "network", "docker")
ROOT = Path(__file__).parent
ONE_AT_A_TIME = {
    "commands",
    "conformance",
    "ports",
}  # they serve on the first free ports, and compare which ones those are


def pytest_configure(config: pytest.Config) -> None:
    """Put a `python` on PATH where there is only `python3`, as on Debian: scripts of the tests call it."""
    if shutil.which("python") is None:
        folder = tempfile.mkdtemp(prefix="pinoctl-tests-")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        Path(folder, "python").symlink_to(shutil.which("python3") or sys.executable)
        os.environ["PATH"] = f"{os.environ['PATH']}:{folder}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the quick tests first, so that a mistake shows early; keep those that share ports on one worker."""
    items.sort(key=lambda item: sum(item.get_closest_marker(name) is not None for name in SLOW))
    for item in items:
        if item.path.relative_to(ROOT).parts[0] in ONE_AT_A_TIME:
            item.add_marker(pytest.mark.xdist_group("ports"))
