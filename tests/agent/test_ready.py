"""Waiting for an app's URL, with time, ports and HTTP as parameters; and the HTTP probe against real servers."""

from __future__ import annotations

import asyncio
import ssl
import subprocess

import pytest

from orchestrator.agent.probe import Answer, http_probe, is_here, parse_answer
from orchestrator.agent.proc import Listening
from orchestrator.agent.ready import NotReadyError, Readiness
from tests.agent.fakes import FakeTime

PAGE, API, BROKEN = Answer(200, page=True), Answer(200, page=False), Answer(502, page=False)


class World:
    """What answers, what listens, and what happens when."""

    def __init__(self, **keywords):
        self.time = FakeTime()
        self.answers: dict[str, Answer] = {}
        self.ports: list[Listening] = []
        self.probed: list[str] = []
        self.events: list[tuple[float, object]] = []
        self.ready = Readiness(
            probe=self.probe,
            ports=lambda: list(self.ports),
            clock=self.time.clock,
            sleep=self.sleep,
            here=lambda _host: False,
            **keywords,
        )

    async def probe(self, url):
        self.probed.append(url)
        return self.answers.get(url)

    async def sleep(self, seconds):
        await self.time.sleep(seconds)
        for at, action in [event for event in self.events if event[0] <= self.time.now - 1000]:
            self.events.remove((at, action))
            action()

    def at(self, seconds, action):
        self.events.append((seconds, action))

    async def wait(self):
        ready = await self.ready.wait()
        return ready.url, ready.source, round(self.time.now - 1000, 1)


async def test_a_declared_url_is_ready_as_soon_as_it_answers():
    world = World()
    world.at(1, lambda: world.ready.local("url", "http://0.0.0.0:7860/x"))
    world.at(5, lambda: world.answers.update({"http://127.0.0.1:7860/x": PAGE}))
    url, source, seconds = await world.wait()
    assert (url, source) == ("http://127.0.0.1:7860/x", "local.url")
    assert 5 <= seconds < 6.2


async def test_a_declared_url_beats_one_that_answered_before():
    world = World()
    world.answers = {"http://127.0.0.1:1/": PAGE, "http://127.0.0.1:2/": API}
    world.at(0.2, lambda: world.ready.output("Uvicorn running on http://127.0.0.1:1/ (Press"))
    world.at(0.3, lambda: world.ready.output(" CTRL+C)\n"))
    world.at(1, lambda: world.ready.local("url", "http://127.0.0.1:2/"))
    assert (await world.wait())[:2] == ("http://127.0.0.1:2/", "local.url")


async def test_variables_of_other_names_and_values_without_url_do_not_count():
    world = World(name="share", timeout=20, strict=True)
    world.ready.local("url", "http://127.0.0.1:1/")
    world.ready.local("share", "{{input.event[0]}}")
    world.ready.local("share", "https://github.com/x/y")
    with pytest.raises(NotReadyError, match="named no address"):
        await world.ready.wait()
    assert world.probed == []


async def test_printed_pages_beat_printed_apis_and_the_last_page_wins():
    world = World()
    world.answers = {"http://127.0.0.1:1/": PAGE, "http://127.0.0.1:2/": PAGE, "http://127.0.0.1:3/": API}
    for number in (1, 2, 3):
        world.at(
            number / 10, lambda number=number: world.ready.output(f"Server running at http://127.0.0.1:{number}/\n")
        )
    assert (await world.wait())[:2] == ("http://127.0.0.1:2/", "announced")


async def test_a_page_that_the_script_opens_is_taken_at_once_unless_one_is_declared():
    world = World()
    world.answers = {"http://127.0.0.1:1/": API, "http://127.0.0.1:2/": PAGE}
    world.at(0.2, lambda: world.ready.output("Running on http://127.0.0.1:2/\n"))
    world.at(0.4, lambda: world.ready.opens("/?selected=demo"))
    world.at(0.5, lambda: world.ready.opens("https://github.com/x/y"))
    world.at(0.6, lambda: world.ready.opens("http://127.0.0.1:1/"))
    url, source, seconds = await world.wait()
    assert (url, source) == ("http://127.0.0.1:1/", "opened")
    assert seconds < 1

    world = World()
    world.answers = {"http://127.0.0.1:1/": PAGE}
    world.at(0.1, lambda: world.ready.local("url", "http://127.0.0.1:3/"))
    world.at(0.2, lambda: world.ready.opens("http://127.0.0.1:1/"))
    world.at(2, lambda: world.answers.update({"http://127.0.0.1:3/": PAGE}))
    assert (await world.wait())[:2] == ("http://127.0.0.1:3/", "local.url")


