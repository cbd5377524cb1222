"""The audit log: what happened, and nothing secret."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from urllib.parse import quote

import pytest

from orchestrator.expose.gate import audit, passwords
from orchestrator.expose.gate.audit import Audit, Seldom, read
from tests.expose.gate.asking import BROWSER, Clock, make, passed


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.jsonl"


def test_events_are_lines_that_only_the_user_reads(path):
    log = Audit(path, Clock(5.0))
    log.note("entered", app="one", peer="10.0.0.1", way="token")
    log.note("share made", app="one", who="a1")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read(path) == [
        {"time": 5.0, "event": "entered", "app": "one", "peer": "10.0.0.1", "way": "token"},
        {"time": 5.0, "event": "share made", "app": "one", "who": "a1"},
    ]
    assert [each["event"] for each in read(path, 1)] == ["share made"]
    assert read(path, 0) == []
    assert read(path.with_name("none")) == []


def test_values_cannot_forge_lines_and_are_cut(path):
    Audit(path, Clock()).note("refused", peer='x\n{"event":"entered"}', who="y" * 1000)
    assert len(path.read_text().splitlines()) == 1
    assert len(read(path)[0]["who"]) == 200
    Audit(path, Clock()).note("machine not stopped", why="z" * 900)
    assert len(read(path)[1]["why"]) == 900, "our own words may be longer"


def test_broken_lines_are_left_out(path):
    path.write_bytes(b'{"event": "a"}\n\xff\xfe\n[1]\n{"event"\n{"event": "b"}\n')
    assert [each["event"] for each in read(path)] == ["a", "b"]


def test_the_log_is_rotated_and_three_files_are_kept(path):
    log = Audit(path, Clock(), largest=500)
    for number in range(60):
        log.note("refused", who=str(number))
    files = sorted(each.name for each in path.parent.iterdir() if not each.name.endswith(".lock"))
    assert files == ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2"]
    assert all((path.parent / name).stat().st_size < 600 for name in files)
    told = [int(each["who"]) for each in read(path, 1000)]
    assert told == list(range(told[0], 60))
    assert len(told) > 10


def test_several_processes_write_whole_lines_while_it_is_rotated(path):
    program = (
        "import sys; from pathlib import Path; from orchestrator.expose.gate.audit import Audit\n"
        "log = Audit(Path(sys.argv[1]), largest=8000)\n"
        "for number in range(60): log.note('refused', who=f'{sys.argv[2]} {number}', way='x' * 50)\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", program, str(path), str(each)]) for each in range(3)]
    assert [each.wait(60) for each in running] == [0, 0, 0]
    events = read(path, 1000)
    assert len({each["who"] for each in events}) == 180


def test_a_disk_that_takes_nothing_stops_nobody(tmp_path):
    Audit(tmp_path / "none" / "audit.jsonl").note("entered")
    assert list(tmp_path.iterdir()) == []


def test_what_happens_again_and_again_is_written_once_a_minute(path):
    ticks = Clock(0.0)
    log = Seldom(Audit(path, ticks), ticks)
    for _ in range(5):
        log.note("refused", peer="10.0.0.1")
        ticks.now += 15
    log.note("refused", peer="10.0.0.2")
    assert [each["time"] for each in read(path)] == [0, 60, 75]
    for number in range(5000):
        log._lately[(str(number),)] = 0.0
    log.note("x")
    assert len(log._lately) == audit._REMEMBERED


def test_what_visitors_do_is_told(tmp_path, path):
    log = Audit(path, Clock())
    client = make(tmp_path, audit=log)
    keys = client.keys
    client.visit(f"/?token={keys.token('one')}")
    assert passed(client.ask("/", headers={"authorization": f"Bearer {keys.token('one')}"}))
    client.ask("/", "POST", {"origin": "https://evil.example"})
    client.post("/.pinoctl/logout", {})
    client.ask("/?token=wrong")
    share = keys.share("one", 60, once=True)
    client.post("/.pinoctl/login", {"token": share.token})
    client.other().post("/.pinoctl/login", {"token": share.token})
    keys.revoke(share.id)
    keys.set_password("ann", "correct horse")
    client.other().post("/.pinoctl/login", {"user": "ann", "password": "wrong horse"})
    client.other().post("/.pinoctl/login", {"user": "ann", "password": "correct horse"})
    keys.renew("one")
    keys.forget("ann")
    keys.remove("one")
    told = [(each["event"], each.get("way", ""), each.get("who", "")) for each in read(path)]
    assert told == [
        ("entered", "token", ""),
        ("entered", "token of a program", ""),
        ("refused", "another origin", ""),
        ("left", "", ""),
        ("refused", "wrong token", ""),
        ("share made", "", share.id),
        ("share used", "", share.id),
        ("entered", "share", share.id),
        ("refused", "login: ended link", share.id),
        ("share revoked", "", share.id),
        ("password set", "", "ann"),
        ("refused", "login: wrong password", "ann"),
        ("login", "password", "ann"),
        ("token renewed", "", ""),
        ("person forgotten", "", "ann"),
        ("keys removed", "", ""),
    ]
    assert all(each["peer"] == client.peer for each in read(path) if each["event"] in {"entered", "refused", "login"})


def test_no_secret_is_ever_written(tmp_path, path, monkeypatch):
    monkeypatch.setattr(passwords, "COST", (2, 1, 1))  # many are looked at
    client = make(tmp_path, audit=Audit(path, Clock()))
    keys = client.keys
    planted = "pLaNtEdSeCrEt"
    keys.set_password("ann", f"{planted}-password")
    share, once = keys.share("one", label=planted), keys.share("one", once=True)
    secrets = [planted, keys.token("one"), share.token, once.token, keys.book.key.hex()]
    for token in [*secrets, f"{planted}-wrong"]:
        for app in ("one", "two", None):
            browser = client.other(app=app, peer=f"10.0.0.{len(token)}")
            for headers in (BROWSER, {"accept": "*/*"}):
                browser.ask(f"/{planted}?token={quote(token)}&q={planted}", headers=headers)
                browser.ask("/", headers={**headers, "authorization": f"Bearer {token}", "referer": planted})
                browser.ask("/", headers={**headers, "x-pinoctl-token": token, "origin": planted})
                browser.ask("/", headers={**headers, "cookie": f"pinoctl_one={token}; a={planted}"})
            browser.post(f"/.pinoctl/login?{planted}", {"token": token, "next": f"/{planted}"})
            browser.post("/.pinoctl/login", {"user": token, "password": planted})
            browser.post("/.pinoctl/login", {"user": "ann", "password": f"{planted}-password"})
            secrets += browser.jar.values()
            browser.post("/", {"x": planted}, origin=f"https://{planted}")
            browser.visit(f"/.pinoctl/go/{planted}?token={token}")
            browser.post("/.pinoctl/logout", {planted: planted})
    keys.renew("one")
    text = path.read_text()
    assert len(read(path)) > 20
    for secret in secrets:
        assert secret in {"one", "two"} or secret not in text  # the choice of an app is no secret
    assert all(json.loads(line)["event"] for line in text.splitlines())
