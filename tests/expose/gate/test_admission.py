"""Every way into an app, and out again."""

from __future__ import annotations

import json

import pytest

from orchestrator.expose.gate.admission import Admission
from orchestrator.expose.gate.contract import Answer, Pass
from orchestrator.expose.gate.keys import Keys
from tests.expose.gate.asking import BROWSER, Client, Clock, header, make, passed, set_cookies


@pytest.fixture
def client(tmp_path):
    return make(tmp_path)


def enter(client, app="one"):
    answer = client.visit(f"/?token={client.keys.token(app)}")
    assert answer.status == 303
    return client


def test_a_link_gives_a_cookie_and_a_clean_address(client):
    answer = client.visit(f"/a/b?x=1&token={client.keys.token('one')}&y=%20")
    assert (answer.status, header(answer, "location")) == (303, "/a/b?x=1&y=%20")
    (cookie,) = set_cookies(answer)
    assert cookie.startswith("__Host-pinoctl_one=")
    assert cookie.endswith("; Max-Age=2592000; Path=/; HttpOnly; SameSite=Lax; Secure")
    assert client.keys.token("one") not in cookie
    assert client.visit("/a/b?x=1&y=%20") == Pass("one", "/a/b?x=1&y=%20", tuple(BROWSER.items()))


def test_over_plain_http_the_cookie_is_neither_secure_nor_prefixed(client):
    client.secure = False
    (cookie,) = set_cookies(client.visit(f"/?token={client.keys.token('one')}"))
    assert cookie.startswith("pinoctl_one=")
    assert "Secure" not in cookie
    assert passed(client.visit("/"))


def test_a_head_request_of_a_browser_is_redirected_too(client):
    answer = client.ask(f"/?token={client.keys.token('one')}", "HEAD", BROWSER)
    assert answer.status == 303


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
def test_a_program_passes_with_the_token_in_its_address(client, method):
    answer = client.ask(f"/api?token={client.keys.token('one')}&a=b", method)
    assert answer == Pass("one", "/api?a=b", (("accept", "*/*"),))


def test_what_concerns_a_whole_server_needs_a_key_like_all_else(client):
    bearer = {"authorization": f"Bearer {client.keys.token('one')}"}
    assert client.ask("*", "OPTIONS", bearer) == Pass("one", "*", ())
    assert client.ask("*", "OPTIONS").status == 401
    assert client.ask("*", "GET", bearer).status == 400


def test_a_websocket_passes_with_the_token_in_its_address(client):
    answer = client.ask(f"/ws?token={client.keys.token('one')}", headers={"origin": "null"}, upgrade=True)
    assert answer == Pass("one", "/ws", (("origin", "null"),))


def test_a_part_of_a_page_passes_and_is_not_redirected(client):
    headers = {"accept": "text/html", "sec-fetch-mode": "cors"}
    assert passed(client.ask(f"/?token={client.keys.token('one')}", headers=headers))


@pytest.mark.parametrize(
    ("name", "prefix"), [("authorization", "Bearer "), ("authorization", "bEaReR  "), ("x-pinoctl-token", "")]
)
def test_a_token_in_a_header_passes_and_is_taken_out(client, name, prefix):
    answer = client.ask("/x?token=theirs", "POST", {name: prefix + client.keys.token("one"), "origin": "https://e.org"})
    assert answer == Pass("one", "/x?token=theirs", (("origin", "https://e.org"),))


def test_what_an_app_itself_sends_as_authorization_stays(client):
    token = client.keys.token("one")
    answer = client.ask(headers={"authorization": "Bearer sk-theirs", "x-pinoctl-token": token})
    assert answer == Pass("one", "/", (("authorization", "Bearer sk-theirs"),))
    enter(client)
    answer = client.ask(headers={"authorization": "Basic dTpw"})
    assert answer == Pass("one", "/", (("authorization", "Basic dTpw"),))


def test_cookies_of_ours_never_reach_the_app_and_others_stay_byte_for_byte(client):
    client.keys.token("two")
    enter(client)
    value = client.jar["__Host-pinoctl_one"]
    line = f' a="1; 2" ;pinoctl_two=x; __Host-pinoctl_one={value};b=ü; pinoctl-app=one;c'
    answer = client.ask(headers={"cookie": line, "x": "y"}, jar=False)
    assert answer.headers == (("cookie", 'a="1; 2" ;b=ü;c'), ("x", "y"))
    only = client.ask(headers={"cookie": f"__Host-pinoctl_one={value}"}, jar=False)
    assert only.headers == ()


