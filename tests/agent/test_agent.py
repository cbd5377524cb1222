"""The agent's socket with a stand-in engine: requests, streams, questions, and clients that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import stat
import subprocess
import sys

import pytest

from orchestrator.agent import channel as channel_module
from orchestrator.agent.agent import Agent
from orchestrator.agent.client import Client, Dropped, Event, Output
from orchestrator.agent.contracts import Plan, Target
from orchestrator.agent.files import AgentFiles
from orchestrator.agent.journal import Journal, read_journal
from orchestrator.agent.probe import Answer
from orchestrator.agent.proc import boot_id, process
from orchestrator.agent.protocol import AgentError, ProtocolError, choose_version
from orchestrator.agent.server import Server
from orchestrator.agent.sockets import listen
from tests.agent.conftest import LONG, until
from tests.agent.fakes import FakeApp, FakeEngine, FakeResult

URL = "http://127.0.0.1:7860/"


class Running:
    """An agent in this process, and clients in threads."""

    def __init__(self, home):
        self.files = AgentFiles(home, "app")
        self.files.prepare()
        folder = home.app("app")
        self.start = Target(str(folder / "start.js"))
        self.app = FakeApp(folder, Plan(start=self.start, stage="start"))
        self.engine = FakeEngine()
        self.engine.scripts[self.start.path] = self.script
        self.opened = 0
        self.agent: Agent

    async def open(self, home, **keywords):
        self.opened += 1
        self.engine.sink, self.engine.answers = keywords["sink"], keywords["answers"]
        return self.engine

    async def probe(self, _url):
        return Answer(200, page=True)

    async def script(self, engine, _payload):
        engine.sink.event("run.start", {"script": "app/start.js", "steps": 1})
        engine.sink.output("app/start.js", "hello \x1b[1mworld\x1b[0m\r\n")
        engine.sink.event("local.url", {"script": "app/start.js", "name": "url", "value": URL})
        return FakeResult(daemon=True)

    @contextlib.asynccontextmanager
    async def serving(self, **keywords):
        self.agent = Agent(self.files, open_engine=self.open, probe=self.probe, app=self.app, **keywords)
        ready = asyncio.Event()
        task = asyncio.create_task(self.agent.serve(ready.set))
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        try:
            yield self
        finally:
            self.agent.end("test")
            await asyncio.wait_for(task, LONG)

    def client(self):
        return Client.connect(self.files.socket, timeout=LONG)

    async def ask(self, function):
        """Use a client in a thread: `function(client)`."""

        def work():
            with self.client() as client:
                return function(client)

        return await asyncio.to_thread(work)

    async def raw(self):
        return await asyncio.open_unix_connection(str(self.files.socket), limit=2**24)


@pytest.fixture
def running(home):
    return Running(home)


async def test_status_needs_no_engine(running):
    async with running.serving():
        status = await running.ask(lambda client: client.status())
        assert status["state"] == "not installed"
        assert status["pid"] == os.getpid()
        assert running.opened == 0


async def test_the_socket_is_for_this_user_alone_and_gone_afterwards(running):
    async with running.serving():
        assert stat.S_IMODE(running.files.socket.stat().st_mode) == 0o600
        assert stat.S_IMODE(running.files.folder.stat().st_mode) == 0o700
    assert not running.files.socket.exists()


async def test_up_streams_events_and_output_and_ends_with_the_url(running):
    heard = []
    async with running.serving():
        result = await running.ask(lambda client: client.up(listen=heard.append))
        assert result == {
            "app": "app",
            "state": "ready",
            "url": URL,
            "forwards": {},
            "share": False,
            "failed": None,
            "failed_children": [],
            "place": "host",
            "log": str(running.files.terminal),
        }
        status = await running.ask(lambda client: client.status())
        assert (status["state"], status["url"], status["running"]) == ("ready", URL, ["app/start.js"])
    kinds = [message.kind for message in heard if isinstance(message, Event)]
    assert kinds == ["scripts", "state", "run.start", "local.url", "state", "ready"]
    assert next(message for message in heard if isinstance(message, Output)).text == "hello \x1b[1mworld\x1b[0m\r\n"
    order = [type(message) for message in heard]
    assert order.index(Output) < len(order) - 2
    assert json.loads(running.files.state.read_text())["word"] == "stopped"
    journalled = [entry["kind"] for entry in read_journal(running.files.journal)]
    assert journalled == ["agent.start", *kinds, "state", "agent.stop"]


async def test_follow_gives_history_and_then_what_happens(running):
    async with running.serving():
        running.agent.sink.output("app/x.js", "before\r\n")

        def watch(client):
            end = client.follow()
            running.loop.call_soon_threadsafe(running.agent.sink.output, "app/x.js", "after\r\n")
            texts = []
            for message in client.messages(timeout=LONG):
                texts.append(message)
                if "after" in message.text:
                    return end, texts
            return end, texts

        running.loop = asyncio.get_running_loop()
        end, texts = await running.ask(watch)
        assert end == len("before\r\n")
        assert [(message.text, message.offset) for message in texts] == [("before\r\n", 8), ("after\r\n", 15)]
        tail = await running.ask(
            lambda client: (client.follow(-7, live=False), [message.text for message in client.messages(timeout=0.1)])
        )
        assert tail == (15, ["after\r\n"])


async def test_questions_go_to_clients_that_can_answer(running):
    from orchestrator.engine.answers import Answers  # noqa: PLC0415  # the real one, as the engine uses it

    seen: dict = {}

    async def script(engine, _payload):
        form = [{"key": "name", "title": "Name", "required": True}, {"key": "hf_token", "type": "password"}]
        seen.update(await engine.answers.form("app/start.js", 0, form))
        engine.sink.output("app/start.js", f"token is {seen['hf_token']}\r\n")
        engine.sink.event("local.url", {"script": "app/start.js", "name": "url", "value": URL})
        return FakeResult(daemon=True)

    running.engine.scripts[running.start.path] = script

    def work(client):
        assert client.attach() == []

        def listen(message):
            if isinstance(message, Event) and message.kind == "question":
                assert [field["key"] for field in message.data["form"]["fields"]] == ["name", "hf_token"]
                with running.client() as other:
                    other.answer(message.data["id"], {"name": "Ada", "hf_token": "hf_abcdef"})
                    with pytest.raises(AgentError, match="waits"):
                        other.answer(message.data["id"], {})

        return client.up(listen=listen)

    async with running.serving():
        assert isinstance(running.agent.answers, Answers)
        result = await running.ask(work)
    assert result["state"] == "ready"
    assert seen == {"name": "Ada", "hf_token": "hf_abcdef"}
    everything = (
        running.files.journal.read_text() + running.files.terminal.read_text() + running.files.state.read_text()
    )
    assert "hf_abcdef" not in everything
    assert "token is ••••••" in everything


async def asking(engine, _payload):
    await engine.answers.form("app/start.js", 0, [{"key": "name", "title": "Name", "required": True}])
    return FakeResult(daemon=True)


async def test_nobody_to_answer_fails_with_what_is_missing(running):
    running.engine.scripts[running.start.path] = asking
    async with running.serving():
        result = await running.ask(lambda client: client.up())
        assert "needs answers that were not given: `name` (Name)" in result["state"]


async def test_the_last_client_that_could_answer_leaves(running):
    running.engine.scripts[running.start.path] = asking
    async with running.serving():
        waiting = asyncio.create_task(running.ask(lambda client: client.up()))
        reader, writer = await running.raw()
        writer.write(b'{"id":1,"op":"attach"}\n')
        await reader.readline()
        up = asyncio.create_task(running.ask(lambda client: client.up()))
        for _ in range(500):
            if running.agent.questions.pending():
                break
            await asyncio.sleep(0.005)
        pending = bool(running.agent.questions.pending())
        writer.close()
        results = await asyncio.gather(waiting, up)
        assert pending or "needs answers" in results[0]["state"]
        assert "needs answers that were not given" in results[1]["state"]


async def test_given_answers_are_used(running):
    running.engine.scripts[running.start.path] = running.script
    async with running.serving():
        await running.ask(lambda client: client.up(answers={"name": "Ada"}, pairs={"my_token": "s3cr3t-value"}))
        assert await running.agent.answers.form("x", 0, [{"key": "name", "required": True}]) == {"name": "Ada"}
        assert running.agent.redactor.text("s3cr3t-value") != "s3cr3t-value"


async def test_down_answers_and_ends_the_agent(running):
    async with running.serving():
        await running.ask(lambda client: client.up())
        result = await running.ask(lambda client: client.down())
        assert result == {"app": "app", "state": "stopped"}
        await asyncio.wait_for(running.agent._done.wait(), LONG)
    assert running.engine.closed
    assert list(read_journal(running.files.journal))[-1]["reason"] == "down"


async def test_an_idle_agent_ends(running):
    async with running.serving(idle=0.0, sleep=lambda _seconds: asyncio.sleep(0)):
        await asyncio.wait_for(running.agent._done.wait(), LONG)
    assert list(read_journal(running.files.journal))[-1]["reason"] == "idle"


@pytest.mark.parametrize(
    "garbage",
    [
        b"\n\n\n",
        b"not json\n",
        b"[1,2]\n",
        b'{"op":5}\n',
        b'{"id":[],"op":"nothing"}\n',
        b"\xff\xfe\x00\n",
        b'{"op":"up","timeout":"x"}\n',
        b'{"op":"keys"}\n',
        b'{"op":"resize","cols":-1,"rows":true}\n',
        b'{"op":"run"}\n',
        b'{"op":"answer","question":1,"values":2}\n',
        b'{"op":"follow","offset":"x"}\n',
        b'{"op":"hello","versions":"1"}\n',
        b"[" * 100_000 + b"\n",
        b'{"op":"run","script":"../x.js"}\n',
        b'{"op":"stop"}',
    ],
)
async def test_garbage_never_kills_the_agent(running, garbage):
    async with running.serving():
        reader, writer = await running.raw()
        writer.write(garbage)
        writer.write_eof()
        answers = await asyncio.wait_for(reader.read(), LONG)
        for line in answers.splitlines():
            assert json.loads(line)["ok"] in {True, False}
        writer.close()
        assert (await running.ask(lambda client: client.status()))["app"] == "app"


async def test_an_endless_line_is_refused_and_cut_off(running, monkeypatch):
    monkeypatch.setattr("orchestrator.agent.server.MAX_LINE", 10_000)
    async with running.serving():
        reader, writer = await running.raw()
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                writer.write(b"x" * 10_000)
                await writer.drain()
        answer = b""
        with contextlib.suppress(ConnectionError):
            answer = await asyncio.wait_for(reader.read(), LONG)
        assert b"longer than" in answer or answer == b""
        writer.close()
        assert await running.ask(lambda client: client.status())


async def test_a_client_that_reads_nothing_blocks_nobody(running, monkeypatch):
    monkeypatch.setattr(channel_module, "STREAM_LIMIT", 200_000)
    async with running.serving():
        _reader, writer = await asyncio.open_unix_connection(str(running.files.socket), limit=1024)
        writer.write(b'{"id":1,"op":"follow"}\n')
        await until(lambda: any(channel.follows for channel in running.agent.server.channels))
        for _ in range(400):
            running.agent.sink.output("app/x.js", "y" * 10_000)
            running.agent.sink.flush()
            await asyncio.sleep(0)
        assert (await running.ask(lambda client: client.status()))["app"] == "app"
        slow = next(channel for channel in running.agent.server.channels if channel.follows)
        assert slow._dropped > 0
        assert slow._bytes <= 210_000
        writer.transport.abort()
    assert running.files.terminal.stat().st_size == 4_000_000


async def test_a_slow_client_is_told_what_it_missed(running, monkeypatch):
    monkeypatch.setattr(channel_module, "STREAM_LIMIT", 50_000)
    async with running.serving():
        reader, writer = await running.raw()
        writer.write(b'{"id":1,"op":"follow"}\n')
        await reader.readline()
        for _ in range(20):
            running.agent.sink.output("app/x.js", "y" * 10_000)
            running.agent.sink.flush()
        missed = 0
        while not missed:
            missed = json.loads(await asyncio.wait_for(reader.readline(), LONG)).get("dropped", 0)
        assert 0 < missed < 20
        writer.close()


async def test_a_script_without_a_proper_name_stops_nothing(running):
    async with running.serving():
        reader, writer = await running.raw()
        writer.write(b'{"id":1,"op":"up"}\n{"id":2,"op":"stop","script":5}\n')
        writer.write_eof()
        answers = {line["id"]: line for line in map(json.loads, (await reader.read()).splitlines()) if "id" in line}
        assert answers[2]["error"]["kind"] == "BadInputError"
        writer.close()
        assert (await running.ask(lambda client: client.status()))["state"] == "ready"


async def test_a_half_closed_client_still_gets_its_answer(running):
    async with running.serving():
        reader, writer = await running.raw()
        writer.write(b'{"id":7,"op":"up"}\n')
        writer.write_eof()
        lines = (await asyncio.wait_for(reader.read(), LONG)).splitlines()
        assert json.loads(lines[-1])["result"]["state"] == "ready"
        writer.close()


async def test_an_operation_that_breaks_costs_one_answer(running):
    async def boom(_app):
        raise RuntimeError("broken menu")

    running.engine.menu = boom
    async with running.serving():
        with pytest.raises(AgentError, match="broken menu") as caught:
            await running.ask(lambda client: client.menu())
        assert caught.value.kind == "RuntimeError"


async def test_menu_keys_and_resize_reach_the_engine(running):
    class Shells:
        def __init__(self):
            self.calls = []

        def send_keys(self, shell, keys):
            self.calls.append((shell, keys))

        def resize(self, cols, rows):
            self.calls.append((cols, rows))

    running.engine.shells = Shells()
    async with running.serving():
        with pytest.raises(AgentError, match="no shell"):
            await running.ask(lambda client: client.keys("s1", "x"))
        assert (await running.ask(lambda client: client.menu()))["menu"][0]["text"] == "Start"
        await running.ask(lambda client: (client.keys("s1", "\x03"), client.resize(120, 40)))
    assert running.engine.shells.calls == [("s1", "\x03"), (120, 40)]


async def test_an_agent_of_another_version_is_refused(running):
    async with running.serving():
        reader, writer = await running.raw()
        writer.write(b'{"id":1,"op":"hello","versions":[99]}\n')
        assert "no protocol version in common" in json.loads(await reader.readline())["error"]["message"]
        writer.close()
    assert choose_version([1, 2]) == 1
    with pytest.raises(ProtocolError):
        choose_version("1")


async def test_what_a_killed_predecessor_left_is_corrected(running):
    running.files.state.write_text(json.dumps({"word": "installing", "step": 3, "steps": 7, "installed": "x.js"}))
    async with running.serving():
        status = await running.ask(lambda client: client.status())
        assert status["state"] == "failed (step 3 of 7, its installation was interrupted)"
        assert running.agent.lifecycle.desk.record.installed == "x.js"


async def test_what_a_killed_predecessor_left_running_is_killed(running):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], start_new_session=True)  # noqa: ASYNC220  # it does not block
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], start_new_session=True)  # noqa: ASYNC220  # it does not block
    try:
        journal = Journal(running.files.journal)
        for pid, late in ((child.pid, 0), (other.pid, 1)):
            journal.write(
                "shell.start", {"id": str(pid), "pid": pid, "started": process(pid).started + late, "boot": boot_id()}
            )
        journal.close()
        async with running.serving():
            assert child.wait(LONG) == -9
            assert other.poll() is None
        events = [entry for entry in read_journal(running.files.journal) if entry["kind"] in {"leftovers", "shell.end"}]
        assert events[0]["pids"] == [child.pid]
        assert [entry["id"] for entry in events[1:]] == [str(child.pid), str(other.pid)]
    finally:
        for each in (child, other):
            each.kill()
            each.wait()


async def test_output_from_threads_arrives_in_order(running):
    async with running.serving():
        lines = [f"{number}\n" for number in range(100)]
        await asyncio.to_thread(lambda: [running.agent.sink.output("app/x.js", line) for line in lines])
        await until(lambda: len(running.files.terminal.read_text()) >= len("".join(lines)))
        assert running.files.terminal.read_text() == "".join(lines)


def test_a_dropped_note_is_a_message():
    assert Dropped(3).messages == 3


async def test_a_client_that_is_gone_saves_no_more_though_what_it_asked_for_goes_on(tmp_path):
    gone, left, at_work, go = [], asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def handler(channel, _request):
        channel.saves = channel.follows = True
        at_work.set()
        await go.wait()
        return {}

    def leave(channel):
        gone.append((channel.saves, channel.streaming))
        left.set()

    server = Server(handler, gone=leave)
    await server.start(listen(tmp_path / "socket"))
    _, writer = await asyncio.open_unix_connection(str(tmp_path / "socket"))
    writer.write(b'{"id": 1, "op": "install"}\n')
    await at_work.wait()
    writer.close()
    await left.wait()
    assert gone == [(False, False)]
    assert not go.is_set(), "it is told while the request is still at work"
    go.set()
    await server.close()
