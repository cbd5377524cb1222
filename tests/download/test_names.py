"""Names that servers suggest never leave the folder."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engine.download.names import choose_name, disposition_name, safe_name, url_name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.bin", "a.bin"),
        ("../../x", "x"),
        ("/etc/passwd", "passwd"),
        ("..\\..\\x.exe", "x.exe"),
        ("C:\\a\\b", "b"),
        ("a\0b", "ab"),
        ("..", None),
        (".", None),
        ("", None),
        ("   ", None),
        ("x/", None),
        ("...", None),
        ("a\r\nb", "ab"),
        (" .hidden ", ".hidden"),
        ("x.", "x"),
        (None, None),
    ],
)
def test_safe_names(name: str | None, expected: str | None) -> None:
    assert safe_name(name) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('attachment; filename="a b.bin"', "a b.bin"),
        ("attachment; filename=a.bin; size=5", "a.bin"),
        ("attachment; filename*=UTF-8''na%C3%AFve.bin", "naïve.bin"),
        ("attachment; filename=\"x.bin\"; filename*=utf-8''y.bin", "y.bin"),
        ("inline", None),
        ("", None),
        (None, None),
        ('attachment; filename="..\\..\\x"', "x"),
        ("attachment; filename*=UTF-8''..%2F..%2Fetc%2Fcron", "cron"),
        ("attachment; filename*=klingon''a.bin", "a.bin"),
        ('attachment; filename=""', None),
        ('attachment; filename="na\u00c3\u00afve"', "naïve"),
        ("attachment; FileName='q.bin'", "q.bin"),
    ],
)
def test_content_disposition(header: str | None, expected: str | None) -> None:
    assert disposition_name(header) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://h/a/b.bin?x=/y/z", "b.bin"),
        ("https://h/", None),
        ("https://h", None),
        ("https://h/a/..", None),
        ("https://h/a%2Fb", "a%2Fb"),
        ("https://h/%2e%2e", "%2e%2e"),
    ],
)
def test_url_names(url: str, expected: str | None) -> None:
    assert url_name(url) == expected


def test_there_is_always_a_name() -> None:
    assert choose_name('attachment; filename=".."', "https://h/") == "download"


@given(st.text())
def test_no_text_becomes_a_path(text: str) -> None:
    for name in (
        safe_name(text),
        disposition_name(f'attachment; filename="{text}"'),
        disposition_name(f"attachment; filename*=UTF-8''{text}"),
    ):
        if name is not None:
            assert name not in {"", ".", ".."}
            assert os.path.basename(os.path.normpath(os.path.join("/folder", name))) == name  # noqa: PTH118, PTH119  # text in, text out
            assert os.path.dirname(os.path.normpath(os.path.join("/folder", name))) == "/folder"  # noqa: PTH118, PTH120  # text in, text out
            assert len(os.fsencode(name)) <= 240
            assert "\0" not in name