def test_without_a_token_a_browser_gets_a_login_page_and_a_program_a_401(client):
    page = client.visit("/some/where?x=1")
    assert page.status == 401
    assert b'name="next" value="/some/where?x=1"' in page.body
    assert header(page, "cache-control") == "no-store"
    told = client.ask("/api")
    assert (told.status, header(told, "www-authenticate")) == (401, 'Bearer realm="pinoctl"')
    assert header(told, "content-type").startswith("text/plain")
    asked = client.ask("/api", headers={"accept": "application/json"})
    assert header(asked, "content-type") == "application/json"
    assert client.ask("/ws", headers={**BROWSER}, upgrade=True).status == 401


def test_login_by_token_goes_on_to_where_the_visitor_wanted_to_go(client):
    answer = client.post("/.pinoctl/login", {"token": f" {client.keys.token('one')} ", "next": "/a?b=c&d"})
    assert (answer.status, header(answer, "location")) == (303, "/a?b=c&d")
    assert passed(client.visit("/a?b=c&d"))


def test_a_whole_link_may_be_pasted_as_the_token(client):
    link = f"https://gate.example/x?a=b&token={client.keys.token('one')}"
    assert client.post("/.pinoctl/login", {"token": link}).status == 303
    assert passed(client.visit("/"))


def test_login_with_something_wrong_shows_the_form_again(client):
    answer = client.post("/.pinoctl/login", {"token": "nonsense", "next": "/here"})
    assert (answer.status, set_cookies(answer)) == (401, [])
    assert b"opens nothing here" in answer.body
    assert b'value="/here"' in answer.body
    assert b"nonsense" not in answer.body
    assert client.post("/.pinoctl/login", {}).status == 400
    assert client.post("/.pinoctl/login", {"token": "x"}, **{"content-type": "text/plain"}).status == 415
    many = {f"f{number}": "" for number in range(50)}
    assert client.post("/.pinoctl/login", many).status == 400


def test_people_enter_by_name_and_password_the_apps_that_are_theirs(client):
    assert b'name="password"' not in client.visit("/.pinoctl/login").body
    client.keys.set_password("ann", "correct horse", ["one"])
    assert b'name="password"' in client.visit("/.pinoctl/login").body
    assert client.post("/.pinoctl/login", {"user": "ann", "password": "wrong horse"}).status == 401
    assert client.post("/.pinoctl/login", {"user": "bob", "password": "correct horse"}).status == 401
    answer = client.post("/.pinoctl/login", {"user": "ann", "password": "correct horse"})
    assert answer.status == 303
    assert passed(client.visit("/"))
    client.app = "two"
    assert client.visit("/").status == 401
    assert client.post("/.pinoctl/login", {"user": "ann", "password": "correct horse"}).status == 403
    client.app = "one"
    client.keys.set_password("ann", "another horse")
    assert client.visit("/").status == 401
    client.post("/.pinoctl/login", {"user": "ann", "password": "another horse"})
    assert passed(client.visit("/"))
    client.keys.forget("ann")
    assert client.visit("/").status == 401


def test_leaving_ends_the_session_of_this_browser(client):
    enter(client)
    assert client.visit("/.pinoctl/logout").status == 200
    assert passed(client.visit("/"))
    assert client.post("/.pinoctl/logout", {}, origin="https://evil.example").status == 403
    assert passed(client.visit("/"))
    answer = client.post("/.pinoctl/logout", {})
    assert (answer.status, header(answer, "location")) == (303, "/.pinoctl/login")
    assert client.jar == {}
    assert client.visit("/").status == 401


