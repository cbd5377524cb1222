"""The conda guard: scripts may not change the python or the conda of the base environment (spec 8.12)."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = frozenset({"conda", "mamba", "micromamba"})
PROTECTED = frozenset({"conda", "python", "conda-libmamba-solver"})
CHANGING = frozenset({"install", "update", "upgrade", "remove", "uninstall"})
WHOLESALE = frozenset({"--all", "--update-all", "--revision", "-f", "--file"})
HARMLESS = frozenset({"--dry-run", "-d", "-h", "--help"})
TAKES_VALUE = frozenset(
    {"-c", "--channel", "--file", "-f", "--revision", "--solver", "--repodata-fn", "--subdir", "--platform"}
)
NOTICE = (
    "the message was not run: it would change the python or the conda of the base environment, which all apps share"
)


def forbidden(message: str, *, in_base: bool, base_prefix: str) -> bool:
    """Tell whether a message holds a conda command that would change the protected base environment.

    `in_base` says that the shell starts in base, `base_prefix` is the folder of the base environment.
    """
    if not any(program in message for program in PROGRAMS):
        return False
    for words in _commands(message):
        command = _conda_words(words)
        if not command:
            continue
        if command[0] in {"activate", "deactivate"}:
            # what is active after `deactivate` cannot be known; take it for base, where the guard is strictest
            in_base = command[0] == "deactivate" or len(command) == 1 or _is_base(command[1], base_prefix)
        elif _changes_base(command, in_base=in_base, base_prefix=base_prefix):
            return True
    return False


def _commands(message: str) -> Iterator[list[str]]:
    """Split a message into simple commands; one that cannot be parsed is split at its blanks."""
    for line in message.replace("\\\n", " ").split("\n"):
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|()")
        lexer.whitespace_split = True
        try:
            tokens = list(lexer)
        except ValueError:
            tokens = line.split()
        words: list[str] = []
        for token in tokens:
            if token and set(token) <= set(";&|()"):
                yield words
                words = []
            else:
                words.append(token)
        yield words


def _conda_words(words: list[str]) -> list[str]:
    """Return what follows `conda` in a simple command, none when it is no conda command."""
    for at, word in enumerate(words):
        if re.match(r"[A-Za-z_]\w*=", word) or word in {
            "command",
            "exec",
            "env",
            "sudo",
            "call",
            "time",
            "yes",
            "then",
            "do",
            "else",
            "!",
            "{",
        }:
            continue
        return words[at + 1 :] if word.rpartition("/")[2] in PROGRAMS else []
    return []


def _changes_base(command: list[str], *, in_base: bool, base_prefix: str) -> bool:  # noqa: PLR0911  # a rule each
    if HARMLESS & set(command):
        return False
    target, rest = _target(command)
    aimed_at_base = in_base if target is None else _is_base(target, base_prefix)
    if not rest or not aimed_at_base:
        return False
    verb, arguments = rest[0], rest[1:]
    if verb == "env":
        return bool(arguments) and arguments[0] in {"update", "remove"} | ({"create"} if target is not None else set())
    if verb == "create":
        return target is not None
    if verb not in CHANGING:
        return False
    if any(argument.partition("=")[0] in WHOLESALE for argument in arguments):
        return True
    return any(_package(argument) in PROTECTED for argument in _positionals(arguments))


def _target(command: list[str]) -> tuple[str | None, list[str]]:
    """Return the environment that a command names, None for none, and the command without it."""
    target, rest, words = None, [], iter(command)
    for word in words:
        name, equals, value = word.partition("=")
        if name in {"-n", "--name", "-p", "--prefix"}:
            target = value if equals else next(words, "")
        else:
            rest.append(word)
    return target, rest


def _positionals(arguments: list[str]) -> Iterator[str]:
    words = iter(arguments)
    for word in words:
        if word in TAKES_VALUE:
            next(words, None)
        elif not word.startswith("-"):
            yield word


def _package(spec: str) -> str:
    return re.split(r"[=<>!~\s\[]", spec.rpartition("::")[2], maxsplit=1)[0].lower()


def _is_base(target: str, base_prefix: str) -> bool:
    return target in {"base", "root"} or target.rstrip("/") == base_prefix.rstrip("/")
