"""The gate's pages: what they allow a browser, and whether people can use them."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from tests.expose.gate.asking import BROWSER, header, make


class Reader(HTMLParser):
    """Collects the elements of a page, and complains about what is left open."""

    VOID = frozenset({"meta", "input", "link", "br"})

    def __init__(self, text):
        super().__init__()
        self.found, self.open, self.style = [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            self.style += data

    def all(self, tag):
        return [attributes for each, attributes in self.found if each == tag]


@pytest.fixture
def client(tmp_path):
    client = make(tmp_path)
    client.keys.set_password("ann", "correct horse")
    return client


PAGES = {
    "login": lambda client: client.visit("/x"),
    "wrong": lambda client: client.post("/.pinoctl/login", {"token": "wrong"}),
    "once": lambda client: client.visit(f"/?token={client.keys.share('one', once=True).token}"),
    "logout": lambda client: client.visit("/.pinoctl/logout"),
    "missing": lambda client: client.visit("/.pinoctl/none"),
    "elsewhere": lambda client: client.post("/.pinoctl/login", {}, origin="https://evil.example"),
    "limited": lambda client: [client.visit(f"/?token=x{number}") for number in range(10)][-1],
    "apps": lambda client: (
        client.post("/.pinoctl/login", {"user": "ann", "password": "correct horse"}),
        setattr(client, "app", None),
        client.visit("/.pinoctl/apps"),
    )[-1],
}


@pytest.fixture(params=PAGES)
def answer(request, client):
    return PAGES[request.param](client)


def test_a_page_can_be_read_and_used_by_anybody(answer):
    assert header(answer, "content-type") == "text/html; charset=utf-8"
    text = answer.body.decode()
    assert text.startswith("<!doctype html>")
    page = Reader(text)
    assert page.all("html") == [{"lang": "en"}]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")
    assert len(page.all("h1")) == len(page.all("main")) == len(page.all("title")) == 1
    labelled = {each["for"] for each in page.all("label")}
    visible = [each for each in page.all("input") if each.get("type") != "hidden"]
    assert {each["id"] for each in visible} == labelled
    assert "prefers-color-scheme: dark" in page.style
    assert ":focus-visible" in page.style


def test_a_page_runs_nothing_and_asks_for_nothing_from_elsewhere(answer):
    page = Reader(answer.body.decode())
    assert not page.all("script")
    assert not page.all("link")
    assert not re.search(rb"https?://|url\(|@import|\son\w+=|style=", answer.body)
    policy = dict(each.strip().partition(" ")[::2] for each in header(answer, "content-security-policy").split(";"))
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert policy == {
        "default-src": "'none'",
        "style-src": f"'sha256-{digest}'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    assert header(answer, "x-frame-options") == "DENY"


def test_nothing_of_ours_is_kept_or_tells_its_address(client):
    token = client.keys.token("one")
    answers = [
        *(make_page(client) for make_page in PAGES.values()),
        client.ask("/"),
        client.ask("/", headers={"accept": "application/json"}),
        client.ask("/.pinoctl/nonce"),
        client.other(app="one").visit(f"/?token={token}"),
    ]
    for answer in answers:
        assert header(answer, "cache-control") == "no-store"
        assert header(answer, "x-content-type-options") == "nosniff"
        forms = b"<form" in answer.body
        # With no-referrer the browser would send a form with `Origin: null`; this tells the origin and no more.
        assert header(answer, "referrer-policy") == ("strict-origin" if forms else "no-referrer")


def test_addresses_are_written_as_html_wants_them(client):
    page = client.visit("/a?b=c&lt=d'e")
    assert b'value="/a?b=c&amp;lt=d&#x27;e"' in page.body
    onwards = Reader(page.body.decode()).all("input")[0]
    assert (onwards["name"], onwards["value"]) == ("next", "/a?b=c&lt=d'e")


def test_a_program_is_told_in_text_or_json(client):
    text = client.ask("/")
    assert text.body.decode().count("\n") == 1
    assert b"<" not in text.body
    told = client.ask("/", headers={"accept": "application/json"})
    assert told.body.startswith(b'{"error": "')
    assert b"<html" not in client.ask("/", headers=BROWSER, upgrade=True).body
