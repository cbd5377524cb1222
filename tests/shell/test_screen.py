"""The text of the emulated terminal: the quick path and pyte agree."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.engine.shell.screen import RAW_LIMIT, SCROLLBACK, Screen, _joined, emulated_rows, plain_rows, render

PIECES = st.one_of(
    st.sampled_from(["\r\n", "\n", "\r", "\b", "\t", " ", "\x1b[K", "\x1b[0K", "│", "é", "█", "⠋", "✓"]),
    st.text("abc xyz", min_size=1, max_size=30),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=60), st.integers(9, 30), st.integers(2, 6))
def test_quick_path_equals_emulator(pieces: list[str], cols: int, rows: int) -> None:
    raw = "".join(pieces)
    quick = plain_rows(raw, cols)
    if quick is not None:
        assert _joined(quick[-(50 + rows) :]) == _joined(emulated_rows(raw, cols, rows, 50)[-(50 + rows) :])


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("hello\r\nworld", "hello\r\nworld"),
        ("x" * 250 + "\r\nend", "x" * 250 + "\r\nend"),
        ("a\r\nb\r\n\x1b[H\x1b[2Jafter\r\n<<P>> ", "after\r\n<<P>>"),
        ("10%\r100%\r\n", "100%"),
        ("\x1b[32mgreen\x1b[0m \x1b]0;title\x07x", "green x"),
        ("one\r\ntwo\x1b[1A\rONE", "ONE\r\ntwo"),
        ("日本\r\n", "日本"),
        ("\x1b[?6n\x1b[>cstill here", "still here"),
        ("a\x9db", "ab"),
        ("", ""),
    ],
)
def test_text(raw: str, text: str) -> None:
    assert render(raw, 100, 30) == text


@pytest.mark.parametrize("start", ["", "\x1b[1A"])
def test_scrollback_is_bounded(start: str) -> None:
    raw = start + "".join(f"{number}\r\n" for number in range(1, 2001)) + "<<PINOKIO_SHELL>> "
    text = render(raw, 100, 30)
    assert len(text) == 6163
    assert len(text.split("\r\n")) == SCROLLBACK + 30


def test_memory_is_bounded() -> None:
    screen = Screen()
    for _ in range(100):
        screen.feed("x" * 65536)
    assert len(screen.raw()) < RAW_LIMIT + 65536 + 1


def test_visible_rows() -> None:
    screen = Screen(10, 3)
    screen.feed("1\r\n2\r\n3\r\n4")
    assert screen.visible() == "234"
    screen.clear()
    assert screen.visible() == ""
