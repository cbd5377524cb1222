"""Coming in as people do, with a real browser through a real SSH tunnel: by link, token, password, and out again."""

from __future__ import annotations

import json

import pytest

from tests.expose.e2e.lab import fetch, parts

pytestmark = pytest.mark.slow


def test_up_ends_with_a_link_that_opens_the_app_for_its_holder_only(lab, profile, profiles):
    link = lab.up("notes", page="/ui?theme=dark")
    base, token = parts(link)
    assert link == f"http://127.0.0.1:{lab.remote}/ui?theme=dark&token={token}"
    mine = profile.open(link)
    assert mine.url == f"{base}/ui?theme=dark", "the token is gone from the address"
    assert "treasure of notes" in mine.text
    assert mine.does("window.treasure") == "from the app"
    assert token not in mine.does("history.length + document.referrer + document.cookie")
    cookie = profile.cookies()["pinoctl_notes"]
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Lax"
    assert token not in json.dumps(profile.cookies())
    mine.click("a")
    assert mine.url == f"{base}/next"
    assert "treasure of notes" in mine.text

    stranger = profiles().open(f"{base}/ui?theme=dark")
    assert "treasure" not in stranger.text
    stranger.shows("closed to strangers")
    stranger.type("#token", "x" * 22)
    stranger.click("form button")
    stranger.shows("opens nothing here")
    stranger.type("#token", token)
    stranger.click("form button")
    stranger.shows("treasure of notes")
    assert stranger.url == f"{base}/ui?theme=dark", "it goes where it was asked for first"


def test_what_json_and_other_commands_tell(lab):
    folder = lab.write("told")
    told = lab.good("up", folder, "--quiet", "--tunnel", lab.fixed, "--json").json
    base, token = parts(told["share_link"])
    assert (told["state"], told["share_url"], told["tunnel"]) == ("ready", f"http://127.0.0.1:{lab.remote}", lab.fixed)
    assert base == told["share_url"]
    assert told["url"].startswith("http://127.0.0.1:")
    assert fetch(told["url"]).status == 200, "on this machine it is as it always was"
    assert lab.good("open", "told").last == told["share_link"]
    shown = lab.good("status", "told", "--json")
    assert shown.json["share_url"] == base
    assert shown.json["tunnel"]["state"] == "up"
    assert token not in shown.out + lab.good("gate", "status", "--json").out + lab.good("status").out
    assert base in lab.good("gate", "status").out
    assert fetch(told["share_link"], Accept="text/html").status == 303
    assert fetch(f"{base}/api", Authorization=f"Bearer {token}").status == 200
    log = lab.good("gate", "log", "--json").out
    assert token not in log
    assert "told" in log


def test_people_enter_with_their_password(lab, profile):
    base, _ = parts(lab.up("club"))
    lab.good("people", "add", "ann", "--app", "club", "--password-file", "-", text="correct horse battery\n")
    try:
        page = profile.open(base)
        page.type("#user", "ann")
        page.type("#password", "wrong")
        page.click("form:last-of-type button")
        page.shows("Name or password is wrong")
        page.type("#user", "ann")
        page.type("#password", "correct horse battery")
        page.click("form:last-of-type button")
        page.shows("treasure of club")
    finally:
        lab.good("people", "remove", "ann")
    page.click("a")
    page.shows("closed to strangers")


def test_a_link_for_one_browser_and_a_link_taken_back(lab, profile, profiles):
    lab.up("lent")
    shared = lab.good("share", "lent", "--once", "--label", "for ann", "--json").json
    page = profile.open(shared["link"])
    page.shows("one browser only")
    page.click("button")
    page.shows("treasure of lent")
    other = profiles().open(shared["link"])
    other.shows("was used already")
    assert "treasure" not in other.text
    again = profile.open(shared["link"])
    again.shows("treasure of lent")

    second = lab.good("share", "lent", "--quiet").last
    guest = profiles().open(second)
    guest.shows("treasure of lent")
    rows = lab.good("shares", "lent", "--json").json
    (unlabelled,) = [row["id"] for row in rows if not row["label"]]
    lab.good("revoke", unlabelled)
    guest.click("a")
    guest.shows("closed to strangers")
    page.click("a")
    page.shows("treasure of lent")

    lab.good("revoke", "lent")
    page.reload()
    page.shows("closed to strangers")
    fresh = profiles().open(lab.good("open", "lent").last)
    fresh.shows("treasure of lent")
