"""URLs and ports of an app in a container as this machine reaches them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.places.container.urls import outside, reachable, translated

FORWARDS = {"7860": 42000, "443": 42001, "80": 42002}
PUBLISHED = {42000: 32768, 42001: 32769}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:7860", "http://127.0.0.1:32768"),
        ("http://localhost:7860/", "http://127.0.0.1:32768/"),
        ("http://0.0.0.0:7860/app?token=a%20b#x", "http://127.0.0.1:32768/app?token=a%20b#x"),
        ("https://localhost:7860/", "https://127.0.0.1:32768/"),
        ("http://[::1]:7860/", "http://127.0.0.1:32768/"),
        ("https://localhost/a", "https://127.0.0.1:32769/a"),
        ("http://localhost/", None),  # forwarded, and not published
        ("http://localhost:9999/", None),
        (None, None),
        ("", None),
        ("http://localhost:99999/", None),
        ("http://localhost:port/", None),
        ("http://[::1/", None),
        ("no url", None),
    ],
)
def test_an_app_is_reached_at_the_published_port(url, expected):
    assert outside(url, FORWARDS, PUBLISHED) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"url":"http://127.0.0.1:7860/?a=1"}', '{"url":"http://127.0.0.1:32768/?a=1"}'),
        ("http://localhost:7860 http://0.0.0.0:7860/x", "http://127.0.0.1:32768 http://127.0.0.1:32768/x"),
        ("http://[::1]:7860/\0https://localhost/", "http://127.0.0.1:32768/\0https://127.0.0.1:32769/"),
        ("http://127.0.0.1:9999/", "http://127.0.0.1:9999/"),  # of an earlier start
        ("https://github.com:7860/a https://127.0.0.1.example.org:7860", None),
        ("http://localhost:7860@evil.example/ http://localhost:78600", None),
    ],
)
def test_a_text_has_the_urls_of_servers_as_they_are_reached(text, expected):
    assert reachable(text, FORWARDS, PUBLISHED) == (expected or text)


def test_another_address_may_be_given():
    assert outside("http://x:7860/a", FORWARDS, PUBLISHED, host="10.0.0.1") == "http://10.0.0.1:32768/a"


@given(st.text())
def test_whatever_an_app_prints(url):
    assert outside(url, {}, PUBLISHED) is None


def test_an_answer_keeps_the_rest():
    answer = {
        "state": "ready", "url": "http://127.0.0.1:7860", "forwards": FORWARDS,
        "ports": [{"port": 7860, "pid": 1}, {"port": 5000}],
    }  # fmt: skip
    found = translated(answer, PUBLISHED)
    assert found == {
        "state": "ready", "url": "http://127.0.0.1:32768", "forwards": FORWARDS,
        "ports": [{"port": 7860, "pid": 1, "published": 32768}, {"port": 5000, "published": None}],
    }  # fmt: skip
    assert answer["url"] == "http://127.0.0.1:7860"


@pytest.mark.parametrize("answer", [{}, {"forwards": None}, {"forwards": [1]}, {"url": None, "ports": None}])
def test_an_answer_without_any_has_no_url(answer):
    assert translated(answer, PUBLISHED)["url"] is None


def test_without_forwards_ports_lead_nowhere():
    answer = {"url": "http://127.0.0.1:7860", "ports": [{"port": 7860}]}
    assert translated(answer, PUBLISHED) == {"url": None, "ports": [{"port": 7860, "published": None}]}
