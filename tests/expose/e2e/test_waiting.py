"""Apps that are not there yet, or no more: what a browser shows meanwhile, and that it goes on by itself."""

from __future__ import annotations

import pytest

from tests.expose.e2e.lab import fetch, parts

pytestmark = pytest.mark.slow


def test_the_waiting_page_turns_into_the_app_and_keeps_the_address(lab, profile):
    folder = lab.write("late")
    (folder / "hold").touch()
    bringing = lab.start("up", str(folder), "--tunnel", lab.fixed)
    try:
        link = lab.until(lambda: lab.shown("late").get("share_link"))
        base, token = parts(link)
        page = profile.open(f"{base}/ui?model=a%20b&token={token}&n=1")
        page.shows("late is not ready yet")
        page.shows("starting")
        assert page.url == f"{base}/ui?model=a%20b&n=1"
        assert "treasure" not in page.text
        waiting = fetch(f"{base}/api", Authorization=f"Bearer {token}")
        assert (waiting.status, waiting.headers["Retry-After"]) == (503, "2")
        (folder / "hold").unlink()
        page.shows("treasure of late")
        assert page.url == f"{base}/ui?model=a%20b&n=1"
        assert "/ui?model=a%20b&n=1" in page.text
        out, err = bringing.communicate(timeout=60)
    finally:
        bringing.kill()
    assert bringing.returncode == 0, err
    assert out.splitlines() == [link]
    assert link == f"{base}/?token={token}"


def test_an_app_that_died_says_why_and_comes_back(lab, profile):
    link = lab.up("dead")
    base, token = parts(link)
    page = profile.open(link)
    page.shows("treasure of dead")
    (lab.folder / "dead" / "die").touch()
    lab.kill(lab.server("dead"))
    lab.until(lambda: fetch(f"{base}/api", Authorization=f"Bearer {token}").status == 503)
    page.click("a")
    page.shows("dead is not ready yet")
    page.shows("dead has failed", 180)
    page.shows("gave up after 5 restarts")
    page.shows("pinoctl logs dead")
    assert "failed" in lab.good("status", "dead", "--json").json["state"]
    assert "corrupt" in lab.good("logs", "dead").out
    (lab.folder / "dead" / "die").unlink()
    assert lab.up("dead") == link
    page.shows("treasure of dead")
    assert page.url == f"{base}/next"


def test_an_app_that_never_got_ready_is_not_left_exposed(lab):
    folder = lab.write("stillborn")
    (folder / "die").touch()
    ran = lab("up", folder, "--quiet", "--tunnel", lab.fixed)
    assert (ran.status, ran.out) == (1, "")
    assert "corrupt" in ran.err
    assert lab.shown("stillborn") == {}
    (folder / "die").unlink()
    assert "treasure" in fetch(lab.up("stillborn")).text


def test_exposing_an_app_that_runs_and_hiding_it_again(lab, profile):
    folder = lab.write("quiet")
    here = lab.good("up", folder, "--quiet").last
    assert lab.shown("quiet") == {}
    assert "treasure" in fetch(here).text
    link = lab.good("expose", "quiet", "--tunnel", lab.fixed, "--quiet").last
    page = profile.open(link)
    page.shows("treasure of quiet")
    gate = lab.shown("quiet")["url"]
    assert "`quiet` is hidden" in lab.good("hide", "quiet").err
    assert lab.until(lambda: fetch(link).status == 0)
    assert fetch(gate).status == 0
    assert "treasure" in fetch(here).text, "the app goes on"
    assert "was not exposed" in lab.good("hide", "quiet").err
    assert lab.good("open", "quiet").last == here
    again = lab.good("expose", "quiet", "--tunnel", lab.fixed, "--quiet").last
    assert again == link
    page.reload()
    page.shows("treasure of quiet")
