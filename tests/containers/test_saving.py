"""When a checkpoint is worth it, and what a build does about it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.agent.saving import SMALL, Cost, Unsaved, due

MIB = 1 << 20
OVERLAY, CONTAINERD, NEVER = Cost(), Cost(1.5, 35e6), Cost(1e9)
costs = st.sampled_from([OVERLAY, CONTAINERD, NEVER])
seconds = st.floats(0, 1e6)
sizes = st.integers(-MIB, 1 << 36)


@pytest.mark.parametrize(
    ("unsaved", "cost", "expected"),
    [
        (Unsaved(0.5, 0), OVERLAY, None),
        (Unsaved(1.5, 0), OVERLAY, "stay"),
        (Unsaved(1.5, 0), CONTAINERD, None),
        (Unsaved(15, 0), CONTAINERD, "stay"),
        (Unsaved(60, SMALL), OVERLAY, "stay"),
        (Unsaved(60, SMALL + 1), OVERLAY, "leave"),
        (Unsaved(60, 700 * MIB), OVERLAY, None),  # 7 s of committing
        (Unsaved(80, 700 * MIB), OVERLAY, "leave"),
        (Unsaved(0.1, 0, last=True), OVERLAY, "stay"),
        (Unsaved(6, 700 * MIB, last=True), OVERLAY, None),
        (Unsaved(8, 700 * MIB, last=True), OVERLAY, "leave"),
        (Unsaved(1e6, 1 << 36), NEVER, None),
    ],
)
def test_work_is_saved_once_it_took_ten_times_what_saving_takes(unsaved, cost, expected):
    assert due(unsaved, cost) == expected


def test_a_commit_costs_time_and_bytes():
    assert OVERLAY.seconds(0) == OVERLAY.seconds(-5) == pytest.approx(0.15)
    assert OVERLAY.seconds(100_000_000) == pytest.approx(1.15)


@given(seconds, seconds, sizes, costs, st.booleans())
def test_more_work_is_never_less_worth_saving(one, more, written, cost, last):
    if due(Unsaved(one, written, last), cost) is not None:
        assert due(Unsaved(one + more, written, last), cost) is not None


@given(seconds, sizes, costs)
def test_before_the_last_step_saving_is_never_less_likely(worked, written, cost):
    before = due(Unsaved(worked, written), cost)
    assert before is None or due(Unsaved(worked, written, last=True), cost) == before


@given(seconds, sizes, costs, st.booleans())
def test_a_container_is_left_exactly_when_it_has_written_much(worked, written, cost, last):
    assert due(Unsaved(worked, written, last), cost) in {None, "leave" if written > SMALL else "stay"}
