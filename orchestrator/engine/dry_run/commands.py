"""The commands that a planned step types, taken apart far enough to see what they install and fetch."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from orchestrator.engine.errors import PinoctlError
from orchestrator.engine.shell.message import lines

if TYPE_CHECKING:
    from orchestrator.engine.dry_run.records import PlannedStep

SHELLS: Final = frozenset({"shell.run", "shell.start", "shell.enter", "shell.write", "exec"})
LONGEST: Final = 20_000  # characters of one message; what is longer is no command line that a person wrote
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_WRAPPERS: Final = frozenset({"sudo", "time", "nohup", "exec", "call", "command", "env"})


@dataclass(frozen=True, slots=True)
class Command:
    """Hold one simple command: `argv` without the assignments before it, `cwd` the absolute folder it runs in.

    `venv` is the Python environment that the step activates (absolute), "" without one; `python` the version asked for.
    """

    argv: tuple[str, ...]
    cwd: str
    text: str
    env: Mapping[str, str] = field(default_factory=dict)
    venv: str = ""
    python: str = ""
    where: str = ""


def messages_of(step: PlannedStep) -> list[str]:
    """Return the texts that a step types into a shell, one for each shell; none for other methods."""
    params = step.params
    if step.method == "hf.download" and isinstance(params, Mapping):
        arguments = {key: value for key, value in params.items() if key not in {"path", "env"}}
        return ["hf download " + " ".join(line.text for line in _lines(arguments))]
    if step.method not in SHELLS or not isinstance(params, Mapping):
        return []
    return [line.text for line in _lines(params.get("message")) if line.text]


def _lines(message: Any) -> list[Any]:
    try:
        return lines(message)
    except (PinoctlError, RecursionError, ValueError):  # values nested or as long as only harm makes them
        return []


def commands_of(step: PlannedStep) -> list[Command]:
    """Take a step's messages apart; `cd` moves the commands behind it. Never raises."""
    params = step.params if isinstance(step.params, Mapping) else {}
    start = _joined(step.cwd, params.get("path"))
    venv = _joined(start, params.get("venv")) if isinstance(params.get("venv"), str) and params.get("venv") else ""
    python = _plain(params.get("venv_python"))
    conda = params.get("conda")
    if not python and isinstance(conda, Mapping):
        python = _plain(conda.get("python")).removeprefix("python=").lstrip("=")
    if not venv and isinstance(conda, Mapping) and isinstance(conda.get("path"), str):
        venv = _joined(start, conda["path"])
    found: list[Command] = []
    for text in messages_of(step):
        cwd = start
        for words in split(text):
            env, argv = _without_prefix(words)
            if not argv:
                continue
            if argv[0] in {"cd", "pushd"} and len(argv) > 1:
                cwd = _joined(cwd, argv[1])
                continue
            found.append(Command(tuple(argv), cwd, text, env, venv, python, f"{step.script}#{step.index}"))
    return found


def _plain(value: Any) -> str:
    return str(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else ""


def split(text: str) -> list[list[str]]:
    """Split a shell text into simple commands, each a list of words without its redirections."""
    commands: list[list[str]] = []
    for line in text[:LONGEST].replace("\\\n", " ").splitlines():
        commands.extend(_split_line(line))
    return [command for command in commands if command]


def _split_line(line: str) -> list[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        words = list(lexer)
    except ValueError:  # a quote that is never closed: bash would wait for more
        words = line.split()
    commands: list[list[str]] = [[]]
    skip = False
    for word in words:
        if set(word) <= set("&|;()") and word:
            commands.append([])
        elif set(word) <= set("<>&") and word:
            skip = True
            if commands[-1] and commands[-1][-1].isdigit():
                commands[-1].pop()  # the descriptor of `2>`
        elif skip:
            skip = False
        else:
            commands[-1].append(word)
    return commands


def _without_prefix(words: list[str]) -> tuple[dict[str, str], list[str]]:
    env: dict[str, str] = {}
    at = 0
    while at < len(words) and (_ASSIGNMENT.match(words[at]) or words[at] in _WRAPPERS):
        if words[at] not in _WRAPPERS:
            name, _, value = words[at].partition("=")
            env[name] = value
        at += 1
    return env, words[at:]


def _joined(folder: str, path: Any) -> str:
    if not isinstance(path, str) or not path or "\0" in path:
        return folder
    return os.path.normpath(os.path.join(folder, path))  # noqa: PTH118  # nothing on disk is meant


def program(argv: tuple[str, ...]) -> str:
    """Return the name of a command's program, without its folder and Windows' ending."""
    name = argv[0].replace("\\", "/").rpartition("/")[2].lower()
    return name.removesuffix(".exe")
