"""The forms in which servers say where they are, and what they print afterwards."""

# launchers are data: a step per line reads best

from __future__ import annotations

import socket

import pytest

from tests.patterns.conftest import page
from tests.patterns.sources import INSTALL, URL_EVENT, js, menu, script, serve, set_url, shell, step

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def launcher(banner, *, event=URL_EVENT, url="{{input.event[0]}}", **attributes):
    return {
        "pinokio.js": menu("installed"),
        "install.js": js(INSTALL),
        "start.js": js(script(serve(f"python3 server.py {{{{port}}}} {banner}", event=event), set_url(url),
                              daemon=True, **attributes)),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("banner", "ending"),
    [("colour", "/"), ("any", ""), ("localhost", ""), ("wrapped", "/long/path/that/goes/over/the/edge?q=1"), ("quoted", "/ui"), ("progress", "")],
)  # fmt: skip
def test_a_printed_url(app, banner, ending):
    one = app(launcher(banner), name=f"prints-{banner}")
    result = one.up()
    port = one.status["ports"][0]["port"]
    assert result["url"] == f"http://127.0.0.1:{port}{ending}"
    assert "hello" in page(result["url"])
    one.down()


def test_a_server_on_ipv6_alone(app):
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no ::1")
    result = app(launcher("ipv6"))()
    assert result["url"].startswith("http://[::1]:")


def test_a_url_that_the_script_never_learns(app):
    """The handler looks for another server's words; what is printed and listened on tells."""
    one = app(launcher("port-only", event="/Server listening/", url="{{input.event[1]}}"))
    result = one()
    assert result["url"].startswith("http://127.0.0.1:")
    assert "{{" not in result["url"]


def test_errors_after_the_url_are_the_servers_own_business(app):
    one = app(launcher("error-later"))
    result = one.up()
    for _ in range(3):
        assert "hello" in page(result["url"])
    one.logs("error: this came after the URL", "ERROR: a request was served")
    assert one.state == "ready"
    one.down()


def test_errors_that_the_script_tolerates(app):
    one = app({
        "pinokio.js": menu("installed"),
        "install.js": js(script(
            shell("echo 'ERROR: pip says that versions conflict'; echo done", on=[{"event": "/ERROR: pip/", "break": False}]),
            *INSTALL["run"])),
        "start.js": js(script(
            shell("echo 'Error: never mind'; exec python3 server.py {{port}}",
                  on=[{"event": "/error:/i", "break": False}, {"event": URL_EVENT, "done": True}]),
            set_url(), daemon=True)),
    })  # fmt: skip
    one()


def test_the_page_comes_up_long_after_its_url(app):
    """The URL is in the command itself, so the script is through before the server is there."""
    one = app({
        "pinokio.js": menu("installed"), "install.js": js(INSTALL),
        "start.js": js(script(
            step("local.set", {"port": "{{port}}"}),
            shell("sleep 1; python3 server.py {{local.port}} # http://127.0.0.1:{{local.port}}", on=[{"event": URL_EVENT, "done": True}]),
            set_url("http://127.0.0.1:{{local.port}}"), daemon=True)),
    })  # fmt: skip
    one()


def test_a_server_that_ends_before_it_is_ready_fails_with_its_last_words(app):
    one = app({
        "pinokio.js": menu("installed"), "install.js": js(INSTALL),
        "start.js": js(script(serve("echo this GPU is too old; exit 3"), set_url(), daemon=True)),
    })  # fmt: skip
    failed = one.up(fails=True)
    assert "this GPU is too old" in " ".join(failed["failed"]["lines"])
    one.down()
