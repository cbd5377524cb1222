"""Which build of torch each environment of an app ends up with, as far as its install commands tell."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from orchestrator.engine.dry_run.commands import Command, commands_of, program
from orchestrator.engine.dry_run.pip import PipInstall, Requirement, pip_install, requirements_in
from orchestrator.torch.matrix import matrix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from orchestrator.engine.dry_run.records import PlannedStep

PINS_TORCH: Final = frozenset({"xformers", "vllm", "torch-scatter", "torch-sparse"})  # built for one torch each
_INDEX = re.compile(r"/whl/(?:nightly/)?(cu\d{3}|cpu|rocm[\d.]+|xpu)\b")
_LOCAL = re.compile(r"(?:\+|%2[bB])(cu\d{3}|cpu|rocm[\d.]+)")


@dataclass(frozen=True, slots=True)
class Build:
    """Describe a build of torch in an environment.

    `version` is exact, or "" for the newest; `cuda` is a version, `cpu`, `rocm`, `auto` (uv looks at the driver), or ""
    where PyPI decides; `python` is what the environment was asked to have. `where` names the step that decided, `also`
    what another step did to it since.
    """

    environment: str
    version: str
    cuda: str
    where: str
    python: str = ""
    nightly: bool = False
    replaced: str = ""
    unsure: str = ""


def builds_of(steps: Sequence[PlannedStep], *, read_text: Callable[[str], str | None] = lambda _: None) -> list[Build]:
    """Follow the executed install commands, environment by environment, and return where each ends.

    `read_text` gives a requirements file of the launcher by absolute path, None where it is not there yet.
    """
    found: dict[str, Build] = {}
    pythons: dict[str, str] = {}
    for step in steps:
        if not step.executed:
            continue
        for command in commands_of(step):
            name = command.venv or "the base environment"
            pythons[name] = pythons.get(name) or _python(command)
            conda = _conda(command)
            if conda is not None:
                found[name] = conda
                continue
            install = pip_install(command)
            if install is not None:
                _install(found, name, install, read_text)
    return [replace(build, python=pythons.get(name, "")) for name, build in found.items()]


def _install(found: dict[str, Build], name: str, install: PipInstall, read_text: Callable[[str], str | None]) -> None:
    before = found.get(name)
    for each, index in _wanted(install, read_text):
        if each.name == "torch":
            new = _build(name, install, each, index)
            if before is None or _replaces(before, install, each, new):
                replaced = before.cuda if before is not None and before.cuda != new.cuda else ""
                found[name] = replace(new, replaced=replaced)
        elif each.name in PINS_TORCH and name in found and not install.no_deps and not index:
            found[name] = replace(found[name], unsure=f"`{each.name}` ({install.command.where})")


def _wanted(install: PipInstall, read_text: Callable[[str], str | None]) -> Iterator[tuple[Requirement, str]]:
    """Yield each requirement with the indexes that it may come from."""
    indexes = " ".join([install.index, *install.extra_indexes])
    for each in install.requirements:
        yield each, indexes
    for file in install.files:
        text = read_text(os.path.normpath(os.path.join(install.command.cwd, file))) or ""  # noqa: PTH118  # a name only
        inner = f"{indexes} {' '.join(_options(text))}"
        for each in requirements_in(text):
            yield each, inner


def _options(text: str) -> list[str]:
    from orchestrator.engine.dry_run.pip import index_options  # noqa: PLC0415  # beside its one use

    return index_options(text)


def _build(name: str, install: PipInstall, each: Requirement, indexes: str) -> Build:
    local = _LOCAL.search(f"{each.version} {each.url}")
    index = _INDEX.search(indexes)
    said = local[1] if local else install.backend or (index[1] if index else "")
    version = each.pinned.partition("+")[0]
    if not version and each.url:
        in_url = re.search(r"torch-(\d+\.\d+\.\d+)", each.url)
        version = in_url[1] if in_url else ""
    return Build(name, version, _cuda(said), install.command.where, nightly="nightly" in indexes or install.pre)


def _cuda(said: str) -> str:
    digits = re.fullmatch(r"cu(\d{2})(\d)", said)
    if digits:
        return f"{digits[1]}.{digits[2]}"
    return "rocm" if said.startswith("rocm") else said


def _replaces(before: Build, install: PipInstall, each: Requirement, new: Build) -> bool:
    """Tell whether an install changes a torch that is there: pip leaves what satisfies the requirement."""
    if install.forced or _LOCAL.search(each.version) or each.url:
        return True
    upgrade = bool({"-U", "--upgrade"} & set(install.command.argv))
    return upgrade or (bool(new.version) and new.version != before.version)


def _conda(command: Command) -> Build | None:
    """Read a `conda install pytorch ... pytorch-cuda=12.1`."""
    if program(command.argv) not in {"conda", "mamba", "micromamba"}:
        return None
    words = [word.rpartition("::")[2] for word in command.argv]
    torch = next((word for word in words if re.match(r"pytorch(?:=|$)", word)), None)
    if torch is None:
        return None
    cuda = next((found[1] for word in words if (found := re.match(r"pytorch-cuda=+(\d+\.\d+)", word))), "")
    if not cuda and any(word.startswith("cpuonly") for word in words):
        cuda = "cpu"
    version = torch.partition("=")[2].lstrip("=").split("=")[0]
    return Build(command.venv or "the base environment", version, cuda or "auto", command.where)


def _python(command: Command) -> str:
    found = re.match(r"(3\.\d+)", command.python)
    return found[1] if found else ""


def cuda_of(build: Build) -> str:
    """Return the CUDA of a build, PyPI's choice where the commands leave it open; `cpu`, `rocm` and `auto` stay."""
    if build.cuda:
        return build.cuda
    table = matrix()
    release = table.release(build.version) if build.version else table.newest_for(build.python or None)
    return release.pypi if release is not None else ""
