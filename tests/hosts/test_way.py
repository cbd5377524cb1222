"""The way out of each platform: URLs, ports, and what a user may say instead."""

from __future__ import annotations

import socket

import pytest

from orchestrator.engine.errors import BadInputError
from orchestrator.hosts.detection import find_platform
from orchestrator.hosts.signs import signs_here
from orchestrator.hosts.way import listening, portal_ports, trusted_proxies, way_out, ways_out

from .machines import COLAB, RUNPOD, VAST, machine

PORTAL = "localhost:1111:11111:/:Instance Portal|localhost:8080:18080:/:Jupyter|localhost:7860:17860:/:App"
LISTENING = (
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
    "   0: 00000000:1EB4 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0\n"  # 7860
    "   1: 0100007F:1EB5 0100007F:CE42 01 00000000:00000000 00:00000000 00000000     0\n"  # 7861, connected only
)


def way(environ, files=None, port=None):
    signs = machine(environ, files)
    return way_out(find_platform(signs), signs, port)


def test_runpod_offers_its_proxy_for_any_port():
    found = way(RUNPOD)
    assert found.url(7860) == "https://abc123xyz-7860.proxy.runpod.net"
    assert (found.kind, found.bind, found.ports, found.free) == ("url", "0.0.0.0", None, None)
    assert (found.https, found.timeout_seconds, found.one_port, found.sure) == (True, 100, False, False)


def test_runpod_offers_tcp_ports_next():
    signs = machine(RUNPOD | {"RUNPOD_TCP_PORT_8000": "13020", "RUNPOD_TCP_PORT_70000": "10123"})
    first, second = ways_out(find_platform(signs), signs)
    assert (first.name, second.name) == ("RunPod proxy", "RunPod TCP port")
    assert second.mapped == ((8000, "http://213.173.109.39:13020"), (10123, "http://213.173.109.39:10123"))
    assert (second.https, second.timeout_seconds, second.proxies) == (False, None, ())


def test_vast_offers_the_mapped_ports_that_nobody_has():
    found = way(VAST | {"VAST_TCP_PORT_1111": "33510", "VAST_TCP_PORT_70001": "41000", "VAST_TCP_PORT_6006": "33511"})
    assert dict(found.mapped) == {
        6006: "http://65.130.162.74:33511",
        7860: "http://65.130.162.74:33526",
        41000: "http://65.130.162.74:41000",
    }
    assert (found.ports, found.one_port, found.https, found.certificate) == ((6006, 7860, 41000), False, False, None)


def test_vast_with_one_port_shares_it_and_speaks_tls_where_a_certificate_lies():
    found = way(VAST, {"/etc/instance.crt": "", "/etc/instance.key": ""})
    assert found.url(7860) == "https://65.130.162.74:33526"
    assert (found.one_port, found.https) == (True, True)
    assert found.certificate == ("/etc/instance.crt", "/etc/instance.key")
    assert not way(VAST, {"/etc/instance.crt": ""}).https


def test_vast_leaves_the_portal_and_jupyter_alone():
    assert portal_ports(machine({"PORTAL_CONFIG": PORTAL})) == {1111, 11111, 8080, 18080, 7860, 17860}
    none = way(VAST | {"PORTAL_CONFIG": PORTAL})
    assert (none.kind, none.url(7860)) == ("none", "")
    assert "no port is free" in none.note
    moved = way(VAST | {"JUPYTER_PORT": "7860"})
    assert moved.ports == (8080,)


def test_vast_without_an_address_says_so():
    assert "PUBLIC_IPADDR" in way({key: value for key, value in VAST.items() if key != "PUBLIC_IPADDR"}).note


def test_ports_in_use_are_told():
    found = way(VAST | {"VAST_TCP_PORT_7861": "33527"}, {"/proc/net/tcp": LISTENING, "/proc/net/tcp6": None})
    assert (found.ports, found.busy, found.free) == ((7860, 7861), (7860,), (7861,))


def test_a_real_server_is_seen_to_listen():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert port in listening(signs_here())
    assert port not in listening(signs_here())


