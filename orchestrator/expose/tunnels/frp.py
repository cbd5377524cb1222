"""frp, for users who run a server (frps) of their own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from orchestrator.expose.tunnels.provider import Here, Needs, Possible, Start, Told, environment

PORT: Final = 7000  # frps' default
_LOGIN: Final = ("login to the server failed: ", "login to server failed: ", "connect to server error: ")

_NEEDS: Final = Needs(
    settings=(("PINOCTL_FRP_SERVER",), ("PINOCTL_FRP_URL", "PINOCTL_FRP_REMOTE_PORT")), programs=("frpc",)
)


@dataclass(frozen=True, slots=True)
class Frp:
    """Run frpc: one HTTP proxy under the user's host name, or one TCP port of the server."""

    name: str = "frp"
    needs: Needs = _NEEDS
    patience: int = 3

    def possible(self, here: Here) -> Possible:
        """Tell whether a server and a way to its outside are set."""
        server = here.environ.get("PINOCTL_FRP_SERVER", "")
        if not server:
            return Possible(
                ok=False,
                why="`PINOCTL_FRP_SERVER` is not set",
                hint="Set it to `host:port` of your frps, and `PINOCTL_FRP_URL` to the URL that leads to it",
            )
        address = urlsplit(f"//{server}")
        url = here.environ.get("PINOCTL_FRP_URL", "")
        outside = here.environ.get("PINOCTL_FRP_REMOTE_PORT", "")
        if not address.hostname or not _port_ok(server):
            return Possible(ok=False, why=f"`{server}` is no address", hint="Write `PINOCTL_FRP_SERVER=host:port`")
        if not (url.startswith(("http://", "https://")) and urlsplit(url).hostname) and not outside.isdigit():
            return Possible(
                ok=False,
                why="neither `PINOCTL_FRP_URL` nor `PINOCTL_FRP_REMOTE_PORT` says how your frps is reached",
                hint="Set `PINOCTL_FRP_URL=https://host` for a host name of the server, or `PINOCTL_FRP_REMOTE_PORT` "
                "to a port of it",
            )
        return Possible(ok=True, why=f"your server `{server}`", rank=24)

    def command(self, port: int, here: Here, program: str) -> Start:
        """Build `frpc -c`; the token stands in its environment and is only named in the file."""
        server = urlsplit("//" + here.environ.get("PINOCTL_FRP_SERVER", ""))
        token = here.environ.get("PINOCTL_FRP_TOKEN", "")
        url = here.environ.get("PINOCTL_FRP_URL", "").rstrip("/")
        outside = here.environ.get("PINOCTL_FRP_REMOTE_PORT", "")
        host = server.hostname or ""
        if outside:
            way = [("type", "tcp"), ("remotePort", int(outside))]
        else:
            way = [("type", "http"), ("customDomains", [urlsplit(url).hostname])]
        lines = [
            f"serverAddr = {_toml(host)}",
            f"serverPort = {server.port or PORT}",
            "loginFailExit = true",
            'log.to = "console"',
            "log.disablePrintColor = true",
            *(['auth.method = "token"', 'auth.token = "{{ .Envs.PINOCTL_FRP_TOKEN }}"'] if token else []),
            "[[proxies]]",
            # What is unique at the server is so by its outside; two machines may well use the same port inside.
            f"name = {_toml('pinoctl-' + (outside or str(urlsplit(url).hostname)))}",
            'localIP = "127.0.0.1"',
            f"localPort = {port}",
            *(f"{key} = {_toml(value)}" for key, value in way),
        ]
        config = here.folder / f"frpc-{port}.toml"
        return Start(
            port=port,
            argv=(program, "-c", str(config)),
            env=environment(here, PINOCTL_FRP_TOKEN=token),
            url=url or f"http://{host}:{outside}",
            files=((config, "\n".join(lines) + "\n"),),
            secrets=(token,),
        )

    def read(self, line: str, stream: str, start: Start) -> Told | None:  # noqa: ARG002  # both streams speak alike
        """Read frpc's log."""
        if "start proxy success" in line:
            return Told(url=start.url)
        if "token in login doesn't match" in line:
            return Told(
                problem="the server refuses the token",
                final=True,
                hint="Set `PINOCTL_FRP_TOKEN` to `auth.token` of your frps.toml",
            )
        if "start error: " in line:
            return Told(problem=line.partition("start error: ")[2].strip())
        for sign in _LOGIN:
            if sign in line:
                return Told(problem=line.partition(sign)[2].partition(". With loginFailExit")[0].strip())
        return None


def _port_ok(server: str) -> bool:
    try:
        return urlsplit(f"//{server}").port != 0
    except ValueError:
        return False


def _toml(value: object) -> str:
    return json.dumps(value)  # strings, numbers and lists of them are written alike