def test_a_share_opens_its_app_until_it_expires_or_is_revoked(client):
    share = client.keys.share("one", 7200, label="for Bo")
    answer = client.visit(f"/?token={share.token}")
    assert "Max-Age=7200;" in set_cookies(answer)[0]
    assert passed(client.visit("/"))
    assert passed(client.ask("/", headers={"authorization": f"Bearer {share.token}"}, jar=False))
    client.clock.now += 7200
    assert client.visit("/").status == 401
    ended = client.visit(f"/?token={share.token}")
    assert ended.status == 403
    assert b"expired" in ended.body
    for name, value in (("authorization", f"Bearer {share.token}"), ("x-pinoctl-token", share.token)):
        told = client.ask("/", headers={name: value}, jar=False)
        assert (told.status, told.body) == (401, b"This link has expired\n")

    lasting = client.keys.share("one")
    friend = client.other()
    assert friend.visit(f"/?token={lasting.token}").status == 303
    assert passed(friend.visit("/"))
    client.keys.revoke(lasting.id)
    assert friend.visit("/").status == 401
    assert client.visit(f"/?token={lasting.token}").status == 401


def test_a_once_link_asks_first_and_then_opens_one_browser(client):
    share = client.keys.share("one", once=True)
    link = f"/x?token={share.token}&y"
    for _ in range(3):  # chat programs look at links
        assert client.ask(link, "HEAD", BROWSER).status == 200
        assert client.ask(link).status == 403
        page = client.visit(link)
        assert page.status == 200
        assert set_cookies(page) == []
    assert f'name="token" value="{share.token}"'.encode() in page.body
    assert b'name="next" value="/x?y"' in page.body
    answer = client.post("/.pinoctl/login", {"token": share.token, "next": "/x?y"})
    assert (answer.status, header(answer, "location")) == (303, "/x?y")
    assert passed(client.visit("/x?y"))
    again = client.visit(link)
    assert (again.status, header(again, "location")) == (303, "/x?y")

    stranger = client.other()
    assert stranger.visit(link).status == 403
    assert stranger.post("/.pinoctl/login", {"token": share.token}).status == 403
    assert stranger.visit("/").status == 401
    assert passed(client.visit("/"))


def test_a_once_link_is_no_key_for_programs(client):
    share = client.keys.share("one", once=True)
    for headers in ({"authorization": f"Bearer {share.token}"}, {"x-pinoctl-token": share.token}):
        told = client.ask("/", headers=headers)
        assert (told.status, told.body) == (401, b"This link has to be opened in a browser\n")
    assert client.ask(f"/?token={share.token}", upgrade=True).status == 403
    assert client.ask(f"/?token={share.token}", "POST").status == 403
    assert client.keys.shares()[0].used is False


def test_a_new_token_ends_sessions_by_the_old_one(client):
    share = client.keys.share("one")
    old = client.keys.token("one")
    enter(client)
    friend = client.other()
    friend.visit(f"/?token={share.token}")
    assert passed(friend.visit("/"))
    client.keys.renew("one")
    assert client.visit("/").status == 401
    assert friend.visit("/").status == 401
    assert client.visit(f"/?token={old}").status == 401
    assert friend.visit(f"/?token={share.token}").status == 303
    assert passed(friend.visit("/"))


def test_a_removed_app_that_comes_back_does_not_know_its_old_sessions(client):
    enter(client)
    client.keys.remove("one")
    assert client.visit("/").status == 401
    client.keys.token("one")
    assert client.visit("/").status == 401


def test_a_session_in_its_second_half_is_made_longer(client):
    enter(client)
    assert client.visit("/").cookies == ()
    client.clock.now += 16 * 86400
    assert client.ask("/").cookies == ()  # parts of a page do not
    (cookie,) = client.visit("/").cookies
    assert "Max-Age=2592000" in cookie
    client.clock.now += 29 * 86400
    assert passed(client.visit("/"))
    client.clock.now += 31 * 86400
    assert client.visit("/").status == 401


def test_a_session_by_a_share_that_expires_is_not_made_longer(client):
    share = client.keys.share("one", 40 * 86400)
    client.visit(f"/?token={share.token}")
    client.clock.now += 20 * 86400
    assert client.visit("/").cookies == ()


def test_a_link_does_not_replace_the_session_of_the_owner(client):
    enter(client)
    share = client.keys.share("one", 60)
    client.visit(f"/?token={share.token}")
    client.clock.now += 61
    assert passed(client.visit("/"))


