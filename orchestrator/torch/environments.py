"""The Python environments of an app that have torch, and which build it is: read from files, nothing is run."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPTH: Final = 5  # folders below the app's in which launchers make environments
MARKS: Final = ("pyvenv.cfg", "conda-meta")
SKIPPED: Final = frozenset({".git", "node_modules", "site-packages", "__pycache__"})


@dataclass(frozen=True, slots=True)
class Environment:
    """Describe an environment with torch: its folder and Python, torch's version and CUDA (`cpu`, `rocm` or `12.8`)."""

    folder: str
    interpreter: str
    python: str
    version: str
    cuda: str


def environments_of(app: Path) -> list[Environment]:
    """Find the environments below an app's folder that have torch, sorted; links are not followed."""
    return [found for folder in sorted(_folders(str(app), DEPTH)) if (found := _read(Path(folder))) is not None]


def _folders(folder: str, depth: int) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            present = list(entries)
    except OSError:
        return
    if any(entry.name in MARKS for entry in present):
        yield folder
        return
    if depth:
        for entry in present:
            if entry.name not in SKIPPED and entry.is_dir(follow_symlinks=False):
                yield from _folders(entry.path, depth - 1)


def _read(folder: Path) -> Environment | None:
    for packages in sorted(folder.glob("lib/python3*/site-packages")):
        try:
            text = (packages / "torch" / "version.py").read_text("utf-8", "replace")
        except OSError:
            continue
        version = _value(text, "__version__") or ""
        cuda = _value(text, "cuda") or ("rocm" if _value(text, "hip") else "cpu")
        return Environment(
            str(folder),
            str(folder / "bin" / "python"),
            packages.parent.name.removeprefix("python"),
            version.partition("+")[0],
            cuda,
        )
    return None


def _value(text: str, name: str) -> str | None:
    """Return a text that a module assigns, as `name = 'x'` or `name: Optional[str] = 'x'`; None for anything else."""
    found = re.search(rf"^{name}\s*(?::[^=\n]+)?=\s*['\"]([^'\"\n]+)['\"]", text, re.MULTILINE)
    return found[1] if found else None
