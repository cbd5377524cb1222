"""The probe after an install: real environments with a torch that answers as the real one does in each situation."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.torch.environments import environments_of
from orchestrator.torch.probe import ask_torch, judge, probe
from tests.plan.steps import NO_GPU, machine

VERSION = """from typing import Optional
__version__ = '{version}'
debug = False
cuda: Optional[str] = {cuda!r}
hip: Optional[str] = None
"""
INIT = """
import os, time, warnings
class cuda:
    @staticmethod
    def is_available():
        if {warning!r}: warnings.warn({warning!r})
        return {available}
    @staticmethod
    def get_arch_list(): return {architectures!r}
    @staticmethod
    def get_device_capability(index): return {capability}
class _Tensor:
    def sum(self): return self
    def item(self):
        if {fails!r}: raise RuntimeError({fails!r})
        return 0.0
def zeros(*_, **__): return _Tensor()
{more}
"""


def environment(
    app: Path,
    name="env",
    *,
    version="2.7.0+cu128",
    cuda="12.8",
    available=True,
    architectures=("sm_80", "sm_86"),
    capability=(8, 9),
    warning="",
    fails="",
    more="",
) -> Path:
    folder = app / name
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = folder.glob("lib/python3*/site-packages")
    (packages / "torch").mkdir()
    (packages / "torch" / "version.py").write_text(VERSION.format(version=version, cuda=cuda))
    (packages / "torch" / "__init__.py").write_text(
        INIT.format(
            available=available,
            architectures=list(architectures),
            capability=capability,
            warning=warning,
            fails=fails,
            more=more,
        )
    )
    return folder


ENV = {"PATH": os.environ["PATH"]}


def test_environments_are_found_and_read(tmp_path):
    environment(tmp_path, "env")
    environment(tmp_path, "app/.venv", version="2.4.0+cpu", cuda=None)
    (tmp_path / "node_modules/env").mkdir(parents=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "plain"], check=True)
    found = environments_of(tmp_path)
    assert [(Path(each.folder).name, each.version, each.cuda) for each in found] == [
        (".venv", "2.4.0", "cpu"),
        ("env", "2.7.0", "12.8"),
    ]
    assert found[0].python == f"3.{sys.version_info.minor}"
    assert environments_of(tmp_path / "nothing") == []


def test_a_build_that_works_says_nothing(tmp_path):
    environment(tmp_path)
    assert probe(tmp_path, machine(), ENV) == []


@pytest.mark.parametrize(
    ("torch", "words"),
    [
        ({"version": "2.7.0+cpu", "cuda": None, "available": False}, "CPU build"),
        (
            {"available": False, "warning": "CUDA initialization: The NVIDIA driver on your system is too old"},
            "driver on your system is too old",
        ),
        ({"available": False}, "does not see the nvidia geforce rtx 4090"),
        ({"capability": (12, 0)}, "no code for compute capability 12.0"),
        ({"fails": "CUDA error: no kernel image is available"}, "no kernel image"),
        ({"more": "raise ImportError('libcudnn.so.9: cannot open shared object file')"}, "libcudnn"),
        ({"more": "os._exit(3)"}, "status 3"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, torch, words):
    environment(tmp_path, **torch)
    (found,) = probe(tmp_path, machine(), ENV)
    assert found.level == "problem"
    assert words in found.text
    assert found.remedy


def test_files_and_torch_say_the_same_thing_once(tmp_path):
    environment(tmp_path, version="2.4.0+cu121", cuda="12.1", capability=(12, 0), fails="no kernel image")
    (found,) = probe(tmp_path, machine("rtx 5090", "sm_120"), ENV)
    assert "cu128" in found.remedy


def test_without_a_card_nothing_is_run_and_that_is_said(tmp_path):
    environment(tmp_path, more="raise SystemExit('torch was imported')")
    (found,) = probe(tmp_path, NO_GPU, ENV, ask=lambda *_: pytest.fail("nothing may be run"))
    assert found.level == "note"
    assert "without a GPU nothing more could be checked" in found.text


def until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_one_that_hangs_is_ended_with_all_it_started(tmp_path, monkeypatch):
    marker = tmp_path / "child"
    environment(
        tmp_path,
        more=f"import subprocess; child = subprocess.Popen(['sleep', '600'])\n"
        f"open({str(marker)!r}, 'w').write(str(child.pid)); time.sleep(600)",
    )
    (found,) = environments_of(tmp_path)
    communicate = subprocess.Popen.communicate

    def hang_first(process, **more):
        until(lambda: marker.exists() and marker.read_text())
        return communicate(process, **more)

    monkeypatch.setattr(subprocess.Popen, "communicate", hang_first)
    answer = ask_torch(found, ENV, seconds=0.2)
    assert "did not answer" in answer["error"]
    state = Path(f"/proc/{int(marker.read_text())}/stat")
    until(lambda: not running(state))  # it was killed, which takes effect when its turn comes


def running(state):
    try:
        return state.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_an_interpreter_that_is_gone(tmp_path):
    folder = environment(tmp_path)
    (folder / "bin" / "python").unlink()
    (found,) = probe(tmp_path, machine(), ENV)
    assert "cannot be started" in found.text


def test_an_answer_without_architectures_is_believed(tmp_path):
    environment(tmp_path)
    (found,) = environments_of(tmp_path)
    assert judge(found, "env", {"available": True}, machine()) == []
