"""What visitors see while the app is not there, and how the page turns into it."""

from __future__ import annotations

import json
import socket

import pytest

from orchestrator.expose.gate.apps import State
from tests.expose.gate.proxies import header, opened, status


@pytest.fixture
async def world():
    async with opened() as world:
        yield world


async def test_people_get_a_page_that_looks_again(world):
    world.where, world.word = None, State("installing", "step 3 of <b>")
    page = await world.get("/some/page?x=1", "Accept: text/html,*/*")
    assert status(page) == 503
    assert header(page, "retry-after") == ["2"]
    assert header(page, "cache-control") == ["no-store"]
    assert b"demo is not ready yet" in page
    assert b"installing" in page
    assert b"step 3 of &lt;b&gt;" in page
    assert b"/.pinoctl/state" in page
    assert b"http-equiv" in page  # for browsers without scripts
    assert b"http:" not in page.partition(b"\r\n\r\n")[2]  # nothing from elsewhere
    assert b"installing" not in await world.get("/", "Accept: text/html", token=False)


async def test_the_policy_of_the_page_allows_its_own_script_and_style_alone(world):
    import base64  # noqa: PLC0415  # for this test only
    import hashlib  # noqa: PLC0415
    import re  # noqa: PLC0415

    world.where = None
    page = await world.get("/", "Accept: text/html")
    policy = header(page, "content-security-policy")[0]
    assert "unsafe" not in policy
    for kind in (b"script", b"style"):
        inside = re.search(rb"<%b>(.*?)</%b>" % (kind, kind), page, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(inside).digest()).decode()
        assert f"{kind.decode()}-src 'sha256-{digest}'" in policy


async def test_programs_get_json_or_text(world):
    world.where, world.word = None, State("starting", "loading")
    plain = await world.get("/", "Accept: */*")
    assert status(plain) == 503
    assert plain.endswith(b"\r\n\r\n`demo` is not ready: starting: loading\n")
    told = await world.get("/api", "Accept: application/json", method="POST")
    assert status(told) == 503
    assert header(told, "retry-after") == ["2"]
    body = json.loads(told.partition(b"\r\n\r\n")[2])
    assert body == {"app": "demo", "state": "starting", "detail": "loading"}


async def test_a_dead_app_is_told_with_what_to_do(world):
    world.where, world.word = None, State("failed", "out of memory")
    page = await world.get("/", "Accept: text/html")
    assert status(page) == 503
    assert b"demo has failed" in page
    assert b"out of memory" in page
    assert b"pinoctl logs demo" in page
    world.word = State("stopped")
    assert b"pinoctl up demo" in await world.get("/", "Accept: text/html")


async def test_the_state_is_told_to_those_alone_who_may_pass(world):
    world.word = State("installing", "step 1")
    answer = await world.get("/.pinoctl/state")
    assert status(answer) == 200
    body = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert body == {"app": "demo", "state": "installing", "detail": "step 1"}
    refused = await world.get("/.pinoctl/state", token=False)
    assert status(refused) == 401
    assert b"installing" not in refused
    world.word = State("ready")
    assert b'"ready"' in await world.get("/.pinoctl/state")
    world.where = None  # said to be ready, but nobody knows where
    assert b'"starting"' in await world.get("/.pinoctl/state")
    assert world.gate.activity("demo").last is None  # looking is not using


async def test_an_app_that_is_not_there_is_told_to_its_owner(world):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        world.where = gone.getsockname()[:2]
    answer = await world.get("/", "Accept: text/html")
    assert status(answer) == 503
    assert b"starting" in answer
    assert world.lost_apps == ["demo"]


async def test_a_connection_goes_on_when_the_app_comes(world):
    there, world.where = world.where, None
    reader, writer = await world.connect()
    asked = b"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer s3cret-token\r\n\r\n"
    writer.write(asked)
    assert b" 503 " in await reader.readuntil(b"\r\n\r\n")
    await reader.readuntil(b"\n")
    world.where = there
    writer.write(asked)
    assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
    writer.close()


async def test_cookies_of_the_keeper_come_with_every_answer(world):
    world.keeper.cookies = ("a=1; Path=/", "b=2")
    for path in ("/", "/silent", "/.pinoctl/state"):
        assert header(await world.get(path), "set-cookie") == ["a=1; Path=/", "b=2"]
    world.where = None
    assert header(await world.get("/"), "set-cookie") == ["a=1; Path=/", "b=2"]
