"""The lock per app."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.engine.home import Home
from orchestrator.state.locks import LockedError, app_lock, holder, lock_file

ROOT = Path(__file__).parents[2]
HOLD = """
import sys
from pathlib import Path
from orchestrator.engine.home import Home
from orchestrator.state.locks import app_lock
with app_lock(Home(Path(sys.argv[1])), "Demo", "installed"):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


@pytest.fixture
def other(home):
    """Start a process that holds the lock."""
    command = [sys.executable, "-c", HOLD, str(home.root)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_held_lock_is_refused_with_who_and_why(home, other):
    with pytest.raises(LockedError, match=rf"`demo` is being installed by process {other.pid} since 20\d\d-") as caught:
        app_lock(home, "demo", "updated").__enter__()
    assert caught.value.pid == other.pid
    assert caught.value.hint
    found = holder(home, "DEMO")
    assert found is not None
    assert (found.pid, found.purpose) == (other.pid, "installed")


def test_death_releases_it(home, other):
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert holder(home, "demo") is None
    with app_lock(home, "demo", "updated"):
        assert holder(home, "demo").purpose == "updated"


def test_it_is_released_at_the_end_and_after_errors(home):
    with pytest.raises(ZeroDivisionError), app_lock(home, "demo", "installed"):
        1 / 0  # noqa: B018  # only raised
    assert holder(home, "demo") is None
    with app_lock(home, "demo", "installed"), app_lock(home, "other", "installed"):
        pass


def test_one_process_cannot_hold_it_twice(home):
    with app_lock(home, "demo", "installed", clock=lambda: 0.0), pytest.raises(LockedError, match="being installed"):
        app_lock(home, "Demo", "removed").__enter__()


def test_children_do_not_keep_it(home):
    with app_lock(home, "demo", "installed"):
        child = subprocess.Popen(["sleep", "30"], close_fds=False)
    try:
        assert holder(home, "demo") is None
    finally:
        child.kill()
        child.wait()


def test_a_garbled_lock_file_is_no_obstacle(home):
    lock_file(home, "demo").parent.mkdir(parents=True)
    lock_file(home, "demo").write_text("garbage that is longer than what we write into it" * 10)
    assert holder(home, "never") is None
    with app_lock(home, "demo", "installed"):
        assert holder(home, "demo").purpose == "installed"
        lock_file(home, "demo").write_text("garbage")
        with pytest.raises(LockedError, match="another command"):
            app_lock(home, "demo", "installed").__enter__()
