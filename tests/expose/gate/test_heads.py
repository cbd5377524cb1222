"""What is changed in heads on their way, and what is not."""

from __future__ import annotations

import pytest

from orchestrator.expose.gate.heads import end_to_end, location, own_address, private, to_app, to_client, trailers
from orchestrator.expose.gate.sessions import is_ours
from orchestrator.expose.gate.trust import Public

PUBLIC = Public("9.9.9.9", secure=True, host="pub.example")
TARGET = ("127.0.0.1", 7860)


def test_the_app_gets_the_host_that_the_browser_used():
    asked = (("host", "tunnel"), ("origin", "https://pub.example"), ("accept", "*/*"), ("accept", "b"))
    assert to_app(asked, PUBLIC, TARGET) == (
        ("host", "pub.example"),
        ("origin", "https://pub.example"),
        ("accept", "*/*"),
        ("accept", "b"),
        ("x-forwarded-for", "9.9.9.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-port", "443"),
        ("forwarded", 'for=9.9.9.9;proto=https;host="pub.example"'),
        ("x-forwarded-host", "pub.example"),
    )


def test_an_app_of_picky_hosts_gets_its_own():
    asked = (("host", "pub.example"), ("origin", "https://pub.example"), ("referer", "https://pub.example/a?b=1"))
    got = dict(to_app(asked, PUBLIC, TARGET, local_host=True))
    assert got["host"] == "127.0.0.1:7860"
    assert got["origin"] == "http://127.0.0.1:7860"
    assert got["referer"] == "http://127.0.0.1:7860/a?b=1"
    assert got["x-forwarded-host"] == "pub.example"
    foreign = to_app((("origin", "https://evil"), ("referer", "null")), PUBLIC, TARGET, local_host=True)
    assert ("origin", "https://evil") in foreign
    assert ("referer", "null") in foreign


@pytest.mark.parametrize("name", ["x_forwarded_for", "x-forwarded_for", "x_real_ip", "cf_connecting_ip", "forwarded"])
def test_what_a_client_claims_about_itself_goes_however_it_is_written(name):
    got = to_app(((name, "6.6.6.6"), ("x_other", "a")), PUBLIC, TARGET)
    assert "6.6.6.6" not in [value for _, value in got]
    assert ("x_other", "a") in got


def test_ipv6_in_forwarded():
    got = dict(to_app((), Public("2001:db8::1", secure=False, host="[::1]:80"), TARGET))
    assert got["forwarded"] == 'for="[2001:db8::1]";proto=http;host="[::1]:80"'
    assert got["x-forwarded-port"] == "80"


@pytest.mark.parametrize(
    ("target", "written"),
    [
        (("127.0.0.1", 1), "127.0.0.1:1"),
        (("0.0.0.0", 1), "127.0.0.1:1"),
        (("::1", 1), "[::1]:1"),
        (("localhost", 1), "localhost:1"),
    ],
)
def test_an_apps_own_address(target, written):
    assert own_address(target) == written


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("/path", "/path"),
        ("path", "path"),
        ("http://127.0.0.1:7860/a?b=1#c", "https://pub.example/a?b=1#c"),
        ("http://localhost:7860", "https://pub.example"),
        ("http://0.0.0.0:7860/", "https://pub.example/"),
        ("http://[::1]:7860/", "https://pub.example/"),
        ("http://127.0.0.1:7861/", "http://127.0.0.1:7861/"),
        ("http://pub.example/x", "https://pub.example/x"),
        ("https://pub.example/x", "https://pub.example/x"),
        ("https://pub.example:8443/x", "https://pub.example:8443/x"),
        ("https://huggingface.co/login", "https://huggingface.co/login"),
        ("//other/x", "//other/x"),
        ("//127.0.0.1:7860/y", "https://pub.example/y"),
        ("//localhost:7860", "https://pub.example"),
        ("//pub.example/x", "https://pub.example/x"),
        ("//127.0.0.1:7861/", "//127.0.0.1:7861/"),
        ("//127.0.0.1/", "//127.0.0.1/"),
        ("/a//127.0.0.1:7860/", "/a//127.0.0.1:7860/"),
        ("?next=http://127.0.0.1:7860/", "?next=http://127.0.0.1:7860/"),
        ("ftp://127.0.0.1:7860/", "ftp://127.0.0.1:7860/"),
        ("http://[bad", "http://[bad"),
        ("http://127.0.0.1:99999/", "http://127.0.0.1:99999/"),
    ],
)
def test_redirects_lead_where_the_browser_can_go(said, told):
    assert location(said, PUBLIC, TARGET) == told
    for name in ("location", "content-location"):
        assert to_client(((name, said),), PUBLIC, TARGET) == ((name, told),)