def test_the_gates_own_addresses(client):
    nonce = client.ask("/.pinoctl/nonce")
    assert (nonce.status, nonce.body) == (200, b"n0nce")
    assert client.ask("/.pinoctl/health").body == b"ok"
    refused = client.ask("/.pinoctl/nonce", "POST")
    assert (refused.status, header(refused, "allow")) == (405, "GET, HEAD")
    assert client.ask("/.pinoctl/nonce", upgrade=True).status == 404
    for path in ("", "other", "apps", "go/one", "login/x", "state/x"):
        assert client.ask(f"/.pinoctl/{path}").status == 404
    assert client.ask("/.pinoctl/state").status == 401
    enter(client)
    assert passed(client.ask("/.pinoctl/state"))


def test_an_app_that_is_public_needs_no_token_and_loses_what_is_ours(tmp_path):
    client = make(tmp_path, public={"one"})
    token = client.keys.token("one")
    assert client.ask("/?token=theirs") == Pass("one", "/?token=theirs", (("accept", "*/*"),), closed=False)
    assert passed(client.ask("/", "POST", {"origin": "https://elsewhere.example"}))
    assert passed(client.ask("/ws", headers={"origin": "https://elsewhere.example"}, upgrade=True))
    assert client.ask(f"/x?token={token}").target == "/x"
    assert client.ask("/", headers={"cookie": "pinoctl_one=x; a=b"}).headers == (("cookie", "a=b"),)
    assert client.other(app="two").ask("/").status == 401
    assert client.ask("/.pinoctl/other").status == 404


def test_public_may_be_asked_at_each_request(tmp_path):
    opened = set()
    client = make(tmp_path, public=opened.__contains__)
    assert client.ask("/").status == 401
    opened.add("one")
    assert passed(client.ask("/"))


def test_an_app_in_a_frame_of_another_site_has_a_partitioned_cookie(tmp_path):
    client = make(tmp_path, framed={"one"}, allowed=["https://colab.example"])
    (cookie,) = set_cookies(client.visit(f"/?token={client.keys.token('one')}"))
    assert cookie.endswith("HttpOnly; SameSite=None; Secure; Partitioned")
    policy = header(client.visit("/.pinoctl/login"), "content-security-policy")
    assert policy.endswith("frame-ancestors 'self' https://colab.example")
    assert header(client.visit("/.pinoctl/login"), "x-frame-options") is None
    client.post("/.pinoctl/logout", {})
    assert client.jar == {}
    client.app = "two"
    assert "frame-ancestors 'none'" in header(client.visit("/.pinoctl/login"), "content-security-policy")


def test_an_image_by_itself_keeps_its_sessions_over_a_restart():
    def start(token):
        return Client(Admission(Keys.of_token("one", token, Clock()), nonce="n", clock=Clock()))

    client = start("a-token-that-was-given")
    assert client.visit("/?token=a-token-that-was-given").status == 303
    client.gate = start("a-token-that-was-given").gate
    assert passed(client.visit("/"))
    client.gate = start("another-token-than-before").gate
    assert client.visit("/").status == 401


def test_a_given_token_may_hold_any_characters():
    token = "a+b c&d=é%41/\\\"';, and more"
    client = Client(Admission(Keys.of_token("one", token, Clock()), nonce="n", clock=Clock()))
    assert client.post("/.pinoctl/login", {"token": token}).status == 303
    assert passed(client.visit("/"))
    assert client.other().visit("/?token=a%2Bb+c%26d%3D%C3%A9%2541/%5C%22%27;,+and+more").status == 303
    line = token.encode().decode("latin-1")
    assert passed(client.other().ask("/", headers={"authorization": f"Bearer {line}"}))


# -- the one port for all


@pytest.fixture
def shared(client):
    client.app = None
    return client


def test_a_token_leads_to_its_app_and_the_cookie_remembers_it(shared):
    assert shared.visit("/").status == 401
    assert shared.visit(f"/x?token={shared.keys.token('two')}").status == 303
    assert passed(shared.visit("/x"), "two")
    assert passed(shared.ask("/ws", headers={"origin": shared.origin}, upgrade=True), "two")
    shared.visit(f"/?token={shared.keys.token('one')}")
    assert passed(shared.visit("/"), "one")
    assert passed(shared.ask("/", headers={"authorization": f"Bearer {shared.keys.token('two')}"}), "two")


