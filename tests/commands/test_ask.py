"""Questions on a terminal: every kind of field, wrong answers, defaults, secrets."""

from __future__ import annotations

import os
import pty
import sys
from pathlib import Path

import pytest

from orchestrator.commands.ask import GoneError, Person, ask_person

ROOT = Path(__file__).parents[2]


class Script(Person):
    """Answer from a list and keep what was shown."""

    def __init__(self, *answers):
        waiting = list(answers)
        shown = []

        def read(prompt):
            shown.append(prompt)
            if not waiting:
                raise GoneError
            return waiting.pop(0)

        super().__init__(read, lambda prompt: read(f"SECRET {prompt}"), shown.append)
        object.__setattr__(self, "shown", shown)
        object.__setattr__(self, "waiting", waiting)

    shown: list[str]

    __slots__ = ("shown", "waiting")


def asked(*fields, answers=(), **question):
    person = Script(*answers)
    result = ask_person(
        {"kind": "form", "where": "app/install.js", "title": "Settings", "fields": list(fields), **question}, person
    )
    assert not person.waiting, "an answer was not asked for"
    return result, "\n".join(person.shown)


def field(key, kind="text", **more):
    return {
        "key": key,
        "type": kind,
        "title": key.title(),
        "description": "",
        "required": False,
        "secret": False,
        "choices": [],
        **more,
    }


def choices(*values):
    return [{"value": value, "text": f"The {value}"} for value in values]


def test_the_title_the_place_and_the_descriptions_are_shown():
    _, shown = asked(field("a", description="What it does"), answers=["x"], description="All of it")
    assert shown.splitlines()[:3] == ["Settings (`app/install.js`)", "All of it", "  What it does"]


@pytest.mark.parametrize("kind", ["text", "email", "url", "anything"])
def test_text_is_taken_as_it_is(kind):
    assert asked(field("name", kind), answers=["  a b "])[0] == {"name": "  a b "}


def test_an_empty_answer_leaves_the_default_that_was_shown():
    result, shown = asked(field("name", default="me"), answers=[""])
    assert result == {}
    assert "Name [me]: " in shown


def test_a_required_field_is_asked_again():
    result, shown = asked(field("name", required=True), answers=["", "", "x"])
    assert result == {"name": "x"}
    assert shown.count("an answer is needed here") == 2
    assert "Name (required): " in shown


def test_a_required_field_with_a_default_may_stay_empty():
    assert asked(field("name", required=True, default="d"), answers=[""])[0] == {}


def test_numbers_are_checked_and_stay_text():
    result, shown = asked(field("n", "number"), answers=["ten", "1e3"])
    assert result == {"n": "1e3"}
    assert "`ten` is not a number" in shown


@pytest.mark.parametrize(
    ("answers", "default", "expected"),
    [
        (["y"], None, True),
        (["N"], None, False),
        ([""], None, False),
        ([""], "true", True),
        (["maybe", "yes"], None, True),
    ],
)
def test_a_checkbox_takes_yes_and_no(answers, default, expected):
    more = {} if default is None else {"default": default}
    assert asked(field("ok", "checkbox", **more), answers=answers)[0] == {"ok": expected}


@pytest.mark.parametrize(("answer", "expected"), [("2", "large"), ("small", "small"), ("The large", "large")])
def test_a_choice_is_made_by_number_value_or_text(answer, expected):
    result, shown = asked(field("size", "select", choices=choices("small", "large")), answers=[answer])
    assert result == {"size": expected}
    assert "  1) The small (small)" in shown


def test_a_choice_whose_value_is_a_number_wins_over_the_number_in_the_list():
    assert asked(field("size", "select", choices=choices("3", "2", "1")), answers=["3"])[0] == {"size": "3"}


def test_a_choice_that_is_none_is_asked_again_and_empty_takes_the_default():
    result, shown = asked(field("size", "select", choices=choices("a", "b"), default="b"), answers=["3", "0", "x", ""])
    assert result == {"size": "b"}
    assert shown.count("give a number from 1 to 2") == 3
    assert asked(field("size", "select", choices=choices("a", "b")), answers=[""])[0] == {}


def test_a_textarea_ends_with_a_dot():
    result, _ = asked(field("text", "textarea", required=True), answers=[".", "one", "", "two", "."])
    assert result == {"text": "one\n\ntwo"}


def test_a_path_must_exist_and_becomes_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("model.bin").write_text("x")
    Path("folder").mkdir()
    result, shown = asked(
        field("f", "file"), field("d", "folder"), answers=["nothing", "folder", "model.bin", "model.bin", "folder"]
    )
    assert result == {"f": str(tmp_path / "model.bin"), "d": str(tmp_path / "folder")}
    assert "`nothing` does not exist" in shown
    assert "`folder` is not a file" in shown
    assert "`model.bin` is not a folder" in shown


def test_secrets_are_read_without_echo():
    result, shown = asked(
        field("token", "password", secret=True), field("text", "textarea", secret=True), answers=["s3cret", "more"]
    )
    assert result == {"token": "s3cret", "text": "more"}
    assert "SECRET Token: " in shown


def test_whoever_leaves_leaves_all_questions():
    person = Script("x")
    assert ask_person({"fields": [field("a"), field("b")]}, person) is None


def test_a_launchers_text_cannot_move_the_cursor():
    _, shown = asked(field("a", title="\x1b[2Jgone\r\nnext"), answers=["x"], title="T\x07\u202e")
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "\u202e" not in shown


def test_a_secret_typed_at_a_real_terminal_is_not_echoed():
    program = (
        "from orchestrator.commands.ask import ask_person\n"
        "print('GOT', ask_person({'fields': [{'key': 'token', 'secret': True}, {'key': 'name'}]}))\n"
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "-c", program])  # noqa: S606  # the child of a fork
    text = b""
    try:
        while b"token: " not in text:
            text += os.read(terminal, 1024)
        os.write(terminal, b"hidden\n")
        while b"name: " not in text:
            text += os.read(terminal, 1024)
        before = text
        os.write(terminal, b"shown\n")
        while b"GOT" not in text or b"}" not in text.partition(b"GOT")[2]:
            text += os.read(terminal, 1024)
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)
    assert b"hidden" not in before
    assert b"{'token': 'hidden', 'name': 'shown'}" in text
    assert b"shown\r\n" in text
