"""The pure parts of commands: progress lines, tails of logs, choices of scripts, argument lists of shells."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from orchestrator.agent.interactive import _given, command_line, environments
from orchestrator.commands import output
from orchestrator.commands.logs import followed, plain_lines, start_of_tail
from orchestrator.commands.offers import Offers
from orchestrator.commands.overview import state_of
from orchestrator.commands.progress import Progress
from orchestrator.commands.status import WIDEST, shortened, size
from orchestrator.commands.up import Wish, bring_up
from orchestrator.engine.errors import BadInputError
from orchestrator.engine.home import Home
from orchestrator.launcher.launcher import read_launcher
from orchestrator.state.app_state import render


class Shown:
    """Collect what a Progress prints: its lines in brackets, output as it is."""

    def __init__(self, *, quiet=False):
        self.text = ""
        self.progress = Progress("app", quiet=quiet, raw=self.raw, say=self.say)

    def raw(self, text):
        self.text += text

    def say(self, text, *, style=None):
        self.text += f"[{text}]\n"

    def event(self, kind, **data):
        self.progress.take({"event": kind, "data": data})

    def output(self, text):
        self.progress.take({"output": text})


def test_steps_are_named_and_output_is_left_as_it_is():
    shown = Shown()
    shown.event("step.start", script="app/install.js", index=1, steps=5, method="shell.run")
    shown.output("50%\r")
    shown.output("\x1b[1m100%")
    shown.event("step.start", script="app/sub/x.js", index=0, steps=0, method="log")
    shown.output("done\r\n")
    shown.event("step.end", script="app/install.js", index=1)
    shown.event("warning", text="careful\x1b[2J")
    assert shown.text.split("\n") == [
        "[install.js step 2 of 5: shell.run]", "50%\r\x1b[1m100%", "[sub/x.js step 1: log]", "done\r",
        "[warning: careful [2J]",
        "",
    ]  # fmt: skip


def test_quiet_shows_only_troubles():
    shown = Shown(quiet=True)
    shown.output("text")
    shown.event("step.start", script="app/x.js", index=0, steps=1, method="log")
    shown.event("notify", text="hello")
    shown.event("resume", script="app/x.js", step=3)
    assert shown.text == ""
    shown.event("lost", reason="its server ended")
    shown.event("restart", attempt=1, delay=2.0)
    shown.event("restored", reason="it failed")
    shown.progress.take({"dropped": 3})
    assert shown.text.count("[") == 4


def pieces(text, *cuts):
    data, begin = text.encode(), 0
    for end in (*cuts, len(data)):
        yield data[begin:end]
        begin = end


@pytest.mark.parametrize(("raw", "shown"), [
    ("a\r\nb\r\n", "a\nb\n"),
    ("10%\r50%\r100%\r\n", "100%\n"),
    ("\x1b[31mred\x1b[0m\n\n", "red\n\n"),
    ("no end", "no end\n"),
    ("prompt\x1b[?2004l\r\n", "prompt\n"),
    ("ünïcode\n", "ünïcode\n"),
])  # fmt: skip
def test_plain_lines_are_what_stayed(raw, shown):
    for cut in range(len(raw.encode())):
        assert b"".join(plain_lines(pieces(raw, cut))).decode() == shown


def test_a_line_without_an_end_does_not_fill_the_memory():
    found = list(plain_lines(iter([b"x" * 65536] * 64)))
    assert sum(len(piece) for piece in found) >= 64 * 65536
    assert max(len(piece) for piece in found) < 20 * 65536


def log_of(*parts):
    def read(offset):
        begin = 0
        for part in parts:
            if begin + len(part) > offset:
                yield max(begin, offset), part[max(0, offset - begin) :]
            begin += len(part)

    return read


@pytest.mark.parametrize(
    ("count", "expected"),
    [(None, b"a\nb\nc\n"), (0, b""), (1, b"c\n"), (2, b"b\nc\n"), (3, b"a\nb\nc\n"), (9, b"a\nb\nc\n")],
)
def test_the_tail_of_a_log(count, expected):
    read = log_of(b"a\nb", b"\n", b"c\n")
    assert b"".join(piece for _, piece in read(start_of_tail(read, count))) == expected


def test_an_unfinished_line_counts_as_one():
    read = log_of(b"a\nb\nunfin", b"ished")
    assert b"".join(piece for _, piece in read(start_of_tail(read, 2))) == b"b\nunfinished"
    assert start_of_tail(log_of(), 5) == 0


def test_following_reads_on_and_never_twice():
    parts = [b"one\n"]

    def grow(_seconds):
        if len(parts) == 3:
            raise KeyboardInterrupt
        parts.append(b"more\n")

    found = []
    with pytest.raises(KeyboardInterrupt):
        found.extend(followed(lambda offset: log_of(*parts)(offset), 0, follow=True, sleep=grow))  # noqa: PLW0108  # parts grow
    assert found == [b"one\n", b"more\n", b"more\n"]


def offers(tmp_path, *items):
    return Offers(read_launcher({"root": "", "meta": {}, "items": list(items)}, tmp_path))


def test_a_script_is_found_by_its_path_or_its_label(tmp_path):
    found = offers(
        tmp_path, {"text": "Start", "href": "start.js", "default": True},
        {"text": "Low <b>VRAM</b>", "href": "start.js?mode=low"},
        {"text": "Tool", "href": "tool.js"}, {"text": "Link", "href": "link.js"},
    )  # fmt: skip
    assert found.find("tool.js").text == "Tool"
    assert found.find("low vram").args == {"mode": "low"}
    assert found.find("start.js").args == {}, "the default way to start wins"
    assert found.find("nothing.js") is None


def test_a_script_that_is_offered_twice_has_to_be_named_by_its_label(tmp_path):
    found = offers(
        tmp_path,
        {"text": "Start", "href": "start.js"},
        {"text": "A", "href": "get.js?x=1"},
        {"text": "B", "href": "get.js?x=2"},
    )
    with pytest.raises(BadInputError, match="in several ways"):
        found.find("get.js")
    assert found.find("b").args == {"x": "2"}


def test_the_shell_of_a_person_of_a_command_and_of_a_script():
    assert command_line((), interactive=True)[1:3] == ["--noprofile", "--rcfile"]
    assert command_line((), interactive=False)[-4:] == ["bash", "--noprofile", "--norc", "-s"]
    words = command_line(("echo", "$(id)", "; rm x"), interactive=True)
    assert words[3:5] == ["-c", '. "$0"; exec "$@"']
    assert words[6:] == ["echo", "$(id)", "; rm x"]


def test_virtual_environments_are_found_the_likely_one_first(tmp_path):
    def make(*places):
        for place in places:
            (tmp_path / place / "bin").mkdir(parents=True)
            (tmp_path / place / "pyvenv.cfg").touch()
            (tmp_path / place / "bin/activate").touch()

    assert environments(tmp_path) == []
    make("app/env", "zenv", "venv", "node_modules/x/env", "a/b/c/d/env", ".venv")
    (tmp_path / "env/bin").mkdir(parents=True)
    (tmp_path / "loop").symlink_to(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in environments(tmp_path)] == ["venv", ".venv", "zenv", "app/env"]
    assert environments(tmp_path / "none") == []


@pytest.fixture
def unprivileged():
    """Have no more rights than any user while the test runs: root may look into everything."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    yield
    os.seteuid(before)


