"""What all tests share: the order in which they run, and what a bare machine lacks."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

SLOW = ("slow", "network", "docker")
# seconds that a test may take, where it does not say so itself; several at once share a daemon, a machine, a network,
# and the first one with containers waits for their base image
LIMITS = {"docker": 1800, "network": 300, "slow": 300}
ROOT = Path(__file__).parent
# they serve on the first free port, and some say which one that is: one at a time, whatever else runs on this machine
SERVING = (
    "commands/test_lifecycle",
    "commands/test_trouble",
    "conformance/test_cases",
    "agent/test_spawn",
    "bad_input/test_output",
    "engine/test_checklist",
    "expose/e2e/",
    "patterns/",
    "ports/",
)


def is_serving(item: pytest.Item) -> bool:
    """Tell whether a test serves on a port that the engine chose."""
    return item.path.relative_to(ROOT).as_posix().startswith(SERVING)


def pytest_configure(config: pytest.Config) -> None:
    """Put a `python` on PATH where there is only `python3`, as on Debian: scripts of the tests call it.

    Apps live on the host, whether this machine has Docker or not, but where a test says otherwise.
    """
    os.environ["PINOCTL_PLACE"] = "host"
    hypothesis.settings.register_profile(
        "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
    )
    hypothesis.settings.load_profile("unhurried")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # where tests run in the background: some press Ctrl-C
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if shutil.which("python") is None:
        folder = tempfile.mkdtemp(prefix="pinoctl-tests-")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        Path(folder, "python").symlink_to(shutil.which("python3") or sys.executable)
        os.environ["PATH"] = f"{os.environ['PATH']}:{folder}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the quick tests first, so that a mistake shows early.

    Where several workers share the work (`--dist worksteal` gives each a stretch of the list), one begins with tests
    that serve, since they wait for each other, one with those of containers, since the daemon works meanwhile, and
    the others with the quick ones.
    """
    without = _no_docker() if any(item.get_closest_marker("docker") for item in items) else ""
    for item in items:
        if without and item.get_closest_marker("docker"):
            item.add_marker(pytest.mark.skip(reason=without))
        limit = max((each for name, each in LIMITS.items() if item.get_closest_marker(name)), default=None)
        if limit is not None and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(limit))
    items.sort(key=lambda item: sum(item.get_closest_marker(name) is not None for name in SLOW))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        items.sort(key=lambda item: not is_serving(item))
        contained = [item for item in items if item.get_closest_marker("docker") and not is_serving(item)]
        others = [item for item in items if item not in set(contained)]
        second = len(items) // workers  # where the second worker's stretch begins
        items[:] = [*others[:second], *contained, *others[second:]]


def _no_docker() -> str:
    """Return why tests of containers cannot run here, "" where they can; CI runs them in any case."""
    from orchestrator.places.container.endpoint import look_round  # noqa: PLC0415  # only where such tests are

    if os.environ.get("CI"):
        return ""
    found = look_round()
    return "" if found.usable else f"needs Docker: {found.problem}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Let tests that serve wait for each other, before their own time begins to count."""
    if not is_serving(item):
        return (yield)
    with Path(tempfile.gettempdir(), f"pinoctl-tests-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return (yield)
