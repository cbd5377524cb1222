"""Ways round the gate that must not work: other people's tokens, forged sessions, paths in disguise, other sites."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.expose.gate import requests, sessions
from orchestrator.expose.gate.admission import Admission
from orchestrator.expose.gate.contract import Pass, Seen
from orchestrator.expose.gate.keys import Keys
from orchestrator.expose.gate.sessions import Session
from tests.expose.gate.asking import BROWSER, NOW, Client, Clock, header, make, passed


@pytest.fixture
def client(tmp_path):
    return make(tmp_path)


def ways(token):
    """Every way in which a program or a browser may bring a token."""
    return [
        {"target": f"/?token={token}"},
        {"target": f"/?token={token}", "headers": BROWSER},
        {"target": f"/?token={token}", "upgrade": True},
        {"target": f"/?token={token}", "method": "POST"},
        {"headers": {"authorization": f"Bearer {token}"}},
        {"headers": {"x-pinoctl-token": token}},
        {"headers": {"cookie": f"pinoctl_one={token}"}},
        {"headers": {"cookie": f"__Host-pinoctl_one={token}"}},
        {"headers": {"cookie": f"pinoctl-person={token}"}},
    ]


WRONG_TOKENS = {
    "of another app": lambda keys: keys.token("two"),
    "of another generation": lambda keys: (keys.token("one"), keys.renew("one"))[0],
    "a prefix": lambda keys: keys.token("one")[:-1],
    "longer": lambda keys: keys.token("one") + "A",
    "another case": lambda keys: keys.token("one").swapcase(),
    "empty": lambda keys: "",
    "of a revoked link": lambda keys: keys.revoke(keys.share("one").id).token,
    "of a link to another app": lambda keys: keys.share("two").token,
    "the id of a link": lambda keys: keys.share("one").id,
    "the signing key": lambda keys: keys.book.key.hex(),
    "the app": lambda keys: "one",
    "null": lambda keys: "null",
}


@pytest.mark.parametrize("which", WRONG_TOKENS)
def test_a_wrong_token_opens_nothing(client, which):
    token = WRONG_TOKENS[which](client.keys)
    for number, way in enumerate(ways(token)):
        client.peer = f"203.0.113.{number}"
        assert client.ask(**way).status == 401, way
    answer = client.post("/.pinoctl/login", {"token": token})
    assert answer.status in {400, 401}
    assert client.jar == {}


def sealed(client, **changes):
    session = Session(**{"app": "one", "way": "token", "who": "", "generation": 1, "end": int(NOW + 99), **changes})
    return sessions.seal(session, client.keys.book.key)


def test_the_session_that_the_next_tests_spoil_is_right(client):
    assert passed(client.ask("/", headers={"cookie": f"pinoctl_one={sealed(client)}"}))


@pytest.mark.parametrize(
    "changes",
    [
        {"app": "two", "generation": 2},
        {"generation": 2},
        {"generation": 0},
        {"end": int(NOW)},
        {"way": "share", "who": "none"},
        {"way": "share", "who": ""},
        {"way": "other"},
        {"way": "person", "who": "nobody"},
        {"app": ""},
    ],
    ids=str,
)
def test_a_session_for_something_else_opens_nothing(client, changes):
    value = sealed(client, **changes)
    for name in ("pinoctl_one", "__Host-pinoctl_one", "pinoctl-person", "pinoctl_two", "pinoctl_"):
        assert client.ask("/", headers={"cookie": f"{name}={value}"}).status == 401


def test_a_session_of_one_app_opens_no_other_at_its_port_nor_at_the_port_for_all(client):
    client.visit(f"/?token={client.keys.token('one')}")
    value = client.jar["__Host-pinoctl_one"]
    for name in ("pinoctl_one", "pinoctl_two", "__Host-pinoctl_two", "pinoctl-person"):
        for app in ("two", None):
            asked = client.other(app=app).ask("/", headers={"cookie": f"{name}={value}; pinoctl-app=two"})
            assert not passed(asked, "two")


def test_a_session_in_the_cookie_of_another_opens_nothing(client):
    value = sealed(client)
    for name in ("pinoctl_two", "pinoctl-person", "pinoctl-app", "pinoctl_", "__Host-pinoctl_two"):
        assert client.ask("/", headers={"cookie": f"{name}={value}"}).status == 401


def test_a_session_by_a_link_ends_with_the_link_whatever_the_session_says(client):
    share = client.keys.share("one", 60)
    value = sealed(client, way="share", who=share.id, end=int(NOW + 9999))
    assert passed(client.ask("/", headers={"cookie": f"pinoctl_one={value}"}))
    client.clock.now += 60
    assert client.ask("/", headers={"cookie": f"pinoctl_one={value}"}).status == 401


def test_a_session_signed_with_another_key_opens_nothing(client):
    value = sessions.seal(Session("one", "token", "", 1, int(NOW + 99)), b"x" * 32)
    assert client.ask("/", headers={"cookie": f"pinoctl_one={value}"}).status == 401


@given(position=st.integers(0, 200), letter=st.sampled_from("AZaz09-_.="))
@settings(max_examples=150, deadline=None)
def test_a_session_with_one_letter_changed_opens_nothing(position, letter):
    client = Client(Admission(Keys.of_token("one", "t" * 32, Clock()), nonce="n", clock=Clock()))
    client.visit(f"/?token={'t' * 32}")
    value = client.jar["__Host-pinoctl_one"]
    position %= len(value)
    spoiled = value[:position] + letter + value[position + 1 :]
    answer = client.ask("/", headers={"cookie": f"__Host-pinoctl_one={spoiled}"}, jar=False)
    if isinstance(answer, Pass):  # the last letter of base64 may hold bits that mean nothing
        assert sessions.unseal(spoiled, client.gate._keys.book.key) == sessions.unseal(
            value, client.gate._keys.book.key
        )
        assert spoiled == value or position == len(value) - 1


DISGUISED = [
    "/.pinoctl",
    "/.pinoctl/../x",
    "/.pinoctl/./nonce",
    "/.pinoctl//nonce",
    "/.pinoctl/nonce/",
    "/.pinoctl/nonce/..",
    "/.pinoctl/%6eonce",
    "/.pinoctl/x/%2e%2e/nonce",
    "//.pinoctl/nonce",
    "///.pinoctl/nonce",
    "/x/../.pinoctl/nonce",
    "/x/%2e%2e/.pinoctl/nonce",
    "/%2epinoctl/nonce",
    "/%252epinoctl/nonce",
    "/.pinoctl%2fnonce",
    "/.pinoctl\\nonce",
    "/\\.pinoctl/nonce",
    "/.pinoctl;a=b/nonce",
    "/x/..;a/.pinoctl/nonce",
    "/.PINOCTL/nonce",
    "/./.pinoctl/nonce",
]


@pytest.mark.parametrize("path", DISGUISED)
@pytest.mark.parametrize("inside", [True, False])
def test_an_own_address_in_disguise_is_neither_answered_nor_passed_on(client, path, inside):
    if inside:
        client.visit(f"/?token={client.keys.token('one')}")
    answer = client.ask(path)
    assert answer.status in {404, 401}
    assert b"n0nce" not in answer.body
    if path != "/.pinoctl/nonce/":
        assert answer.status == 404


@pytest.mark.parametrize("path", ["/.pinoctlx", "/x/.pinoctl/nonce", "/pinoctl/", "/.pinoct/l", "/..", "/%2e%2e/"])
def test_an_address_that_only_looks_like_ours_is_the_apps(client, path):
    assert client.ask(path).status == 401
    client.visit(f"/?token={client.keys.token('one')}")
    assert client.ask(path).target == path


@pytest.mark.parametrize(
    "target",
    [
        "http://gate.example/",
        "http://gate.example/.pinoctl/nonce",
        "https://evil.example/?token=x",
        "gate.example:443",
        "*",
        "",
        "x",
        "?token=x",
        "/a b",
        "/a\tb",
        "/a\r\nset-cookie: x=y",
        "/a\x00",
        "/a\x7f",
        "/a#b",
    ],
)
@pytest.mark.parametrize("public", [True, False])
def test_what_is_no_path_is_refused_even_by_a_public_app(tmp_path, target, public):
    client = make(tmp_path, public={"one"} if public else ())
    client.visit(f"/?token={client.keys.token('one')}")
    assert client.ask(target).status == 400


@pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
def test_methods_for_proxies_are_refused(client, method):
    assert client.ask("/", method, {"authorization": f"Bearer {client.keys.token('one')}"}).status == 405


ELSEWHERE = [
    "//evil.example",
    "//evil.example/x",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/\t/evil.example",
    "\t//evil.example",
    " //evil.example",
    "/\n/evil.example",
    "https://evil.example",
    "https:evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    "evil.example",
    "",
    "/x\r\nlocation: //evil.example",
    "/.pinoctl/logout",
    "/.pinoctl/../logout",
    "/%2epinoctl/logout",
]


@pytest.mark.parametrize("next_", ELSEWHERE)
def test_after_the_login_nobody_is_sent_to_another_site(client, next_):
    for prefix in ("", "/.pinoctl/go/one?next="):
        answer = client.post("/.pinoctl/login", {"token": client.keys.token("one"), "next": prefix + next_})
        where = header(answer, "location")
        assert answer.status == 303
        assert where == "/" or (prefix and where.startswith("/.pinoctl/go/one?next="))
        assert not set("\r\n\t\\ ") & set(where)
    assert b'name="next" value="/"' in client.visit(f"/.pinoctl/login?next={quote(next_)}").body
    client.app = None
    answer = client.visit(f"/.pinoctl/go/one?token={client.keys.token('one')}&next={quote(next_)}")
    assert header(answer, "location") == "/"


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("//evil.example/", "/evil.example/"),
        ("///evil.example", "/evil.example"),
        ("/\\evil.example", "/evil.example"),
        ("/\\/\\evil.example", "/evil.example"),
        ("/x//evil.example", "/x//evil.example"),
        ("/%0d%0aset-cookie:a=b", "/%0d%0aset-cookie:a=b"),
        ("/é\xff", "/%C3%A9%FF"),
        ('/"><script>', "/%22%3E%3Cscript%3E"),
    ],
)
def test_a_link_is_cleaned_without_leading_elsewhere(client, path, where):
    path = path.replace("é", "\xc3\xa9")
    answer = client.visit(f"{path}?token={client.keys.token('one')}")
    assert (answer.status, header(answer, "location")) == (303, where)


def test_the_login_page_writes_nothing_of_the_address_as_html(client):
    for answer in (client.visit('/"><script>x</script>?a="><b>'), client.visit("/.pinoctl/login?next=/%22%3E%3Cb%3E")):
        assert b"<script>" not in answer.body
        assert b"<b>" not in answer.body


# -- other sites

SAME = {"origin": "https://gate.example"}
FROM_ELSEWHERE = [
    {},
    {"origin": "null"},
    {"origin": ""},
    {"origin": "https://evil.example"},
    {"origin": "https://gate.example.evil.example"},
    {"origin": "https://evilgate.example"},
    {"origin": "https://gate.example:8443"},
    {"origin": "http://gate.example"},
    {"origin": "https://user@gate.example"},
    {"origin": "https://gate.example@evil.example"},
    {"origin": "https://[gate.example"},
    {"origin": "ftp://gate.example"},
    {"referer": "https://evil.example/https://gate.example/"},
    {"referer": "https://evil.example/?gate.example"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "same-site", "origin": "https://other.example"},
    {"sec-fetch-site": "cross-site", "origin": "null", "referer": "https://gate.example/"},
    {"origin": "https://evil.example", "referer": "https://gate.example/"},
    {"sec-fetch-site": ""},
]


@pytest.mark.parametrize("headers", FROM_ELSEWHERE, ids=str)
@pytest.mark.parametrize(
    "kind", [{"method": "POST"}, {"method": "PUT"}, {"method": "DELETE"}, {"method": "PURGE"}, {"upgrade": True}]
)
def test_a_page_of_another_site_can_do_nothing_with_the_visitors_cookie(client, headers, kind):
    client.visit(f"/?token={client.keys.token('one')}")
    assert client.ask("/", headers=headers, **kind).status == 403
    # By a token that the sender has to know, no origin is asked for.
    bearer = {"authorization": f"Bearer {client.keys.token('one')}"}
    assert passed(client.ask("/", headers={**headers, **bearer}, **kind))


@pytest.mark.parametrize("headers", FROM_ELSEWHERE, ids=str)
def test_a_page_of_another_site_cannot_log_its_visitor_in(client, headers):
    fields = f"token={client.keys.token('one')}".encode()
    form = {"content-type": "application/x-www-form-urlencoded", **headers}
    assert client.ask("/.pinoctl/login", "POST", form, body=fields).status == 403


@pytest.mark.parametrize("name", ["origin", "sec-fetch-site", "referer"])
def test_a_doubled_header_is_nobodys_word(client, name):
    client.visit(f"/?token={client.keys.token('one')}")
    cookie = ("cookie", f"__Host-pinoctl_one={client.jar['__Host-pinoctl_one']}")
    own = {"sec-fetch-site": "same-origin"}.get(name, "https://gate.example")
    for values, status in (((own,), None), ((own, own), 403), ((own, "https://evil.example"), 403)):
        seen = Seen(
            "POST",
            "/",
            (cookie, *((name, each) for each in values)),
            client.peer,
            secure=True,
            host=client.host,
            upgrade=False,
            app="one",
        )
        answer = client.gate.decide(seen)
        assert getattr(answer, "status", None) == status


@pytest.mark.parametrize(
    "headers",
    [
        SAME,
        {"origin": "https://GATE.example:443"},
        {"referer": "https://gate.example/page?x=//evil.example"},
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": "cross-site", "origin": "https://gate.example"},  # some take wss for another site
        {"sec-fetch-site": "same-origin", "origin": "null"},  # a form in a page without referrers
        {"sec-fetch-site": "same-origin", "origin": "https://behind.a.tunnel.that.changes.host"},
    ],
    ids=str,
)
def test_a_page_of_the_app_itself_can(client, headers):
    client.visit(f"/?token={client.keys.token('one')}")
    assert passed(client.ask("/", "POST", headers))
    assert passed(client.ask("/", headers=headers, upgrade=True))


def test_where_https_ends_unseen_before_the_gate_pages_still_work(client):
    client.secure = False
    client.visit(f"/?token={client.keys.token('one')}")
    assert passed(client.ask("/", "POST", {"origin": "https://gate.example"}))
    assert passed(client.ask("/", "POST", {"origin": "http://gate.example:80"}))
    assert client.ask("/", "POST", {"origin": "http://gate.example:443"}).status == 403


@pytest.mark.parametrize(
    ("headers", "may"),
    [
        ({}, True),
        ({"sec-fetch-site": "same-origin", "sec-fetch-mode": "no-cors"}, True),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}, True),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "object"}, False),
        ({"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}, False),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors", "origin": "https://evil.example"}, False),
    ],
    ids=str,
)
def test_a_page_of_another_site_cannot_load_parts_with_the_visitors_cookie(client, headers, may):
    client.visit(f"/?token={client.keys.token('one')}")
    assert passed(client.ask("/", headers=headers)) is may


def test_origins_may_be_allowed(tmp_path):
    client = make(tmp_path, allowed=["https://colab.example"])
    client.visit(f"/?token={client.keys.token('one')}")
    allowed = {"origin": "https://colab.example", "sec-fetch-site": "cross-site"}
    assert passed(client.ask("/", "POST", allowed))
    assert passed(client.ask("/", headers=allowed, upgrade=True))
    assert passed(client.ask("/", headers={**allowed, "sec-fetch-mode": "cors"}))
    assert client.ask("/", "POST", {"origin": "https://colab.example.evil.example"}).status == 403


# -- where a token may stand

pairs = st.lists(
    st.sampled_from(["a=b", "", "=", "a", "Token=x", "tokens=x", "token=", "token=x", "x=token=y", "%74oken=z", "é=ü"]),
    max_size=5,
)
spelled = st.sampled_from(["token", "%74oken", "t%6Fken", "t%6fken"])


@given(before=pairs, after=pairs, name=spelled, coded=st.sets(st.integers(0, 31)), times=st.integers(1, 2))
@settings(max_examples=200, deadline=None)
def test_a_token_is_found_and_taken_out_wherever_it_stands(before, after, name, coded, times):
    token = "AbC-_9" * 5 + "+/"
    client = Client(Admission(Keys.of_token("one", token, Clock()), nonce="n", clock=Clock()))
    sent = "".join(f"%{ord(letter):02x}" if at in coded else letter for at, letter in enumerate(token))
    others = [each for each in before if "oken=" not in each]  # only the first few tokens are looked at
    query = "&".join([*others, *[f"{name}={sent}"] * times, *after])
    answer = client.ask(f"/p?{query}")
    left = "&".join([*others, *after])
    assert isinstance(answer, Pass)
    assert answer.target == ("/p?" + left if [*others, *after] else "/p")
    assert token not in answer.target


@given(
    before=st.lists(st.sampled_from(["a=b", "", " ", "a", '"x"', "pinoctl_two=1", "Pinoctl_one=no"]), max_size=4),
    after=st.lists(st.sampled_from(["a=b", "", "=", "pinoctl_one=old", "__Host-pinoctl_one=old"]), max_size=4),
    quoted=st.booleans(),
    blank=st.sampled_from(["", " ", "  "]),
    split=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_a_session_is_found_and_taken_out_wherever_it_stands(before, after, quoted, blank, split):
    client = Client(Admission(Keys.of_token("one", "t" * 32, Clock()), nonce="n", clock=Clock()))
    client.visit(f"/?token={'t' * 32}")
    value = client.jar["__Host-pinoctl_one"]
    whole = f'{blank}__Host-pinoctl_one="{value}"' if quoted else f"{blank}__Host-pinoctl_one={value}"
    lines = ["; ".join([*before, whole]), "; ".join(after)] if split else ["; ".join([*before, whole, *after])]
    seen = [("cookie", line) for line in lines]
    answer = client.ask("/", headers={}, jar=False)
    assert answer.status == 401
    answer = client.gate.decide(_seen(client, tuple(seen)))
    assert isinstance(answer, Pass)
    text = " ".join(value for _, value in answer.headers)
    assert value not in text
    assert "pinoctl_one=old" not in text
    assert text.count("a=b") == [*before, *after].count("a=b")
    assert text.count("Pinoctl_one=no") == before.count("Pinoctl_one=no")


def test_thousands_of_tokens_cost_little_and_the_right_one_never_passes_on(tmp_path):
    client = make(tmp_path, public={"one"})
    asked = []
    known = client.keys.opened_by
    client.keys.opened_by = lambda *forms: (asked.append(forms), known(*forms))[1]
    right = client.keys.token("one")
    answer = client.ask("/?" + "token=x&" * 4000 + f"token={right}&a=b")
    assert right not in answer.target
    assert answer.target.endswith("&a=b")
    assert len(asked) <= requests.COMPARED + requests.LOOKED_AT


def _seen(client, headers):
    return Seen("GET", "/", headers, client.peer, secure=True, host=client.host, upgrade=False, app="one")


@given(st.text(st.characters(max_codepoint=255), max_size=30))
@settings(max_examples=300, deadline=None)
def test_any_target_is_decided_and_own_addresses_never_pass(text):
    client = Client(Admission(Keys.of_token("one", "t" * 32, Clock()), nonce="n", clock=Clock(), public={"one"}))
    for target in (text, f"/{text}", f"/.pinoctl/{text}", f"/?{text}"):
        answer = client.ask(target)
        if isinstance(answer, Pass):
            assert requests.own_path(target) in {None, "state"}
            assert target.startswith("/")
