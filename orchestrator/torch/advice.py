"""What is wrong with a build of torch on a machine, before it is installed and after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.torch.builds import Build, cuda_of
from orchestrator.torch.matrix import Release, capability_of, index_of, matrix, runs_on

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from orchestrator.engine.hardware import HardwareProfile


@dataclass(frozen=True, slots=True)
class TorchFinding:
    """Say one thing about torch: `level` is `problem` (it will not use the card), `warning` or `note`."""

    level: str
    text: str
    remedy: str = ""
    where: str = ""


def advise(builds: Iterable[Build], profile: HardwareProfile) -> list[TorchFinding]:
    """Compare the builds that an app would install with the machine; nothing is said where all is well."""
    return [finding for build in builds for finding in _advise(build, profile)]


def _advise(build: Build, profile: HardwareProfile) -> Iterator[TorchFinding]:
    where, cuda = build.where, cuda_of(build)
    release = matrix().release(build.version) if build.version else matrix().newest_for(build.python or None)
    name = f"torch {build.version or (release.torch if release else '')}".strip()
    if release is not None and build.python and build.version and build.python not in release.python:
        yield TorchFinding("problem", f"{name} has no wheel for Python {build.python}, which it is installed into",
                           f"it has wheels for Python {release.python[0]} to {release.python[-1]}", where)  # fmt: skip
    if build.unsure:
        yield TorchFinding("note", f"{build.unsure} is built for one version of torch and may replace {name}",
                           "install it with the same index as torch, or with `--no-deps`", where)  # fmt: skip
    if profile.gpu != "nvidia" or cuda == "auto" or build.nightly:
        if profile.gpu == "nvidia" or cuda in {"cpu", "auto", "rocm", ""}:
            return
        if profile.gpu == "amd":
            yield TorchFinding("problem", f"{name} is installed for CUDA {cuda}, and the card is AMD's",
                               "use one of PyTorch's ROCm indexes", where)  # fmt: skip
        return
    if cuda == "rocm":
        yield TorchFinding(
            "problem", f"{name} is installed for ROCm, and the card is NVIDIA's", _remedy(release, profile), where
        )
    elif cuda == "cpu":
        lost = f", which replaces the build for CUDA {build.replaced} of an earlier step" if build.replaced else ""
        yield TorchFinding("problem", f"{name} is installed as a CPU build{lost}: it will not use the {_card(profile)}",
                           _remedy(release, profile), where)  # fmt: skip
    elif cuda and release is not None:
        yield from _fits(name, cuda, release, profile, where, asked=bool(build.cuda))


def _fits(
    name: str, cuda: str, release: Release, profile: HardwareProfile, where: str, *, asked: bool
) -> Iterator[TorchFinding]:
    table, capability = matrix(), capability_of(profile.gpu_target)
    from_pypi = "" if asked else ", PyPI's choice,"
    if table.driver_runs(profile.gpu_driver, cuda) is False:
        yield TorchFinding(
            "problem",
            f"{name} for CUDA {cuda}{from_pypi} needs driver {table.cuda[cuda].driver} or newer; "
            f"this machine has {profile.gpu_driver}",
            _remedy(release, profile), where)  # fmt: skip
    built_for = release.builds.get(cuda)
    if built_for is None:
        offered = ", ".join(release.builds)
        yield TorchFinding(
            "problem",
            f"there is no build of {name} for CUDA {cuda}, only for {offered}",
            _remedy(release, profile),
            where,
        )
    elif capability is not None and not runs_on(built_for, capability):
        yield TorchFinding(
            "problem",
            f"{name} for CUDA {cuda}{from_pypi} has no code for the {_card(profile)} ({profile.gpu_target}), only for "
            + ", ".join(f"sm_{each}" for each in built_for),
            _remedy(release, profile), where)  # fmt: skip


def _card(profile: HardwareProfile) -> str:
    return profile.gpu_model or "card"


def _remedy(release: Release | None, profile: HardwareProfile) -> str:
    """Name an index that would do, of the same release where there is one, else the nearest release that has one."""
    table, capability = matrix(), capability_of(profile.gpu_target)
    at = table.releases.index(release) if release is not None else len(table.releases) - 1
    releases = [*table.releases[at:], *reversed(table.releases[:at])]  # the nearest newer one changes least
    for each in releases:
        best = table.best(each, capability, profile.gpu_driver)
        if best is not None:
            version = "" if each is release else f" with torch {each.torch}"
            return f"install it{version} with `--index-url {index_of(best)}`, or with uv's `--torch-backend=auto`"
    return "no published build fits this card and driver; update the driver, or use an older image"
