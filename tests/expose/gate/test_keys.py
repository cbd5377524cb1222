"""The key file: what is made, kept, shared between processes, and never lost or readable by others."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
import threading

import pytest

from orchestrator.engine.errors import BadInputError, PinoctlError
from orchestrator.expose.gate import passwords
from orchestrator.expose.gate.keys import TRANSIENT, Keys
from tests.expose.gate.asking import Clock


@pytest.fixture
def path(tmp_path):
    return tmp_path / "home" / "gate" / "keys.json"


@pytest.fixture
def keys(path):
    return Keys(path, Clock())


def test_a_token_has_192_bits_and_stays(keys, path):
    token = keys.token("one")
    assert re.fullmatch(r"[A-Za-z0-9_-]{32}", token)
    assert keys.token("one") == token == Keys(path).token("one")
    assert keys.token("two") != token
    assert keys.apps() == ["one", "two"]


def test_only_the_user_may_read_the_keys(keys, path):
    keys.token("one")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {each.name for each in path.parent.iterdir()} == {"keys.json", "keys.json.lock"}


def test_reading_writes_nothing(keys, path):
    assert (keys.apps(), keys.shares(), keys.people(), keys.opened_by(b"x")) == ([], [], [], None)
    assert not path.exists()


def test_what_another_process_changes_is_seen_at_once(keys, path):
    other = Keys(path, Clock())
    token = keys.token("one")
    assert other.opened_by(token.encode()).app == "one"
    renewed = other.renew("one")
    assert keys.opened_by(token.encode()) is None
    assert keys.token("one") == renewed
    share = other.share("one", once=True)
    assert keys.use(share.id)
    assert not other.use(share.id)
    path.unlink()
    assert keys.opened_by(renewed.encode()) is None
    assert keys.apps() == []


def test_several_processes_change_the_file_and_nothing_is_lost(path):
    program = (
        "import sys; from pathlib import Path; from orchestrator.expose.gate.keys import Keys\n"
        "keys = Keys(Path(sys.argv[1]))\n"
        "for number in range(8): keys.share('one', label=f'{sys.argv[2]} {number}')\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", program, str(path), str(each)]) for each in range(3)]
    assert [each.wait(60) for each in running] == [0, 0, 0]
    labels = {share.label for share in Keys(path).shares("one")}
    assert labels == {f"{each} {number}" for each in range(3) for number in range(8)}


def test_of_many_who_use_a_once_link_at_the_same_time_one_is_first(path):
    share = Keys(path).share("one", once=True)
    all_keys = [Keys(path) for _ in range(8)]
    outcomes = []
    threads = [threading.Thread(target=lambda each=each: outcomes.append(each.use(share.id))) for each in all_keys]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(outcomes) == [False] * 7 + [True]


def test_links_are_listed_used_and_taken_back(keys):
    lasting, short = keys.share("one", label="x" * 500), keys.share("two", 60, once=True)
    assert (lasting.expires, lasting.once, len(lasting.label)) == (None, False, 100)
    assert short.expires == keys.clock() + 60
    assert keys.shares() == [lasting, short]
    assert keys.shares("two") == [short]
    keys.clock.now += 60
    assert keys.shares() == [lasting]
    assert not keys.use(short.id)
    assert keys.opened_by(short.token.encode()).share == short  # known still, so that its page says what happened
    keys.clock.now += 8 * 86400
    keys.token("three")
    assert keys.opened_by(short.token.encode()) is None
    assert keys.revoke(lasting.id) == lasting
    with pytest.raises(BadInputError, match="no link"):
        keys.revoke(lasting.id)
    assert not keys.use("none")


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
def test_a_link_lasts_for_some_time(keys, seconds):
    with pytest.raises(BadInputError):
        keys.share("one", seconds)


@pytest.mark.parametrize("app", ["", "..", "a/b", "a b", "a;b", "a\nb", "ä", "-x", "x" * 64, "one\n"])
def test_names_that_no_app_can_have_are_refused(keys, app):
    for does in (keys.token, keys.renew, keys.share, lambda name: keys.set_password("u", "long enough", [name])):
        with pytest.raises(BadInputError):
            does(app)


def test_removing_an_app_removes_its_links_only(keys):
    keys.share("one")
    kept = keys.share("two")
    token = keys.token("one")
    keys.remove("one")
    keys.remove("none")
    assert keys.shares() == [kept]
    assert keys.opened_by(token.encode()) is None


def test_a_later_app_of_the_same_name_is_nobodys_by_an_old_right(keys):
    keys.token("one")
    keys.set_password("ann", "correct horse", ["one", "two"])
    keys.set_password("bob", "correct horse", ["one"])
    keys.set_password("eve", "correct horse")
    keys.remove("one")
    keys.token("one")
    assert {person.user: person.apps for person in keys.people()} == {"ann": ("two",), "bob": (), "eve": None}


def test_passwords_are_kept_as_salted_hashes(keys, path):
    keys.set_password("ann", "correct horse")
    keys.set_password("bob", "correct horse", ["two", "one"])
    text = path.read_text()
    assert "correct" not in text
    ann, bob = keys.people()
    assert ann.password != bob.password
    assert (ann.apps, bob.apps) == (None, ("one", "two"))
    assert keys.by_password("ann", "correct horse") == ann
    assert keys.by_password("ann", "Correct horse") is None
    assert keys.by_password("eve", "correct horse") is None
    assert "correct" not in repr(keys.book)
    assert ann.password not in repr(ann)
    keys.forget("ann")
    assert keys.by_password("ann", "correct horse") is None
    with pytest.raises(BadInputError, match="nobody"):
        keys.forget("ann")


@pytest.mark.parametrize("password", ["", "short", "1234567", "x" * 257])
def test_a_password_is_neither_too_short_nor_absurdly_long(keys, password):
    with pytest.raises(BadInputError):
        keys.set_password("ann", password)


@pytest.mark.parametrize("user", ["", "a b", "a\n", "../x", "-a", "ä"])
def test_a_name_has_plain_letters(keys, user):
    with pytest.raises(BadInputError):
        keys.set_password(user, "long enough")


def test_a_password_typed_with_other_code_points_is_the_same():
    assert passwords.matches("pa\u0308sswort", passwords.hashed("p\u00e4sswort"))
    assert not passwords.matches("passwort", passwords.hashed("p\u00e4sswort"))


@pytest.mark.parametrize("stored", ["", "x", "scrypt$1$2$3$zz$zz", "scrypt$16384$8$1$00", None, "md5$2$8$1$00$00"])
def test_what_is_no_hash_matches_nothing(stored):
    assert not passwords.matches("password", stored)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: "",
        lambda content: "{",
        lambda content: "[]",
        lambda content: json.dumps({**content, "version": 2}),
        lambda content: json.dumps({**content, "key": "00"}),
        lambda content: json.dumps({key: value for key, value in content.items() if key != "shares"}),
        lambda content: json.dumps({**content, "apps": {"one": {"token": "", "generation": 1}}}),
        lambda content: json.dumps({**content, "apps": {"one": {"token": None, "generation": 1}}}),
        lambda content: json.dumps({**content, "apps": {"one": {}}}),
        lambda content: json.dumps({**content, "people": [1]}),
    ],
)
def test_a_broken_file_lets_nobody_in_but_for_a_moment(path, spoil):
    said = []
    keys = Keys(path, Clock(), say=said.append)
    token, right = keys.token("one"), path.read_text()
    by = keys.opened_by(token.encode()).session
    path.write_text(spoil(json.loads(right)))
    with pytest.raises(PinoctlError, match="cannot be read"):
        Keys(path)
    for _ in range(3):
        assert keys.opened_by(token.encode()).app == "one"
    assert keys.holds(by, "one")
    assert len(said) == 1, "once, however many ask"
    assert f"the gate's keys in `{path}` cannot be read" in said[0]
    with pytest.raises(PinoctlError, match="cannot be read"):
        keys.renew("one")
    keys.clock.now += TRANSIENT
    assert keys.opened_by(token.encode()) is None
    assert not keys.holds(by, "one")
    assert len(said) == 1
    path.write_text(right)
    assert keys.opened_by(token.encode()).app == "one"
    assert keys.holds(by, "one")
    assert said[1:] == ["the gate's keys can be read again"]


def test_a_change_is_seen_although_the_file_could_not_be_read_at_first(keys, path, monkeypatch):
    token = keys.token("one")
    Keys(path).renew("one")

    def fail(*_arguments):
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(type(path), "read_text", fail)
        assert keys.opened_by(token.encode()).app == "one"
    assert keys.opened_by(token.encode()) is None


def test_keys_of_a_given_token_need_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given, other = "given" + "x" * 17, "other" + "x" * 17
    keys = Keys.of_token("one", given, Clock())
    assert keys.token("one") == given
    assert keys.opened_by(given.encode()).app == "one"
    assert Keys.of_token("one", given).book.key == keys.book.key
    assert Keys.of_token("one", other).book.key != keys.book.key
    share = keys.share("one", 60)
    assert keys.opened_by(share.token.encode()).share == share
    assert list(tmp_path.iterdir()) == []
    for short in ("", "1", given[:-1]):
        with pytest.raises(
            BadInputError, match=f"fewer than 22 characters can be guessed, and this one has {len(short)}"
        ):
            Keys.of_token("one", short)


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path):
    (tmp_path / "gate").write_text("a file")
    with pytest.raises(PinoctlError, match="cannot be"):
        Keys(tmp_path / "gate" / "keys.json").token("one")
