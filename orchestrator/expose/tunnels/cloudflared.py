"""Cloudflare's tunnels: a named one with the user's token, and quick ones without an account."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from orchestrator.expose.tunnels.provider import Here, Needs, Possible, Start, Told, environment

SETTLE: Final = 3.0  # seconds until the name of a new quick tunnel is known everywhere
_QUICK: Final = re.compile(r"\|\s+(https://(?!api\.)[-a-z0-9]+\.trycloudflare\.com)\s+\|")
_CONFIG: Final = re.compile(r'Updated to new configuration config=("(?:[^"\\]|\\.)*")')
_REFUSED: Final = (
    "Provided Tunnel token is not valid",
    "Unauthorized: Tunnel not found",
    "Unauthorized: Invalid tunnel",
)
# `--config`: a file that the user has for other tunnels would be taken for ours; this one is empty.
_COMMON: Final = ("tunnel", "--no-autoupdate", "--config", "/dev/null", "--metrics", "127.0.0.1:0")

_NAMED_NEEDS: Final = Needs(settings=(("CLOUDFLARED_TOKEN", "TUNNEL_TOKEN"),), programs=("cloudflared",))
_QUICK_NEEDS: Final = Needs(programs=("cloudflared",))


@dataclass(frozen=True, slots=True)
class Named:
    """Run a tunnel that the user made at Cloudflare, which leads a host of theirs to the gate's port."""

    name: str = "cloudflared-named"
    needs: Needs = _NAMED_NEEDS
    patience: int = 3

    def possible(self, here: Here) -> Possible:
        """Tell whether there is a token."""
        if not _token(here):
            return Possible(
                ok=False,
                why="neither `CLOUDFLARED_TOKEN` nor `TUNNEL_TOKEN` is set",
                hint="Make a tunnel in Cloudflare's dashboard (Zero Trust, Networks, Tunnels), and set "
                "`CLOUDFLARED_TOKEN` to its token",
            )
        return Possible(ok=True, why="a tunnel's token is set", rank=20)

    def command(self, port: int, here: Here, program: str) -> Start:
        """Build `cloudflared tunnel run`; where it leads is set at Cloudflare, not here."""
        host = here.environ.get("CLOUDFLARED_HOSTNAME", "").strip().strip("/")
        if host and "//" not in host:
            host = f"https://{host}"
        return Start(
            port=port,
            argv=(program, *_COMMON, "run"),
            env=environment(here, TUNNEL_TOKEN=_token(here)),
            url=host,
            secrets=(_token(here),),
        )

    def read(self, line: str, stream: str, start: Start) -> Told | None:  # noqa: ARG002  # it all comes on stderr
        """Read the log: the hosts and ports come from Cloudflare once the tunnel stands."""
        if any(said in line for said in _REFUSED):
            return Told(
                problem="Cloudflare refuses the tunnel's token",
                final=True,
                hint="Take the token anew from its dashboard",
            )
        if found := _CONFIG.search(line):
            return _leads(found[1], start)
        if start.url and "Registered tunnel connection" in line:
            return Told(url=start.url)
        return _problem(line)


@dataclass(frozen=True, slots=True)
class Quick:
    """Run a quick tunnel: no account, a new random URL at every start."""

    name: str = "cloudflared-quick"
    needs: Needs = _QUICK_NEEDS
    patience: int = 3

    def possible(self, here: Here) -> Possible:
        """Say yes, but last for apps that stream: quick tunnels hold server-sent events back."""
        caveat = (
            "The URL is another one after each start; no more than 200 requests at a time, uploads up to 100 MB each"
        )
        if here.wants.streams:
            caveat = f"Progress that the app streams (server-sent events) arrives late or at the end. {caveat}"
        return Possible(ok=True, why="needs no account", rank=70 if here.wants.streams else 30, caveat=caveat)

    def command(self, port: int, here: Here, program: str) -> Start:
        """Build `cloudflared tunnel --url`."""
        return Start(
            port=port,
            argv=(program, *_COMMON, "--url", f"http://127.0.0.1:{port}"),
            env=environment(here),
            settle=SETTLE,
        )

    def read(self, line: str, stream: str, start: Start) -> Told | None:  # noqa: ARG002  # it all comes on stderr
        """Read the URL from the box that is drawn round it."""
        if found := _QUICK.search(line):
            return Told(url=found[1])
        return _problem(line)


def _token(here: Here) -> str:
    return here.environ.get("CLOUDFLARED_TOKEN", "") or here.environ.get("TUNNEL_TOKEN", "")


def _leads(quoted: str, start: Start) -> Told | None:
    try:
        rules = json.loads(json.loads(quoted))["ingress"]
        leads = [(str(rule["hostname"]), str(rule["service"])) for rule in rules if rule.get("hostname")]
    except (ValueError, AttributeError, KeyError, TypeError):
        return None  # not what it was when this was written; the host may be given
    for host, service in leads:
        if service.startswith("http") and _port(service) == start.port:
            return Told(url=f"https://{host}")
    if start.url:
        return None  # the user says so; the probe will tell
    there = ", ".join(f"`{host}` to `{service}`" for host, service in leads) or "nothing"
    return Told(
        problem=f"the tunnel leads {there}, not to the gate at port {start.port}",
        final=True,
        hint=f"Set the service of one of its public hostnames to `http://127.0.0.1:{start.port}`",
    )


def _port(service: str) -> int | None:
    try:
        parts = urlsplit(service)
        return parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None


def _problem(line: str) -> Told | None:
    if "429 Too Many Requests" in line or "error code: 1015" in line:
        return Told(problem="Cloudflare gives this address no more quick tunnels for now (429)")
    if line.startswith("failed to "):
        return Told(problem=line)
    _, sign, said = line.partition(" ERR ")
    if sign and said.strip() and "Configuration file /dev/null was empty" not in said:
        return Told(problem=said.strip())
    return None
