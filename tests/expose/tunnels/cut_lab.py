"""An SSH tunnel between two network namespaces, whose link is cut; prints how long the service took to return.

Run as `unshare -n python -m tests.expose.tunnels.cut_lab FOLDER [quick]`: this namespace is the rented machine (gate,
client, probes), a second one the tunnel's server. Prints one JSON object; times in seconds, from the moment when the
cause is gone (or happened, where it goes by itself) until the public URL answers again.
"""

# ruff: noqa: ASYNC110, ASYNC220, ASYNC240  # a lab of its own, where nobody else waits

# ruff: noqa: ASYNC110, ASYNC220, ASYNC240  # a lab of its own, where nobody else waits

from __future__ import annotations

import asyncio
import contextlib
import getpass
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.expose.tunnels.probing import NONCE_PATH, get, verdict
from orchestrator.expose.tunnels.provider import Here
from orchestrator.expose.tunnels.ssh import Ssh
from orchestrator.expose.tunnels.supervisor import Timing
from tests.expose.tunnels.lab import NONCE, PATIENCE, QUICKLY, Gate, Sshd, Watched, descendants, watched, words

OURS, THEIRS = "10.77.0.1", "10.77.0.2"
SSH_PORT, PUBLIC = 2222, 8080


def run(*argv: str) -> None:
    subprocess.run(argv, check=True)


def link(state: str) -> None:
    run("ip", "link", "set", "ours", state)


@contextlib.asynccontextmanager
async def other_side() -> AsyncIterator[tuple[str, ...]]:
    """Make the second namespace and the link to it; yields what runs a program there."""
    holder = subprocess.Popen(["unshare", "-n", "sleep", "100000"])
    inside = ("nsenter", "-t", str(holder.pid), "-n")
    try:
        here = Path("/proc/self/ns/net").readlink()
        while Path(f"/proc/{holder.pid}/ns/net").readlink() == here:
            await asyncio.sleep(0.01)
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "ours", "type", "veth", "peer", "name", "theirs", "netns", str(holder.pid))
        run("ip", "address", "add", f"{OURS}/24", "dev", "ours")
        link("up")
        run(*inside, "ip", "address", "add", f"{THEIRS}/24", "dev", "theirs")
        run(*inside, "ip", "link", "set", "theirs", "up")
        run(*inside, "ip", "link", "set", "lo", "up")
        yield inside
    finally:
        holder.kill()
        holder.wait()


async def works(url: str, seconds: float) -> bool:
    return not verdict(await get(url + NONCE_PATH, {}, seconds), NONCE)


async def returns(url: str, *, within: float = 300.0) -> float:
    """Wait until the URL answers again; returns the seconds that took."""
    began = time.monotonic()
    while time.monotonic() - began < within:
        if await works(url, 5.0):
            return round(time.monotonic() - began, 2)
        await asyncio.sleep(0.05)
    raise AssertionError(f"`{url}` does not return within {within} s")


async def broken(url: str) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if not await works(url, 1.0):
            return
        await asyncio.sleep(0.02)
    raise AssertionError("nothing broke")


def client() -> int:
    for pid in descendants(os.getpid()):
        if words(pid)[0].endswith(b"/ssh"):
            return pid
    raise AssertionError("there is no ssh")


async def away(
    url: str,
    seconds: float,
    leave: Callable[[], object],
    come: Callable[[], object],
    noticed: Callable[[], Awaitable[object]] | None = None,
) -> float:
    """Break something for so long, and until it was noticed; returns how long the service takes once it is back."""
    leave()
    await broken(url)
    await asyncio.sleep(seconds)
    if noticed is not None:
        await noticed()
    come()
    return await returns(url)


async def scenarios(
    tunnel: Watched, server: Sshd, gate: Gate, url: str, lengths: tuple[float, float]
) -> dict[str, Any]:
    short = lengths[0]
    told: dict[str, Any] = {}

    count = len(tunnel.states)
    os.kill(client(), signal.SIGKILL)
    await tunnel.until(lambda _state: len(tunnel.states) > count)
    told["client killed"] = await returns(url)
    await tunnel.up(120)

    told[f"server away for {short:g} s"] = await away(url, short, server.stop, server.start)
    await tunnel.up(120)

    await gate.close()
    await broken(url)
    await asyncio.sleep(short)
    await gate.open()
    told[f"gate away for {short:g} s"] = await returns(url)
    await tunnel.up(120)

    for seconds in lengths:
        before = client()
        began = time.monotonic()
        count = len(tunnel.states)
        noticed = tunnel.not_up if seconds > short else None
        told[f"link cut for {seconds:g} s"] = await away(
            url, seconds, lambda: link("down"), lambda: link("up"), noticed
        )
        after = [when - began for when, state in zip(tunnel.times[count:], tunnel.states[count:], strict=True)
                 if state.status != "up"]  # fmt: skip
        told[f"link cut for {seconds:g} s: noticed after"] = round(after[0], 2) if after else None
        await tunnel.up(120)
        told[f"link cut for {seconds:g} s: same client"] = before == client()
    return told


async def main(folder: Path, *, quick: bool) -> dict[str, Any]:
    """Run all scenarios; `quick` with times for tests, else with the real ones."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            del os.environ[name]
    (folder / "gate").mkdir(mode=0o700)
    banner = f"abc.lhr.life tunneled with tls termination, http://{THEIRS}:{PUBLIC}\n"
    gate = await Gate().open()
    async with other_side() as inside:
        server = Sshd(folder, banner, address=THEIRS, gateway=True, prefix=inside, port=SSH_PORT)
        server.prepare(folder / "gate" / "tunnel_key").start()
        provider = Ssh("lab", THEIRS, getpass.getuser(), SSH_PORT, remote=PUBLIC, bind="*")
        here = Here(dict(os.environ), shutil.which, folder / "gate", folder / "programs")
        try:
            began = time.monotonic()
            timing = replace(QUICKLY, probe=3) if quick else Timing()  # a link that is cut says nothing
            async with watched(gate, [provider], here, timing) as tunnel:
                state = await tunnel.up(120)
                first = round(time.monotonic() - began, 2)
                lengths = (1.0, 12.0) if quick else (10.0, 120.0)
                return {"up": first, **await scenarios(tunnel, server, gate, state.url, lengths)}
        finally:
            server.stop()
            await gate.close()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(Path(sys.argv[1]), quick="quick" in sys.argv[2:]))))
