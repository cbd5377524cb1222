"""Which Python of this machine has a package: pinoctl's own, in a folder of its own, often lacks what others have."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SECONDS: Final = 20.0  # a cold disk can take some
_LOOK: Final = "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)"


def python_with(package: str, environ: Mapping[str, str]) -> str:
    """Return the first Python on PATH that can import a package, else this process's own, "" for none; blocks."""
    return next((python for python in _pythons(environ) if _has(python, package, environ)), "")


def _pythons(environ: Mapping[str, str]) -> Iterator[str]:
    for folder in environ.get("PATH", "").split(os.pathsep):
        python = os.path.join(folder, "python3")  # noqa: PTH118  # a name to run, made of what PATH says
        if folder.startswith("/") and os.access(python, os.X_OK):
            yield python
    yield sys.executable


def _has(python: str, package: str, environ: Mapping[str, str]) -> bool:
    try:
        done = subprocess.run(
            (python, "-c", _LOOK, package),
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
