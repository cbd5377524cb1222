"""A home in a temporary folder, and agents in it that are surely gone after each test."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import tempfile
import time
from pathlib import Path

import pytest

from orchestrator.agent.spawn import find
from orchestrator.engine.home import Home

LONG = 60.0  # seconds that anything here may take on a busy machine


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition):
    """Wait for something outside this process; returns what the condition said."""
    end = time.monotonic() + LONG
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


async def until(condition) -> None:
    """Wait for something that this process does meanwhile."""
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.01)


def processes_of(home: Path) -> list[int]:
    """Return the processes that have this home in their environment or command line."""
    mark, found = str(home).encode(), []
    for name in [path.name for path in Path("/proc").iterdir()]:
        if name.isdecimal() and int(name) != os.getpid() and alive(int(name)):
            with contextlib.suppress(OSError):
                text = Path(f"/proc/{name}/environ").read_bytes() + Path(f"/proc/{name}/cmdline").read_bytes()
                if mark in text:
                    found.append(int(name))
    return found


@pytest.fixture
def home():
    with tempfile.TemporaryDirectory(prefix="pinoctl-agent-", ignore_cleanup_errors=True) as folder:
        home = Home(Path(folder))
        (home.api / "app").mkdir(parents=True)
        yield home
        for socket in home.run.glob("*.sock"):
            with contextlib.suppress(Exception):
                client = find(home, socket.stem)
                if client:
                    client.down()
        for pid in processes_of(home.root):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def write_app(folder: Path, **files: object) -> None:
    """Write an app's files; objects become JSON, keys with `_` for the dot."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name.replace("_", ".")
        path.write_text(content if isinstance(content, str) else json.dumps(content))
