"""Whether an app fits a machine, as far as the table of planned apps tells."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestrator.catalog.planned import ABSENT, FAILS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orchestrator.catalog.planned import Planned

SLACK: Final = 0.9  # cards show a little less memory than their names say
CUDA_GPU: Final = "nvidia"
ONLY_GPU: Final = {"nvidia-only": CUDA_GPU}  # tags that say where an app runs, if its launcher does not
ONLY_PLATFORM: Final = {"windows-only": "win32", "apple-silicon": "darwin"}
PLATFORMS: Final = {"win32": "Windows", "darwin": "macOS"}
GPUS: Final = {"nvidia": "NVIDIA", "amd": "AMD", "apple": "Apple"}


@dataclass(frozen=True, slots=True)
class Machine:
    """Hold what counts of a machine: the vendor of its card (`none`), VRAM in GB, free disk and memory in bytes."""

    gpu: str = "none"
    vram: int = 0
    disk_free: int | None = None
    memory: int | None = None


def misfit(row: Planned | None, machine: Machine, tags: Sequence[str] = ()) -> str:
    """Return why an app does not fit, "" when nothing speaks against it; an unknown app does not fit.

    Tags such as `12GB-VRAM`, `nvidia-only` and `windows-only` count where the row says nothing of it.
    """
    return next(_reasons(row, machine, [tag.casefold() for tag in tags]), "")


def _reasons(row: Planned | None, machine: Machine, tags: Sequence[str]) -> Iterator[str]:
    if row is None:
        yield "it was never planned"
        return
    if row.outcome in {ABSENT, FAILS} and not row.verdict:
        yield f"{row.outcome}: {row.reason}"
    platforms = row.platforms or tuple(ONLY_PLATFORM[tag] for tag in tags if tag in ONLY_PLATFORM)
    if platforms and "linux" not in platforms:
        yield f"it is for {' or '.join(PLATFORMS.get(each, each) for each in platforms)}"
    if row.verdict == "cannot run":
        yield row.against[0] if row.against else "it does not run on Linux"
    gpus = row.gpus or tuple(ONLY_GPU[tag] for tag in tags if tag in ONLY_GPU)
    if gpus and machine.gpu not in gpus:
        yield f"it needs a GPU of {' or '.join(GPUS.get(each, each) for each in gpus)}"
    vram = row.vram or _tagged(tags, "vram")
    if vram and machine.vram < vram * SLACK:
        yield f"it needs {vram:g} GB of VRAM"
    needed = max(row.disk or 0, row.disk_estimate or 0)
    if machine.disk_free is not None and needed * 1e9 > machine.disk_free:
        yield f"it takes {needed:g} GB of disk"
    ram = row.ram or _tagged(tags, "ram")
    if machine.memory is not None and ram and machine.memory < ram * 1e9 * SLACK:
        yield f"it needs {ram:g} GB of memory"


def _tagged(tags: Sequence[str], what: str) -> float | None:
    found = (re.fullmatch(rf"(\d+)gb-{what}", tag) for tag in tags)
    return max((float(each[1]) for each in found if each), default=None)
