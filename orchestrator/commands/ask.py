"""Ask a person on a terminal for what a script wants to know (spec 4, 7.6): one question after the other, on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.commands.output import clean, say

if TYPE_CHECKING:
    from orchestrator.engine.answers import Question

YES = frozenset({"y", "yes", "true", "1", "on"})
NO = frozenset({"n", "no", "false", "0", "off"})
END_OF_TEXT = "."

Read = Callable[[str], str]
Say = Callable[[str], None]


class GoneError(Exception):
    """Tell that the person ended the input (Ctrl-D) instead of answering."""


@dataclass(frozen=True, slots=True)
class Person:
    """Be somebody at a terminal: `read` shows a prompt and returns a line, `secret` does so without echo, `say` prints.

    Both readers raise GoneError at the end of input.
    """

    read: Read
    secret: Read
    say: Say


def can_ask() -> bool:
    """Tell whether a person can be asked: stdin and stderr are terminals."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def at_terminal() -> Person:
    """Return the person at this program's terminal."""
    return Person(_read, _secret, say)


async def ask(question: Question) -> Mapping[str, Any] | None:
    """Ask every field of an engine's question; None when the person ended the input."""
    import asyncio  # noqa: PLC0415  # the engine has loaded it; `up` does without

    return await asyncio.to_thread(ask_person, question.to_json())


def ask_person(question: Mapping[str, Any], person: Person | None = None) -> dict[str, Any] | None:
    """Ask every field of a question as clients get it (`Question.to_json`) and return the answers by key.

    Fields left empty are not in the answers, so that the defaults that were shown apply. None when the person ended the
    input, which leaves all of them.
    """
    person = person or at_terminal()
    title = clean(str(question.get("title") or ""))
    where = clean(str(question.get("where") or ""))
    person.say(f"{title or 'a question'} (`{where}`)" if where else title or "a question")
    if question.get("description"):
        person.say(clean(str(question["description"])))
    answers: dict[str, Any] = {}
    try:
        for field in question.get("fields") or ():
            given = ask_field(field, person)
            if given is not None:
                answers[str(field["key"])] = given
    except GoneError:
        person.say("")
        return None
    return answers


def ask_field(field: Mapping[str, Any], person: Person) -> Any:
    """Ask one field until its answer fits; None when it was left empty and need not be filled."""
    if field.get("description"):
        person.say(clean(f"  {field['description']}"))
    kind, choices = str(field.get("type") or "text"), field.get("choices") or []
    if kind == "checkbox":
        return _checkbox(field, person)
    if choices:
        return _select(field, choices, person)
    if kind == "textarea" and not field.get("secret"):
        return _textarea(field, person)
    read = person.secret if field.get("secret") else person.read
    while True:
        answer = read(_prompt(field))
        problem = _problem(field, kind, answer)
        if problem is None:
            return _final(kind, answer)
        person.say(f"  {problem}")


def _final(kind: str, answer: str) -> str | None:
    if kind in {"file", "folder"} and answer.strip():
        return str(Path(answer.strip()).expanduser().absolute())  # the agent works in another folder
    return answer if answer != "" else None


def _problem(field: Mapping[str, Any], kind: str, answer: str) -> str | None:
    """Say what is wrong with an answer, None when nothing is."""
    if answer == "":
        return "an answer is needed here" if _must(field) else None
    if kind == "number":
        return None if _is_number(answer) else f"`{answer}` is not a number"
    if kind in {"file", "folder"}:
        path = Path(answer.strip()).expanduser()
        if not path.exists():
            return f"`{path}` does not exist"
        if (kind == "folder") != path.is_dir():
            return f"`{path}` is not a {kind}"
    return None


def _must(field: Mapping[str, Any]) -> bool:
    return bool(field.get("required")) and field.get("default") in (None, "")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _label(field: Mapping[str, Any]) -> str:
    title = clean(str(field.get("title") or field["key"]))
    return f"{title} (required)" if _must(field) else title


def _prompt(field: Mapping[str, Any]) -> str:
    default = field.get("default")
    shown = f" [{clean(str(default))}]" if default not in (None, "") else ""
    return f"{_label(field)}{shown}: "


def _checkbox(field: Mapping[str, Any], person: Person) -> bool:
    default = str(field.get("default") or "").lower() in YES
    while True:
        answer = person.read(f"{_label(field)} [{'Y/n' if default else 'y/N'}]: ").strip().lower()
        if answer == "":
            return default
        if answer in YES | NO:
            return answer in YES
        person.say("  answer `y` or `n`")


def _select(field: Mapping[str, Any], choices: Sequence[Mapping[str, Any]], person: Person) -> str | None:
    person.say(f"{_label(field)}:")
    for number, choice in enumerate(choices, 1):
        value, text = clean(str(choice["value"])), clean(str(choice["text"]))
        person.say(f"  {number}) {text}" + (f" ({value})" if value != text else ""))
    default = field.get("default") or choices[0]["value"]
    while True:
        answer = person.read(f"number or value [{clean(str(default))}]: ").strip()
        if answer == "":
            return str(default) if field.get("default") else None
        found = _chosen(answer, choices)
        if found is not None:
            return found
        person.say(f"  `{clean(answer)}` is none of them; give a number from 1 to {len(choices)}")


def _chosen(answer: str, choices: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the value that is meant: by value or text, which win over a number in the list."""
    for key in ("value", "text"):
        for choice in choices:
            if answer == str(choice[key]):
                return str(choice["value"])
    if answer.isdecimal() and 1 <= int(answer) <= len(choices):
        return str(choices[int(answer) - 1]["value"])
    return None


def _textarea(field: Mapping[str, Any], person: Person) -> str | None:
    default = field.get("default")
    shown = f" [{clean(str(default))}]" if default not in (None, "") else ""
    while True:
        person.say(f"{_label(field)}{shown}, several lines, the last one only `{END_OF_TEXT}`:")
        lines: list[str] = []
        while (line := person.read("> ")) != END_OF_TEXT:
            lines.append(line)
        if lines:
            return "\n".join(lines)
        if not _must(field):
            return None
        person.say("  an answer is needed here")


def _read(prompt: str) -> str:
    sys.stderr.write(prompt)
    sys.stderr.flush()
    line = sys.stdin.readline()
    if line == "":
        raise GoneError
    return line.rstrip("\r\n")


def _secret(prompt: str) -> str:
    import termios  # noqa: PLC0415  # only where there is a secret to type

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    silent = termios.tcgetattr(terminal)
    silent[3] &= ~termios.ECHO
    try:
        termios.tcsetattr(terminal, termios.TCSADRAIN, silent)  # what was typed ahead stays
        return _read(prompt)
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
        sys.stderr.write("\n")
        sys.stderr.flush()
