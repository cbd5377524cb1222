"""Measure how long a public URL takes to come up, and to return after everything that can happen to a tunnel.

Run as `python -m benchmarks.tunnels` (root, with namespaces and OpenSSH's server; npm for localtunnel). It takes
some ten minutes, most of them outages, so it is not part of `make bench`. Times in seconds, under the real limits.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from orchestrator.expose.tunnels.fetching import Fetching
from orchestrator.expose.tunnels.provider import Here
from tests.expose.tunnels.localtunnel_lab import fetch_server

SECONDS = 900


def ssh() -> dict[str, Any]:
    """Measure an SSH tunnel between two namespaces, with a link that is cut."""
    with TemporaryDirectory() as folder:
        return _run(["unshare", "-n", sys.executable, "-m", "tests.expose.tunnels.cut_lab", folder])


def localtunnel() -> dict[str, Any]:
    """Measure localtunnel's client and server on loopback."""
    with TemporaryDirectory() as folder:
        root = Path(folder)
        here = Here(dict(os.environ), lambda _name: None, root / "gate", root / "programs")
        asyncio.run(Fetching(say=lambda _line: None).provide("localtunnel", here))
        server = fetch_server(root / "server")
        lab = [sys.executable, "-m", "tests.expose.tunnels.localtunnel_lab", folder, str(server)]
        return _run(["unshare", "-n", "-m", *lab])


def _run(argv: list[str]) -> dict[str, Any]:
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, timeout=SECONDS, check=True)
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def main() -> None:
    """Print a table."""
    for name, measure in (("localtunnel", localtunnel), ("ssh", ssh)):
        for what, value in measure().items():
            print(f"| {name} | {what} | {value} |", flush=True)


if __name__ == "__main__":
    main()
