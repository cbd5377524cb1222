"""Whose word counts about who asks, and from where."""

from __future__ import annotations

import ipaddress

import pytest

from orchestrator.expose.gate.trust import LOOPBACK, Public, Trust, is_authority, seen_through

NEAR = Trust(proxies=(*LOOPBACK, ipaddress.ip_network("10.0.0.0/8")), forwarded_host=True)
TOLD = (("host", "here:1"), ("x-forwarded-for", "9.9.9.9"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "pub"))


def test_strangers_are_not_believed():
    assert seen_through(Trust(), "127.0.0.1", TOLD, tls=False) == Public("127.0.0.1", secure=False, host="here:1")
    assert seen_through(NEAR, "8.8.8.8", TOLD, tls=False) == Public("8.8.8.8", secure=False, host="here:1")


def test_proxies_of_ours_are():
    assert seen_through(NEAR, "127.0.0.1", TOLD, tls=False) == Public("9.9.9.9", secure=True, host="pub")
    assert seen_through(NEAR, "::ffff:127.0.0.1", TOLD, tls=False).peer == "9.9.9.9"


@pytest.mark.parametrize(
    ("words", "peer"),
    [
        ("6.6.6.6, 9.9.9.9", "9.9.9.9"),  # the first one may be the client's invention
        ("6.6.6.6, 9.9.9.9, 10.1.1.1", "9.9.9.9"),
        ("9.9.9.9:1234", "9.9.9.9"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ('"2001:db8::1"', "2001:db8::1"),
        ("::ffff:9.9.9.9", "9.9.9.9"),
        ("10.1.1.1, 10.2.2.2", "10.1.1.1"),
        ("9.9.9.9, unknown", "127.0.0.1"),
        ("9.9.9.9, garbage, 10.1.1.1", "10.1.1.1"),
        ("", "127.0.0.1"),
    ],
)
def test_the_last_address_that_is_no_proxy_of_ours_asks(words, peer):
    assert seen_through(NEAR, "127.0.0.1", (("x-forwarded-for", words),), tls=False).peer == peer


def test_the_host_is_believed_of_proxies_that_set_it_only():
    trust = Trust(proxies=LOOPBACK, https=True, public="here:1")
    seen = seen_through(trust, "127.0.0.1", TOLD, tls=False)
    assert (seen.peer, seen.host) == ("9.9.9.9", "here:1")


def test_several_headers_are_one_list():
    headers = (("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "9.9.9.9"))
    assert seen_through(NEAR, "127.0.0.1", headers, tls=False).peer == "9.9.9.9"


def test_another_header_for_the_address():
    trust = Trust(proxies=LOOPBACK, address_header="cf-connecting-ip")
    headers = (("x-forwarded-for", "6.6.6.6"), ("cf-connecting-ip", "9.9.9.9"))
    assert seen_through(trust, "127.0.0.1", headers, tls=False).peer == "9.9.9.9"


def test_https():
    assert seen_through(Trust(https=True), "8.8.8.8", (), tls=False).secure
    assert seen_through(Trust(), "8.8.8.8", (), tls=True).secure
    http = (("x-forwarded-proto", "http"),)
    assert not seen_through(Trust(proxies=LOOPBACK, https=True), "127.0.0.1", http, tls=False).secure
    assert seen_through(Trust(https=True), "8.8.8.8", http, tls=False).secure
    assert seen_through(NEAR, "127.0.0.1", (("x-forwarded-proto", "wss, http"),), tls=False).secure


@pytest.mark.parametrize("host", ["a/b", "a b", "a@b", "", "a:b", "[::1", 'a"'])
def test_hosts_that_are_none_are_not_taken(host):
    assert not is_authority(host)
    headers = (("host", "here"), ("x-forwarded-host", host))
    assert seen_through(NEAR, "127.0.0.1", headers, tls=False).host == "here"


def test_ports():
    assert Public("", secure=True, host="a").port == "443"
    assert Public("", secure=False, host="a").port == "80"
    assert Public("", secure=False, host="[::1]:81").port == "81"
    assert Public("", secure=False, host="[::1]").port == "80"
