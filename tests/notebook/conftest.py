"""A notebook on Colab: a stand-in for `google.colab` with the signatures of googlecolab/colabtools, and a home."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path

import pytest

from orchestrator.engine.home import Home

GIT = ("git", "-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main")


class Colab:
    """Stand in for `google.colab.drive` and `google.colab.output`; Drive is a folder."""

    def __init__(self, drive):
        self.drive, self.frames, self.mounted, self.refuses = drive, [], [], None

    def mount(self, mountpoint, force_remount=False, timeout_ms=120000, readonly=False):  # noqa: FBT002  # as Colab has it
        if self.refuses is not None:
            raise self.refuses
        self.mounted.append(mountpoint)
        Path(mountpoint, "MyDrive").mkdir(parents=True, exist_ok=True)

    def serve_kernel_port_as_iframe(self, port, path="/", width="100%", height="400", cache_in_notebook=False):  # noqa: FBT002
        self.frames.append((port, path, height))


@pytest.fixture
def colab(tmp_path, monkeypatch):
    stand_in = Colab(tmp_path / "content" / "drive")
    modules = {
        name: types.ModuleType(name) for name in ("google", "google.colab", "google.colab.drive", "google.colab.output")
    }
    modules["google.colab.drive"].mount = stand_in.mount
    modules["google.colab.output"].serve_kernel_port_as_iframe = stand_in.serve_kernel_port_as_iframe
    modules["google.colab"].drive = modules["google.colab.drive"]
    modules["google.colab"].output = modules["google.colab.output"]
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return stand_in


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("PINOCTL_HOME", str(tmp_path / "content" / "pinokio"))
    monkeypatch.setenv("PINOCTL_PLACE", "host")  # no Docker daemon can run there
    return Home(tmp_path / "content" / "pinokio")


@pytest.fixture
def repository(tmp_path):
    """Return a function that makes a git repository of files, or commits them to it, and returns its folder."""

    def commit(name, files):
        folder = tmp_path / "remotes" / name
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            (folder / path).write_text(text)
        if not (folder / ".git").exists():
            subprocess.run([*GIT, "init", "-q", str(folder)], check=True)
        subprocess.run([*GIT, "-C", str(folder), "add", "-A"], check=True)
        subprocess.run([*GIT, "-C", str(folder), "commit", "-q", "-m", "x"], check=True)
        return folder

    return commit


def git(folder, *arguments):
    done = subprocess.run([*GIT, "-C", str(folder), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()
