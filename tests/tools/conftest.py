from __future__ import annotations

import os
import subprocess

import pytest

from orchestrator.engine.environment import Environment, prepare_home
from orchestrator.engine.home import Home
from orchestrator.engine.tools import Tools


def unreachable(uv, home, process):
    """Stand for a host that cannot fetch Pythons."""
    return None, "no route to host"


@pytest.fixture(scope="session")
def base_home(tmp_path_factory):
    """Give a home whose base was built from a Python of this host; tests must leave it as it is."""
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture
async def based(base_home):
    """Give tools whose base environment is there."""
    prepare_home(base_home, dict(os.environ))
    tools = Tools(base_home, fetch=unreachable)
    await tools.ensure_base()
    return tools


@pytest.fixture
def in_shell(based):
    """Run a command with the variables of a shell, without a terminal; returns (status, output)."""
    environment = Environment(based.home, based.process, based.facts)

    def run(command, cwd=None, **step):
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-c", command],
            env=environment.shell(None, step),
            cwd=cwd or based.home.root,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    return run
