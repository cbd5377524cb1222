"""Figures of how soon an exposed app answers at its public URL again after something broke; they need OpenSSH's server.

An SSH server on this machine leads to the gate, so what a tunnel's service and the network add is not in them.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from typing import TYPE_CHECKING, Any, Final

from benchmarks.program import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.program import Program

SECONDS: Final = 120.0
AWAY_SECONDS: Final = 5.0
APP: Final = "recovery"

_labs: dict[str, Any] = {}


def usable() -> bool:
    """Tell whether there is an SSH server and a client to measure with."""
    return shutil.which("sshd", path="/usr/sbin:/usr/bin") is not None and shutil.which("ssh-agent") is not None


def gate_killed(program: Program) -> float:
    """Kill the gate's serving process: ms until the app answers at the same URL."""
    lab, link = _up(program)
    return _back(link, lambda: lab.kill(lab.gate()[0]))


def keeper_killed(program: Program) -> float:
    """Kill both of the gate's processes and call `up`: ms until the app answers at the same URL."""
    lab, link = _up(program)

    def harm() -> None:
        lab.kill(*reversed(lab.gate()))
        lab.up(APP)

    return _back(link, harm, gone=False)


def client_killed(program: Program) -> float:
    """Kill the tunnel's client: ms until the app answers at the same URL."""
    lab, link = _up(program)
    return _back(link, lambda: lab.kill(*lab.ssh()))


def server_away(program: Program) -> float:
    """Stop the tunnel's server for five seconds: ms from its start until the app answers at the same URL."""
    lab, link = _up(program)
    lab.sshd.stop()
    time.sleep(AWAY_SECONDS)
    return _back(link, lab.sshd.start, gone=False)


def app_killed(program: Program) -> float:
    """Kill the app's server: ms until it answers at the same URL; one second of that is the agent's first pause."""
    lab, link = _up(program, fresh=True)
    return _back(link, lambda: lab.kill(lab.server(APP)))


def down_and_up(program: Program) -> float:
    """Call `down` and `up`: ms of both together, until the app answers at the same URL."""
    lab, link = _up(program)

    def harm() -> None:
        lab.good("down", APP)
        lab.up(APP)

    return _back(link, harm, gone=False)


@contextlib.contextmanager
def cleaning() -> Iterator[None]:
    """End what the figures started, however the measuring ends."""
    try:
        yield
    finally:
        while _labs:
            _labs.popitem()[1].close()


def _up(program: Program, *, fresh: bool = False) -> tuple[Any, str]:
    """Have the app up, exposed and settled; `fresh` forgets how often its server died before."""
    from tests.expose.e2e.lab import Lab  # noqa: PLC0415  # only for these figures, and it imports a lot

    root = program.root / "exposed"
    if str(root) not in _labs:
        root.mkdir()
        _labs[str(root)] = Lab(root)
    lab = _labs[str(root)]
    if fresh:
        lab.good("down", APP)
    link = lab.up(APP)
    lab.until(lambda: lab.shown(APP)["tunnel"]["state"] == "up")
    _wait(link, there=True)
    return lab, link


def _back(link: str, harm: Callable[[], None], *, gone: bool = True) -> float:
    began = time.perf_counter()
    try:
        harm()
    except AssertionError as error:
        raise BenchError(str(error)) from error
    if gone:
        _wait(link, there=False)
    _wait(link, there=True)
    return (time.perf_counter() - began) * 1000


def _wait(link: str, *, there: bool) -> None:
    from tests.expose.e2e.lab import fetch  # noqa: PLC0415  # see above

    until = time.monotonic() + SECONDS
    while ("treasure" in fetch(link).text) is not there:
        if time.monotonic() >= until:
            raise BenchError("the app never answered again" if there else "the app answered all the time")
        time.sleep(0.005)