async def test_a_helpers_url_counts_when_the_start_script_says_nothing_itself():
    world = World()
    world.answers = {"http://127.0.0.1:1/": PAGE, "http://127.0.0.1:2/": PAGE}
    world.at(0.1, lambda: world.ready.local("url", "http://127.0.0.1:1/", own=False))
    world.at(9, lambda: world.ready.local("url", "http://127.0.0.1:2/"))
    assert (await world.wait())[:2] == ("http://127.0.0.1:2/", "local.url")

    for tell, soonest, latest in (
        (lambda world: world.ready.ended(), 1, 2),
        (lambda world: world.ready.stepped("process.wait"), 3, 5),
        (lambda world: world.ready.stepped("shell.run"), 30, 32),
    ):
        world = World()
        world.answers = {"http://127.0.0.1:1/": PAGE}
        world.at(0.1, lambda world=world: world.ready.local("url", "http://127.0.0.1:1/", own=False))
        world.at(1, lambda world=world, tell=tell: tell(world))
        url, source, seconds = await world.wait()
        assert (url, source) == ("http://127.0.0.1:1/", "script")
        assert soonest <= seconds < latest


async def test_an_announced_page_is_taken_at_once_when_the_script_is_through():
    world = World()
    world.answers = {"http://127.0.0.1:1": PAGE}
    world.at(0.2, lambda: world.ready.output("Running on local URL:  http://127.0.0.1:1\n"))
    world.at(0.5, world.ready.ended)
    assert (await world.wait())[2] < 1


async def test_a_new_port_that_answers_is_found_without_any_output():
    world = World()
    world.ports = [Listening(1, "127.0.0.1", 5432)]
    world.answers = {"http://127.0.0.1:5432/": PAGE, "http://[::1]:9000/": API, "https://127.0.0.1:9443/": PAGE}
    fresh = World()
    assert fresh.probed == []
    world.ready = Readiness(
        probe=world.probe, ports=lambda: list(world.ports), clock=world.time.clock, sleep=world.sleep
    )
    world.at(1, lambda: world.ports.append(Listening(2, "::", 9000)))
    world.at(1, lambda: world.ports.append(Listening(2, "0.0.0.0", 9443)))
    url, source, _ = await world.wait()
    assert (url, source) == ("https://127.0.0.1:9443/", "port")
    assert "http://127.0.0.1:5432/" not in world.probed


async def test_a_server_that_went_away_while_others_were_awaited_is_not_ready():
    world = World(timeout=20, strict=True)
    world.answers = {"http://127.0.0.1:1/": PAGE}
    world.at(0.1, lambda: world.ready.output("see http://127.0.0.1:1/\n"))
    world.at(1.5, world.answers.clear)
    with pytest.raises(NotReadyError, match="tried"):
        await world.ready.wait()

    world = World()
    world.answers = {"http://127.0.0.1:1/": PAGE}
    world.at(0.1, lambda: world.ready.output("see http://127.0.0.1:1/\n"))
    url, source, seconds = await world.wait()
    assert (url, source) == ("http://127.0.0.1:1/", "printed")
    assert 3 <= seconds < 4, "asked again at the end, and not waited for again"


async def test_answers_of_500_and_more_are_not_ready_and_401_is():
    world = World()
    world.ready.local("url", "http://127.0.0.1:1/")
    world.answers = {"http://127.0.0.1:1/": BROKEN}
    world.at(2, lambda: world.answers.update({"http://127.0.0.1:1/": Answer(401, page=True)}))
    assert (await world.wait())[2] >= 2


async def test_the_time_limit_counts_from_the_last_step():
    world = World(timeout=60, strict=True)
    world.at(50, world.ready.stepped)
    world.ready.local("url", "http://127.0.0.1:1/")
    with pytest.raises(NotReadyError, match=r"no answer after 60 s, tried `http://127\.0\.0\.1:1/`"):
        await world.ready.wait()
    assert world.time.now - 1000 == pytest.approx(110, abs=1)


