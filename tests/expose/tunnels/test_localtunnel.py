"""localtunnel for real: its server and its client from npm, in namespaces without a way out."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.expose.tunnels.fetching import Fetching
from tests.expose.tunnels.common import here
from tests.expose.tunnels.localtunnel_lab import fetch_server

ROOT = Path(__file__).parents[3]


def may_unshare() -> bool:
    tried = subprocess.run(["unshare", "-n", "-m", "true"], capture_output=True, check=False)
    return tried.returncode == 0


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.skipif(not may_unshare(), reason="needs namespaces")
def test_it_returns_whatever_dies(tmp_path: Path):
    asyncio.run(Fetching(say=print).provide("localtunnel", here(tmp_path, os.environ)))
    server = fetch_server(tmp_path / "server")
    argv = ["unshare", "-n", "-m", sys.executable, "-m", "tests.expose.tunnels.localtunnel_lab"]
    done = subprocess.run(
        [*argv, str(tmp_path), str(server), "quick"], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["url"] == "http://laboratory.lt.test"
    assert told["said"].startswith("the gate does not answer")
    assert told["left"] == []
    assert {"client killed", "server killed", "gate returned"} <= set(told)
