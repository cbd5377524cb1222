"""A Docker daemon of the tests' own, to be killed, restarted and filled up; it has a bridge of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from tests.containers.lab import PATIENCE, eventually

ROOM = "6g"  # of memory, and only as much as is written


class OwnDaemon:
    """Run dockerd in a folder; its images and containers lie in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.host = f"unix://{folder}/docker.sock"
        self.bridge = f"pino{os.getpid() % 100000}"
        self._proc: subprocess.Popen[bytes] | None = None
        self._log = (folder / "log").open("wb")
        self.data.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", self.data], check=True)
        subprocess.run(["ip", "link", "add", self.bridge, "type", "bridge"], check=True)
        address = f"172.29.{os.getpid() % 250}.1/24"
        subprocess.run(["ip", "addr", "add", address, "dev", self.bridge], check=True)
        subprocess.run(["ip", "link", "set", self.bridge, "up"], check=True)

    def start(self) -> None:
        """Start it and wait until it answers."""
        command: list[str | Path] = [
            "dockerd", "--data-root", self.data, "--exec-root", self.folder / "exec", "--pidfile", self.folder / "pid",
            "--host", self.host, "--bridge", self.bridge, "--iptables=false", "--ip6tables=false", "--ip-masq=false",
        ]  # fmt: skip
        for left in (self.folder / "pid", self.folder / "exec/containerd/containerd.pid"):
            left.unlink(missing_ok=True)  # where nobody takes in orphans, a killed containerd looks alive
        self._proc = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True)
        eventually(self._answers)

    def _answers(self) -> bool:
        import docker  # noqa: PLC0415  # slow to import
        from docker.errors import DockerException  # noqa: PLC0415  # as above

        try:
            client = docker.DockerClient(base_url=self.host, timeout=30)
            client.ping()
            client.close()
        except (DockerException, OSError):
            return False
        return True

    def kill(self) -> None:
        """End it as a crash does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it as its service does."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._proc is not None:
            self._proc.send_signal(how)
            self._proc.wait(PATIENCE)
            self._proc = None

    def _end_shims(self) -> None:
        """End the containers that outlived a killed daemon, with what holds them."""
        for shim in psutil.process_iter(["cmdline"]):
            if any(word.startswith(f"{self.folder}/") for word in shim.info["cmdline"] or ()):
                with contextlib.suppress(psutil.Error):  # it has ended meanwhile
                    for process in [*shim.children(recursive=True), shim]:
                        with contextlib.suppress(psutil.Error):
                            process.kill()

    def client(self) -> Any:
        """Connect to it."""
        import docker  # noqa: PLC0415  # slow to import

        return docker.DockerClient(base_url=self.host, timeout=600)

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """Leave no room on its disk within the block."""
        filler, taken = self.data / "filler", 0
        with filler.open("wb") as file:
            for piece in (1 << 30, 1 << 20, 1 << 12):  # how much there is changes meanwhile, as the daemon writes too
                with contextlib.suppress(OSError):
                    while True:
                        os.posix_fallocate(file.fileno(), taken, piece)
                        taken += piece
        try:
            yield
        finally:
            filler.unlink()

    def load(self, daemon: Any, images: Sequence[str]) -> None:
        """Take images over from another daemon."""
        client = self.client()
        answer = daemon.api._get(daemon.api._url("/images/get"), params={"names": list(images)}, stream=True)
        list(client.api.load_image(answer.iter_content(1 << 20)))  # it has loaded them once it said everything
        client.close()

    def close(self) -> None:
        """End it and remove what it had."""
        with contextlib.suppress(Exception):  # it may be down
            client = self.client()
            for container in client.containers.list(all=True, ignore_removed=True):
                container.remove(force=True, v=True)
            client.close()
        self.stop()
        self._log.close()
        self._end_shims()
        for line in Path("/proc/mounts").read_text().splitlines()[::-1]:
            place = line.split()[1]
            if place.startswith(f"{self.folder}/"):
                subprocess.run(["umount", "-l", place], check=True)
        subprocess.run(["ip", "link", "del", self.bridge], check=True)
        shutil.rmtree(self.folder, ignore_errors=True)
