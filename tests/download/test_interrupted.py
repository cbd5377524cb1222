"""Downloads that are killed, and disks that are full."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.engine.errors import ScriptError
from tests.download.conftest import Getter

PROGRAM = """
import sys
from pathlib import Path
from orchestrator.engine.download.fetch import fetch
from orchestrator.engine.download.model import Order, Settings, Stop
fetch(Order(sys.argv[1], path=Path(sys.argv[2])), stop=Stop(), write=lambda _: None,
      settings=Settings(parallel_from=int(sys.argv[3]), chunk=16384, save_every=0.0, report_every=0.01, env={}))
"""


@pytest.mark.parametrize("parallel_from", [100_000, 10**9])
def test_killed_at_any_moment_it_goes_on(get: Getter, parallel_from: int) -> None:
    get.habits.content = bytes(range(256)) * 8000
    get.habits.pause = 0.02
    get.habits.stall_after, get.habits.stalls = 65536, 99  # so that none comes to an end before it is killed
    command = [sys.executable, "-c", PROGRAM, f"{get.server.url}/f", str(get.target), str(parallel_from)]
    get.folder.mkdir()
    for more in (0, 1, 30_000, 65_536):
        asked, had = len(get.habits.gets()), get.noted
        process = subprocess.Popen(command)
        deadline = time.monotonic() + 60
        while len(get.habits.gets()) == asked or get.noted < had + more:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.kill()
        assert process.wait() == -9
        assert not get.target.exists()
    get.habits.stalls = 0
    get.habits.pause = 0.0
    had = get.noted
    outcome = get(parallel_from=parallel_from)
    assert get.target.read_bytes() == get.habits.content
    assert had >= 65_536 + 30_000 + 1
    assert outcome.received == len(get.habits.content) - had
    assert get.left() == ["file.bin"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(folder)], capture_output=True, check=False
    ).returncode:
        pytest.skip("needs the right to mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_fills_up_keeps_the_part(get: Getter, small_disk: Path) -> None:
    get.folder = small_disk
    with pytest.raises(ScriptError, match="disk is full") as caught:
        get(free=lambda _: 10**9)
    assert "run it again" in (caught.value.hint or "")
    assert not get.target.exists()
    assert (small_disk / "file.bin.part").stat().st_size > 0
    with pytest.raises(ScriptError, match="are missing"):
        get()
