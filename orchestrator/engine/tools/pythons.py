"""Which Python becomes that of the base environment: a managed 3.10, else the nearest one on the host (spec 12.3)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator.engine.home import Home

WANTED: Final = "3.10"
MINORS: Final = (10, 11, 12, 9, 13, 14)  # by how many packages of AI apps run on them
FETCH_LIMIT: Final = 120.0  # seconds for a download of 30 MB; one that cannot start fails within about 20
UNREACHABLE: Final = ".unreachable"  # what a base image has among its Pythons where none could be fetched for it
_PROBE: Final = (
    "import importlib.util as u, json, os, sys\n"
    "import venv, ensurepip\n"
    "ensurepip.version()\n"
    "assert sys.prefix == sys.base_prefix\n"
    "print(json.dumps([os.path.realpath(sys.executable), '.'.join(map(str, sys.version_info[:3])),"
    " u.find_spec('pip') is not None]))\n"
)
_FOLDERS: Final = ("/usr/local/bin", "/usr/bin", "/opt/conda/bin", "/opt/venv/bin")


@dataclass(frozen=True, slots=True)
class Python:
    """Describe an interpreter fit for the base: not a venv's, with `venv` and `ensurepip`.

    `pip` tells whether it can `-m pip`, `managed` whether uv fetched it.
    """

    path: Path
    version: str
    pip: bool = True
    managed: bool = False


def probe(path: str, *, timeout: float = 20.0) -> Python | None:
    """Run an interpreter and return what it is, None if it is not fit."""
    try:
        done = subprocess.run([path, "-I", "-c", _PROBE], capture_output=True, text=True, timeout=timeout, check=False)
        executable, version, pip = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return None
    return Python(Path(executable), version, pip=pip)


def find_on_host(environ: Mapping[str, str]) -> Python | None:
    """Return the fittest interpreter of the host, None if there is none; starts as few as it can."""
    spare = None
    for minor in MINORS:
        for path in _named(minor, environ):
            found = probe(path)
            if found is not None and found.version.startswith(f"3.{minor}."):
                if found.pip:
                    return found
                spare = spare or found
    return spare


def _named(minor: int, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the places of one version: PATH, the usual folders, pyenv's, uv's, and the one below pinoctl's venv."""
    name = f"python3.{minor}"
    path = [folder for folder in environ.get("PATH", "").split(":") if folder.startswith("/")]
    seen = set()
    folders = [Path(folder) for folder in (*path, *_FOLDERS) if Path(folder).name != "shims"]  # pyenv's would ask us
    user = Path(environ.get("HOME") or "/")
    pyenv = Path(environ.get("PYENV_ROOT") or user / ".pyenv") / "versions"
    share = Path(environ.get("XDG_DATA_HOME") or user / ".local" / "share") / "uv" / "python"
    folders += _below(pyenv, f"3.{minor}.*/bin")
    folders += _below(share, f"cpython-3.{minor}.*/bin")
    if sys.version_info[1] == minor:
        folders.append(Path(getattr(sys, "_base_executable", sys.executable)).parent)
    for folder in folders:
        real = os.path.realpath(folder / name)
        if real not in seen and os.access(real, os.X_OK):
            seen.add(real)
            yield str(folder / name)


def _below(folder: Path, pattern: str) -> list[Path]:
    """Return what matches below a folder, the last first; nothing for one that may not be looked into."""
    try:
        return sorted(folder.glob(pattern), reverse=True)
    except OSError:  # the variables that say where it is may be another user's
        return []


def fetch_managed(uv: Path, home: Home, process: Mapping[str, str]) -> tuple[Python | None, str]:
    """Let uv fetch the wanted Python into the home; return it, or None and why not.

    It lands where the shells' uv looks for it (below XDG_DATA_HOME, spec 9.1). Takes at most FETCH_LIMIT seconds.
    """
    if Path(process.get("UV_PYTHON_INSTALL_DIR") or "/nowhere", UNREACHABLE).exists():
        return None, "it could not be when the base image was made"
    env = {
        **{
            name: value
            for name, value in process.items()
            if name not in {"VIRTUAL_ENV", "UV_PYTHON", "UV_SYSTEM_PYTHON"}
        },
        "XDG_DATA_HOME": str(home.cache / "XDG_DATA_HOME"),
        "UV_CACHE_DIR": str(home.cache / "UV_CACHE_DIR"),
        "UV_HTTP_TIMEOUT": "10",
        "UV_HTTP_RETRIES": "1",
    }
    find = [str(uv), "python", "find", "--managed-python", "--no-python-downloads", "--no-project", WANTED]
    install = [str(uv), "python", "install", "--no-bin", "--no-progress", WANTED]
    for command in (find, install, find):
        try:
            done = subprocess.run(
                command, env=env, cwd="/", capture_output=True, text=True, timeout=FETCH_LIMIT, check=False
            )
        except subprocess.TimeoutExpired:
            return None, f"`uv python install {WANTED}` took longer than {FETCH_LIMIT:.0f} s"
        except OSError as error:
            return None, f"`{uv}` cannot be run: {error.strerror or error}"
        if command is install and done.returncode:
            return None, _reason(done.stderr)
        if command is find and done.returncode == 0:
            found = probe(done.stdout.strip())
            if found is not None:
                return Python(found.path, found.version, pip=found.pip, managed=True), ""
    return None, f"`uv python install {WANTED}` gave no interpreter that works"


def _reason(text: str) -> str:
    """Return uv's last cause: the first line only names the version."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    causes = [line.split(":", 1)[1].strip() for line in lines if line.lower().startswith("cause")]
    return causes[-1] if causes else (lines[-1] if lines else "uv gave no reason")


def remedy() -> str:
    """Return the command that gives a host without any usable Python one."""
    return (
        "apt-get update && apt-get install -y python3 python3-venv python3-pip"
        if shutil.which("apt-get")
        else ("install Python 3.10 to 3.13 with its `venv` and `ensurepip` modules")
    )
