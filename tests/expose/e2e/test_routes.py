"""Every route of an app, through every port: closed without credentials, open with them."""

from __future__ import annotations

import socket
import time
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.expose.e2e.lab import fetch, parts
from tests.expose.tunnels.lab import PATIENCE

pytestmark = pytest.mark.slow

UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)
PREFLIGHT = "Origin: http://elsewhere.example\r\nAccess-Control-Request-Method: POST\r\n"
PATHS = (
    "/",
    "/next",
    "/ui",
    "/static/app.js",
    "/api",
    "/events",
    "/redirect",
    "/landed",
    "/cookie",
    "/no/such?a=b",
    "//api",
)
METHODS = ("HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "PROPFIND", "REPORT", "MKCOL")
REQUESTS = (
    *(("GET", path, "") for path in PATHS),
    *((method, path, "") for method in METHODS for path in ("/", "/api")),
    ("OPTIONS", "/api", PREFLIGHT),
    ("POST", "/upload", ""),
    ("POST", "/act", ""),
    ("GET", "/api", "Accept: application/json\r\n"),
    ("GET", "/api", "Accept: text/html\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n"),
    ("GET", "/api", "Range: bytes=0-3\r\n"),
)
DISGUISED = (
    ("GET", "/.pinoctl/state", ""),
    ("GET", "/.pinoctl/../api", ""),
    ("GET", "/.pinoctl/%2e%2e/api", ""),
    ("GET", "/%2epinoctl/..%2fapi", ""),
    ("GET", "/.pinoctl//../api", ""),
    ("GET", "/.pinoctl/login/../../api", ""),
    ("GET", "/.pinoctl/nonce/../../api", ""),
    ("GET", "{base}/api", ""),
    ("GET", "http://localhost/api", ""),
    ("GET", "/api?token=", ""),
    ("GET", "/api?token=AAAAAAAAAAAAAAAAAAAAAA", ""),
    ("GET", "/api", "Authorization: Bearer AAAAAAAAAAAAAAAAAAAAAA\r\n"),
    ("GET", "/api", "Authorization: Basic cGlub2N0bDpwaW5vY3Rs\r\n"),
    ("GET", "/api", "Cookie: pinoctl_walked=AAAA; pinoctl-person=AAAA; pinoctl-app=walked\r\n"),
    ("GET", "/api", "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Host: localhost\r\n"),
    ("GET", "/api", "X-Original-URL: /.pinoctl/health\r\nX-Rewrite-URL: /.pinoctl/health\r\n"),
    ("GET", "/echo", UPGRADE),
    ("GET", "/api", UPGRADE),
    ("GET", "/.pinoctl/nonce", UPGRADE),
    (
        "GET",
        "/api",
        "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
    ),
    ("GET", "/.pinoctl/health", "Content-Length: 0\r\n\r\nGET /api HTTP/1.1\r\nHost: a\r\n"),
    ("POST", "/.pinoctl/login", "Content-Length: 0\r\n\r\nGET /api HTTP/1.1\r\nHost: a\r\n"),
    ("CONNECT", "127.0.0.1:80", ""),
    ("TRACE", "/api", ""),
    ("BREW", "/api", ""),
)


def raw(base, method, target, more, credentials=""):
    """Send a request as it is and return everything that comes back; what streams is read until it is recognized."""
    where = urlsplit(base)
    ends = "" if "Connection:" in more or "\r\n\r\n" in more else "Connection: close\r\n"
    length = "Content-Length: 2\r\n" if method in {"POST", "PUT", "PATCH"} and "\r\n\r\n" not in more else ""
    head = f"{method} {target.replace('{base}', base)} HTTP/1.1\r\nHost: {where.netloc}\r\n"
    text = f"{head}{credentials}{ends}{length}{more}\r\n"
    said, until = b"", time.monotonic() + PATIENCE
    with socket.create_connection((where.hostname, where.port), timeout=PATIENCE) as client:
        client.sendall(text.encode() + (b"{}" if length else b""))
        while time.monotonic() < until:
            try:
                piece = client.recv(65536)
            except (TimeoutError, ConnectionResetError):
                break
            said += piece
            if not ends:  # nothing else says when the answer has ended
                client.settimeout(0.5)
            if not piece or (b"treasure" in said and target == "/events"):
                break
    return said.decode("latin-1")


def closed(base, requests=(*REQUESTS, *DISGUISED), credentials=""):
    """Ask for everything and return what did not stay closed."""
    wrong = []
    for method, target, more in requests:
        said = raw(base, method, target, more, credentials)
        if not said.startswith(
            ("HTTP/1.1 4", "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\ncache-control")
        ):
            wrong.append((method, target, said[:300]))
        if "treasure" in said or "aiohttp" in said or " 101 " in said or "ready" in said:
            wrong.append((method, target, said[:300]))
    return wrong


def test_no_route_answers_without_credentials_and_every_route_with_them(lab):
    base, token = parts(lab.up("walked"))
    shown = lab.shown("walked")
    assert shown["share_url"] == base
    bearer = f"Authorization: Bearer {token}\r\n"
    for port in (base, shown["url"]):
        assert closed(port) == []
        for method, target, more in REQUESTS:
            said = raw(port, method, target, more, bearer)
            assert "aiohttp" in said, (method, target, said)
            assert method == "HEAD" or "treasure" in said, (method, target, said)
        assert '"state": "ready"' in raw(port, "GET", "/.pinoctl/state", "", bearer)
        socket_url = f"{port.replace('http', 'ws')}/echo"
        with pytest.raises(InvalidStatus), connect(socket_url, proxy=None, open_timeout=PATIENCE):
            pass
        with connect(f"{socket_url}?token={token}", proxy=None, open_timeout=PATIENCE) as channel:
            channel.send("hello")
            assert channel.recv(PATIENCE) == "treasure hello"
    body = bytes(range(256)) * 20_000
    sent = fetch(f"{base}/upload", "POST", body, **{"X-Pinoctl-Token": token})
    assert sent.status == 200


def test_one_apps_credentials_open_no_other_app(lab):
    mine = parts(lab.up("mine", "--tunnel", lab.any))
    other = parts(lab.up("other", "--tunnel", lab.any))
    assert mine[0] != other[0]
    assert fetch(f"{mine[0]}/api", Authorization=f"Bearer {mine[1]}").status == 200
    cookie = fetch(f"{mine[0]}/?token={mine[1]}", Accept="text/html").headers["Set-Cookie"].partition(";")[0]
    assert fetch(f"{mine[0]}/api", Cookie=cookie).status == 200
    forged = cookie.replace("pinoctl_mine", "pinoctl_other")
    for credentials in (f"Authorization: Bearer {mine[1]}\r\n", f"Cookie: {cookie}\r\n", f"Cookie: {forged}\r\n"):
        assert closed(other[0], REQUESTS[:6], credentials) == []
    assert "treasure" not in fetch(f"{other[0]}/api?token={mine[1]}").text


def test_the_one_port_for_all(narrow, profile, profiles):
    red = narrow.up("red", "--tunnel", "auto")
    blue = narrow.up("blue", "--tunnel", "auto")
    base = narrow.env["PINOCTL_PUBLIC_URL"]
    assert red.startswith(f"{base}/.pinoctl/go/red?token=")
    assert closed(base) == []
    page = profile.open(red)
    page.shows("treasure of red")
    assert page.url == f"{base}/"
    stranger = profiles().open(f"{base}/.pinoctl/go/red")
    stranger.shows("closed to strangers")
    page.go(blue)
    page.shows("treasure of blue")
    page.click("a")
    page.shows("treasure of blue")
    page.go(f"{base}/.pinoctl/apps")
    page.click("a[href$='/red']")
    page.shows("treasure of red")
    narrow.good("revoke", "red")
    page.reload()
    page.shows("treasure of blue")
    page.go(f"{base}/.pinoctl/go/red")
    page.shows("closed to strangers")
