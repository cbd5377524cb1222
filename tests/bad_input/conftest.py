"""Running `pinoctl script run` as a program on launchers that are wrong in some way."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

LONG = 200.0  # seconds that one command may take on a busy machine, ten of them a processor's
HARDWARE = {
    "platform": "linux",
    "arch": "x64",
    "gpu": "none",
    "gpus": [],
    "gpu_model": None,
    "gpu_driver": None,
    "gpu_target": None,
    "vram": 0,
    "ram": 8,
}


@dataclass
class Done:
    status: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        return self.stderr.decode("utf-8", "replace")

    def error(self) -> str:
        """The one error that was told."""
        found = re.findall(r"^error: (.*)$", self.text, re.MULTILINE)
        assert len(found) == 1, self.text[-3000:]
        return str(found[0])

    def check(self) -> None:
        assert b"Traceback (most recent call last)" not in self.stderr + self.stdout, self.text[-3000:]
        assert b"internal error" not in self.stderr, self.text[-3000:]
        assert b"Task exception was never retrieved" not in self.stderr, self.text[-3000:]


@dataclass
class Program:
    """A home, an app, and the command."""

    home: Path
    app: Path
    environ: dict[str, str]
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def write(self, name: str, content: Any) -> Path:
        path = self.app / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(
                content
                if isinstance(content, str)
                else json.dumps({"run": content} if isinstance(content, list) else content),
                "utf-8",
            )
        return path

    def command(self, *arguments: str | Path) -> list[str]:
        return [sys.executable, "-m", "cli", *map(str, arguments)]

    def begin(self, *arguments: str | Path) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            self.command(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environ,
            cwd=self.app,
        )
        self.started.append(process)
        return process

    def end(self, process: subprocess.Popen[bytes]) -> Done:
        out, err = process.communicate(timeout=LONG)
        done = Done(process.returncode, out, err)
        done.check()
        return done

    def pinoctl(self, *arguments: str | Path) -> Done:
        return self.end(self.begin(*arguments))

    def script(self, path: Path, *options: str | Path) -> Done:
        return self.end(self.begin_script(path, *options))

    def begin_script(self, path: Path, *options: str | Path) -> subprocess.Popen[bytes]:
        return self.begin(
            "script", "run", path, "--home", self.home, "--hardware", self.home.parent / "hardware.json", *options
        )

    def run(self, content: Any, *options: str | Path, name: str = "main.json") -> Done:
        return self.script(self.write(name, content), *options)


def marked(mark: str) -> list[psutil.Process]:
    """All living processes that have a mark in their environment, however they left our tree."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get("PINOCTL_TEST") == mark:
                found.append(process)
    return found


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@pytest.fixture(scope="session")
def made_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home for all tests of a worker, its base environment made once."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "hardware.json").write_text(json.dumps(HARDWARE))
    return folder / "home"


@pytest.fixture
def program(made_home: Path, request: pytest.FixtureRequest) -> Iterator[Program]:
    mark = f"{os.getpid()}-{request.node.name}"
    app = made_home / "api" / f"app{abs(hash(mark))}"
    app.mkdir(parents=True)
    environ = {**os.environ, "PINOCTL_TEST": mark, "PYTHONPATH": str(Path(__file__).parents[2])}
    environ.pop("PINOCTL_HOME", None)
    made = Program(made_home, app, environ)
    yield made
    for process in made.started:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    deadline = time.monotonic() + LONG
    while (left := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    shown = []
    for process in left:
        with contextlib.suppress(psutil.Error):  # it may end between the two looks
            shown.append(f"{process.pid} {process.cmdline()}")
            process.kill()
    assert not shown, f"left running: {shown}"
