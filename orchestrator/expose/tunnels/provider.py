"""The contract of a tunnel's provider: whether it is possible here, what to start, and how to read what that says.

Providers are pure: they build a Start and parse lines. `spawn.py` starts processes, `fetching.py` fetches programs,
`supervisor.py` decides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

# What a provider may leave out of a probe's answer: ngrok's browser warning and localtunnel's reminder page.
PROBE_HEADERS: Final[Mapping[str, str]] = {
    "ngrok-skip-browser-warning": "1",
    "Bypass-Tunnel-Reminder": "1",
    "User-Agent": "pinoctl",
    "Cache-Control": "no-cache",
}

# What programs of providers get of our environment; everything else, secrets first of all, stays with us. Some of them
# read options from variables as common as HOST and PORT.
_KEPT: Final = (
    "PATH",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NODE_EXTRA_CA_CERTS",
)


@dataclass(frozen=True, slots=True)
class Own:
    """Hold a URL that the platform leads to the gate's port; `inside` is that port as this machine calls it.

    `verify` is False where the certificate there is one that only its user knows. `shared`: other people's servers are
    at other ports of the same address. `note` is what the user should know, a sentence without a full stop, and `hint`
    what to do when it leads nowhere.
    """

    url: str
    inside: str = ""
    verify: bool = True
    shared: bool = False
    note: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Wants:
    """Say what the app needs of a tunnel: server-sent events that arrive at once, WebSockets, uploads of gigabytes."""

    streams: bool = False
    websockets: bool = False
    uploads: bool = False


@dataclass(frozen=True, slots=True)
class Here:
    """Describe this machine as far as providers need it.

    `folder` keeps what tunnels need between starts (HOME/gate), `programs` what is fetched for them. `which` finds a
    program on PATH. `machine` is the processor as `platform.machine()` says it. `forbids` is the reason why the
    platform does not want tunnels to its machines, "" where it does not mind. `remedy` is what would give it an `own`.
    """

    environ: Mapping[str, str]
    which: Callable[[str], str | None]
    folder: Path
    programs: Path
    machine: str = "x86_64"
    platform: str = ""
    own: Own | None = None
    wants: Wants = field(default_factory=Wants)
    forbids: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Possible:
    """Answer whether a provider is possible: `why` in either case, `hint` how to make it so, a lower `rank` is better.

    `caveat` is what users should know before they rely on it, a sentence without a full stop.
    """

    ok: bool
    why: str
    hint: str = ""
    rank: int = 0
    caveat: str = ""


@dataclass(frozen=True, slots=True)
class Start:
    """Say what to start so that a port of this machine gets a URL; no argv: nothing, `url` stands by itself.

    `env` is the whole environment. `files` (path, text) are written with mode 600 before, `once` are (path, argv): run
    when the path is missing. `secrets` never appear in what is told. `url` is the one known beforehand, or "", and
    `inside` what it leads to, where that is not the port as it stands. `verify` is False for a certificate that nobody
    signed whom one could ask. `settle` is how many seconds to leave a new URL alone: who looks a name up too early is
    told for long that there is none. `hint` is what to do when the URL leads nowhere.
    """

    port: int
    argv: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    url: str = ""
    inside: str = ""
    verify: bool = True
    files: tuple[tuple[Path, str], ...] = ()
    once: tuple[tuple[Path, tuple[str, ...]], ...] = ()
    secrets: tuple[str, ...] = ()
    settle: float = 0.0
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """Hold what one line of output tells: a URL, a port (then `url` is a guess that a printed one replaces), a problem.

    A `final` problem does not pass by trying again: a wrong token, say; `hint` is what to do about it.
    """

    url: str = ""
    port: int = 0
    problem: str = ""
    final: bool = False
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Needs:
    """List what a provider needs: variables, of each group any one, and the programs that it runs."""

    settings: tuple[tuple[str, ...], ...] = ()
    programs: tuple[str, ...] = ()


class Provider(Protocol):
    """Give a port of this machine a public URL. All methods are pure."""

    @property
    def name(self) -> str:
        """The name for `--tunnel`."""

    @property
    def needs(self) -> Needs:
        """What has to be there."""

    @property
    def patience(self) -> int:
        """How many tries in a row may fail before the next provider is due."""

    def possible(self, here: Here) -> Possible:
        """Tell whether, why, and how good this provider is here."""

    def command(self, port: int, here: Here, program: str) -> Start:
        """Build what is to be started for a port; `program` is the path of the first program that is needed, or ""."""

    def read(self, line: str, stream: str, start: Start) -> Told | None:
        """Read a line (no colours, no newline) of the program's `stdout` or `stderr`; None: it tells nothing."""


def environment(here: Here, **more: str) -> dict[str, str]:
    """Build the environment of a provider's program: what it may know of ours, a home of its own, and `more`."""
    kept = {name: here.environ[name] for name in _KEPT if name in here.environ}
    return {**kept, "HOME": str(here.folder), **more}