async def test_a_server_that_still_prints_gets_more_time_but_not_for_ever():
    world = World(timeout=60)

    def talk():
        world.ready.output("loading...\n")
        world.at(world.time.now - 1000 + 20, talk)

    world.at(1, talk)
    with pytest.raises(NotReadyError):
        await world.ready.wait()
    assert world.time.now - 1000 == pytest.approx(240, abs=1)


async def test_a_failure_ends_the_wait_at_once():
    world = World()
    world.at(3, lambda: world.ready.failed("its server ended with status 1"))
    with pytest.raises(NotReadyError, match="status 1"):
        await world.ready.wait()
    assert world.time.now - 1000 < 3.5


async def test_a_daemon_without_servers_is_ready_without_url():
    world = World()
    world.ready.alive = lambda: False
    world.ready.opened = "https://example.com/"
    world.at(1, world.ready.ended)
    assert (await world.wait())[:2] == ("https://example.com/", "none")


async def test_a_log_full_of_addresses_is_no_port_scan():
    world = World(timeout=3, strict=True)
    world.ready.output("".join(f"http://127.0.0.1:{port}/\n" for port in range(2000, 4000)))
    with pytest.raises(NotReadyError):
        await world.ready.wait()
    assert len(set(world.probed)) == 64


# the probe, against real servers


async def serve(answer, *, context=None):
    async def talk(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(head) if callable(answer) else answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=context)
    return server, server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html>", Answer(200, page=True)),
        (b"HTTP/1.0 404 Not Found\r\ncontent-type: application/json\r\n\r\n{}", Answer(404, page=False)),
        (b"HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n", Answer(302, page=True)),
        (b"HTTP/1.1 503 Busy\r\n\r\n", Answer(503, page=False)),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 100_000 + b"\r\n\r\n", Answer(200, page=False)),
        (b"-ERR unknown command 'GET'\r\n\r\n", None),
        (b"", None),
        (b"HTTP/1.1 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.", Answer(400, page=False)),
    ],
)
async def test_the_probe_reads_what_a_server_answers(answer, expected):
    server, port = await serve(answer)
    async with server:
        assert await http_probe(f"http://127.0.0.1:{port}/") == expected


async def test_the_probe_keeps_path_and_query():
    seen = []
    server, port = await serve(lambda head: seen.append(head.split(b"\r\n")[0]) or b"HTTP/1.1 200 OK\r\n\r\n")
    async with server:
        await http_probe(f"http://127.0.0.1:{port}/lab?token=a%20b#x")
    assert seen == [b"GET /lab?token=a%20b HTTP/1.1"]


async def test_the_probe_gives_up_on_silence_and_on_nobody():
    async def silent(reader, writer):
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert await http_probe(f"http://127.0.0.1:{port}/", answer_timeout=0.05) is None
    server.close()
    await asyncio.sleep(0.01)
    assert await http_probe(f"http://127.0.0.1:{port}/") is None
    assert await http_probe("http://127.0.0.1:notaport/") is None


@pytest.fixture
def certificate(tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            key,
            "-out",
            certificate,
            "-days",
            "1",
            "-subj",
            "/CN=x",
        ],
        check=False,
        capture_output=True,
    )
    if made.returncode:
        pytest.skip("no openssl to make a certificate")
    return certificate, key


async def test_the_probe_takes_self_signed_certificates(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server, port = await serve(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n", context=context)
    async with server:
        assert await http_probe(f"https://127.0.0.1:{port}/") == Answer(200, page=True)
        assert await http_probe(f"http://127.0.0.1:{port}/") is None


def test_a_tls_servers_complaint_is_no_answer():
    assert parse_answer(b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\nX: HTTPS needed\r\n\r\n") is None
    assert parse_answer(b"HTTP/1.1 two hundred\r\n\r\n") is None


def test_addresses_of_this_machine_are_known():
    assert is_here("127.0.0.1")
    assert not is_here("8.8.8.8")
    assert not is_here("0.0.0.0")
    assert not is_here("example.com")
