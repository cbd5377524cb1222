"""What file methods say when the disk is full or read-only, and that nothing is left half-written."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.engine.disk import append, disk_error, write_whole
from orchestrator.engine.errors import ScriptError
from tests.methods.fakes import Bench


def mounted(folder: Path, options: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], capture_output=True, check=False
    ).returncode:
        pytest.skip("needs the right to mount a small disk")


@pytest.fixture
def small(bench: Bench) -> Iterator[Path]:
    mounted(bench.app / "small", "size=64k")
    yield bench.app / "small"
    subprocess.run(["umount", "-l", str(bench.app / "small")], check=True)


async def test_full_disk_keeps_the_old_file(bench: Bench, small: Path) -> None:
    (small / "f").write_text("old")
    for method in ("fs.write", "fs.append"):
        with pytest.raises(ScriptError, match=r"disk is full \(ENOSPC\)") as caught:
            await bench(method, {"path": "small/f", "text": "x" * 200_000})
        assert "free some space" in (caught.value.hint or "")
        assert (small / "f").read_text() == "old"
    (bench.app / "big").write_text("x" * 200_000)
    with pytest.raises(ScriptError, match=r"cannot copy .*disk is full"):
        await bench("fs.copy", {"src": "big", "dest": "small/f"})
    assert [(path.name, path.read_text()) for path in small.iterdir()] == [("f", "old")]  # noqa: ASYNC240  # tiny files


async def test_read_only_disk(bench: Bench) -> None:
    folder = bench.app / "ro"
    mounted(folder, "size=64k,ro")
    try:
        for method, params in (("fs.write", {"text": "x"}), ("fs.append", {"text": "x"}), ("fs.make", {})):
            with pytest.raises(ScriptError, match="read-only"):
                await bench(method, {"path": "ro/new", **params})
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)  # noqa: ASYNC221  # tests may wait


@pytest.mark.parametrize("number", range(1, 135))
def test_every_error_of_the_system_is_described(number: int) -> None:
    error = disk_error("write", "/x", OSError(number, os.strerror(number)))
    assert str(error).startswith("cannot write `/x`: ")
    assert error.hint
    assert not str(error).endswith(".")


def test_a_failing_source_leaves_nothing(tmp_path: Path) -> None:
    def parts() -> Iterator[bytes]:
        yield b"half"
        raise RuntimeError

    (tmp_path / "f").write_text("old")
    for function in (write_whole, append):
        with pytest.raises(RuntimeError):
            function(tmp_path / "f", parts())
        assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("f", "old")]