def test_who_may_see_several_apps_chooses(shared):
    shared.keys.set_password("ann", "correct horse")
    shared.post("/.pinoctl/login", {"user": "ann", "password": "correct horse"})
    answer = shared.visit("/")
    assert (answer.status, header(answer, "location")) == (303, "/.pinoctl/apps")
    assert shared.ask("/api").status == 404
    page = shared.visit("/.pinoctl/apps")
    assert b'href="/.pinoctl/go/one"' in page.body
    assert b'href="/.pinoctl/go/two"' in page.body
    went = shared.visit("/.pinoctl/go/two")
    assert (went.status, header(went, "location")) == (303, "/")
    assert passed(shared.visit("/"), "two")
    shared.visit("/.pinoctl/go/one?next=/deep")
    assert passed(shared.visit("/"), "one")
    shared.post("/.pinoctl/logout", {})
    assert shared.jar == {}


def test_what_the_browser_kept_of_another_app_is_cleared(shared):
    def cleared(answer):
        return header(answer, "clear-site-data") == '"cache"'

    one, two = (shared.keys.token(app) for app in ("one", "two"))
    shared.visit(f"/?token={one}")
    assert not cleared(shared.visit(f"/?token={one}"))
    assert cleared(shared.visit(f"/.pinoctl/go/two?token={two}"))
    assert not cleared(shared.visit("/.pinoctl/go/two"))
    assert cleared(shared.visit("/.pinoctl/go/one"))
    assert cleared(shared.visit(f"/?token={two}"))
    assert cleared(shared.post("/.pinoctl/login", {"token": one, "next": "/"}))
    assert not cleared(shared.other(app="one").visit(f"/?token={one}")), "at a port of its own there is no other"


def test_who_may_see_one_app_is_there_at_once(shared):
    shared.keys.set_password("ann", "correct horse", ["two"])
    shared.post("/.pinoctl/login", {"user": "ann", "password": "correct horse"})
    assert passed(shared.visit("/"), "two")
    page = shared.visit("/.pinoctl/apps")
    assert b"go/two" in page.body
    assert b"go/one" not in page.body
    assert shared.visit("/.pinoctl/go/one").status == 401


def test_a_link_may_name_the_app(shared):
    answer = shared.visit(f"/.pinoctl/go/two?next=/a&token={shared.keys.token('two')}")
    assert (answer.status, header(answer, "location")) == (303, "/a")
    assert passed(shared.visit("/a"), "two")
    assert shared.other().visit(f"/.pinoctl/go/one?token={shared.keys.token('two')}").status == 401
    once = shared.keys.share("one", once=True)
    friend = shared.other()
    assert b"Open it here" in friend.visit(f"/.pinoctl/go/one?token={once.token}").body
    friend.post("/.pinoctl/login", {"token": once.token, "next": "/"})
    assert passed(friend.visit("/"), "one")


def test_a_choice_gives_no_right(shared):
    shared.visit(f"/?token={shared.keys.token('two')}")
    shared.jar["__Host-pinoctl-app"] = "one"
    assert passed(shared.visit("/"), "two")
    shared.jar["__Host-pinoctl-app"] = "../x"
    assert passed(shared.visit("/"), "two")
    stranger = shared.other(jar={"pinoctl-app": "one"})
    assert stranger.visit("/").status == 401


def test_answers_are_what_the_contract_says(client):
    for answer in (client.ask("/"), client.visit("/"), client.ask("/.pinoctl/nonce")):
        assert isinstance(answer, Answer)
        assert all(name == name.lower() for name, _ in answer.headers)


def test_a_program_with_a_token_is_told_of_its_app_on_the_port_for_all(shared):
    bearer = {"authorization": f"Bearer {shared.keys.token('two')}"}
    told = shared.ask("/.pinoctl/apps", headers={**bearer, "accept": "application/json"})
    assert (told.status, header(told, "content-type")) == (200, "application/json")
    assert json.loads(told.body) == {"apps": ["two"]}
    assert b"go/two" in shared.ask("/.pinoctl/apps", headers=bearer).body
    chosen = shared.ask("/.pinoctl/go/two", headers=bearer)
    assert (chosen.status, header(chosen, "location")) == (303, "/")
    refused = shared.ask("/.pinoctl/go/one", headers={**bearer, "accept": "application/json"})
    assert refused.status == 401
    assert "error" in json.loads(refused.body)
