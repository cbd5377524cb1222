"""The base images: which one an app needs, what goes into it, and building it when it is missing."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from orchestrator.engine.errors import BadInputError
from orchestrator.places.container import names
from orchestrator.places.container.buildkit import build
from orchestrator.places.container.docker import Docker, DockerError, RefusedError, told
from orchestrator.torch.matrix import matrix, numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.engine.hardware import HardwareProfile

FILES: Final = {"Dockerfile": 0o644, "packages.txt": 0o644, "requirements.txt": 0o644, "entry": 0o755, "health": 0o755}
VARIABLE: Final = "PINOCTL_BASE_IMAGE"
CERTIFICATES: Final = Path("/usr/local/share/ca-certificates")


# A name with its registry, tag and digest, or an id.
NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9._:/-]*[a-z0-9])?(?::\w[\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?", re.ASCII)


class NoBaseError(RefusedError):
    """Report that no image to begin with can be had: none is here, and no registry gives one."""


@dataclass(frozen=True, slots=True)
class Base:
    """Name what an app's image is built on: the image `start` that the base image begins with, and its variant.

    `cuda` is a version or `cpu`, `devel` tells whether CUDA's compiler is in it. `why` says how it was chosen.
    """

    start: str
    cuda: str
    devel: bool = False
    why: str = ""

    @property
    def variant(self) -> str:
        """Return the variant's name, as tags have it."""
        name = "cpu" if self.cuda == "cpu" else f"cuda{self.cuda}"
        return f"{name}-devel" if self.devel else name


def folder() -> Path:
    """Return the folder of the Dockerfile and what it copies."""
    import orchestrator  # noqa: PLC0415  # only to know where the package is

    return Path(orchestrator.__file__).parent / "images"


def table() -> dict[str, Any]:
    """Return the table of images to start from (images/matrix.json)."""
    found: dict[str, Any] = json.loads((folder() / "matrix.json").read_text("utf-8"))
    return found


