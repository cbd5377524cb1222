"""The commands that go before a message: conda and venv (spec 8.6), from facts that the caller looked up."""

from __future__ import annotations

import os.path
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.engine.errors import ScriptError
from orchestrator.engine.shell.message import quote
from orchestrator.engine.values import UNDEFINED, to_text, truthy

DEFAULT_PYTHON = "python=3.10.20"
HOOK = 'eval "$(conda shell.bash hook)"'
LEAVE = ("conda deactivate",) * 3

Exists = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class CondaTarget:
    """Be what a step wants of conda.

    `kind` is `base`, `name`, `path` or `skip`; `value` the name or the absolute path; `python` and `args` count only
    when the environment is created; `activate` is None, `minimal` or a list of commands. `asked` is true where the step
    itself names an environment, so that conda has to be there.
    """

    kind: str
    value: str = "base"
    python: str = DEFAULT_PYTHON
    args: str = ""
    activate: str | tuple[str, ...] | None = None
    asked: bool = False

    @property
    def base(self) -> bool:
        """Whether commands run in conda's base environment."""
        return self.kind == "base"


def conda_target(conda: Any, conda_python: Any, *, cwd: str) -> CondaTarget:
    """Read `conda` and `conda_python` of a step; raise ScriptError when they make no sense."""
    python = _python(conda_python)
    if not truthy(conda):
        return CondaTarget("base", python=python)
    if isinstance(conda, str):
        return CondaTarget("path", _absolute(cwd, conda), python, asked=True)
    if not isinstance(conda, Mapping):
        raise ScriptError(f"`conda` has to be a path or an object, got {to_text(conda)}")
    if truthy(conda.get("skip")):
        return CondaTarget("skip")
    if truthy(conda.get("python")):
        python = _python(conda["python"])
    args, activate = conda.get("args"), _activate(conda.get("activate"))
    extra = to_text(args) if truthy(args) else ""
    path, name = conda.get("path"), conda.get("name")
    if isinstance(path, str) and path:
        return CondaTarget("path", _absolute(cwd, path), python, extra, activate, asked=True)
    if isinstance(name, str) and name:
        return CondaTarget("base" if name == "base" else "name", name, python, extra, activate, asked=True)
    raise ScriptError("`conda` names no environment", hint="give it `path`, `name` or `skip: true`")


def conda_commands(target: CondaTarget, *, envs: str, exists: Exists) -> list[str]:
    """Return the conda commands of 8.6, where base conda is there; `envs` is the folder of named environments."""
    if target.kind == "skip":
        return []
    if target.activate == "minimal":
        return [HOOK, "conda activate base"]
    if isinstance(target.activate, tuple):
        return list(target.activate)
    commands = [HOOK, *LEAVE]
    if target.base:
        return [*commands, "conda activate base"]
    place = quote(target.value) if target.kind == "path" else shlex.quote(target.value)
    if not exists(target.value if target.kind == "path" else f"{envs}/{target.value}"):
        option = "-p" if target.kind == "path" else "-n"
        commands.append(
            " ".join(part for part in (f"conda create -y {option} {place}", target.python, target.args) if part)
        )
    return [*commands, f"conda activate {place}"]


def venv_commands(venv: Any, venv_python: Any, *, cwd: str, exists: Exists) -> list[str]:
    """Return the venv commands of 8.6; only the folder's existence is looked at."""
    python = venv_python
    if isinstance(venv, Mapping):
        if truthy(venv.get("python")):
            python = venv["python"]
        venv = venv.get("path")
    if not truthy(venv):
        return []
    if not isinstance(venv, str) or "\0" in venv:
        raise ScriptError(f"`venv` has to be a path or an object with `path`, got {to_text(venv)}")
    path = _absolute(cwd, venv)
    place = shlex.quote(path)  # the desktop engine pastes it as it is, which no folder with a blank survives
    source = f"source {shlex.quote(path + '/bin/activate')} {place}"
    if exists(path):
        return [source]
    make = f"uv venv {place} --python {shlex.quote(to_text(python))}" if truthy(python) else f"python -m venv {place}"
    return [make, source, "deactivate", source]


def folders(target: CondaTarget, venv: Any, *, cwd: str, envs: str) -> list[str]:
    """Return the `bin` folders that the activation puts on PATH, if they are there by then."""
    if isinstance(venv, Mapping):
        venv = venv.get("path")
    found = [_absolute(cwd, venv)] if isinstance(venv, str) and venv else []
    if target.kind in {"path", "name"}:
        found.append(target.value if target.kind == "path" else f"{envs}/{target.value}")
    return [f"{folder}/bin" for folder in found]


def command_line(activation: list[str], message: str, operator: str) -> str:
    """Join activation and message as they are typed (appendix A.3)."""
    prefix = " ; ".join(activation)
    return f"{prefix} {operator} {message}" if prefix and message else prefix or message


def _absolute(cwd: str, path: str) -> str:
    return os.path.normpath(os.path.join(cwd, path))  # noqa: PTH118  # Path would not fold `..` without following links


def _python(value: Any) -> str:
    if value is UNDEFINED or not truthy(value):
        return DEFAULT_PYTHON
    text = to_text(value)
    return f"python={text}" if re.fullmatch(r"\d+(\.\d+)*", text) else text


def _activate(value: Any) -> str | tuple[str, ...] | None:
    if not truthy(value):
        return None
    if value == "minimal":
        return "minimal"
    commands = [value] if isinstance(value, str) else value
    if isinstance(commands, (list, tuple)) and all(isinstance(item, str) for item in commands):
        return tuple(commands)
    raise ScriptError("`conda.activate` has to be `minimal` or an array of commands")
