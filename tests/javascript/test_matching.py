"""Event patterns over terminal output."""

# JavaScript stands on one line; small files are read in place

from __future__ import annotations

import asyncio
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.engine.errors import JavaScriptError
from orchestrator.engine.javascript import Sidecar
from orchestrator.engine.values import UNDEFINED, Match

from .conftest import LONG

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_long_chunk_is_scanned_whole(shared: Sidecar) -> None:
    for window, kind in ((None, "done"), (300, "none")):
        await shared.match_open("k", [{"event": "/http:\\S+/", "done": True}], window=window)
        outcome = await shared.match_feed("k", "http://early:1\r\n" + "x" * 1000)
        assert outcome.kind == kind
    shared.match_close("k")


async def test_a_match_across_chunks_counts_once(shared: Sidecar) -> None:
    await shared.match_open("k", [{"event": "/n=(\\d)/", "trigger": "t", "notify": {"html": "hi"}}])
    seen = [await shared.match_feed("k", text) for text in ("n", "=1", " n=1", "", "x" * 400, "y", "n=2")]
    assert [[match.items[1] for _, match in outcome.triggers] for outcome in seen] == [
        [],
        ["1"],
        ["1"],
        [],
        [],
        [],
        ["2"],
    ]
    assert seen[1].notifies == [{"html": "hi"}]
    assert seen[-1].event.items == ("n=2", "2")


async def test_first_match_of_a_chunk_and_named_groups(shared: Sidecar) -> None:
    await shared.match_open("k", [{"event": "/(?<host>[a-z]+):(?<port>\\d+)?/", "kill": True}])
    outcome = await shared.match_feed("k", "go a:1 b:2\n")
    assert outcome.kind == "kill"
    assert outcome.event == Match(("a:1", "a", "1"), 3, {"host": "a", "port": "1"}, "go a:1 b:2\n")
    assert (await shared.match_feed("k", "c:3\n")).kind == "none", "matching has ended"


async def test_break_and_tolerance(shared: Sidecar) -> None:
    await shared.match_open("k", [{"event": "/error: known.*/i", "break": False}])
    assert (await shared.match_feed("k", "Error: known thing\n")).kind == "none"
    await shared.match_open("k", [{"event": "/error: known/i", "break": False}])
    outcome = await shared.match_feed("k", "Error: known and Error: other\n")
    assert (outcome.kind, outcome.errors) == ("break", ["Error:"])
    assert (await shared.match_end("k", "x\r\nerr\r\nor: split over lines")).errors == ["error:"]
    await shared.match_open("k", [], interactive=True)
    assert (await shared.match_feed("k", "Error: x\n")).kind == "none"
    assert (await shared.match_end("k", "Error: x")).errors == ["Error:"]


@pytest.mark.parametrize("event", ["http", "/[unclosed/", "/x/q", "/x/ii", 5, {"a": 1}])
async def test_invalid_patterns(shared: Sidecar, event: object) -> None:
    await shared.match_open("k", [{"event": event, "done": True}])
    outcome = await shared.match_feed("k", "x")
    assert (outcome.kind, outcome.event, len(outcome.errors)) == ("invalid", UNDEFINED, 1)


async def test_unknown_shell(shared: Sidecar) -> None:
    with pytest.raises(JavaScriptError, match="no shell `nobody`"):
        await shared.match_feed("nobody", "x")


@pytest.mark.parametrize("pattern", ["/(a+)+$/", "/(a+)+$/i", "/(a|aa)+$/", "/(\\w+\\s?)*!$/i"])
async def test_catastrophic_patterns_do_not_hang(shared: Sidecar, pattern: str) -> None:
    await shared.match_open("k", [{"event": pattern, "done": True}])
    try:
        assert (await asyncio.wait_for(shared.match_feed("k", "a" * 60 + "b"), LONG)).kind == "none"
    except JavaScriptError as error:
        assert "takes more than" in str(error)  # noqa: PT017  # either outcome is fine, hanging is not


