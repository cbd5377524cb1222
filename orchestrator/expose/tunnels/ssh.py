"""Tunnels by SSH: services that print a URL (localhost.run, pinggy, serveo), and any host of the user's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestrator.engine.errors import BadInputError
from orchestrator.expose.tunnels.provider import Here, Needs, Possible, Start, Told, environment

if TYPE_CHECKING:
    from pathlib import Path

_OPTIONS: Final = {
    "StrictHostKeyChecking": "accept-new",
    "ExitOnForwardFailure": "yes",
    "ServerAliveInterval": "15",
    "ServerAliveCountMax": "3",
    "ConnectTimeout": "20",
    "TCPKeepAlive": "yes",
    "LogLevel": "INFO",  # or the allocated port is not told
    "ControlMaster": "no",
    "ControlPath": "none",
    "ForwardAgent": "no",
    "ForwardX11": "no",
}
_ALLOCATED: Final = re.compile(r"^Allocated port (\d+) for remote forward to ")
_URL: Final = re.compile(r"https?://[-\w.]+(?::\d+)?(?=[\s/,]|$)")
_FINAL: Final = {
    "REMOTE HOST IDENTIFICATION HAS CHANGED": "the host's key is another one than before",
    "Host key verification failed": "the host's key is another one than before",
    "Permission denied (": "it refuses our key",
    "Too many authentication failures": "it refuses our keys",
}
_PROBLEMS: Final = (
    "ssh: ",
    "Connection ",
    "kex_exchange_identification",
    "Timeout, server ",
    "client_loop: ",
    "Error: remote port forwarding failed",
    "Warning: remote port forwarding failed",
    "remote port forwarding failed",
)
_TARGET: Final = re.compile(
    r"^(?:(?P<user>[\w.+-]+)@)?(?P<host>[A-Za-z0-9](?:[\w.-]*\w)?|\[[0-9A-Fa-f:]+\])"
    r"(?::(?P<port>\d{1,5}))?(?:/(?P<remote>\d{1,5}))?$"
)

_NEEDS: Final = Needs(programs=("ssh",))


@dataclass(frozen=True, slots=True)
class Ssh:
    """Run `ssh -R` to one host.

    `remote` is the port to ask for there, `bind` the address ("*" for all, "" for what the server likes). With
    `session` the URL is read from what the host prints, of the domains in `ends` if given; without, it is the host with
    the port that it gave us. `stranger`: a public service, which gets a key made for such services and nothing of the
    user's own.
    """

    name: str
    host: str
    user: str = ""
    port: int = 22
    remote: int = 80
    bind: str = ""
    ends: tuple[str, ...] = ()
    session: bool = True
    stranger: bool = True
    rank: int = 50
    caveat: str = ""
    needs: Needs = _NEEDS
    patience: int = 3

    def possible(self, here: Here) -> Possible:
        """Tell whether there is an SSH client."""
        if here.which("ssh") is None:
            return Possible(
                ok=False, why="there is no `ssh` on PATH", hint="Install it: `apt-get install openssh-client`"
            )
        if self.stranger and here.which("ssh-keygen") is None:
            return Possible(
                ok=False, why="there is no `ssh-keygen` on PATH", hint="Install it: `apt-get install openssh-client`"
            )
        return Possible(ok=True, why="there is an SSH client", rank=self.rank, caveat=self.caveat)

    def command(self, port: int, here: Here, program: str) -> Start:
        """Build the command line; keys of hosts are kept in the gate's folder and never replaced."""
        options = dict(_OPTIONS, UserKnownHostsFile=str(here.folder / "known_hosts"))
        env = environment(here)
        once: tuple[tuple[Path, tuple[str, ...]], ...] = ()
        before: tuple[str, ...] = ()
        if self.stranger:
            key = here.folder / "tunnel_key"
            options |= {"IdentityFile": str(key), "IdentitiesOnly": "yes", "IdentityAgent": "none"}
            # Some let everyone in but ask for a password first: an empty one, which `true` "types".
            options |= {
                "NumberOfPasswordPrompts": "1",
                "PreferredAuthentications": "publickey,keyboard-interactive,password",
            }
            env |= {"SSH_ASKPASS": here.which("true") or "/bin/true", "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":"}
            keygen = here.which("ssh-keygen") or "ssh-keygen"
            once = ((key, (keygen, "-q", "-t", "ed25519", "-N", "", "-C", "pinoctl tunnel", "-f", str(key))),)
            before = ("-F", "none")
        else:
            options |= {"BatchMode": "yes"}
            # The user's own keys and configuration; ssh finds them by the home that the user has.
            env |= {name: here.environ[name] for name in ("HOME", "SSH_AUTH_SOCK") if name in here.environ}
        where = f"{self.bind}:" * bool(self.bind) + f"{self.remote}:127.0.0.1:{port}"
        flags = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        login = ("-l", self.user) if self.user else ()
        plain = ("-T",) if self.session else ("-T", "-N")
        argv = (program, *before, *plain, *flags, "-p", str(self.port), *login, "-R", where, "--", self.host)
        url = "" if self.session else here.environ.get("PINOCTL_SSH_URL", "").rstrip("/")
        return Start(port=port, argv=argv, env=env, url=url, once=once)

    def read(self, line: str, stream: str, start: Start) -> Told | None:
        """Read the service's banner, and what ssh itself says on stderr."""
        if stream == "stderr":
            return self._said(line, start)
        if self.session:
            for found in _URL.finditer(line):
                url = found[0]
                if not self.ends or (url.startswith("https:") and url.endswith(self.ends)):
                    return Told(url=url)
        return None

    def _said(self, line: str, start: Start) -> Told | None:
        if found := _ALLOCATED.match(line):
            port = int(found[1])
            shown = start.url.replace("{port}", str(port)) if start.url else f"http://{self.host}:{port}"
            return Told(url=shown, port=port)
        if not self.session and self.remote and line.startswith("remote forward success"):
            return Told(url=start.url or f"http://{self.host}:{self.remote}", port=self.remote)
        for sign, meaning in _FINAL.items():
            if sign in line:
                return Told(problem=f"`{self.host}`: {meaning}", final=True, hint=self._remedy(sign))
        if line.startswith(_PROBLEMS):
            return Told(problem=line.strip())
        return None

    def _remedy(self, sign: str) -> str:
        if "key" in _FINAL[sign] and "another" in _FINAL[sign]:
            return f"If the host really has a new key: `ssh-keygen -R {self.host} -f HOME/gate/known_hosts`"
        if self.stranger:
            return "The service may ask for an account now; choose another one with `--tunnel`"
        return f"Try `ssh {self.user + '@' if self.user else ''}{self.host}`: it has to log in without a question"


SERVICES: Final = (
    Ssh(
        name="localhost.run",
        host="localhost.run",
        user="nokey",
        ends=(".lhr.life", ".lhr.rocks", ".lhrtunnel.link"),
        rank=50,
        caveat="The URL changes every few hours; slow",
    ),
    Ssh(
        name="pinggy",
        host="free.pinggy.io",
        port=443,
        remote=0,
        ends=(".pinggy.link", ".pinggy.online", ".pinggy-free.link"),
        rank=51,
        caveat="A tunnel lasts 60 minutes, then the URL changes",
    ),
    Ssh(
        name="serveo",
        host="serveo.net",
        ends=(".serveo.net", ".serveousercontent.com"),
        rank=52,
        caveat="Not always there",
    ),
)


def own_host(text: str) -> Ssh:
    """Read `ssh:[user@]host[:port][/remote]`, a host of the user's; raises BadInputError.

    Without `/remote` the host gives a free port, and the URL is `http://host:PORT`; with it that port is asked for, and
    the URL is the one that the host prints.
    """
    parts = _TARGET.match(text.removeprefix("ssh:"))
    numbers = [int(parts[name]) for name in ("port", "remote") if parts[name]] if parts is not None else []
    if parts is None or any(not 0 < number < 1 << 16 for number in numbers):
        raise BadInputError(
            f"`{text}` is no SSH host",
            hint="Write `ssh:user@host`, `ssh:user@host:port`, or `ssh:user@host:port/80` for a host that prints a URL",
        )
    return Ssh(
        name=text if text.startswith("ssh:") else f"ssh:{text}",
        host=parts["host"].strip("[]"),
        user=parts["user"] or "",
        port=int(parts["port"] or 22),
        remote=int(parts["remote"] or 0),
        bind="" if parts["remote"] else "*",
        session=bool(parts["remote"]),
        stranger=False,
        rank=25,
        caveat="" if parts["remote"] else "Plain HTTP between the browser and your host",
    )
