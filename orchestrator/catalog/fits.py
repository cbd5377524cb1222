"""Whether an app fits a machine, as far as the table of planned apps tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestrator.catalog.planned import ABSENT, FAILS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.catalog.planned import Planned

SLACK: Final = 0.9  # cards show a little less memory than their names say
CUDA_GPU: Final = "nvidia"


@dataclass(frozen=True, slots=True)
class Machine:
    """Hold what counts of a machine: the vendor of its card (`none`), VRAM in GB, free disk and memory in bytes."""

    gpu: str = "none"
    vram: int = 0
    disk_free: int | None = None
    memory: int | None = None


def misfit(row: Planned | None, machine: Machine) -> str:
    """Return why an app does not fit, "" when nothing speaks against it; an unknown app does not fit."""
    return next(_reasons(row, machine), "")


def _reasons(row: Planned | None, machine: Machine) -> Iterator[str]:
    if row is None:
        yield "it was never planned"
        return
    if row.outcome in {ABSENT, FAILS} and not row.verdict:
        yield f"{row.outcome}: {row.reason}"
    if row.platforms and "linux" not in row.platforms:
        yield f"it is for {', '.join(row.platforms)}"
    if row.verdict == "cannot run":
        yield row.against[0] if row.against else "it does not run on Linux"
    if row.gpus and machine.gpu not in row.gpus:
        yield f"it needs a GPU of {' or '.join(row.gpus)}"
    if row.vram and machine.vram < row.vram * SLACK:
        yield f"it needs {row.vram:g} GB of VRAM"
    needed = max(row.disk or 0, row.disk_estimate or 0)
    if machine.disk_free is not None and needed * 1e9 > machine.disk_free:
        yield f"it takes {needed:g} GB of disk"
    if machine.memory is not None and row.ram and machine.memory < row.ram * 1e9 * SLACK:
        yield f"it needs {row.ram:g} GB of memory"
