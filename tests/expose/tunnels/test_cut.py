"""The network between a tunnel and its server is cut: the service returns by itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.expose.tunnels.lab import SSHD

ROOT = Path(__file__).parents[3]


def possible() -> bool:
    if SSHD is None or os.getuid() != 0:
        return False
    pair = "ip link add ours type veth peer name theirs"
    return subprocess.run(["unshare", "-n", "sh", "-c", pair], capture_output=True, check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.skipif(not possible(), reason="needs OpenSSH's server, and root with network namespaces")
def test_the_service_returns(tmp_path: Path):
    done = subprocess.run(
        ["unshare", "-n", sys.executable, "-m", "tests.expose.tunnels.cut_lab", str(tmp_path), "quick"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["link cut for 12 s: noticed after"] is not None
    assert told["link cut for 12 s: same client"] is False
    assert {"client killed", "server away for 1 s", "gate away for 1 s", "link cut for 1 s"} <= set(told)
