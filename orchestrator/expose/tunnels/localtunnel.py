"""localtunnel: its client from npm, run by our Node; no account, plain TCP behind its URL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from orchestrator.expose.tunnels.provider import Here, Needs, Possible, Start, Told, environment

SERVER: Final = "https://localtunnel.me"  # the client's own default
_URL: Final = re.compile(r"^your url is: (https?://\S+)$")
_OFFLINE: Final = re.compile(r"tunnel server offline: (.+), retry 1s")
_PROBLEM: Final = re.compile(r"(connection refused: \S+.*|Error: .+|localtunnel server returned an error.*)")

_NEEDS: Final = Needs(programs=("localtunnel",))


@dataclass(frozen=True, slots=True)
class Localtunnel:
    """Run the client as `node lt.js`; where our Node is comes with its path (`NODE SCRIPT`, see `fetching.py`)."""

    name: str = "localtunnel"
    needs: Needs = _NEEDS
    patience: int = 3

    def possible(self, here: Here) -> Possible:
        """Say yes: Node comes with pinoctl, the client from npm."""
        server = here.environ.get("PINOCTL_LOCALTUNNEL_SERVER", "")
        if server:
            return Possible(ok=True, why=f"your own server `{server}`", rank=26)
        return Possible(
            ok=True,
            why="needs no account",
            rank=40,
            caveat="Browsers see a page first that asks for this machine's public IP address; not always there",
        )

    def command(self, port: int, here: Here, program: str) -> Start:
        """Build `lt --port`; without `--local-host`, which would put another Host header on each request."""
        node, _, script = program.partition("\n")
        server = here.environ.get("PINOCTL_LOCALTUNNEL_SERVER", "") or SERVER
        subdomain = here.environ.get("PINOCTL_LOCALTUNNEL_SUBDOMAIN", "")
        wish = ("--subdomain", subdomain) if subdomain else ()
        return Start(
            port=port,
            argv=(node, script, "--port", str(port), "--host", server.rstrip("/"), *wish),
            # Without DEBUG the client keeps trying in silence, whatever the server answers.
            env=environment(here, NODE_NO_WARNINGS="1", DEBUG="localtunnel:client"),
        )

    def read(self, line: str, stream: str, start: Start) -> Told | None:  # noqa: ARG002  # nothing else is needed
        """Read `your url is:`, and the exceptions that the client ends with."""
        if stream == "stdout" and (found := _URL.match(line.strip())):
            return Told(url=found[1].rstrip("/"))
        if stream == "stderr" and (found := _OFFLINE.search(line)):
            return Told(problem=f"its server does not give a tunnel: {found[1]}")
        if stream == "stderr" and (found := _PROBLEM.search(line)):
            return Told(problem=found[1].strip())
        return None
