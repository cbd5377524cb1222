"""Which Docker daemon there is and whether it can be used: a few system calls, nothing imported, nothing changed."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PATIENCE: Final = 10.0  # seconds; one that is busy with many images has taken five
DEFAULT: Final = "unix:///var/run/docker.sock"
OLDEST: Final = (20, 10)
MOST: Final = 64 << 20  # bytes of an answer
REMOTE: Final = frozenset({"tcp", "http", "https", "ssh"})
ROOTLESS: Final = "a rootless daemon's socket"
DESKTOP: Final = "Docker Desktop's socket"
STARTING: Final = {ROOTLESS: "start it with `systemctl --user start docker`", DESKTOP: "start Docker Desktop"}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Name a place where a daemon may listen, and what says so."""

    url: str
    source: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Hold what a daemon answers: the status, the object in JSON, and what the headers tell of the daemon."""

    status: int
    body: dict[str, Any]
    api: str = ""
    server: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """Hold what was found at an endpoint: `info` as the daemon gives it, or `problem` and what to do about it.

    `kind` is `usable`, `absent`, `denied`, `stale`, `hung` or `broken`. Endpoints that are not local sockets are not
    asked: their `info` is empty and they count as usable until they are.
    """

    endpoint: Endpoint
    kind: str
    problem: str = ""
    remedy: str = ""
    info: Mapping[str, Any] = field(default_factory=dict)
    api: str = ""  # the newest version of the API that it speaks, "" where it does not say

    @property
    def usable(self) -> bool:
        """Tell whether apps can be built and run there, as far as a look tells."""
        return self.kind == "usable"


def endpoints(environ: Mapping[str, str]) -> Iterator[Endpoint]:
    """Yield where to look, the first that says so explicitly ends the list: it is what the user means."""
    if environ.get("DOCKER_HOST"):
        yield Endpoint(environ["DOCKER_HOST"], "DOCKER_HOST")
        return
    user = Path(environ.get("HOME") or "/")
    folder = Path(environ.get("DOCKER_CONFIG") or user / ".docker")
    name = environ.get("DOCKER_CONTEXT") or str(_read(folder / "config.json").get("currentContext") or "")
    if name and name != "default":
        meta = _read(folder / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest() / "meta.json")
        named = (meta.get("Endpoints") or {}).get("docker") or {}
        yield Endpoint(str(named.get("Host") or ""), f"the context `{name}`")
        return
    yield Endpoint(DEFAULT, "the default socket")
    runtime = environ.get("XDG_RUNTIME_DIR")
    if runtime:
        yield Endpoint(f"unix://{runtime}/docker.sock", ROOTLESS)
    yield Endpoint(f"unix://{user}/.docker/run/docker.sock", DESKTOP)


def look_round(environ: Mapping[str, str] | None = None, *, patience: float = PATIENCE) -> Look:
    """Return the first usable daemon, else the most telling of those that are not."""
    looks = []
    for each in endpoints(os.environ if environ is None else environ):
        found = look(each, patience=patience)
        if found.usable:
            return found
        looks.append(found)
    return next((each for each in looks if each.kind != "absent"), looks[0])


def look(endpoint: Endpoint, *, patience: float = PATIENCE) -> Look:
    """Ask one endpoint what it is."""
    scheme, _, path = endpoint.url.partition("://")
    if scheme in REMOTE:
        return Look(endpoint, "usable")
    if scheme != "unix" or not path:
        return _misnamed(endpoint)
    try:
        return _judged(endpoint, ask(path, "/info", patience))
    except (OSError, ValueError, http.client.HTTPException) as error:
        return _failed(endpoint, path, error, patience)


def _misnamed(endpoint: Endpoint) -> Look:
    if not endpoint.url:
        return Look(endpoint, "broken", f"{endpoint.source} names no Docker daemon: there is no such context",
                    "choose another with DOCKER_CONTEXT or `docker context use default`")  # fmt: skip
    return Look(endpoint, "broken", f"{endpoint.source} says `{endpoint.url}`, which is no address of a Docker daemon",
                f"write it as `{DEFAULT}` or `tcp://HOST:PORT`")  # fmt: skip


def _failed(endpoint: Endpoint, path: str, error: Exception, patience: float) -> Look:
    """Say what an error tells of a socket."""
    guessed = endpoint.source in {ROOTLESS, DESKTOP}
    hidden = guessed and not os.path.exists(path)  # noqa: PTH110  # a name from a URL
    if isinstance(error, FileNotFoundError | NotADirectoryError) or (isinstance(error, PermissionError) and hidden):
        remedy = "install Docker (Debian: `apt-get install docker.io`), or go on without: `--place host`"
        return Look(endpoint, "absent", f"there is no Docker daemon: `{path}` does not exist", remedy)
    if isinstance(error, PermissionError):
        return Look(endpoint, "denied", f"you may not open `{path}`",
                    "run pinoctl with `sudo`, or add yourself to the group and log in again: "
                    "`sudo usermod -aG docker $USER`")  # fmt: skip
    if isinstance(error, ConnectionRefusedError) and not Path(path).is_socket():
        return Look(endpoint, "broken", f"`{path}` is no socket",
                    "mount the daemon's socket there, or set DOCKER_HOST to it")  # fmt: skip
    if isinstance(error, ConnectionRefusedError):
        remedy = STARTING.get(endpoint.source, "start it with `systemctl start docker` or `service docker start`")
        return Look(endpoint, "stale", f"nobody listens on `{path}`: the Docker daemon does not run", remedy)
    if isinstance(error, TimeoutError):
        return Look(endpoint, "hung", f"the Docker daemon at `{path}` does not answer within {patience:g} s",
                    "see its log (`journalctl -u docker`), or restart it")  # fmt: skip
    return Look(endpoint, "broken", f"what answers at `{path}` is no Docker daemon: {error}",
                "set DOCKER_HOST to the daemon's socket")  # fmt: skip


def _judged(endpoint: Endpoint, answer: Answer) -> Look:
    """Tell whether a daemon that answers can be used; raises ValueError for what is none."""
    info = answer.body
    if answer.status != http.client.OK or "ServerVersion" not in info:
        said = info.get("message")
        raise ValueError(f"it answers {answer.status} to `/info`" + (f": {said}" if said else ""))
    version = str(info["ServerVersion"] or "")
    if "BuildahVersion" in info or answer.server.startswith("Libpod"):
        return Look(endpoint, "broken", f"what answers is Podman {version}, which pinoctl does not use",
                    "set DOCKER_HOST to a Docker daemon's socket, or go on without: `--place host`",
                    info, answer.api)  # fmt: skip
    if numbers(version) < OLDEST:
        return Look(endpoint, "broken", f"the Docker daemon is version {version}, older than 20.10",
                    "upgrade Docker", info, answer.api)  # fmt: skip
    if info.get("OSType") not in {None, "linux"}:
        return Look(endpoint, "broken", f"the Docker daemon runs {info.get('OSType')} containers",
                    "switch it to Linux containers", info, answer.api)  # fmt: skip
    return Look(endpoint, "usable", info=info, api=answer.api)


class _Hurried(socket.socket):
    """Give up at a moment, however steadily the other side sends."""

    end: float

    def recv_into(self, *arguments: Any, **more: Any) -> int:
        """Receive as sockets do, for as long as there is time."""
        left = self.end - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer takes too long")
        self.settimeout(left)
        return super().recv_into(*arguments, **more)


class _Connection(http.client.HTTPConnection):
    """Speak HTTP over a Unix socket."""

    def __init__(self, path: str, patience: float) -> None:
        super().__init__("localhost")
        self._path, self._patience = path, patience

    def connect(self) -> None:
        """Open the socket."""
        sock = _Hurried(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock = sock
        sock.end = time.monotonic() + self._patience
        sock.settimeout(self._patience)
        try:
            sock.connect(self._path)
        except BlockingIOError as error:  # so many wait to be accepted that no more may
            raise TimeoutError("nobody accepts connections") from error


def ask(path: str, what: str, patience: float) -> Answer:
    """Return what the daemon at a socket answers to a GET; raises OSError, ValueError and HTTPException.

    The whole answer takes `patience` seconds at most, else it is a TimeoutError.
    """
    connection = _Connection(path, patience)
    try:
        connection.request("GET", what)
        answer = connection.getresponse()
        said = answer.read(MOST)
    finally:
        connection.close()
    try:
        body = json.loads(said)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise ValueError(f"it answers {answer.status} to `{what}`, and not in JSON")  # noqa: TRY004  # not our mistake
    return Answer(answer.status, body, answer.headers.get("Api-Version") or "", answer.headers.get("Server") or "")


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version for comparing; a version without any counts as new."""
    found = [int(part) for part in version.partition("+")[0].partition("-")[0].split(".") if part.isdigit()]
    return tuple(found) or (999,)


def gpu_support(info: Mapping[str, Any]) -> str:
    """Return how a daemon offers NVIDIA cards: `runtime`, `cdi`, or "" when it does not say."""
    if "nvidia" in (info.get("Runtimes") or {}):
        return "runtime"
    devices = info.get("DiscoveredDevices") or []
    return "cdi" if any("nvidia.com/gpu" in str(device) for device in devices) else ""


def containerd_store(info: Mapping[str, Any]) -> bool:
    """Tell whether images are kept by containerd, where each commit takes seconds, more for large images."""
    return any("io.containerd.snapshotter" in str(value) for pair in info.get("DriverStatus") or () for value in pair)


def rootless(info: Mapping[str, Any]) -> bool:
    """Tell whether a daemon runs as an ordinary user."""
    return any("name=rootless" in str(option) for option in info.get("SecurityOptions") or ())
