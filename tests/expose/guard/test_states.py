"""When the guards warn and stop, on samples made up here."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engine.errors import BadInputError
from orchestrator.expose.guard.states import (
    BUSY_PERCENT,
    LONGEST_GAP,
    HoursGuard,
    IdleGuard,
    Meter,
    Sample,
    Verdict,
    together,
    warning_span,
    worst,
)

START = 1000.0
EVERY = 15.0


def seen(now, last=None, *, answering=0, gpu=0.0, working=False):
    return Sample(now, last, answering, gpu, working)


def until(guard, kind, make, *, start=START, most=10_000):
    """Judge samples until a verdict of this kind; return it and when that was."""
    for number in range(most):
        now = start + number * EVERY
        verdict = guard.judge(make(now))
        if verdict.kind == kind:
            return verdict, now
        assert kind == "warn" or verdict.kind != "stop"
    raise AssertionError(f"never {kind}")


@pytest.mark.parametrize(("span", "before"), [(1800, 300), (3600, 300), (1200, 300), (600, 150), (60, 15)])
def test_the_warning_comes_five_minutes_before_or_a_quarter(span, before):
    assert warning_span(span) == before
    guard = IdleGuard(span)
    warned, at = until(guard, "warn", seen)
    assert at - START == span - before
    assert warned.seconds_left == before
    stopped, end = until(guard, "stop", seen, start=at + EVERY)
    assert end - START == span
    assert stopped.seconds_left == 0
    assert "not used for" in stopped.reason


def test_idleness_begins_with_the_first_sample_when_nothing_was_ever_asked():
    assert IdleGuard(600).judge(seen(START)).seconds_left == 600


@pytest.mark.parametrize(
    ("use", "words"),
    [
        ({"answering": 1}, "answering"),
        ({"gpu": BUSY_PERCENT}, "GPU is 5 % busy"),
        ({"working": True}, "installed"),
        ({"working": True, "gpu": None}, "installed"),
    ],
)
def test_use_keeps_an_app_for_ever(use, words):
    guard = IdleGuard(600)
    for number in range(500):
        verdict = guard.judge(seen(START + number * EVERY, START, **use))
        assert (verdict.kind, verdict.seconds_left) == ("fine", 600)
        assert words in verdict.reason


@pytest.mark.parametrize("gpu", [None, 0.0, BUSY_PERCENT - 0.1])
def test_a_page_that_is_only_open_does_not(gpu):
    verdict, at = until(IdleGuard(600), "stop", lambda now: seen(now, START, gpu=gpu))
    assert at - START == 600
    assert ("cannot be seen" in verdict.reason) == (gpu is None)


def test_requests_now_and_then_keep_an_app():
    guard = IdleGuard(600)
    for number in range(500):
        now = START + number * EVERY
        assert guard.judge(seen(now, now - now % 300)).kind == "fine"


def test_what_happened_between_two_samples_counts_from_when_it_happened():
    guard = IdleGuard(600)
    until(guard, "warn", seen)
    verdict = guard.judge(seen(START + 470, START + 460))
    assert (verdict.kind, verdict.seconds_left) == ("fine", 590)


@pytest.mark.parametrize("use", [{"answering": 1}, {"gpu": 80.0}, {"working": True}, {"last": START + 455}])
def test_any_use_takes_the_warning_back_and_the_whole_span_begins_anew(use):
    guard = IdleGuard(600)
    _, at = until(guard, "warn", seen)
    assert guard.judge(seen(at + EVERY, **use)).kind == "fine"
    _, stopped = until(guard, "stop", seen, start=at + 2 * EVERY)
    assert 590 <= stopped - at - EVERY <= 610


def test_use_takes_a_stop_back_that_has_not_been_done():
    guard = IdleGuard(600)
    _, at = until(guard, "stop", seen)
    assert guard.judge(seen(at + EVERY, gpu=50.0)).kind == "fine"


def test_a_pause_of_the_guard_adds_little_and_never_stops_without_a_warning():
    guard = IdleGuard(600)
    guard.judge(seen(START))
    verdict = guard.judge(seen(START + 100_000, START))
    assert (verdict.kind, verdict.seconds_left) == ("fine", 600 - LONGEST_GAP)
    now = START + 100_000
    for _ in range(6):  # pauses of an hour each, all the way into the warning
        now += 3600
        verdict = guard.judge(seen(now, START))
    assert verdict.kind == "fine"
    assert guard.judge(seen(now + 3600, START)).kind == "warn"


@pytest.mark.parametrize("back", [1, 500, 1e6])
def test_a_clock_that_goes_back_makes_nothing_idle(back):
    guard = IdleGuard(600)
    guard.judge(seen(START))
    guard.judge(seen(START + 60))
    verdict = guard.judge(seen(START - back, START))
    assert (verdict.kind, verdict.seconds_left) == ("fine", 600)


@pytest.mark.parametrize("span", [0, -1, 10, 59.9])
def test_spans_too_short_for_the_guard_are_refused(span):
    with pytest.raises(BadInputError, match="too short") as caught:
        IdleGuard(span)
    assert "1m or more" in (caught.value.hint or "")


steps = st.lists(
    st.tuples(
        st.floats(0, 500),
        st.one_of(st.none(), st.floats(0, 500)),
        st.integers(0, 1),
        st.one_of(st.none(), st.floats(0, 100)),
        st.booleans(),
    ),
    max_size=60,
)


@given(steps)
def test_whatever_happens_a_stop_follows_a_warning_and_nothing_in_use_is_stopped(moves):
    guard, now, kinds = IdleGuard(120), START, ["fine"]
    for passed, ago, answering, gpu, working in moves:
        now += passed
        verdict = guard.judge(Sample(now, None if ago is None else now - ago, answering, gpu, working))
        in_use = working or answering or (gpu or 0) >= BUSY_PERCENT or (ago is not None and ago < 90)
        assert verdict.kind == "fine" or not in_use
        assert verdict.kind != "stop" or kinds[-1] != "fine"
        assert 0 <= verdict.seconds_left <= 120
        assert (verdict.seconds_left == 0) == (verdict.kind == "stop")
        kinds.append(verdict.kind)


def test_hours_end_whether_used_or_not():
    guard = HoursGuard(3600, Meter.begin(START, "b"))
    busy = {"answering": 3, "gpu": 99.0, "working": True}
    warned, at = until(guard, "warn", lambda now: seen(now, now, **busy))
    assert at - START == 3300
    assert warned.reason == "running for 55m of 1h"
    stopped, at = until(guard, "stop", lambda now: seen(now, now, **busy), start=at + EVERY)
    assert at - START == 3600
    assert guard.judge(seen(at + EVERY, at)).kind == "stop"
    assert stopped.seconds_left == 0


def test_hours_go_on_through_restarts_of_the_daemon_and_while_it_is_away():
    meter, now, boot = Meter.begin(START, "b"), START, "b"
    while True:
        guard = HoursGuard(7200, meter.read(now, boot))
        verdict = guard.judge(seen(now))
        if verdict.kind != "fine":
            break
        guard.judge(seen(now + 300))
        meter = Meter.from_json(json.loads(json.dumps(guard.meter.to_json())))
        now += 600  # dead for half of it
    assert (verdict.kind, verdict.seconds_left, now - START) == ("warn", 60, 7200)


def test_a_restart_after_the_end_still_warns_before_it_stops():
    guard = HoursGuard(7200, Meter.begin(START, "b").read(START + 9000, "b"))
    verdict = guard.judge(seen(START + 9000))
    assert (verdict.kind, verdict.seconds_left) == ("warn", 60)
    _, at = until(guard, "stop", seen, start=START + 9015)
    assert at == START + 9060


@pytest.mark.parametrize(("now", "boot"), [(50.0, "other"), (99_999.0, "other"), (99_999.0, ""), (500.0, "b")])
def test_time_between_two_boots_and_a_clock_that_went_back_are_not_counted(now, boot):
    meter = Meter(100.0, START, "b").read(now, boot)
    assert meter == Meter(100.0, now, boot)
    assert HoursGuard(7200, meter).judge(seen(now + 15)).seconds_left == 7200 - 115


def test_without_an_id_of_the_boot_nothing_between_processes_is_counted():
    assert Meter(100.0, START, "").read(START + 5000, "").elapsed == 100


def test_a_clock_that_goes_back_within_a_process_gives_no_hours_back():
    guard = HoursGuard(7200, Meter.begin(START, "b"))
    guard.judge(seen(START + 1000))
    assert guard.judge(seen(START + 500)).seconds_left == 6200
    assert guard.judge(seen(START + 1500)).seconds_left == 5700


@pytest.mark.parametrize(
    "data",
    [
        *(None, 1, "x", [], {}, {"elapsed": 1, "at": 2}, {"elapsed": "x", "at": 2, "boot": ""}),
        *({"elapsed": float("nan"), "at": 2, "boot": "b"}, {"elapsed": -1, "at": 2, "boot": "b"}),
        *({"elapsed": 1, "at": float("inf"), "boot": "b"}, {"elapsed": 1, "at": 2, "boot": 3}, {"elapsed": None}),
    ],
)
def test_a_spoilt_file_gives_no_meter(data):
    assert Meter.from_json(data) is None


@pytest.mark.parametrize("limit", [0, -1])
def test_no_hours_are_refused(limit):
    with pytest.raises(BadInputError, match="no hours"):
        HoursGuard(limit, Meter.begin(START, "b"))


def test_what_ends_first_counts():
    fine, warn, stop = (Verdict(kind, kind, left) for kind, left in (("fine", 1), ("warn", 50), ("stop", 0)))
    assert worst([fine, warn]) is warn
    assert worst([warn, stop, fine]) is stop
    assert worst([warn, sooner := Verdict("warn", "", 10)]) is sooner


def test_a_machine_is_used_as_long_as_one_of_its_apps_is():
    idle = seen(START, START - 900)
    assert together([idle, seen(START, None, gpu=None)], START) == seen(START, START - 900)
    for use in ({"answering": 2}, {"gpu": 70.0}, {"working": True}):
        assert together([idle, seen(START, START - 10, **use)], START) == seen(START, START - 10, **use)
    assert together([], START) == seen(START, None, gpu=None)