@pytest.fixture
def half_readable(tmp_path, monkeypatch):
    """Be in an app's folder with an environment and a folder that only its owner may look into."""
    (tmp_path / "env/bin").mkdir(parents=True)
    for name in ("env/pyvenv.cfg", "env/bin/activate"):
        (tmp_path / name).touch()
    (tmp_path / "data").mkdir()
    (tmp_path / "data/locked").mkdir(mode=0)
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)  # the folders above are the tests' user's alone


@pytest.mark.usefixtures("half_readable", "unprivileged")
def test_a_folder_that_cannot_be_looked_into_has_no_environment():
    assert environments(Path()) == [Path("env")]
    with pytest.raises(BadInputError, match="is no virtual environment"):
        _given(Path(), "data/locked")


def test_sizes_are_for_people():
    assert [size(count) for count in (None, 0, 999, 1000, 164122624, 3.2e9, 5e12)] == [
        "-",
        "0 B",
        "999 B",
        "1 KB",
        "164 MB",
        "3.2 GB",
        "5.0 TB",
    ]


def test_a_long_state_is_cut_in_the_table():
    assert shortened("failed (step 3, " + "x" * 99 + ")").endswith("xx…")
    assert len(shortened("x" * 99)) == WIDEST
    assert shortened("x" * WIDEST) == "x" * WIDEST


def test_states_are_read_with_nothing_taken_for_granted():
    state = state_of({"word": "failed", "step": 3, "steps": "x", "reason": "no space"})
    assert render(state) == "failed (step 3, no space)"
    assert state_of({"word": "happy"}) is None
    assert state_of({}) is None


class Told:
    """Be the session of a second `up` at which Ctrl-C is pressed as soon as it tells of the first."""

    def __init__(self, *_given, **_more):
        self.progress = self

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        pass

    def busy(self):
        return True

    def line(self, text):
        assert "another command" in text
        raise KeyboardInterrupt


def test_ctrl_c_is_answered_from_the_first_word_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PINOCTL_PLATFORM", "local")
    monkeypatch.setattr("orchestrator.commands.session.Session", Told)
    assert bring_up(Home(tmp_path), "app", Wish(), as_json=False, quiet=False) == 130
    assert "interrupted; the other command goes on with `app`" in capsys.readouterr().err


def test_a_launchers_text_is_harmless_and_on_one_line():
    assert output.clean("a\x1b[31mb\nc\u202ed\x9b") == "a [31mb cd "


@pytest.mark.parametrize(
    ("number", "hint"),
    [(errno.ENOSPC, "make room"), (errno.EROFS, "that you can write to"), (errno.EACCES, "that you can write to")],
)
def test_errors_of_the_system_say_what_to_do(number, hint):
    error = output.unusable(OSError(number, "Reason", str(Path("/x/y"))))
    assert str(error) == "`/x/y` cannot be used: reason"
    assert hint in error.hint
