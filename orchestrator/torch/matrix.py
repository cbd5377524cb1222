"""The published builds of PyTorch, and which of them a card and a driver can run."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

Version = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Release:
    """Hold one release series of torch (`2.7`): the Pythons it has wheels for, and its builds by CUDA version.

    `pypi` is the CUDA of the wheel on PyPI; each build lists its compute capabilities, as `86` for 8.6.
    """

    torch: str
    python: tuple[str, ...]
    pypi: str
    builds: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Cuda:
    """Hold the oldest driver that runs a CUDA version, and the one it was released with; Linux."""

    driver: str
    released_with: str


@dataclass(frozen=True, slots=True)
class Matrix:
    """Hold every release, oldest first, and every CUDA version that has builds."""

    releases: tuple[Release, ...]
    cuda: Mapping[str, Cuda]

    def release(self, torch: str) -> Release | None:
        """Return the series of an exact version (`2.7.1`), None when it is not in the table."""
        series = ".".join(torch.partition("+")[0].split(".")[:2])
        return next((each for each in self.releases if each.torch == series), None)

    @property
    def newest(self) -> Release:
        """Return the newest release that the table knows."""
        return self.releases[-1]

    def newest_for(self, python: str | None) -> Release:
        """Return the newest release with wheels for a Python (`3.10`)."""
        fitting = [each for each in self.releases if python is None or python in each.python]
        return fitting[-1] if fitting else self.newest

    def driver_runs(self, driver: str | None, cuda: str) -> bool | None:
        """Tell whether a driver is new enough for a CUDA version, None where either is not known.

        Within one major version of CUDA an older driver will do (NVIDIA's minor version compatibility).
        """
        known = self.cuda.get(cuda)
        if driver is None or known is None:
            return None
        return numbers(driver) >= numbers(known.driver)

    def best(self, release: Release, capability: int | None, driver: str | None) -> str | None:
        """Return the newest CUDA build of a release that a card and a driver run, None when there is none."""
        fitting = [
            cuda
            for cuda, built_for in release.builds.items()
            if (capability is None or runs_on(built_for, capability)) and self.driver_runs(driver, cuda) is not False
        ]
        return max(fitting, key=numbers, default=None)


def numbers(version: str) -> Version:
    """Return a version's numbers for comparing."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def runs_on(built_for: tuple[int, ...], capability: int) -> bool:
    """Tell whether code for some compute capabilities runs on a card: same major number, and not a newer minor."""
    return any(each // 10 == capability // 10 and each <= capability for each in built_for)


def capability_of(target: str | None) -> int | None:
    """Return the compute capability in a target name: 89 for `sm_89`, None for anything else."""
    found = re.fullmatch(r"sm_(\d{2,3})[a-z]?", target or "")
    return int(found[1]) if found else None


@functools.cache
def matrix() -> Matrix:
    """Return the table; it is read once, when first asked for."""
    data = json.loads(Path(__file__).with_name("matrix.json").read_text("utf-8"))
    releases = tuple(
        Release(
            row["torch"],
            tuple(row["python"]),
            row["pypi"],
            {cuda: tuple(map(int, built_for)) for cuda, built_for in row["builds"].items()},
        )
        for row in data["releases"]
    )
    return Matrix(releases, {cuda: Cuda(**about) for cuda, about in data["cuda"].items()})


def index_of(cuda: str) -> str:
    """Return PyTorch's package index for a CUDA version, or for `cpu`."""
    return f"https://download.pytorch.org/whl/{'cpu' if cuda == 'cpu' else 'cu' + cuda.replace('.', '')}"
