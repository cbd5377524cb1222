"""The gate's real processes, killed: what later commands said of tunnels and of this machine is still known."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from orchestrator.engine.errors import PinoctlError
from orchestrator.engine.home import Home
from orchestrator.expose.client import GateClient
from tests.commands.conftest import processes
from tests.expose.world import free_port

PATIENCE = 60.0


def until(enough):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := enough():
            return found
        time.sleep(0.02)
    raise AssertionError("it never came to that")


def gate_processes(home):
    """Return the gate's processes: the one that keeps the other alive, and the one that serves."""
    found = []
    for pid in processes(home.root, "orchestrator.commands.gate_process"):
        with contextlib.suppress(OSError):
            found.append((int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]), pid))
    pids = {pid for _, pid in found}
    return next(((parent, pid) for parent, pid in found if parent in pids), None)


@pytest.fixture
def gate(tmp_path, monkeypatch):
    """Return a client of a home whose gate was started with a token and a platform that were taken back since."""
    home = Home(tmp_path / "home")
    client = GateClient(home)
    for name in ("PINOCTL_PUBLIC_URL", "PINOCTL_GATE_PORT"):
        monkeypatch.delenv(name, raising=False)
    client.start(environ={**os.environ, "PINOCTL_PLATFORM": "vast", "NGROK_AUTHTOKEN": "of the first command"})
    yield client
    for pid in until(lambda: gate_processes(home)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_what_was_said_later_is_known_after_the_gate_was_killed(gate):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    where = {"PINOCTL_PLATFORM": "local", "PINOCTL_PUBLIC_URL": url, "PINOCTL_GATE_PORT": str(port)}
    token = {"NGROK_AUTHTOKEN": ""}
    gate.need("expose", app="notes", given={"tunnel": "own"}, accounts=token, environ=where)

    def reached():
        with contextlib.suppress(OSError):
            shown = gate.ask("state", app="notes", timeout=PATIENCE) or {}
            return shown.get("share_url") == url

    until(reached)
    keeper, serving = until(lambda: gate_processes(gate.files.home))
    os.kill(serving, signal.SIGKILL)
    until(lambda: (there := gate_processes(gate.files.home)) and there[0] == keeper and there[1] != serving)
    until(reached)
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(url, timeout=PATIENCE)  # our own URL
    with pytest.raises(PinoctlError, match="`NGROK_AUTHTOKEN` is not set"):
        gate.ask("expose", app="other", given={"tunnel": "ngrok"})