def test_an_address_without_scheme_and_port_may_be_that_of_a_server_on_port_80_or_443():
    for port in (80, 443):
        assert location("//127.0.0.1/x", PUBLIC, ("127.0.0.1", port)) == "https://pub.example/x"
    assert location("http://127.0.0.1/x", PUBLIC, ("127.0.0.1", 443)) == "http://127.0.0.1/x"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("0; url=http://127.0.0.1:7860/x", "0; url=https://pub.example/x"),
        ("5;URL='http://localhost:7860/x?a=1'", "5;URL='https://pub.example/x?a=1'"),
        ('0.5, url = "//127.0.0.1:7860/x" ', '0.5, url = "https://pub.example/x" '),
        ("1 http://127.0.0.1:7860/", "1 https://pub.example/"),
        ("0; http://pub.example/x", "0; https://pub.example/x"),
        ("0; url=/x", "0; url=/x"),
        (
            "0; url=https://elsewhere/?next=http://127.0.0.1:7860/",
            "0; url=https://elsewhere/?next=http://127.0.0.1:7860/",
        ),
        ("30", "30"),
        ("", ""),
    ],
)
def test_pages_that_lead_on_by_themselves_lead_where_the_browser_can_go(said, told):
    assert to_client((("refresh", said),), PUBLIC, TARGET) == (("refresh", told),)


def test_without_a_public_host_redirects_stay():
    assert location("http://127.0.0.1:7860/", Public("", secure=False, host=""), TARGET) == "http://127.0.0.1:7860/"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("a=1; Domain=localhost; Path=/", "a=1; Path=/"),
        ("a=1; path=/; domain=127.0.0.1", "a=1; path=/"),
        ('a=1;DOMAIN = ".localhost";Secure', "a=1;Secure"),
        ("a=1; Domain=pub.example; Secure; HttpOnly", "a=1; Domain=pub.example; Secure; HttpOnly"),
        ("domain=localhost", "domain=localhost"),
    ],
)
def test_cookies_for_the_apps_own_names_become_those_of_the_host(said, told):
    assert to_client((("set-cookie", said),), PUBLIC, TARGET) == (("set-cookie", told),)


def test_all_else_of_an_answer_stays():
    said = (("etag", '"x"'), ("content-encoding", "gzip"), ("content-range", "bytes 0-1/2"), ("set-cookie", "a"))
    assert to_client((*said, ("set-cookie", "b"), ("connection", "x-hop"), ("x-hop", "1")), PUBLIC, TARGET) == (
        *said,
        ("set-cookie", "b"),
    )


def test_connection_cannot_take_away_what_matters():
    headers = (("connection", "cookie, content-length, x-a"), ("cookie", "a=1"), ("content-length", "3"), ("x-a", "1"))
    assert end_to_end(headers) == (("cookie", "a=1"), ("content-length", "3"))


def test_trailers_are_those_that_may_come_late():
    assert trailers((("digest", "x"), ("set-cookie", "a=1"), ("content-length", "3"))) == (("digest", "x"),)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("public, max-age=31536000, immutable", "private, max-age=31536000, immutable"),
        ("max-age=60, s-maxage=3600", "private, max-age=60"),
        ("private", "private"),
        ("no-store", "no-store"),
        ("No-Cache, PUBLIC", "private, No-Cache"),
        ("", "private"),
    ],
)
def test_only_the_browsers_own_cache_keeps_what_a_closed_app_answers(said, kept):
    assert private(said) == kept
    headers = (("cache-control", said), ("cdn-cache-control", "max-age=9"), ("etag", "x"))
    assert to_client(headers, PUBLIC, TARGET, closed=True) == (("cache-control", kept), ("etag", "x"))
    assert to_client(headers, PUBLIC, TARGET) == headers, "an open app decides for itself"


def test_answers_that_say_nothing_of_caches_stay_out_of_shared_ones():
    assert to_client((("etag", "x"),), PUBLIC, TARGET, closed=True) == (("etag", "x"), ("cache-control", "private"))
    assert to_client((("etag", "x"),), PUBLIC, TARGET) == (("etag", "x"),)


def test_no_app_sets_the_gates_cookies():
    headers = (
        ("set-cookie", "a=b"),
        ("set-cookie", "pinoctl_demo=forged; Path=/"),
        ("set-cookie", "__Host-pinoctl_x=y"),
    )
    assert to_client(headers, PUBLIC, TARGET, is_ours=is_ours) == (("set-cookie", "a=b"),)