async def test_screen(shared: Sidecar) -> None:
    handlers = [
        {"event": "/nope/", "return": 1},
        {"event": "/name: $/"},
        {"event": "/(pass)\\s?word/", "return": "{{event.matches[0][1]}} {{event.raw}}!"},
        {"event": None, "return": True},
    ]
    assert await shared.screen_match(handlers, "name: pass\r\nword", "raw", "chunk") == (True, "pass raw!")
    assert await shared.screen_match(handlers, "nothing", "", "") == (False, UNDEFINED)


SEQUENCES = [
    "\x1b[32m",
    "\x1b[0m",
    "\x1b[?25l",
    "\x1b]0;title\x07",
    "\x1b]8;;http://x\x1b\\",
    "\x1b(B",
    "\x1b=",
    "\x1bM",
    "\x9b1m",
    "\x1bP1$r\x1b\\",
    "\u2190[32m",
]


async def test_sequences_split_over_chunks(shared: Sidecar) -> None:
    for sequence in SEQUENCES:
        for cut in range(1, len(sequence)):
            await shared.match_open("k", [{"event": "/A.*B/s", "done": True}])
            await shared.match_feed("k", "A" + sequence[:cut])
            outcome = await shared.match_feed("k", sequence[cut:] + "B\n")
            assert outcome.buffer == "AB\n", (sequence, cut)


async def test_returns_split_over_chunks(shared: Sidecar) -> None:
    await shared.match_open("k", [])
    await shared.match_feed("k", "a\r")
    assert (await shared.match_feed("k", "\nb\rc\r\n")).buffer == "a\nb\nc\n"


async def test_cutting_output_anywhere_gives_the_same_text(shared: Sidecar) -> None:
    examples: list[tuple[list[str], int]] = []

    @settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(
        st.lists(st.sampled_from([*SEQUENCES, "a", "http://x", "\r\n", "\r", "\n", "é", "[", "m"]), max_size=12),
        st.integers(1, 7),
    )
    def collect(pieces: list[str], size: int) -> None:
        examples.append((pieces, size))

    collect()
    for pieces, size in examples:
        text = "".join(pieces) + "\n"
        plain = re.sub(r"\r\n?", "\n", "".join("" if piece in SEQUENCES else piece for piece in pieces) + "\n")
        await shared.match_open("k", [])
        for start in range(0, len(text), size):
            buffer = (await shared.match_feed("k", text[start : start + size])).buffer
        assert buffer == plain, pieces


FRAGMENTS = st.lists(
    st.sampled_from(
        ["a", "b", "\\d", "[ab]", "(a)", "(?:b)", "\\s", ".", "a+", "b?", "(?<n>a)", "|", "^", "$", "http", ":"]
    ),
    min_size=1,
    max_size=5,
).map("".join)


async def test_patterns_agree_with_a_plain_evaluation(shared: Sidecar) -> None:
    examples: list[tuple[str, str]] = []

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(FRAGMENTS, st.text(alphabet="ab1 :\nht", max_size=20))
    def collect(pattern: str, text: str) -> None:
        examples.append((pattern, text))

    collect()
    for pattern, text in examples:
        await shared.match_open("k", [{"event": f"/{pattern}/i"}])
        outcome = await shared.match_feed("k", text + "z")
        try:
            expected = await shared.render(
                "{{[...T.matchAll(new RegExp(P, 'gi'))].find(m => m.index + m[0].length > 0) ?? null}}",
                {"T": text + "z", "P": pattern},
                "once",
            )
        except JavaScriptError:
            expected = None
        if isinstance(expected, str):  # the expression threw: no valid pattern
            assert outcome.kind == "invalid"
        else:
            assert (None if outcome.event is UNDEFINED else outcome.event) == expected, (pattern, text)


async def test_many_lines_are_fast(shared: Sidecar) -> None:
    line = "\x1b[32mINFO\x1b[0m step 1234 of 5678 | loss 0.123 | \x1b[1m12.3 it/s\x1b[0m\r\n"
    await shared.match_open("k", [{"event": "/http://[0-9.:]+/", "done": True}])
    chunk = line * 200
    assert shared._channel is not None
    process = shared._channel.process
    before = process.computed()
    for _ in range(100):
        await shared.match_feed("k", chunk)
    assert process.computed() - before < 2, "20,000 lines; some 0.05 s of a processor's time"
