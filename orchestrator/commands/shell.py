"""`pinoctl shell APP`: a bash inside an app's environment, on the user's own terminal (spec 8.5, 8.6)."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from orchestrator.commands import output
from orchestrator.commands.options import home_of, home_option
from orchestrator.engine.errors import BadInputError, PinoctlError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.engine.home import Home

ACTIVATE: Final = Path(__file__).with_name("activate.sh")
_USUAL: Final = ("env", "venv", ".venv")
_SKIPPED: Final = frozenset({"node_modules", "cache", "models", "site-packages", "__pycache__"})
_DEEPEST: Final = 3
_MOST: Final = 2000


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("app")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]")
@click.option("--venv", metavar="PATH", help="Which virtual environment to activate, where the app has several.")
@home_option
def shell(*, app: str, command: tuple[str, ...], venv: str | None, home: Path | None) -> int:
    """Open a bash inside an app's environment, or run one command in it.

    It has the variables and tools of the app's own shells, begins in the app's folder, and its virtual environment is
    active. The exit status is the command's.
    """
    from orchestrator.commands.apps import usable_app  # noqa: PLC0415  # `--help` does without

    where = home_of(home)
    name = usable_app(where, app)
    folder = where.app(name)
    chosen = _given(folder, venv) if venv is not None else _found(name, folder)
    env = environment(where, folder)
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


def environment(home: Home, folder: Path) -> dict[str, str]:
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
        output.say(f"warning: {warning}", style="yellow")
    ensure_app_file(home, folder)
    tools = Tools(home, process)
    report = asyncio.run(tools.ensure_base())
    for note in report.notes if report.built else ():
        output.say(f"warning: {note}", style="yellow")
    conda = tools.facts().conda
    env = Environment(home, process, tools.facts).shell(folder / "shell", conda_base=conda, warn=output.say)
    return {**env, "PINOCTL_SHELL_CONDA": "1" if conda else ""}


def _given(folder: Path, text: str) -> Path:
    path = Path(os.path.normpath(folder / Path(text).expanduser()))
    if not (path / "bin" / "activate").is_file():
        others = ", ".join(f"`{found.relative_to(folder)}`" for found in environments(folder))
        raise BadInputError(
            f"`{path}` is no virtual environment", hint=f"the app has {others}" if others else "the app has none"
        )
    return path


def _found(name: str, folder: Path) -> Path | None:
    found = environments(folder)
    if len(found) > 1:
        names = ", ".join(f"`{path.relative_to(folder)}`" for path in found[1:6])
        output.say(
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
                if (child / "pyvenv.cfg").is_file() and (child / "bin" / "activate").is_file():
                    found.append(child)
                elif not child.name.startswith(".") and child.name not in _SKIPPED and seen < _MOST:
                    below.append(child)
        level = below
    return sorted(
        found,
        key=lambda path: (len(path.parts), _USUAL.index(path.name) if path.name in _USUAL else len(_USUAL), str(path)),
    )


def _folders(parent: Path) -> list[Path]:
    try:
        with os.scandir(parent) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []
