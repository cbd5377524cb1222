"""Guessing slowed down: who has to wait, for how long, and who never has to."""

from __future__ import annotations

import pytest

from orchestrator.expose.gate import limits, passwords
from orchestrator.expose.gate.admission import Admission
from orchestrator.expose.gate.keys import Keys
from orchestrator.expose.gate.limits import FREE, Limits, source
from tests.expose.gate.asking import BROWSER, Client, Clock, header, make, passed


@pytest.fixture
def client(tmp_path):
    return make(tmp_path)


def guess(client, number):
    return client.ask(f"/?token=guess{number}", jar=False)


def shut(client):
    """Guess until the address has to wait."""
    for number in range(FREE + 1):
        answer = guess(client, number)
    return guess(client, "x") if answer.status == 401 else answer


def test_after_some_wrong_tokens_an_address_has_to_wait(client):
    answers = [guess(client, number).status for number in range(FREE)]
    assert answers == [401] * FREE
    answer = guess(client, "next")
    assert (answer.status, header(answer, "retry-after")) == (429, "2")
    assert client.visit("/").status == 401  # who brings nothing guesses nothing
    client.ticks.now += 2
    assert guess(client, "later").status == 401
    assert header(guess(client, "again"), "retry-after") == "4"


def test_waits_double_up_to_a_longest_one_and_are_forgotten_after_a_while():
    ticks = Clock(0.0)
    slow = Limits(ticks)
    waits = []
    for number in range(FREE + 14):
        slow.wrong("10.0.0.1", str(number).encode())
        waits.append(slow.wait("10.0.0.1"))
        ticks.now += waits[-1]
    assert waits[FREE - 2 : FREE + 3] == [0, 2, 4, 8, 16]
    assert max(waits) == limits.LONGEST_WAIT
    ticks.now += limits.FORGOTTEN_AFTER + limits.LONGEST_WAIT + 1
    slow.wrong("10.0.0.1", b"new")
    assert slow.wait("10.0.0.1") == 0


def test_the_same_wrong_token_or_cookie_counts_once(client):
    old = {"cookie": "__Host-pinoctl_one=old"}
    for _ in range(FREE * 3):
        assert client.ask("/", headers={**BROWSER, **old}).status == 401
        assert guess(client, "same").status == 401
    assert client.keys.token("one")
    assert passed(client.ask(f"/?token={client.keys.token('one')}"))


def test_cookies_that_are_nothing_count_and_those_of_other_ports_do_not(client):
    for number in range(FREE * 2):
        client.ask("/", headers={"cookie": f"pinoctl_two=x{number}"})
    assert guess(client, 0).status == 401
    for number in range(FREE):
        client.ask("/", headers={"cookie": f"pinoctl_one=x{number}"})
    assert guess(client, 1).status == 429


def test_a_session_that_is_over_is_no_guess(client):
    client.visit(f"/?token={client.keys.token('one')}")
    client.keys.renew("one")
    for _ in range(FREE * 2):
        assert client.visit("/").status == 401


def test_many_tokens_in_one_request_count_as_many(client):
    tokens = "&".join(f"token=x{number}" for number in range(4))
    for number in range(FREE // 4):
        client.ask("/?" + tokens.replace("x", f"y{number}"))
    assert guess(client, 0).status == 429
    # Beyond the first few none is looked at.
    right = client.keys.token("one")
    assert client.other(peer="10.9.9.9").ask(f"/?{tokens}&token={right}").status == 401


def test_other_addresses_do_not_have_to_wait(client):
    assert shut(client).status == 429
    assert guess(client.other(peer="203.0.113.8"), 0).status == 401


def test_who_is_inside_or_has_a_token_that_nobody_can_guess_enters_from_a_limited_address(client):
    client.visit(f"/?token={client.keys.token('one')}")
    assert shut(client).status == 429
    assert passed(client.visit("/"))
    friend = client.other()
    assert friend.visit(f"/?token={client.keys.token('one')}").status == 303
    assert passed(client.ask("/", headers={"authorization": f"Bearer {client.keys.token('one')}"}, jar=False))
    assert friend.post("/.pinoctl/login", {"token": client.keys.token("one")}).status == 303


def test_passwords_are_not_looked_at_from_a_limited_address(client):
    client.keys.set_password("ann", "correct horse")
    assert shut(client).status == 429
    answer = client.post("/.pinoctl/login", {"user": "ann", "password": "correct horse"})
    assert (answer.status, client.jar) == (429, {})
    assert b"try again in 2 seconds" in answer.body
    client.ticks.now += 2
    assert client.post("/.pinoctl/login", {"user": "ann", "password": "correct horse"}).status == 303


def test_every_wrong_password_counts_even_the_same_one(client):
    client.keys.set_password("ann", "correct horse")
    wrong = {"user": "ann", "password": "wrong horse"}
    answers = [client.post("/.pinoctl/login", wrong).status for _ in range(FREE + 1)]
    assert answers == [401] * FREE + [429]


def test_strangers_from_many_addresses_lock_nobody_out_who_has_a_given_token():
    token = "a-token-that-nobody-guesses"
    client = Client(Admission(Keys.of_token("one", token, Clock()), nonce="n", clock=Clock()))
    for number in range(200):
        guess(client.other(peer=f"9.{number}.1.1"), number)
    assert shut(client).status == 429
    for headers in ({"authorization": f"Bearer {token}"}, {"x-pinoctl-token": token}):
        assert passed(client.ask("/", headers=headers, jar=False))
    assert client.other().visit(f"/?token={token}").status == 303
    assert client.other().post("/.pinoctl/login", {"token": token}).status == 303


ANN, BOB = ({"user": name, "password": "correct horse"} for name in ("ann", "bob"))


@pytest.fixture
def people(client, monkeypatch):
    monkeypatch.setattr(passwords, "COST", (2, 1, 1))
    for each in (ANN, BOB):
        client.keys.set_password(**each)
    return client


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "172.17.0.1", "::ffff:10.0.2.2", "100.64.0.3", "fe80::1%eth0"])
def test_where_all_share_an_address_who_guesses_keeps_out_nobody_else(people, peer):
    people.peer = peer
    wrong = {"user": "ann", "password": "wrong horse"}
    answers = [people.post("/.pinoctl/login", wrong).status for _ in range(FREE + 1)]
    assert answers == [401] * FREE + [429]
    for number in range(FREE * 2):
        guess(people, number)
    assert people.other().post("/.pinoctl/login", ANN).status == 429
    assert people.other().post("/.pinoctl/login", BOB).status == 303
    people.ticks.now += 2
    assert people.other().post("/.pinoctl/login", ANN).status == 303


def test_a_wait_for_a_name_at_a_shared_address_is_short_however_long_somebody_guesses():
    ticks = Clock(0.0)
    slow = Limits(ticks)
    waits = []
    for _ in range(30):
        slow.wrong_password("127.0.0.1", "ann")
        waits.append(slow.wait_for_password("127.0.0.1", "ann"))
        ticks.now += waits[-1]
    assert max(waits) == limits.SHARED_WAIT
    assert waits[FREE - 1 : FREE + 2] == [2, 4, 8]


def test_many_addresses_together_cannot_guess_the_password_of_one_name_either(people):
    wrong = {"user": "ann", "password": "wrong horse"}
    tries = 0
    while people.other(peer=f"9.0.0.{tries}").post("/.pinoctl/login", wrong).status == 401:
        people.ticks.now += 0.5  # as more are not looked at in that time anyway
        tries += 1
    assert limits.OF_A_NAME <= tries < limits.OF_A_NAME * 1.5
    fresh = people.other(peer="198.51.100.1")
    assert fresh.post("/.pinoctl/login", ANN).status == 429
    assert fresh.post("/.pinoctl/login", BOB).status == 303
    assert fresh.other().visit(f"/?token={people.keys.token('one')}").status == 303
    people.ticks.now += 4
    assert people.other(peer="198.51.100.2").post("/.pinoctl/login", ANN).status == 303


def test_only_so_many_passwords_are_looked_at():
    ticks = Clock(0.0)
    slow = Limits(ticks)
    for _ in range(limits.TRIES):
        assert slow.wait_for_password("10.0.0.1", "ann") == 0
        slow.tried_password()
    assert slow.wait_for_password("10.0.0.2", "bob") > 0
    assert slow.wait("10.0.0.2") == 0
    ticks.now += 1
    assert slow.wait_for_password("10.0.0.2", "bob") == 0


def test_only_so_many_names_are_remembered():
    slow = Limits(Clock(0.0))
    for number in range(limits.MOST_ADDRESSES + 50):
        slow.wrong_password("9.9.9.9", f"{number}" * 100)
    assert len(slow._names) == limits.MOST_ADDRESSES
    assert max(map(len, slow._names)) == 64


def test_only_so_many_addresses_are_remembered():
    slow = Limits(Clock(0.0))
    for number in range(limits.MOST_ADDRESSES + 50):
        for each in range(40):
            slow.wrong(f"10.{number // 65536}.{number // 256 % 256}.{number % 256}", b"%d" % each)
            if number > 3:
                break
    assert len(slow._addresses) == limits.MOST_ADDRESSES
    assert all(len(known.recent) <= limits.REMEMBERED for known in slow._addresses.values())


@pytest.mark.parametrize(
    ("peer", "counted"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::9]", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("unix", "unix"),
        ("x" * 1000, "x" * 64),
    ],
)
def test_what_counts_as_one_address(peer, counted):
    assert source(peer) == counted


def test_a_clock_that_stands_still_or_goes_back_opens_nothing():
    ticks = Clock(100.0)
    slow = Limits(ticks)
    for number in range(FREE):
        slow.wrong("10.0.0.1", str(number).encode())
    ticks.now = 50.0
    assert slow.wait("10.0.0.1") > 0
    assert slow.wait("10.0.0.2") == 0
