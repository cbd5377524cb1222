"""The process that keeps the gate alive: started again when it dies, not when it ends or cannot begin."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from orchestrator.expose.supervise import LONGEST_PAUSE, pause_after, take_lock

PROGRAM = """
    import os, sys
    from pathlib import Path
    from orchestrator.expose.supervise import keep_alive

    starts = Path(sys.argv[1])
    {first}

    def serve():
        count = len(starts.read_text()) if starts.exists() else 0
        starts.write_text("x" * (count + 1))
        {body}

    sys.exit(keep_alive(serve, died=lambda: os.environ.pop("SAID_FIRST", None), sleep=lambda seconds: None))
"""


# The keeper is told to end before it knows that it has a child, as on a slow machine.
AT_ONCE = """
fork = os.fork

def forked():
    child = fork()
    if child:
        os.kill(os.getpid(), 15)
    return child

os.fork = forked
"""


def supervised(tmp_path, body, first="", **more):
    starts = tmp_path / "starts"
    program = textwrap.dedent(PROGRAM).format(body=body, first=first)
    return starts, subprocess.Popen(
        [sys.executable, "-c", program, str(starts)], stderr=subprocess.PIPE, text=True, **more
    )


@pytest.mark.parametrize(
    ("body", "status", "starts"),
    [
        ("return 0", 0, 1),
        ("return 2", 2, 1),
        ("return 1 if count < 2 else 0", 0, 3),
        ("os.kill(os.getpid(), 9) if count < 2 else None; return 0", 0, 3),
        ("if count < 1: raise RuntimeError('boom')\n    return 0", 0, 2),
        ("return 1 if count < 1 else 2 if count < 3 else 0", 0, 4),
    ],
)
def test_what_dies_is_started_again_and_what_ends_is_not(tmp_path, body, status, starts):
    file, process = supervised(tmp_path, body)
    _, said = process.communicate(timeout=60)
    assert process.returncode == status, said
    assert len(file.read_text()) == starts
    assert said.count("it is started again") == starts - 1


def test_what_is_outdated_is_dropped_before_the_next_one_is_started(tmp_path):
    body = "sys.stderr.write(f'{count}:{os.environ.get(str(\"SAID_FIRST\"))} '); return 0 if count else 1"
    _, process = supervised(tmp_path, body, env={**os.environ, "SAID_FIRST": "yes"})
    _, said = process.communicate(timeout=60)
    assert "0:yes " in said
    assert "1:None " in said


def test_a_signal_reaches_the_child_and_ends_both(tmp_path):
    body = "import time; print('up', flush=True); time.sleep(100); return 1"
    file, process = supervised(tmp_path, body, stdout=subprocess.PIPE)
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert len(file.read_text()) == 1


def test_a_signal_that_comes_while_the_child_is_made_ends_both(tmp_path):
    _, process = supervised(tmp_path, "import time; time.sleep(100); return 1", AT_ONCE)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "")


def test_pauses_grow_and_stay_bearable():
    assert [pause_after(deaths) for deaths in (1, 2, 3)] == [0.2, 0.4, 0.8]
    assert pause_after(1000) == LONGEST_PAUSE


def test_one_process_has_the_lock(tmp_path):
    first = take_lock(tmp_path / "lock", patience=0)
    slept = []
    assert take_lock(tmp_path / "lock", patience=0.01, sleep=slept.append) is None
    os.close(first)
    again = take_lock(tmp_path / "lock", patience=0)
    assert again is not None
    os.close(again)
