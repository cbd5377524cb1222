"""Running the installed `pinoctl` in a home of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

SECONDS = 180  # far above any figure; a hang must end the benchmark


class BenchError(Exception):
    """Say why a figure could not be had."""


@dataclass(frozen=True, slots=True)
class Program:
    """Be the program under test, with a home and a user's home that are thrown away."""

    root: Path

    @property
    def home(self) -> Path:
        """Folder that is PINOCTL_HOME."""
        return self.root / "home"

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of a call."""
        return [str(Path(sys.executable).with_name("pinoctl")), *arguments]

    def environment(self) -> dict[str, str]:
        """Return the environment of a call: the user's, with the homes replaced."""
        return {**os.environ, "HOME": str(self.root / "user"), "PINOCTL_HOME": str(self.home), "PINOCTL_PLACE": "host"}

    def call(self, *arguments: str, expect: int = 0) -> tuple[float, str]:
        """Run a command; return its duration in ms and its stdout; raise BenchError when it fails."""
        began = time.perf_counter()
        done = subprocess.run(
            self.command(*arguments),
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        took = (time.perf_counter() - began) * 1000
        if done.returncode != expect:
            last = (done.stderr.strip().splitlines() or ["no output"])[-1]
            raise BenchError(f"`pinoctl {' '.join(arguments)}` ended with {done.returncode}: {last}")
        return took, done.stdout

    def python(self, code: str) -> str:
        """Run Python in the program's environment and return what it prints; raise BenchError when it fails."""
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise BenchError((done.stderr.strip().splitlines() or ["no output"])[-1])
        return done.stdout.strip()

    def script(self, steps: list[dict[str, Any]]) -> tuple[float, list[dict[str, Any]]]:
        """Run a script of these steps; return the wall clock at process start in ms, and the rows of its trace."""
        folder = self.root / "bench-app"
        folder.mkdir(exist_ok=True)
        (folder / "bench.json").write_text(json.dumps({"run": steps}), encoding="utf-8")
        trace = self.root / "trace.jsonl"
        trace.unlink(missing_ok=True)
        began = time.time() * 1000
        self.call("script", "run", str(folder / "bench.json"), "--trace", str(trace))
        rows = [json.loads(line) for line in trace.read_text("utf-8").splitlines()]
        if rows[-1].get("status") != "end" or len(rows) != len(steps) + 1:
            raise BenchError(f"the script ended as {rows[-1]}")
        return began, rows[:-1]


@contextmanager
def program() -> Iterator[Program]:
    """Give a program in fresh folders, and remove them afterwards."""
    with TemporaryDirectory(prefix="pinoctl-bench-", ignore_cleanup_errors=True) as folder:
        here = Program(Path(folder))
        (here.root / "user").mkdir()
        here.home.mkdir()
        yield here
