"""The part of `pinoctl doctor` about containers: the daemon, its GPUs, its disk and the image that apps begin with."""

from __future__ import annotations

import os
import shutil
import socket
from dataclasses import asdict, dataclass, field, replace
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from orchestrator.commands.doctor import LITTLE_DISK, OK, PROBLEM, WARNING, Check
from orchestrator.engine.errors import BadInputError
from orchestrator.hosts.resources.network import head
from orchestrator.hosts.resources.resources import Disk, disk_of
from orchestrator.hosts.resources.room import size
from orchestrator.places.choosing import CONTAINER, HOST
from orchestrator.places.container import base_image, gpus, names
from orchestrator.places.container.docker import DockerError, connect
from orchestrator.places.container.endpoint import (
    REMOTE,
    Look,
    ask,
    containerd_store,
    gpu_support,
    look_round,
    numbers,
    rootless,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from orchestrator.engine.hardware import HardwareProfile

LOOKING: Final = 1.0  # seconds; a daemon that is busy building still answers within one
COUNTING: Final = 0.4  # seconds; the daemon walks through its volumes, which takes minutes where models are in them
KNOCKING: Final = 3.0  # seconds that a registry may take to answer
REGISTRIES: Final = {"docker.io": "registry-1.docker.io"}
KNOWN_API: Final = "1.44"  # later ones give sizes in another form
CONTAINERD_ROOT: Final = Path("/var/lib/containerd")
TOOLKIT: Final = "https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/install-guide.html"
EXPLICIT: Final = ("DOCKER_HOST", "DOCKER_CONTEXT")


@dataclass(frozen=True, slots=True)
class Usage:
    """Hold what the daemon keeps: counts, and sizes in bytes, None where it did not tell in time."""

    images: int = 0
    own_images: int = 0
    image_bytes: int | None = None
    own_volumes: int = 0
    volume_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class BaseFound:
    """Tell what apps' images begin with here: `tag` is the base image made from `start`, "" while it is not made.

    `here` tells whether `start` is on the machine, None where nobody asked; `unreachable` why its registry does not
    answer, "" where it does or nobody asked; `problem` why there can be none.
    """

    start: str = ""
    variant: str = ""
    why: str = ""
    given: bool = False
    tag: str = ""
    here: bool | None = None
    unreachable: str = ""
    problem: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """Hold everything that was found out about a machine's Docker daemon; `needed` tells whether apps must have it."""

    look: Look
    needed: bool = False
    meant: bool = False
    base: BaseFound = field(default_factory=BaseFound)
    usage: Usage | None = None
    disk: Disk | None = None
    root: str = ""
    toolkit: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the facts as `doctor --json` has them."""
        info = self.look.info
        found: dict[str, Any] = {
            "usable": self.look.usable,
            "kind": self.look.kind,
            "url": self.look.endpoint.url,
            "source": self.look.endpoint.source,
            "problem": self.look.problem,
            "remedy": self.look.remedy,
            "version": info.get("ServerVersion"),
            "api": self.look.api or None,
        }
        if not self.look.usable:
            return found
        return found | {
            "storage_driver": info.get("Driver"),
            "containerd_store": containerd_store(info),
            "cgroup": info.get("CgroupVersion"),
            "rootless": rootless(info),
            "gpu": gpu_support(info) or None,
            "root": self.root or None,
            "disk": asdict(self.disk) if self.disk else None,
            "usage": asdict(self.usage) if self.usage else None,
            "base": asdict(self.base),
        }


def examine(
    profile: HardwareProfile, environ: Mapping[str, str], *, patience: float = LOOKING, network: bool = True
) -> Facts:
    """Find out about the daemon, changing nothing; `network` allows to ask one that is reached by TCP."""
    found = look_round(environ, patience=patience)
    if network and found.usable and found.endpoint.url.startswith(("tcp:", "http:", "https:")):
        found = _elsewhere(found, environ, patience)
    needed = environ.get("PINOCTL_PLACE") == CONTAINER
    meant = any(environ.get(name) for name in EXPLICIT)
    if not found.usable:
        return Facts(found, needed, meant)
    asked = asker(found)
    base = base_found(profile, environ, asked)
    if network and base.here is False:
        base = replace(base, unreachable=knock(REGISTRIES.get(registry(base.start), registry(base.start))) or "")
    root = root_of(found.info) if asked and found.info.get("Name") == socket.gethostname() else None
    return Facts(
        found,
        needed,
        meant,
        base,
        usage(asked, found.api, environ.get("PINOCTL_VOLUME")) if asked else None,
        disk_of(root, {}) if root else None,
        str(root or ""),
        shutil.which("nvidia-ctk") is not None,
    )


def _elsewhere(found: Look, environ: Mapping[str, str], patience: float) -> Look:
    """Ask a daemon on another machine."""
    try:
        docker = connect(environ, look=found, wait=patience)
    except (DockerError, OSError) as error:
        return Look(found.endpoint, "broken", f"{found.endpoint.source} says `{found.endpoint.url}`: {error}",
                    f"see that the daemon listens there, or choose another than {found.endpoint.source}")  # fmt: skip
    try:
        return Look(found.endpoint, "usable", info=docker.info, api=str(docker.api.api_version))
    finally:
        docker.close()


Asked = tuple[int, dict[str, Any]]


def asker(found: Look, patience: float = COUNTING) -> Callable[[str], Asked | None] | None:
    """Return what asks a daemon on this machine, and gives the status and the answer, or None where none comes."""
    scheme, _, path = found.endpoint.url.partition("://")
    if scheme != "unix":
        return None

    def asked(what: str) -> Asked | None:
        try:
            answer = ask(path, what, patience)
        except (OSError, ValueError, HTTPException):
            return None
        return answer.status, answer.body

    return asked


def usage(asked: Callable[[str], Asked | None], api: str, volume: str | None = None) -> Usage | None:
    """Ask what images and volumes take, None where the daemon does not tell in time.

    Images are asked for alone first: daemons that can count them alone do it at once, volumes may take long. Ours are
    known by their labels, volumes by their names; `volume` is one more.
    """
    version = min(api, KNOWN_API, key=numbers) if api else ""
    start = f"/v{version}/system/df" if version else "/system/df"
    first = _body(asked(f"{start}?type=image"))
    if first is None:
        return None
    images = first.get("Images") or []
    second = first if first.get("Volumes") is not None else _body(asked(f"{start}?type=volume"))
    volumes = [each for each in (second or {}).get("Volumes") or [] if _is_ours(str(each.get("Name")), volume)]
    sizes = [(each.get("UsageData") or {}).get("Size", -1) for each in volumes]
    return Usage(
        len(images),
        sum(names.KIND in (each.get("Labels") or {}) for each in images),
        first.get("LayersSize"),
        len(volumes),
        None if second is None or any(each < 0 for each in sizes) else sum(sizes),
    )


def _body(asked: Asked | None) -> dict[str, Any] | None:
    return asked[1] if asked and asked[0] == 200 else None  # noqa: PLR2004  # HTTP's "here it is"


def _is_ours(name: str, volume: str | None) -> bool:
    return name == volume or name.startswith((f"{names.PREFIX}-shared-", f"{names.CODE_VOLUME}-"))


def base_found(
    profile: HardwareProfile, environ: Mapping[str, str], asked: Callable[[str], Asked | None] | None
) -> BaseFound:
    """Return the base image that apps of a machine are built on, and whether it or what it begins with is here."""
    try:
        chosen = base_image.choose(profile, environ=environ)
    except (DockerError, BadInputError) as error:
        return BaseFound(problem=str(error), remedy=error.hint or "")
    given = bool(environ.get("PINOCTL_BASE_IMAGE"))
    answer = asked(f"/images/{quote(chosen.start, safe='/:@')}/json") if asked else None
    if asked is None or answer is None:
        return BaseFound(chosen.start, chosen.variant, chosen.why, given)
    found = _body(answer)
    if found is None:
        return BaseFound(chosen.start, chosen.variant, chosen.why, given, here=False)
    key = base_image.recipe(chosen.start, str(found.get("Id")), base_image.files())
    tag = f"{names.BASE_REPOSITORY}:{chosen.variant}-{key[:12]}"
    made = _body(asked(f"/images/{tag}/json")) is not None
    return BaseFound(chosen.start, chosen.variant, chosen.why, given, tag if made else "", here=True)


def root_of(info: Mapping[str, Any], containerd: Path = CONTAINERD_ROOT) -> Path | None:
    """Return the folder of a daemon's images, None where it is not on this machine, or does not tell."""
    if containerd_store(info) and not rootless(info) and containerd.is_dir():
        return containerd
    root = Path(str(info.get("DockerRootDir") or "/nowhere"))
    return root if root.is_dir() else None


def docker_checks(facts: Facts, profile: HardwareProfile) -> Iterator[Check]:
    """Judge everything about containers."""
    if not facts.look.usable:
        level = PROBLEM if facts.needed else OK if facts.look.kind == "absent" and not facts.meant else WARNING
        then = "PINOCTL_PLACE wants apps in containers" if facts.needed else "apps go on the host"
        if not facts.needed and facts.look.endpoint.url.partition("://")[0] in REMOTE:  # `up` takes those on trust
            then = "new apps need `--place host` until it answers"
        yield Check("docker", level, f"{facts.look.problem}; {then}", facts.look.remedy if level != OK else "")
        return
    yield from daemon_checks(facts)
    if facts.look.info:
        yield gpu_check(facts, profile)
    yield from disk_checks(facts)
    yield base_check(facts.base)


def daemon_checks(facts: Facts) -> Iterator[Check]:
    """Say which daemon it is, and what it does badly."""
    info, endpoint = facts.look.info, facts.look.endpoint
    where = f"at `{endpoint.url}` ({endpoint.source})"
    if not info:
        yield Check("docker", OK, f"a daemon {where}, which was not asked")
        return
    parts = [f"version {info.get('ServerVersion')}", f"API {facts.look.api}" if facts.look.api else "",
             f"storage {info.get('Driver')}", f"cgroup v{info.get('CgroupVersion') or '1'}",
             "rootless" if rootless(info) else ""]  # fmt: skip
    yield Check("docker", OK, f"{', '.join(filter(None, parts))}, {where}")
    if info.get("Driver") == "vfs":
        yield Check("docker", WARNING, "with the storage driver vfs each step of a build copies the whole image",
                    "put Docker's folder on ext4 or xfs, so that it can use overlay2")  # fmt: skip
    if containerd_store(info):
        yield Check("docker", OK, "containerd keeps the images: large apps take minutes longer to build",
                    'where that matters, set `{"features": {"containerd-snapshotter": false}}` in '
                    "`/etc/docker/daemon.json` and restart Docker; images are made anew then")  # fmt: skip
    if info.get("MemoryLimit") is False:
        yield Check("docker", WARNING, "the daemon cannot limit the memory of containers",
                    "a rootless daemon needs cgroup v2 with systemd; until then leave limits out")  # fmt: skip


def gpu_check(facts: Facts, profile: HardwareProfile) -> Check:
    """Say whether containers get the machine's card."""
    support = gpu_support(facts.look.info)
    how = {"runtime": "by NVIDIA's runtime", "cdi": "by CDI"}.get(support, "")
    if profile.gpu != "nvidia":
        what = "no card" if profile.gpu == "none" else f"no {profile.gpu} card"
        return Check("docker gpu", OK, f"containers get {what}: only NVIDIA's can be given to them"
                     + (f" (the daemon offers such {how}, but none is seen here)" if how else ""))  # fmt: skip
    if support:
        return Check("docker gpu", OK, f"containers get the card {how}")
    return Check("docker gpu", WARNING, "the Docker daemon does not offer this machine's card to containers: "
                 "new apps go on the host", _offering(facts))  # fmt: skip


def _offering(facts: Facts) -> str:
    """Return what to do for a daemon to offer the card."""
    if facts.look.endpoint.url.partition("://")[0] != "unix":
        return f"on the daemon's machine: {gpus.MISSING}"
    if rootless(facts.look.info):
        configure = (
            "run `nvidia-ctk runtime configure --runtime=docker --config=$HOME/.config/docker/daemon.json`, `sudo "
            "nvidia-ctk config --set nvidia-container-cli.no-cgroups --in-place` and `systemctl --user restart docker`"
        )
    else:
        configure = "run `sudo nvidia-ctk runtime configure --runtime=docker` and `sudo systemctl restart docker`"
    return configure if facts.toolkit else f"install the NVIDIA Container Toolkit ({TOOLKIT}), then {configure}"


def disk_checks(facts: Facts) -> Iterator[Check]:
    """Judge the room for images, and say what is kept."""
    if facts.disk is not None:
        little = facts.disk.free < 2 * LITTLE_DISK
        yield Check("docker disk", WARNING if little else OK,
                    f"{size(facts.disk.free)} of {size(facts.disk.total)} free at `{facts.root}`, where images are",
                    "an app with PyTorch takes 14 GB while its image is made: free some with `pinoctl image rm`, "
                    "or move Docker (`data-root` in `/etc/docker/daemon.json`)" if little else "")  # fmt: skip
    if facts.usage is not None:
        images = f" in {size(facts.usage.image_bytes)}" if facts.usage.image_bytes is not None else ""
        volumes = f" in {size(facts.usage.volume_bytes)}" if facts.usage.volume_bytes is not None else ""
        yield Check("docker disk", OK, f"{_count(facts.usage.images, 'image')}{images}, {facts.usage.own_images} of "
                    f"them pinoctl's; {_count(facts.usage.own_volumes, 'volume')} of pinoctl's{volumes}")  # fmt: skip


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def base_check(base: BaseFound) -> Check:
    """Say what apps are built on, and where it comes from."""
    if base.problem:
        return Check("docker base", WARNING, base.problem, base.remedy)
    why = "PINOCTL_BASE_IMAGE says so" if base.given else base.why
    if base.tag:
        return Check("docker base", OK, f"`{base.tag}` is here, made from `{base.start}` ({why})")
    text = f"apps are built on `{base.start}` ({why})"
    if base.here is None:
        return Check("docker base", OK, text)
    if base.here:
        return Check("docker base", OK, f"{text}, which is here; the first one makes a base image from it")
    text = f"{text}, which is not here: the first one downloads it from {registry(base.start)}"
    instead = base_image.instead()
    if base.unreachable:
        return Check("docker base", WARNING, f"{text}, which cannot be reached: {base.unreachable}",
                     f"{instead}, or name one that is here: PINOCTL_BASE_IMAGE=IMAGE")  # fmt: skip
    return Check("docker base", WARNING if base.given else OK, text, f"without access to it {instead}")


def knock(host: str) -> str | None:
    """Ask whether a registry is there; return None when it answered, else why not."""
    return head(f"https://{host}/v2/", KNOCKING)


def registry(reference: str) -> str:
    """Return the registry that an image's name means."""
    first, slash, _ = reference.partition("/")
    return first if slash and (first == "localhost" or "." in first or ":" in first) else "docker.io"


def look_at_docker(profile: HardwareProfile, *, network: bool) -> tuple[list[Check], dict[str, Any]]:
    """Return the findings about containers, and the facts for `--json`."""
    facts = examine(profile, os.environ, network=network)
    return [*place_checks(os.environ), *docker_checks(facts, profile)], facts.to_json()


def place_checks(environ: Mapping[str, str]) -> Iterator[Check]:
    """Say where PINOCTL_PLACE is none of the places, with which nothing comes up."""
    wanted = environ.get("PINOCTL_PLACE")
    if wanted and wanted not in {HOST, CONTAINER}:
        yield Check("place", PROBLEM, f"PINOCTL_PLACE is `{wanted}`, which is no place for an app",
                    "set it to `host` or `container`, or unset it")  # fmt: skip
