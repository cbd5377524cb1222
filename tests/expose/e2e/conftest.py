"""One home, one SSH server and one browser for all these tests; each has apps and profiles of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.expose.e2e.browser import CHROMIUM, Browser
from tests.expose.e2e.lab import Lab
from tests.expose.tunnels.lab import SSHD
from tests.expose.world import free_port


def pytest_collection_modifyitems(items):
    """Skip what this machine lacks a program for, but never where everything has to be tested."""
    if os.environ.get("CI"):
        return
    for item in items:
        if Path(__file__).parent in item.path.parents:
            if "profile" in item.fixturenames and CHROMIUM is None:
                item.add_marker(pytest.mark.skip(reason="needs Chromium"))
            if {"lab", "narrow"} & set(item.fixturenames) and (
                SSHD is None or shutil.which("ssh-agent") is None or os.getuid()
            ):
                item.add_marker(pytest.mark.skip(reason="needs OpenSSH's server, and root to run it"))


@pytest.fixture(scope="session")
def home_of_all(tmp_path_factory):
    """Return the lab for the whole session, so that its base environment is built once."""
    made = Lab(tmp_path_factory.mktemp("exposing"))
    yield made
    made.close()


@pytest.fixture
def lab(home_of_all):
    """Return the lab; what a test brought up is gone after it."""
    before = set(home_of_all.home.glob("api/*"))
    yield home_of_all
    for app in set(home_of_all.home.glob("api/*")) - before:
        home_of_all("rm", app.name, "--yes")


@pytest.fixture(scope="session")
def narrow(tmp_path_factory):
    """Return a lab on a machine where one port leads outside, which all apps share."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    made = Lab(tmp_path_factory.mktemp("narrow"), PINOCTL_PUBLIC_URL=url, PINOCTL_GATE_PORT=str(port))
    yield made
    made.close()


@pytest.fixture(scope="session")
def browser():
    """Return the browser; its folder has a short name, for its sockets."""
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as folder:
        made = Browser(Path(folder))
        yield made
        made.close()


@pytest.fixture
def profiles(browser):
    """Return a function that makes another person's browser."""
    made = []

    def make():
        made.append(browser.profile())
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def profile(profiles):
    """Return somebody's browser."""
    return profiles()
