"""Whether a disk has the room that an app will take; said before anything is fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator.engine.errors import PinoctlError

if TYPE_CHECKING:
    from pathlib import Path

NEW: Final = 200 << 20  # bytes that installing even a small app takes: its environment, its packages, their cache
INSTALLED: Final = 20 << 20  # bytes that an installed app needs to start: logs, temporary files
OVERRIDE: Final = "PINOCTL_IGNORE_DISK"


def check_room(home: Path, free: int | None, *, app: str, installed: bool, needed: int | None = None) -> None:
    """Raise PinoctlError where `free` bytes at the home are fewer than an app will take.

    `needed` is what is known of the app in bytes; an installed app needs little. `free` None (nobody can tell) passes.
    """
    wanted = INSTALLED if installed else max(NEW, needed or 0)
    if free is None or free >= wanted:
        return
    verb = "start" if installed else "install"
    raise PinoctlError(
        f"there is not enough disk to {verb} `{app}`: it takes about {size(wanted)}, "
        f"and {size(free)} are free at `{home}`",
        hint=f"make room there, or choose a home on a larger disk with `--home`; `{OVERRIDE}=1` tries it all the same",
    )


def size(number: float) -> str:
    """Return bytes for people: `6.5 GB`."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if number >= factor:
            return f"{number / factor:.1f} {unit}"
    return f"{number / 1e3:.0f} kB"
