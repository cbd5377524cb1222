"""A bash inside an app's environment (spec 8.5, 8.6): its variables, and which virtual environment it enters.

Run as a program it becomes that shell, which is how a container's is opened: `python -m orchestrator.agent.interactive
--home HOME --app NAME [--venv PATH] [-- COMMAND...]`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from orchestrator.engine.errors import BadInputError, PinoctlError
from orchestrator.engine.home import Home

ACTIVATE: Final = Path(__file__).with_name("activate.sh")
_USUAL: Final = ("env", "venv", ".venv")
_SKIPPED: Final = frozenset({"node_modules", "cache", "models", "site-packages", "__pycache__"})
_DEEPEST: Final = 3
_MOST: Final = 2000

Say = Callable[..., None]


def become_shell(home: Home, name: str, command: Sequence[str], *, venv: str | None, say: Say) -> None:
    """Become a bash in an app's folder, or one command in it; raises PinoctlError, and never returns."""
    folder = home.app(name)
    chosen = _given(folder, venv) if venv is not None else _found(name, folder, say)
    env = environment(home, folder, say)
    env |= {"PINOCTL_SHELL_APP": name, "PINOCTL_SHELL_VENV": str(chosen or "")}
    bash = shutil.which("bash", path=env.get("PATH"))
    if bash is None:
        raise PinoctlError(
            "`bash` is not on PATH, and the shells of apps need it", hint="install it with the system's packages"
        )
    os.chdir(folder)
    sys.stdout.flush()
    os.execve(bash, command_line(command, interactive=sys.stdin.isatty()), env)  # noqa: S606  # we become the shell


def command_line(command: Sequence[str], *, interactive: bool) -> list[str]:
    """Return the arguments of bash: for a person, for one command, or for a script on stdin."""
    if interactive and not command:
        return ["bash", "--noprofile", "--rcfile", str(ACTIVATE), "-i"]
    words = list(command) or ["bash", "--noprofile", "--norc", "-s"]
    return ["bash", "--noprofile", "--norc", "-c", '. "$0"; exec "$@"', str(ACTIVATE), *words]


def environment(home: Home, folder: Path, say: Say) -> dict[str, str]:
    """Return the variables of the app's shells; what they need is set up first."""
    import asyncio  # noqa: PLC0415  # only here

    from orchestrator.engine.environment import (  # noqa: PLC0415  # only here
        Environment,
        ensure_app_file,
        prepare_home,
    )
    from orchestrator.engine.tools import Tools  # noqa: PLC0415  # only here

    process: Mapping[str, str] = dict(os.environ)
    for warning in prepare_home(home, process):
        say(f"warning: {warning}")
    ensure_app_file(home, folder)
    tools = Tools(home, process)
    report = asyncio.run(tools.ensure_base())
    for note in report.notes if report.built else ():
        say(f"warning: {note}")
    conda = tools.facts().conda
    env = Environment(home, process, tools.facts).shell(folder / "shell", conda_base=conda, warn=say)
    return {**env, "PINOCTL_SHELL_CONDA": "1" if conda else ""}


def _given(folder: Path, text: str) -> Path:
    path = Path(os.path.normpath(folder / Path(text).expanduser()))
    if not _is_file(path / "bin" / "activate"):
        others = ", ".join(f"`{found.relative_to(folder)}`" for found in environments(folder))
        raise BadInputError(
            f"`{path}` is no virtual environment", hint=f"the app has {others}" if others else "the app has none"
        )
    return path


def _found(name: str, folder: Path, say: Say) -> Path | None:
    found = environments(folder)
    if len(found) > 1:
        names = ", ".join(f"`{path.relative_to(folder)}`" for path in found[1:6])
        say(
            f"`{name}` has several virtual environments: `{found[0].relative_to(folder)}` is taken, "
            f"`--venv` takes {names}"
        )
    return found[0] if found else None


def environments(folder: Path) -> list[Path]:
    """Return the virtual environments in an app's folder, the most likely one first: not deep, with a usual name."""
    found: list[Path] = []
    level, seen = [folder], 0
    for _ in range(_DEEPEST):
        below: list[Path] = []
        for parent in level:
            for child in _folders(parent):
                seen += 1
                if _is_file(child / "pyvenv.cfg") and _is_file(child / "bin" / "activate"):
                    found.append(child)
                elif not child.name.startswith(".") and child.name not in _SKIPPED and seen < _MOST:
                    below.append(child)
        level = below
    return sorted(
        found,
        key=lambda path: (len(path.parts), _USUAL.index(path.name) if path.name in _USUAL else len(_USUAL), str(path)),
    )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # its folder is somebody else's alone: a mount may have brought it
        return False


def _folders(parent: Path) -> list[Path]:
    try:
        with os.scandir(parent) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []


def main(arguments: Sequence[str] | None = None) -> int:
    """Become the shell of an app; returns only when that cannot be."""
    parser = argparse.ArgumentParser(prog="python -m orchestrator.agent.interactive")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--app", required=True)
    parser.add_argument("--venv")
    parser.add_argument("command", nargs="*")
    given = parser.parse_args(arguments)

    def say(line: str) -> None:
        sys.stderr.write(f"{line}\n")

    try:
        become_shell(Home(given.home), given.app, given.command, venv=given.venv, say=say)
    except PinoctlError as error:
        say(f"error: {error}")
        if error.hint:
            say(f"hint: {error.hint}")
        return error.exit_status
    return 1


if __name__ == "__main__":
    sys.exit(main())
