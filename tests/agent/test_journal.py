"""The journal and the terminal log: append, rotate, survive torn lines and full disks."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from orchestrator.agent import kinds
from orchestrator.agent.journal import Journal, older, read_journal
from orchestrator.agent.terminal import TerminalLog, last_lines, parts, read_terminal, visible_lines
from orchestrator.engine.redactor import MASK, Redactor

ROOT = Path(__file__).parents[2]


def test_events_are_lines_with_time_and_kind(tmp_path):
    journal = Journal(tmp_path / "logs" / "journal.jsonl", now=lambda: 12.34567)
    journal.write("step.start", {"script": "app/start.js", "index": 0})
    assert (
        tmp_path / "logs" / "journal.jsonl"
    ).read_text() == '{"t":12.346,"kind":"step.start","script":"app/start.js","index":0}\n'
    assert (tmp_path / "logs" / "journal.jsonl").stat().st_mode & 0o777 == 0o600
    journal.close()


@pytest.mark.parametrize(
    "torn", ['{"t":1,"kind":"st', '{"t":1,"kind":"x"}\n[1]\n"text"\n{"kind":5}\n\xff\xfe', "\0\0\0"]
)
def test_a_torn_last_line_is_left_out_and_swallows_nothing(tmp_path, torn):
    path = tmp_path / "journal.jsonl"
    path.write_text(torn, encoding="latin-1")
    journal = Journal(path)
    journal.write("warning", {"text": "next"})
    journal.close()
    assert [entry["kind"] for entry in read_journal(path)][-1] == "warning"
    assert all(isinstance(entry["kind"], str) for entry in read_journal(path))


def test_rotation_keeps_one_older_part_and_the_order(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl", limit=400)
    for number in range(30):
        journal.write("step.end", {"index": number})
    journal.close()
    numbers = [entry["index"] for entry in read_journal(tmp_path / "journal.jsonl")]
    assert numbers == list(range(numbers[0], 30))
    assert len(numbers) > 8
    assert older(tmp_path / "journal.jsonl").stat().st_size <= 400


def test_reading_can_skip_lines_that_do_not_hold_some_bytes(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.write("shell.start", {"id": "1"})
    journal.write("warning", {"text": "x"})
    journal.close()
    assert [entry["kind"] for entry in read_journal(journal.path, holding=b'"shell.')] == ["shell.start"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_costs_events_and_nothing_else(tmp_path):
    (tmp_path / "journal.jsonl").symlink_to("/dev/full")
    (tmp_path / "terminal.log").symlink_to("/dev/full")
    journal, terminal = Journal(tmp_path / "journal.jsonl"), TerminalLog(tmp_path / "terminal.log")
    assert journal.write("warning", {"text": "x"})["text"] == "x"
    assert journal.failed is not None
    terminal.write("text")
    assert terminal.failed is not None
    journal.close()
    terminal.close()


def test_what_json_cannot_say_becomes_text(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.write("warning", {"text": "\ud800 lone surrogate", "odd": {1, 2} and Path("/x")})
    journal.close()
    assert json.loads((tmp_path / "journal.jsonl").read_text())["odd"] == "PosixPath('/x')"


def test_secrets_stay_out_of_values_and_of_named_keys(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl", redactor=Redactor(["hunter22"]))
    journal.write(
        "run.start", {"answers": {"HF_TOKEN": "abcdef", "key": "x", "note": "it is hunter22!"}, "list": ["hunter22"]}
    )
    journal.close()
    text = (tmp_path / "journal.jsonl").read_text()
    assert "hunter22" not in text
    assert "abcdef" not in text
    assert '"key":"x"' in text


def test_a_secret_cut_in_two_is_blanked_in_a_stream():
    redactor = Redactor(["sk-secret-1"])
    shown = redactor.feed("a", "token sk-sec") + redactor.feed("b", "sk-") + redactor.feed("a", "ret-1 done")
    assert shown == f"token {MASK} done"
    assert redactor.flush() == {"b": "sk-"}
    assert not redactor.holding


def test_only_what_looks_like_a_secret_is_learnt_from_a_name():
    redactor = Redactor()
    redactor.add_named(
        {"USE_TOKEN": "true", "SSL_KEY": "/etc/key.pem", "HF_TOKEN": "hf_abc", "MAX_TOKENS": "100000", "API_KEY": None}
    )
    assert redactor.text("true /etc/key.pem hf_abc 100000") == f"true /etc/key.pem {MASK} 100000"


def test_short_values_are_no_secrets_and_longer_ones_win():
    redactor = Redactor(["ab", "abcd", "abcdef"])
    assert redactor.text("ab abcd abcdef") == f"ab {MASK} {MASK}"


def test_terminal_offsets_never_go_back(tmp_path):
    log = TerminalLog(tmp_path / "terminal.log", limit=100)
    for number in range(40):
        log.write(f"line {number:03}\r\n")
    assert log.offset == 400
    log.close()
    again = TerminalLog(tmp_path / "terminal.log", limit=100)
    assert again.offset == 400
    again.write("é")
    assert again.offset == 402
    again.close()
    assert len(parts(tmp_path / "terminal.log")) == 2
    pieces = list(read_terminal(tmp_path / "terminal.log", 0))
    assert pieces[0][0] == parts(tmp_path / "terminal.log")[0][0]
    assert b"".join(piece for _, piece in read_terminal(tmp_path / "terminal.log", 390)) == "line 039\r\né".encode()
    assert b"".join(piece for _, piece in read_terminal(tmp_path / "terminal.log", -2)) == "é".encode()


def test_reading_a_log_that_is_not_there_gives_nothing(tmp_path):
    assert list(read_terminal(tmp_path / "none" / "terminal.log")) == []
    assert list(read_journal(tmp_path / "none.jsonl")) == []


def test_last_lines_are_what_a_person_sees(tmp_path):
    log = TerminalLog(tmp_path / "terminal.log")
    log.write("\x1b[31mred\x1b[0m\r\n\r\n 10%\r 50%\r100%\r\n\x1b]0;title\x07end")
    log.close()
    assert last_lines(tmp_path / "terminal.log") == ["red", "100%", "end"]
    assert last_lines(tmp_path / "terminal.log", 1) == ["end"]
    assert visible_lines("a\nb\n") == ["a", "b"]


def test_the_documentation_lists_every_kind_and_key():
    text = (
        (ROOT / "docs" / "journal.md").read_text().partition("## What the engine does")[2].partition("## The socket")[0]
    )
    rows = {match[1]: match[2] for match in re.finditer(r"^\| `([a-z.]+)` \|([^|]*)\|", text, re.MULTILINE)}
    for kind, keys in kinds.KINDS.items():
        assert kind in rows, f"docs/journal.md does not list `{kind}`"
        for key in keys:
            assert f"`{key}`" in rows[kind], f"docs/journal.md does not name `{key}` of `{kind}`"
    assert set(rows) == set(kinds.KINDS)


def test_every_kind_in_the_code_is_a_known_one():
    found: set[str] = set()
    pattern = re.compile(r"(?:\bevent|_emit|\bemit)\(\s*\"([a-z]+(?:\.[a-z]+)?)\"")
    for folder in ("engine", "agent"):
        for path in (ROOT / "orchestrator" / folder).rglob("*.py"):
            found |= set(pattern.findall(path.read_text()))
    assert found, "the pattern finds nothing any more"
    assert found <= set(kinds.KINDS), f"not in kinds.py and docs/journal.md: {found - set(kinds.KINDS)}"
    assert {"state", "ready", "run.start"} <= found


def test_a_journal_is_flushed_per_event(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.write("agent.start", {"pid": os.getpid()})
    assert next(read_journal(journal.path))["pid"] == os.getpid()
    journal.close()


def test_passwords_in_urls_are_secret_whatever_their_variable_is_called():
    redactor = Redactor()
    redactor.add_named(
        {"PIP_INDEX_URL": "https://me:p%40ss%20word@index.example/simple", "HOMEPAGE": "https://a.example/x:y@z"}
    )
    assert redactor.text("p%40ss%20word p@ss word x:y@z me") == f"{MASK} {MASK} x:y@z me"
