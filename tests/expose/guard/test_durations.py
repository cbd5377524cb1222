"""Spans of time, read and written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engine.errors import BadInputError
from orchestrator.expose.guard.durations import LONGEST, parse, parse_hours, parse_limit, rough, show


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30m", 1800),
        ("2h", 7200),
        ("1h30m", 5400),
        ("90s", 90),
        ("1.5h", 5400),
        ("1d", 86400),
        ("1d2h3m4s", 93784),
        (" 1h 30m ", 5400),
        ("30 min", 1800),
        ("2 Hours 5 minutes", 7500),
        ("1H", 3600),
        ("0.5m", 30),
        ("366d", LONGEST),
        ("0h30m", 1800),
    ],
)
def test_a_span_is_read(text, seconds):
    assert parse(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "m", "30x", "h30", "1h30", "30m1h", "1m1m", "-5m", "1,5h", "1e3s", "nan", "inf", "1.h", ".5h"),
        *("1..5h", "٣m", "30ms", "5 mo", "30m!", "1h-5m", "\x00", "1" * 40 + "s"),
    ],
)
def test_anything_else_says_how_to_write_it(text):
    with pytest.raises(BadInputError, match="cannot be read") as caught:
        parse(text, what="`--stop-after-idle`")
    assert str(caught.value).startswith("`--stop-after-idle` ")
    assert "30m" in (caught.value.hint or "")


def test_a_number_without_a_unit_is_offered_with_each():
    with pytest.raises(BadInputError, match="has no unit: `30`") as caught:
        parse(" 30 ")
    assert "`30m`" in (caught.value.hint or "")
    assert "`30h`" in (caught.value.hint or "")


@pytest.mark.parametrize("text", ["0s", "0m", "0.5s", "0h0m", "0", "00", " 0.0 "])
def test_nothing_is_not_a_span(text):
    with pytest.raises(BadInputError, match=f"has to be one second or more, not `{text.strip()}`") as caught:
        parse(text)
    assert f"`{text.strip()}m`" not in caught.value.hint


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("0.0", 0), (" None ", 0), ("2", 7200), ("90m", 5400)])
def test_a_limit_is_taken_back_by_none_and_by_nothing(text, seconds):
    assert parse_limit(text, parse_hours, what="`--max-hours`") == seconds


@pytest.mark.parametrize("text", ["367d", "9000h", "999999999d"])
def test_more_than_a_year_is_a_slip(text):
    with pytest.raises(BadInputError, match="longer than a year"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("8", 28800), ("0.5", 1800), ("90m", 5400), (" 1 ", 3600), ("1d", 86400)]
)
def test_hours_need_no_unit(text, seconds):
    assert parse_hours(text) == seconds


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "1e9", "99999", "x"])
def test_bad_hours_are_refused(text):
    with pytest.raises(BadInputError, match=r"^`--max-hours` "):
        parse_hours(text, what="`--max-hours`")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5400, "1h30m"), (45, "45s"), (0, "0s"), (-3, "0s"), (59.6, "1m"), (3600, "1h"), (93784, "1d2h3m4s")],
)
def test_a_span_is_written(seconds, text):
    assert show(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(45, "45s"), (119, "1m59s"), (301, "5m"), (5459, "1h31m"), (183_700, "2d3h"), (7199, "2h")]
)
def test_in_sentences_a_span_is_rounded(seconds, text):
    assert rough(seconds) == text


@given(st.integers(min_value=1, max_value=int(LONGEST)))
def test_what_is_written_is_read_again(seconds):
    assert parse(show(seconds)) == seconds
