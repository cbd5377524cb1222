"""The pure parts: which step follows, values and their JSON, traces."""

# ruff: noqa: E501  # tables read best with one case on a line

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engine.errors import ScriptError
from orchestrator.engine.flow import after, find_last, resolve_next
from orchestrator.engine.trace import Trace
from orchestrator.engine.values import UNDEFINED, Match, Opaque, decode, encode, plain, to_text, truthy

IDS = ["a", None, "b", "a", "1"]


@pytest.mark.parametrize(
    ("value", "index"),
    [("a", 0), ("b", 2), (3, 3), (3.0, 3), ("2", 2), ("1", 4), (" 2 ", 2), (None, None), (UNDEFINED, None), (0, 0)],
)
def test_next_names_a_step(value: Any, index: int | None) -> None:
    found = resolve_next(value, ids=IDS, steps=5)
    assert (found.index if found else None) == index


@pytest.mark.parametrize("value", ["c", "", 5, -1, 1.5, "5", "-1", True, {}, [], float("nan"), float("inf"), "٣", b"a"])
def test_next_that_names_nothing_is_an_error(value: Any) -> None:
    with pytest.raises(ScriptError, match="next"):
        resolve_next(value, ids=IDS, steps=5)


def test_what_follows_and_what_jump_finds() -> None:
    assert [after(index, 3) and after(index, 3).index for index in range(3)] == [1, 2, None]  # type: ignore[union-attr]  # the last is None
    assert [find_last(step_id, IDS) for step_id in ("a", "b", "x", None, 1)] == [3, 2, None, None, None]


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.just(UNDEFINED),
    lambda inner: st.lists(inner) | st.dictionaries(st.text().filter(lambda key: not key.startswith("$")), inner),
)


@given(PLAIN)
def test_values_survive_the_journey(value: Any) -> None:
    assert decode(json.loads(json.dumps(encode(value)))) == value


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["$undefined", "$buffer", "$match", "$function", "handle", "index", "groups"]), inner
            )
        ),
    )
)
def test_any_json_can_be_decoded(value: Any) -> None:
    decode(value)


def test_matches_and_functions_survive() -> None:
    match = Match(("ab", "a", UNDEFINED), 2, {"n": UNDEFINED}, "xxab")
    function = Opaque({"$function": "f"}, "h1")
    assert decode(json.loads(json.dumps(encode([match, function])))) == [match, function]


@pytest.mark.parametrize(
    ("value", "true", "text"),
    [(None, False, "null"), (UNDEFINED, False, "undefined"), (0, False, "0"), (-0.0, False, "0"), ("", False, ""), (False, False, "false"),
     ([], True, ""), ({}, True, "[object Object]"), ("0", True, "0"), ([1, None, [2, "x"]], True, "1,,2,x"), (1.5, True, "1.5"), (2.0, True, "2"),
     (b"hi", True, "hi"), (b"", True, ""), (True, True, "true"), (Match(("a", UNDEFINED, "b")), True, "a,,b")],
)  # fmt: skip
def test_truth_and_text_are_those_of_javascript(value: Any, text: str, *, true: bool) -> None:
    assert (truthy(value), to_text(value)) == (true, text)


def test_nan_is_false() -> None:
    assert not truthy(float("nan"))


def test_plain_is_what_stringify_keeps() -> None:
    value = {"a": UNDEFINED, "b": [UNDEFINED, Opaque({"$function": "f"})], "c": Match(("x", UNDEFINED)), "d": b"\1"}
    assert plain(value) == {"b": [None, None], "c": ["x", None], "d": {"type": "Buffer", "data": [1]}}


def test_a_trace_is_json_lines_in_the_order_of_beginnings(tmp_path: Path) -> None:
    trace = Trace()
    outer = trace.reached("a.json", 0, "script.start", {"uri": "b.json"}, executed=True)
    trace.reached("b.json", 0, Opaque({"$function": "f"}, "secret-handle"), UNDEFINED, executed=False)
    trace.reached("b.json", 1, "log", {"m": Match(("x",), 1, None, "ax")}, executed=True).finish(
        returned=UNDEFINED, ms=1.23456, error="why"
    )
    outer.finish(returned=Opaque({"$function": "g"}, "secret-handle"), ms=5)
    trace.write(tmp_path / "t", status="end", daemon=True, result=b"\0", local={"k": UNDEFINED})
    text = (tmp_path / "t").read_text("utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    assert "secret-handle" not in text
    assert [(row["script"], row["index"], row["executed"]) for row in rows[:3]] == [
        ("a.json", 0, True),
        ("b.json", 0, False),
        ("b.json", 1, True),
    ]
    assert rows[0]["ms"] == 5
    assert rows[1]["params"] is None
    assert rows[2] == {"script": "b.json", "index": 1, "executed": True, "method": "log", "params": {"m": ["x"]},
                       "returned": {"$undefined": True}, "ms": 1.235, "error": "why"}  # fmt: skip
    assert rows[3] == {
        "status": "end",
        "daemon": True,
        "result": {"$buffer": "AA=="},
        "local": {"k": {"$undefined": True}},
    }
