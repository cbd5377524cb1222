"""Variables for all apps: what of the machine's ENVIRONMENT containers get, and what stays theirs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engine.environment import dotenv
from orchestrator.engine.environment.defaults import system_file_text
from orchestrator.places.container.variables import chosen_in, merged

NEW = system_file_text()
names = st.from_regex(r"[A-Z][A-Z0-9_]{0,9}", fullmatch=True)
values = st.text(st.characters(codec="utf-8", exclude_categories=["C"], exclude_characters="\"'`"), max_size=9)
maps = st.dictionaries(names, values.map(str.strip), max_size=4)


def test_a_file_that_nobody_changed_says_nothing():
    assert chosen_in(NEW) == chosen_in("") == {}
    assert merged(None, {}, "a") is None
    assert merged("X=1\n", {}, "a") == "X=1\n"


def test_what_somebody_set_is_chosen_but_for_the_folders_of_every_home():
    text = NEW.replace("GRADIO_ANALYTICS_ENABLED=False", "GRADIO_ANALYTICS_ENABLED=True") + "FOO=./x\nPS1=\n"
    text += "HF_HOME=/mnt/hf\nPINOKIO_DRIVE=/mnt/drive\nTMPDIR=/mnt/tmp\n"
    assert chosen_in(text) == {"GRADIO_ANALYTICS_ENABLED": "True", "FOO": "./x", "PS1": ""}


def test_a_new_file_has_what_every_home_has_too():
    assert dotenv.parse(merged(None, {"FOO": "bar"}, "a") or "") == {**dotenv.parse(NEW), "FOO": "bar"}


def test_the_machines_value_counts_and_the_volumes_is_back_without_it():
    text = merged("FOO=theirs\nB=2\n", {"FOO": "ours", "C": "a b"}, "a") or ""
    assert dotenv.parse(text) == {"FOO": "ours", "B": "2", "C": "a b"}
    text = f"{text}D=4\n"  # a script of an app's wrote it
    assert dotenv.parse(merged(text, {"C": "3"}, "a") or "") == {"FOO": "theirs", "B": "2", "C": "3", "D": "4"}
    assert dotenv.parse(merged(text, {}, "a") or "") == {"FOO": "theirs", "B": "2", "D": "4"}


def test_homes_that_share_a_volume_leave_each_others_alone():
    both = merged(merged("", {"A": "1", "X": "a"}, "a"), {"B": "2", "X": "b"}, "b") or ""
    assert dotenv.parse(both) == {"A": "1", "B": "2", "X": "b"}
    assert dotenv.parse(merged(both, {}, "b") or "") == {"A": "1", "X": "a"}


@pytest.mark.parametrize("text", ["", "A=1", "A=1\n", "A=1\n\n\n", "# only this", "A=1\r\nB=2\r\n"])
@given(first=maps, then=maps)
def test_bringing_again_changes_nothing_and_nothing_piles_up(text, first, then):
    once = merged(text, first, "a")
    assert merged(once, first, "a") == once
    later = merged(once, then, "a")
    assert merged(later, then, "a") == later
    assert dotenv.parse(later or "") == {**dotenv.parse(text), **then}
