"""The host as a place."""

from __future__ import annotations

import os
import signal
import time

import pytest

from orchestrator.engine.errors import BadInputError, PinoctlError
from orchestrator.engine.home import Home
from orchestrator.places.host import HostPlace


def test_the_folders_of_a_home(tmp_path):
    place = HostPlace(Home(tmp_path / "deep" / "home"))
    place.prepare()
    place.prepare()
    assert place.home.api.is_dir()
    assert place.home.run.stat().st_mode & 0o777 == 0o700
    assert place.app_folder("Demo") == place.home.api / "Demo"


def test_a_home_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInputError, match="cannot be used") as caught:
        HostPlace(Home(tmp_path / "file")).prepare()
    assert "PINOCTL_HOME" in (caught.value.hint or "")


def test_an_agent_has_a_session_and_a_log_of_its_own(tmp_path):
    place = HostPlace(Home(tmp_path))
    place.prepare()
    pid = place.start_agent("demo", ["sh", "-c", "echo $WORD; pwd; exec sleep 30"], {**os.environ, "WORD": "hello"})
    try:
        assert os.getsid(pid) == pid != os.getsid(0)
        deadline = time.monotonic() + 10
        while place.log_file("demo").read_text() != f"hello\n{tmp_path}\n":
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_an_agent_that_cannot_start(tmp_path):
    with pytest.raises(PinoctlError, match="agent of `demo` cannot be started: /nothing"):
        HostPlace(Home(tmp_path)).start_agent("demo", ["/nothing"], {})
