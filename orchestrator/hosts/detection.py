"""Which platform this machine is on, from several signs each, with the evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestrator.engine.errors import BadInputError
from orchestrator.hosts.facts import PLATFORMS
from orchestrator.hosts.platform import Evidence, Platform

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestrator.hosts.platform import Confidence
    from orchestrator.hosts.signs import Signs

SHOWN: Final = 60  # characters of a variable's value that evidence shows
STRONG, WEAK = 2, 1


@dataclass(frozen=True, slots=True)
class Variables:
    """Clues that are variables, each of which speaks for the platform when it has a value."""

    names: tuple[str, ...]
    strong: bool = True

    def look(self, signs: Signs) -> Iterator[Evidence]:
        """Yield what is there."""
        for name in self.names:
            value = signs.get(name)
            if value:
                shown = value if len(value) <= SHOWN else f"{value[:SHOWN]}..."
                yield Evidence(name, f"`{shown}`, from {signs.source(name)}", self.strong)


@dataclass(frozen=True, slots=True)
class Ports:
    """A clue: there are variables of mapped ports with this prefix."""

    prefix: str

    def look(self, signs: Signs) -> Iterator[Evidence]:
        """Yield one piece of evidence for all of them."""
        found = signs.ports(self.prefix)
        if found:
            listed = ", ".join(f"{inner} → {outer}" for inner, outer in found.items())
            yield Evidence(f"{self.prefix}*", f"ports {listed}", strong=True)


@dataclass(frozen=True, slots=True)
class Paths:
    """Clues that are files or folders."""

    paths: tuple[str, ...]
    strong: bool = False

    def look(self, signs: Signs) -> Iterator[Evidence]:
        """Yield those that are there."""
        for path in self.paths:
            if signs.exists(path):
                yield Evidence(path, "is there", self.strong)


@dataclass(frozen=True, slots=True)
class Seen:
    """A clue that takes more than a look at a name."""

    look: Callable[[Signs], Iterator[Evidence]]


def _container(signs: Signs) -> Iterator[Evidence]:
    """Yield what only containers show; `/.dockerenv` alone is also found in virtual machines made from images."""
    for line in (signs.read("/proc/self/mountinfo") or "").splitlines():
        mount, _, kind = line.partition(" - ")
        if mount.split()[4:5] == ["/"] and kind.split()[:1] == ["overlay"]:
            yield Evidence("/proc/self/mountinfo", "the root is an overlay", strong=False)
            break
    groups = signs.read("/proc/1/cgroup") or ""
    named = next((word for word in ("docker", "libpod", "containerd", "kubepods") if word in groups), "")
    if named:
        yield Evidence("/proc/1/cgroup", f"names {named}", strong=True)


def _session(signs: Signs) -> Iterator[Evidence]:
    """Yield what tells a machine with somebody at it."""
    first = (signs.read("/proc/1/comm") or "").strip()
    if first in {"systemd", "init"}:
        yield Evidence("/proc/1/comm", f"the first process is {first}", strong=True)
    for name, says in (
        ("DISPLAY", "a desktop session"),
        ("WAYLAND_DISPLAY", "a desktop session"),
        ("SSH_CONNECTION", "a session over SSH"),
    ):
        if signs.get(name):
            yield Evidence(name, says, strong=False)


Clue = Variables | Ports | Paths | Seen
CLUES: Final[dict[str, tuple[Clue, ...]]] = {
    "kaggle": (
        Variables(("KAGGLE_KERNEL_RUN_TYPE", "KAGGLE_URL_BASE")),
        Variables(("KAGGLE_CONTAINER_NAME",), strong=False),
        Paths(("/kaggle/working", "/kaggle/input")),
    ),
    "colab": (
        Variables(("COLAB_RELEASE_TAG", "COLAB_BACKEND_VERSION", "COLAB_JUPYTER_IP")),
        Variables(("COLAB_GPU",), strong=False),
        Paths(("/var/colab/hostname", "/opt/google/drive")),
    ),
    "vast": (
        Variables(("VAST_CONTAINERLABEL",)),
        Ports("VAST_TCP_PORT_"),
        Ports("VAST_UDP_PORT_"),
        Variables(("CONTAINER_ID", "PUBLIC_IPADDR"), strong=False),
        Paths(("/etc/vast_boot.d", "/opt/portal-aio")),
    ),
    "runpod": (
        Variables(("RUNPOD_POD_ID",)),
        Variables(("RUNPOD_DC_ID", "RUNPOD_POD_HOSTNAME", "RUNPOD_PUBLIC_IP", "RUNPOD_VOLUME_ID"), strong=False),
    ),
    "lightning": (
        Variables(("LIGHTNING_CLOUD_SPACE_ID", "LIGHTNING_CLOUDSPACE_HOST")),
        Variables(("LIGHTNING_CLOUD_PROJECT_ID", "LIGHTNING_TEAMSPACE"), strong=False),
        Paths(("/teamspace/studios/this_studio",)),
    ),
    "paperspace": (
        Variables(("PAPERSPACE_FQDN",)),
        Variables(
            ("PAPERSPACE_CLUSTER_ID", "PAPERSPACE_METRIC_WORKLOAD_ID", "PAPERSPACE_NOTEBOOK_REPO_ID"), strong=False
        ),
        Paths(("/storage", "/notebooks")),
    ),
    "studiolab": (Paths(("/home/studio-lab-user",), strong=True), Paths(("/opt/amazon/sagemaker",))),
    "lambda": (Paths(("/lambda/nfs",)),),
    "kubernetes": (
        Variables(("KUBERNETES_SERVICE_HOST",)),
        Variables(("KUBERNETES_PORT",), strong=False),
        Paths(("/var/run/secrets/kubernetes.io",)),
    ),
    "container": (
        Paths(("/run/.containerenv",), strong=True),
        Paths(("/.dockerenv",)),
        Variables(("container",), strong=False),
        Seen(_container),
    ),
    "local": (Seen(_session),),
}
ENOUGH_WEAK: Final = frozenset({"lambda"})  # has no other sign, and a wrong guess changes nothing there


def find_platform(signs: Signs) -> Platform:
    """Return the platform of a machine: what PINOCTL_PLATFORM says, else the first with enough evidence.

    A strong sign is enough, and so are two weak ones, except on a machine that booted its own system: what that one has
    folders called, or what somebody set there, makes it nobody's. Raises BadInputError for a name that is not known.
    """
    seen = {name: tuple(each for clue in clues for each in clue.look(signs)) for name, clues in CLUES.items()}
    told = signs.environ.get("PINOCTL_PLATFORM", "").strip().lower()
    if told:
        if told not in PLATFORMS:
            raise BadInputError(
                f"`PINOCTL_PLATFORM` says `{told}`, which is no platform that is known",
                hint=f"it is one of {', '.join(PLATFORMS)}",
            )
        return _platform(told, "told", seen)
    for name, found in seen.items():
        weight = sum(STRONG if each.strong else WEAK for each in found)
        strong = any(each.strong for each in found)
        if _booted(seen) and not strong and not (name in ENOUGH_WEAK or (name == "container" and weight > STRONG)):
            continue  # also a virtual machine that was made from a container's image
        if name != "local" and weight >= (WEAK if name in ENOUGH_WEAK else STRONG):
            return _platform(name, "certain" if strong and weight > STRONG else "likely" if strong else "guess", seen)
    return _platform("local", "certain" if _booted(seen) else "likely", seen)


def _booted(seen: dict[str, tuple[Evidence, ...]]) -> bool:
    return any(each.strong for each in seen["local"])


def _platform(name: str, confidence: Confidence, seen: dict[str, tuple[Evidence, ...]]) -> Platform:
    against = tuple((other, each) for other, found in seen.items() if other != name for each in found)
    return Platform(PLATFORMS[name], confidence, seen[name], against)
