"""Admission behind the real gate: a browser's cookie jar, forms, WebSockets and the one port for all, over sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from dataclasses import dataclass

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from orchestrator.expose.gate import passwords
from orchestrator.expose.gate.admission import Admission
from orchestrator.expose.gate.apps import State
from orchestrator.expose.gate.doors import MOST_PASSWORDS
from orchestrator.expose.gate.keys import Keys
from orchestrator.expose.gate.proxy import Gate, Patience
from tests.expose.gate.asking import Clock
from tests.expose.gate.proxies import PATIENCE, soon

HTML = {"accept": "text/html", "sec-fetch-mode": "navigate"}
NAME = web.AppKey("name", str)


@dataclass
class Behind:
    """Where the apps listen."""

    targets: dict[str, tuple[str, int]]

    def target(self, app):
        return self.targets.get(app)

    def state(self, app):
        return State("ready")

    def lost(self, app):
        pass


async def tell(request):
    if request.headers.get("upgrade") == "websocket":
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        if request.path == "/stay":
            async for message in socket:
                await socket.send_str(message.data)
            return socket
        await socket.send_json({"app": request.app[NAME], "headers": list(request.headers.items())})
        await socket.close()
        return socket
    headers = [(name.lower(), value) for name, value in request.headers.items()]
    return web.json_response({"app": request.app[NAME], "target": request.raw_path, "headers": headers})


@dataclass
class World:
    keys: Keys
    one: str  # address of the port of the app `one`
    all: str  # and of the port for all
    browser: aiohttp.ClientSession
    public: set[str]

    async def visit(self, address, **more):
        async with self.browser.get(URL(address, encoded=True), headers=HTML, **more) as answer:
            return answer, await answer.text()

    async def post(self, address, fields=None, **headers):
        async with self.browser.post(
            address, data=fields, headers={**HTML, **headers}, allow_redirects=False
        ) as answer:
            return answer, await answer.text()

    def forget(self):
        self.browser.cookie_jar.clear()


@pytest.fixture
async def world(tmp_path):
    keys, public = Keys(tmp_path / "keys.json", Clock()), set()
    behind, runners = Behind({}), []
    for name in ("one", "two"):
        app = web.Application()
        app[NAME] = name
        app.router.add_route("*", "/{tail:.*}", tell)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        behind.targets[name] = runner.addresses[0][:2]
        runners.append(runner)
        keys.token(name)
    keeper, patience = Admission(keys, nonce="the-nonce", public=public.__contains__), Patience(recheck=0.02)
    gates = [
        await Gate.listen("127.0.0.1", 0, keeper=keeper, app=app, apps=behind, patience=patience)
        for app in ("one", None)
    ]
    one, everything = (f"http://127.0.0.1:{gate.port}" for gate in gates)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        yield World(keys, one, everything, browser, public)
    for gate in gates:
        await gate.close()
    for runner in runners:
        await runner.cleanup()


async def test_a_link_opens_the_app_which_sees_nothing_of_ours(world):
    answer, _ = await world.visit(f"{world.one}/a%20b?x=%2f&token={world.keys.token('one')}&token=theirs")
    assert [each.status for each in answer.history] == [303]
    _, text = await world.visit(f"{world.one}/a%20b?x=%2f&token=theirs")
    told = json.loads(text)
    assert (told["app"], told["target"]) == ("one", "/a%20b?x=%2f&token=theirs")
    assert "pinoctl" not in text
    assert world.keys.token("one") not in text


async def test_strangers_get_a_form_and_come_in_by_it(world):
    answer, text = await world.visit(f"{world.one}/deep?x=1")
    assert (answer.status, "/deep?x=1" in text) == (401, True)
    fields = {"token": world.keys.token("one"), "next": "/deep?x=1"}
    answer, _ = await world.post(f"{world.one}/.pinoctl/login", fields)
    assert answer.status == 403  # without an Origin, as no browser would send it
    answer, _ = await world.post(f"{world.one}/.pinoctl/login", fields, origin=world.one)
    assert (answer.status, answer.headers["location"]) == (303, "/deep?x=1")
    assert (await world.visit(f"{world.one}/deep"))[0].status == 200
    assert (await world.post(f"{world.one}/do", {"a": "b"}, origin=world.one))[0].status == 200
    assert (await world.post(f"{world.one}/do", {"a": "b"}, origin="http://evil.example"))[0].status == 403
    assert (await world.post(f"{world.one}/.pinoctl/logout", origin=world.one))[0].status == 303
    assert (await world.visit(f"{world.one}/deep"))[0].status == 401


async def test_websockets_are_admitted_by_cookie_of_the_same_origin_or_by_token(world):
    async def status(address, **headers):
        try:
            async with world.browser.ws_connect(address, headers=headers) as socket:
                told = await socket.receive_json()
                assert not any("pinoctl" in name.lower() or "pinoctl" in value for name, value in told["headers"])
                return told["app"]
        except aiohttp.WSServerHandshakeError as error:
            return error.status

    address = f"{world.one}/ws"
    assert await status(address) == 401
    assert await status(f"{address}?token={world.keys.token('two')}") == 401
    assert await status(f"{address}?token={world.keys.token('one')}") == "one"
    assert await status(address, **{"x-pinoctl-token": world.keys.token("one")}) == "one"
    await world.visit(f"{world.one}/?token={world.keys.token('one')}")
    assert await status(address) == 403
    assert await status(address, origin="http://evil.example") == 403
    assert await status(address, origin="null") == 403
    assert await status(address, origin=world.one) == "one"
    world.keys.renew("one")
    assert await status(address, origin=world.one) == 401


async def test_the_port_for_all_leads_where_the_visitor_chose(world):
    await world.visit(f"{world.all}/?token={world.keys.token('one')}")
    await world.visit(f"{world.all}/?token={world.keys.token('two')}")
    assert json.loads((await world.visit(f"{world.all}/x"))[1])["app"] == "two"
    _, text = await world.visit(f"{world.all}/.pinoctl/apps")
    assert "go/one" in text
    answer, text = await world.visit(f"{world.all}/.pinoctl/go/one?next=/x")
    assert json.loads(text)["app"] == "one"
    assert answer.url.path == "/x"
    assert "pinoctl" not in text


async def test_a_once_link_opens_one_browser(world):
    share = world.keys.share("one", once=True)
    _, text = await world.visit(f"{world.one}/?token={share.token}")
    assert "Open it here" in text
    assert (await world.visit(f"{world.one}/"))[0].status == 401
    fields = {"token": share.token, "next": "/"}
    assert (await world.post(f"{world.one}/.pinoctl/login", fields, origin=world.one))[0].status == 303
    assert (await world.visit(f"{world.one}/"))[0].status == 200
    world.forget()
    assert (await world.post(f"{world.one}/.pinoctl/login", fields, origin=world.one))[0].status == 403
    assert (await world.visit(f"{world.one}/?token={share.token}"))[0].status == 403


@pytest.mark.parametrize(
    "path", ["/", "/.pinoctl/state", "/%2epinoctl/state", "//x", "/x;y", "/.pinoctl/../", "/a?token=", "/a?token=%00"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"])
async def test_nothing_of_the_app_comes_without_a_token(world, path, method):
    for base in (world.one, world.all):
        async with world.browser.request(method, URL(base + path, encoded=True), allow_redirects=False) as answer:
            assert answer.status in {401, 404}
            assert b'"target"' not in await answer.read()


@contextlib.asynccontextmanager
async def staying(world, **headers):
    """Open a WebSocket at the app `one` and see that it answers."""
    async with aiohttp.ClientSession() as program, program.ws_connect(f"{world.one}/stay", headers=headers) as socket:
        assert await answers(socket)
        yield socket


async def answers(socket):
    await socket.send_str("x")
    return (await socket.receive(timeout=PATIENCE)).data == "x"


async def ended(socket):
    return (await socket.receive(timeout=PATIENCE)).type is not aiohttp.WSMsgType.TEXT


async def cookie(world, **entering):
    """Enter as a browser and return the session as a header."""
    world.forget()
    if entering.get("fields"):
        await world.post(f"{world.one}/.pinoctl/login", entering["fields"], origin=world.one)
    else:
        await world.visit(f"{world.one}/?token={entering['token']}")
    line = "; ".join(f"{each.key}={each.value}" for each in world.browser.cookie_jar)
    return {"cookie": line, "origin": world.one}


@pytest.mark.parametrize("way", ["cookie", "header"])
@pytest.mark.parametrize("end", ["expires", "is revoked"])
async def test_a_websocket_by_a_link_ends_with_the_link_and_nobody_elses_does(world, way, end):
    share, other = world.keys.share("one", 5), world.keys.share("one", 100)
    by = await cookie(world, token=share.token) if way == "cookie" else {"x-pinoctl-token": share.token}
    owner, friend = {"x-pinoctl-token": world.keys.token("one")}, await cookie(world, token=other.token)
    async with staying(world, **by) as theirs, staying(world, **owner) as mine, staying(world, **friend) as others:
        if end == "expires":
            world.keys.clock.now += 5
        else:
            Keys(world.keys._path).revoke(share.id)  # as a command does, in a process of its own
        assert await ended(theirs)
        assert await answers(mine)
        assert await answers(others)
        world.keys.renew("one")
        assert await ended(mine)
        assert await ended(others)


async def test_a_websocket_of_a_person_ends_with_their_password(world):
    ann, bob = ({"user": name, "password": "correct horse"} for name in ("ann", "bob"))
    for each in (ann, bob):
        world.keys.set_password(**each)
    by_ann, by_bob = [await cookie(world, fields=each) for each in (ann, bob)]
    async with staying(world, **by_ann) as anns, staying(world, **by_bob) as bobs:
        world.keys.set_password("ann", "another horse")
        assert await ended(anns)
        assert await answers(bobs)
        world.keys.forget("bob")
        assert await ended(bobs)


async def test_who_came_to_a_public_app_leaves_when_it_is_closed(world):
    world.public.add("one")
    async with staying(world) as socket:
        assert await answers(socket)
        world.public.clear()
        assert await ended(socket)


@pytest.fixture
def slow(monkeypatch):
    """Let looking at passwords take until this is set; `began` counts those that are looked at."""
    event, matches = threading.Event(), passwords.matches
    event.began = []

    def wait(password, stored):
        event.began.append(password)
        assert event.wait(PATIENCE)
        return matches(password, stored)

    monkeypatch.setattr(passwords, "matches", wait)
    yield event
    event.set()


def log_in(world):
    fields = {"user": "ann", "password": "correct horse"}
    return asyncio.ensure_future(world.post(f"{world.one}/.pinoctl/login", fields, origin=world.one))


async def test_others_are_served_while_passwords_are_looked_at_and_only_few_wait_for_that(world, slow):
    world.keys.set_password("ann", "correct horse")
    logins = [log_in(world) for _ in range(MOST_PASSWORDS + 1)]
    (refused,), waiting = await asyncio.wait(logins, return_when=asyncio.FIRST_COMPLETED)
    assert refused.result()[0].status == 429
    answer, _ = await world.visit(f"{world.one}/?token={world.keys.token('one')}")
    assert answer.status == 200
    assert await soon(lambda: slow.began)
    assert len(slow.began) == 1
    slow.set()
    assert [answer.status for answer, _ in await asyncio.gather(*waiting)] == [303] * MOST_PASSWORDS


async def test_who_is_removed_while_their_password_is_looked_at_does_not_enter(world, slow):
    world.keys.set_password("ann", "correct horse")
    login = log_in(world)
    assert await soon(lambda: slow.began)
    world.keys.forget("ann")
    slow.set()
    answer, _ = await login
    assert (answer.status, answer.headers.get("set-cookie")) == (401, None)


async def test_while_nobody_has_a_password_none_is_looked_at(world, slow):
    answers = [(await log_in(world))[0].status for _ in range(20)]
    assert answers == [401] * 20
    assert slow.began == []


async def test_the_nonce_is_told_to_everybody(world):
    for base in (world.one, world.all):
        answer, text = await world.visit(f"{base}/.pinoctl/nonce")
        assert (answer.status, text) == (200, "the-nonce")