def choose(
    profile: HardwareProfile,
    *,
    source_build: bool = False,
    torch_cuda: str | None = None,
    start: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Base:
    """Choose the base for a machine and an app.

    With an NVIDIA card it is the newest CUDA that the driver came with or is older than, and not newer than what the
    app's PyTorch is built for; NVIDIA's images refuse to start on older drivers. `source_build` asks for the compiler.
    `start` (or PINOCTL_BASE_IMAGE) is an image of the user's to begin with; raises BadInputError for what is none.
    """
    given = _checked(start or (os.environ if environ is None else environ).get(VARIABLE))
    rows = table()
    if profile.gpu != "nvidia":
        return Base(given or rows["cpu"], "cpu", devel=False, why="given" if given else "no NVIDIA card")
    driver = profile.gpu_driver
    known = matrix().cuda
    runs = [
        cuda
        for cuda in rows["cuda"]
        if driver is None or (cuda in known and numbers(driver) >= numbers(known[cuda].released_with))
    ]
    fitting = [
        cuda for cuda in runs if not torch_cuda or torch_cuda == "cpu" or numbers(cuda) <= numbers(torch_cuda)
    ] or sorted(runs, key=numbers)[:1]  # a PyTorch older than every image is best off with the oldest
    if not fitting:
        if not given:
            raise DockerError(
                f"the driver {driver} is older than every CUDA image that pinoctl knows "
                f"(CUDA {min(rows['cuda'], key=numbers)} and later)",
                hint="update the driver, or name an image to begin with: `--base IMAGE`",
            )
        return Base(given, "cpu", devel=source_build, why="given")
    cuda = max(fitting, key=numbers)
    why = f"driver {driver}" + (f", PyTorch for CUDA {torch_cuda}" if torch_cuda else "")
    return Base(given or rows["cuda"][cuda]["devel" if source_build else "runtime"], cuda, source_build, why)


def _checked(start: str | None) -> str | None:
    if start and not NAME.fullmatch(start):
        raise BadInputError(
            f"`{start}` cannot be the name of an image to begin with",
            hint=f"write it like `debian:12` (`--base` or {VARIABLE}), in lower case",
        )
    return start


def uv_version() -> str:
    """Return the version of uv in base images."""
    lines = (folder() / "requirements.txt").read_text("utf-8").splitlines()
    return next(line.partition("==")[2].split()[0] for line in lines if line.startswith("uv=="))


def files(certificates: Path = CERTIFICATES) -> dict[str, tuple[bytes, int]]:
    """Return the build context: the Dockerfile, what it copies, and this site's own certificates."""
    place = folder()
    found = {name: ((place / name).read_bytes(), mode) for name, mode in FILES.items()}
    for certificate in sorted(certificates.glob("*.crt")):
        found[f"certificates/{certificate.name}"] = (certificate.read_bytes(), 0o644)
    found.setdefault("certificates/.keep", (b"", 0o644))
    return found


def recipe(start: str, start_id: str, content: Mapping[str, tuple[bytes, int]], machine: str = "") -> str:
    """Return the hash of everything that goes into a base image; pinoctl's own code does not."""
    digest = hashlib.sha256()
    for part in (start, start_id, machine or platform.machine()):
        digest.update(part.encode() + b"\0")
    for name, (data, mode) in sorted(content.items()):
        digest.update(f"{name}\0{mode}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()


def ensure(docker: Docker, base: Base, *, say: Callable[[str], None], fresh: bool = False) -> dict[str, Any]:
    """Return the base image (as the daemon describes it), built if it is missing; raises DockerError.

    Its `Tag` is the name that it has as this variant; `RepoTags` may begin with that of another one.
    """
    content = files()
    start_id = _start_id(docker, base.start, say)
    key = recipe(base.start, start_id, content)
    tag = f"{names.BASE_REPOSITORY}:{base.variant}-{key[:12]}"
    if not fresh:
        found = inspect(docker, tag)
        if found is not None:
            return {**found, "Tag": tag}
    say(f"building the base image `{tag}` on `{base.start}` ({base.why}); this is done once")
    labels = {names.KIND: "base", names.RECIPE: key, names.BASE: base.start}
    arguments = {"BASE": base.start}
    built = build(docker, content, tag=tag, arguments=arguments, labels=labels, say=say)
    found = inspect(docker, tag) or inspect(docker, built)
    if found is None:
        raise DockerError(f"the base image `{tag}` vanished after it was built", hint="run the same command again")
    return {**found, "Tag": tag}


def _start_id(docker: Docker, start: str, say: Callable[[str], None]) -> str:
    found = inspect(docker, start)
    if found is None:
        say(f"downloading `{start}`")
        try:
            with told(f"the image `{start}` cannot be downloaded"):
                docker.client.images.pull(start)
        except DockerError as error:
            raise NoBaseError(str(error), hint=f"{instead()}, or name one that is here: `--base IMAGE`") from error
        found = inspect(docker, start)
    return str(found["Id"]) if found is not None else ""


def instead() -> str:
    """Return what to do where no registry can be reached."""
    return f"`export {VARIABLE}=$({folder() / 'rootfs.sh'})` makes an image to begin with from Debian's mirror"


def look_up(docker: Docker, start: str) -> None:
    """Make sure that an image to begin with is here or in its registry; raises NoBaseError."""
    try:
        if inspect(docker, start) is None:
            with told(f"there is no image `{start}` here, and none can be had from its registry"):
                docker.api.inspect_distribution(start)
    except DockerError as error:
        raise NoBaseError(
            str(error),
            hint="check the name and the network, or give an image that is here; `--base none` is pinoctl's choice",
        ) from error


def inspect(docker: Docker, reference: str) -> dict[str, Any] | None:
    """Return an image as the daemon describes it, None when there is none."""
    from docker.errors import ImageNotFound  # noqa: PLC0415  # see docker.connect

    with told():
        try:
            found: dict[str, Any] = docker.api.inspect_image(reference)
        except ImageNotFound:
            return None
        return found
