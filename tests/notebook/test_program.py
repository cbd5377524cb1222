"""The command line called from a cell."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from orchestrator.engine.errors import BadInputError, PinoctlError
from orchestrator.notebook import program
from orchestrator.notebook.program import answer_of, call, options


def test_arguments_become_options():
    assert options({"place": "host", "fresh": True, "keep_failed": False, "timeout": 600, "name": None}) == [
        "--place", "host", "--fresh", "--timeout", "600",
    ]  # fmt: skip
    assert options({"mount": ["/a:/b", "/c:/d"]}) == ["--mount", "/a:/b", "--mount", "/c:/d"]
    assert options({"answers": {"model": "small"}, "args": {"n": 1}}) == [
        "--answers",
        '{"model": "small"}',
        "--args",
        '{"n": 1}',
    ]
    assert options({"tunnel": False, "public": False, "framed": False}) == ["--no-tunnel", "--closed", "--not-framed"]


@pytest.mark.parametrize("value", [{"a": 1}, object(), b"x"])
def test_what_is_no_option_is_refused(value):
    with pytest.raises(BadInputError, match="`gpus` cannot be a"):
        options({"gpus": value})


def test_every_opposite_is_an_option_of_up():
    from orchestrator.commands.up import up  # noqa: PLC0415  # loads click's options

    known = {name for each in up.params for name in (*each.opts, *each.secondary_opts)}
    assert set(program.NO.values()) <= known
    assert {f"--{name}" for name in program.AS_JSON} <= known


def test_a_command_answers_with_json_and_its_progress(home):
    said = []
    assert call(["status", "--home", str(home.root)], said.append) == []
    assert "".join(said) == ""
    with pytest.raises(PinoctlError, match=r"`pinoctl up nothing-like-this` failed \(exit status 2\)"):
        call(["up", "nothing-like-this", "--home", str(home.root)], said.append)
    assert "error: `nothing-like-this` is neither installed nor in the catalogue" in "".join(said)


def test_the_last_json_line_counts():
    assert answer_of('noise\n{"a": 1}\nmore noise\n', 1, ["up"]) == {"a": 1}
    assert answer_of("", 0, ["up"]) is None


def test_progress_comes_as_it_is_printed_even_in_pieces(monkeypatch):
    code = (
        "import os,sys; os.write(2, '1 ä'.encode()[:3]); sys.stdin.read(); os.write(2, 'ä'.encode()[1:]); print('[1]')"
    )
    monkeypatch.setattr(program, "PROGRAM", (sys.executable, "-c", code))
    said = []
    assert call([], said.append) == [1]
    assert "".join(said) == "1 ä"


def test_a_program_that_leaves_one_behind_does_not_hold_the_cell(monkeypatch):
    code = "import subprocess; print(subprocess.Popen(['sleep', '1000']).pid)"
    monkeypatch.setattr(program, "PROGRAM", (sys.executable, "-c", code))
    os.kill(call([], str), signal.SIGKILL)  # it runs still, and holds the streams


def test_nothing_is_lost_where_the_notebook_is_slow(monkeypatch, tmp_path):
    busy = tmp_path / "busy"
    code = (
        "import os, time; os.write(2, b'one ')\n"
        f"while not os.path.exists({str(busy)!r}): time.sleep(0.01)\n"
        "os.write(2, b'two' * 9999); print('[1]')\n"
    )
    monkeypatch.setattr(program, "PROGRAM", (sys.executable, "-c", code))
    said = []

    def slow(text):
        if not said:
            busy.touch()
            time.sleep(1.5)  # the command ends meanwhile
        said.append(text)

    assert call([], slow) == [1]
    assert "".join(said) == "one " + "two" * 9999


def test_interrupting_the_cell_interrupts_the_command(monkeypatch, tmp_path):
    code = (
        "import signal, sys, time, pathlib\n"
        "def stop(*_):\n"
        f"    pathlib.Path({str(tmp_path / 'settled')!r}).touch(); sys.exit(130)\n"
        "signal.signal(signal.SIGINT, stop)\n"
        "sys.stderr.write('ready'); sys.stderr.flush(); time.sleep(60)\n"
    )
    monkeypatch.setattr(program, "PROGRAM", (sys.executable, "-c", code))
    real = program.subprocess.Popen.wait

    def interrupted(self, timeout=None):
        if timeout is None and not (tmp_path / "settled").exists():
            monkeypatch.setattr(program.subprocess.Popen, "wait", real)
            while "ready" not in "".join(said):
                time.sleep(0.01)
            raise KeyboardInterrupt
        return real(self, timeout)

    said = []
    monkeypatch.setattr(program.subprocess.Popen, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        call([], said.append)
    assert (tmp_path / "settled").exists()
