"""Which Docker daemon there is and whether it can be used: a few system calls, nothing imported, nothing changed."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PATIENCE: Final = 3.0  # seconds; a daemon that is busy building still answers within one
DEFAULT: Final = "unix:///var/run/docker.sock"
OLDEST: Final = (20, 10)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Name a place where a daemon may listen, and what says so."""

    url: str
    source: str


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
        url = ((meta.get("Endpoints") or {}).get("docker") or {}).get("Host")
        if isinstance(url, str):
            yield Endpoint(url, f"the context `{name}`")
            return
    yield Endpoint(DEFAULT, "the default socket")
    runtime = environ.get("XDG_RUNTIME_DIR")
    if runtime:
        yield Endpoint(f"unix://{runtime}/docker.sock", "a rootless daemon's socket")
    yield Endpoint(f"unix://{user}/.docker/run/docker.sock", "Docker Desktop's socket")


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
    if scheme != "unix":
        return Look(endpoint, "usable")
    if not os.path.exists(path):  # noqa: PTH110  # a name from a URL
        return Look(endpoint, "absent", f"there is no Docker daemon: `{path}` does not exist",
                    "install Docker (Debian: `apt-get install docker.io`), or go on without: `--place host`")  # fmt: skip
    try:
        info = _get(path, "/info", patience)
    except PermissionError:
        return Look(endpoint, "denied", f"you may not open `{path}`",
                    "run pinoctl with `sudo`, or add yourself to the group: `sudo usermod -aG docker $USER` and log in again")  # fmt: skip  # noqa: E501  # one sentence
    except (ConnectionRefusedError, FileNotFoundError):
        return Look(endpoint, "stale", f"nobody listens on `{path}`: the Docker daemon does not run",
                    "start it with `systemctl start docker` or `service docker start`")  # fmt: skip
    except TimeoutError:
        return Look(endpoint, "hung", f"the Docker daemon at `{path}` does not answer within {patience:g} s",
                    "see its log (`journalctl -u docker`), or restart it")  # fmt: skip
    except (OSError, ValueError, http.client.HTTPException) as error:
        return Look(endpoint, "broken", f"what answers at `{path}` is no Docker daemon: {error}",
                    "set DOCKER_HOST to the daemon's socket")  # fmt: skip
    version = str(info.get("ServerVersion") or "")
    if numbers(version) < OLDEST:
        return Look(endpoint, "broken", f"the Docker daemon is version {version}, older than 20.10",
                    "upgrade Docker", info)  # fmt: skip
    if info.get("OSType") not in {None, "linux"}:
        return Look(endpoint, "broken", f"the Docker daemon runs {info.get('OSType')} containers",
                    "switch it to Linux containers", info)  # fmt: skip
    return Look(endpoint, "usable", info=info)


class _Connection(http.client.HTTPConnection):
    """Speak HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Open the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _get(path: str, what: str, patience: float) -> dict[str, Any]:
    connection = _Connection(path, patience)
    try:
        connection.request("GET", what)
        answer = connection.getresponse()
        found = json.loads(answer.read())
    finally:
        connection.close()
    if answer.status != http.client.OK or not isinstance(found, dict) or "ServerVersion" not in found:
        raise ValueError(f"it answers {answer.status} to `{what}`")
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version for comparing; a version without any counts as new."""
    found = [int(part) for part in version.split("+")[0].split("-")[0].split(".") if part.isdigit()]
    return tuple(found) or (999,)


def gpu_support(info: Mapping[str, Any]) -> str:
    """Return how a daemon offers NVIDIA cards: `runtime`, `cdi`, or "" when it does not say."""
    if "nvidia" in (info.get("Runtimes") or {}):
        return "runtime"
    devices = info.get("DiscoveredDevices") or []
    return "cdi" if any("nvidia.com/gpu" in str(device) for device in devices) else ""


def containerd_store(info: Mapping[str, Any]) -> bool:
    """Tell whether images are kept by containerd, where each commit costs a second and more."""
    return any("io.containerd.snapshotter" in str(value) for pair in info.get("DriverStatus") or () for value in pair)