def test_lightning_and_paperspace():
    studio = way({"LIGHTNING_CLOUDSPACE_HOST": "01h.cloudspaces.litng.ai"})
    assert studio.url(7860) == "https://7860-01h.cloudspaces.litng.ai"
    notebook = way({"PAPERSPACE_FQDN": "n1.paperspacegradient.com"})
    assert notebook.url(6006) == "https://tensorboard-n1.paperspacegradient.com"
    assert (notebook.ports, notebook.one_port) == ((6006,), True)
    assert way({"PAPERSPACE_FQDN": "n1.example"}, port=7860).kind == "none"


def test_colab_shows_a_frame_and_others_have_nothing():
    assert way(COLAB).kind == "frame"
    assert way(COLAB).bind == "127.0.0.1"
    for environ in ({"KAGGLE_URL_BASE": "u"}, {"KUBERNETES_SERVICE_HOST": "h"}, {"LIGHTNING_CLOUD_SPACE_ID": "i"}, {}):
        assert way(environ).kind == "none"
    assert "prefix" in way({}, {"/home/studio-lab-user": None}).note


@pytest.mark.parametrize(
    "environ", [{"RUNPOD_POD_ID": "a.evil/"}, {"LIGHTNING_CLOUDSPACE_HOST": "x/y@z"}, {"PAPERSPACE_FQDN": "a b"}]
)
def test_values_that_are_no_names_make_no_url(environ):
    assert way(environ).kind == "none"


def test_the_port_may_be_settled():
    found = way(RUNPOD | {"PINOCTL_GATE_PORT": "8888"})
    assert (found.ports, found.one_port, found.url(8888)) == ((8888,), True, "https://abc123xyz-8888.proxy.runpod.net")
    assert way(VAST, port=7860).ports == (7860,)
    closed = way(VAST, port=9000)
    assert closed.kind == "none"
    assert "port 9000 was not opened" in closed.note


@pytest.mark.parametrize("text", ["0", "65536", "http", "-1", "8.5", "²"])
def test_a_port_that_is_none_is_refused(text):
    with pytest.raises(BadInputError, match="PINOCTL_GATE_PORT"):
        way(RUNPOD | {"PINOCTL_GATE_PORT": text})


def test_a_public_url_replaces_everything():
    found = way(RUNPOD | {"PINOCTL_PUBLIC_URL": "https://gpu.example.org/"})
    assert (found.url(7860), found.one_port, found.bind, found.https) == (
        "https://gpu.example.org",
        True,
        "0.0.0.0",
        True,
    )
    each = way({"PINOCTL_PUBLIC_URL": "http://{port}.gpu.example.org"})
    assert (each.url(7860), each.one_port, each.bind, each.https) == (
        "http://7860.gpu.example.org",
        False,
        "127.0.0.1",
        False,
    )


@pytest.mark.parametrize(
    "text", ["gpu.example.org", "ftp://x", "https://", "https://u:p@host", "https://h/?a=b", "https://h h"]
)
def test_an_address_that_is_none_is_refused(text):
    with pytest.raises(BadInputError, match="PINOCTL_PUBLIC_URL"):
        way({"PINOCTL_PUBLIC_URL": text})


def test_a_way_is_plain_data():
    data = way(VAST).to_json()
    assert data["mapped"] == {"7860": "http://65.130.162.74:33526"}
    assert data["free"] == (7860,)


@pytest.mark.parametrize("environ", [RUNPOD, VAST, {}, {"PINOCTL_PUBLIC_URL": "https://gpu.example.org"}])
def test_a_proxy_that_is_named_is_believed_and_no_other(environ):
    named = {"PINOCTL_TRUSTED_PROXY": "127.0.0.1, 172.17.0.9/16 2001:db8::/32"}
    assert way(environ | named).proxies == ("127.0.0.1/32", "172.17.0.0/16", "2001:db8::/32")
    assert trusted_proxies(machine(environ)) == ()


@pytest.mark.parametrize("text", ["proxy.example", "10.0.0.0/33", "10.0.0.1:80", "*"])
def test_a_proxy_that_is_no_address_is_refused(text):
    with pytest.raises(BadInputError, match="PINOCTL_TRUSTED_PROXY"):
        way({"PINOCTL_TRUSTED_PROXY": text})
