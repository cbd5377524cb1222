"""What an agent in a container does of itself: it comes back after a restart, unless a command had it started."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from orchestrator.agent import container
from orchestrator.agent.agent import open_real_engine
from orchestrator.agent.client import Client
from orchestrator.agent.contracts import Target
from orchestrator.agent.inside import InContainer, Inside
from orchestrator.agent.record import read_lent, store_lent
from orchestrator.engine.answers import Answers
from orchestrator.engine.home import Home
from orchestrator.expose.gate.audit import read
from tests.agent.conftest import LONG
from tests.agent.fakes import FakeResult
from tests.agent.test_agent import Running
from tests.agent.test_alone import ask, free_port


@pytest.fixture
def running(home):
    return Running(home)


@pytest.fixture(autouse=True)
def grace(monkeypatch):
    monkeypatch.setattr(container, "GRACE", 0.05)


async def came_back(running):
    await container._come_back(running.agent)
    return bool(running.engine.started)


class TestComingBack:
    async def test_after_a_restart_that_no_command_asked_for(self, running):
        async with running.serving():
            await running.ask(lambda client: client.status())  # somebody only looks
            assert await came_back(running)

    async def test_not_where_a_command_had_it_started(self, running):
        async with running.serving():

            def look():
                with Client.over(Client.connect(running.files.socket)._socket, started=True) as client:
                    client.status()

            await asyncio.to_thread(look)
            assert not await came_back(running)

    async def test_not_while_a_script_was_asked_for(self, running):
        path = running.app.script("tool.js")

        async def tool(_engine, _payload):
            return FakeResult()

        running.engine.scripts[path] = tool
        async with running.serving():
            await running.ask(lambda client: client.run("tool.js"))
            await container._come_back(running.agent)
            assert [path for path, _ in running.engine.started] == [path]


async def test_the_app_is_started_again_as_it_was_started_last(running):
    other = Target(running.app.script("other.js"), {"colour": "green"})
    running.engine.scripts[other.path] = running.script
    async with running.serving():
        await running.ask(lambda client: client.up(start="other.js", args=dict(other.args)))
        await running.ask(lambda client: client.stop())
        await running.ask(lambda client: client.up(again=True))
        assert [path for path, _ in running.engine.started] == [other.path] * 2


@pytest.mark.parametrize(("keep", "stays"), [(True, True), (False, False)])
async def test_a_failed_build_stays_for_as_long_as_somebody_wants_it(running, keep, stays):
    running.app.plans[0] = type(running.app.plans[0])(
        install=Target(running.app.script("install.js")), start=running.start, stage="install"
    )

    async def install(_engine, _payload):
        return FakeResult(status="error", error="no")

    running.engine.scripts[running.app.script("install.js")] = install
    async with running.serving(idle=600.0):
        result = await running.ask(lambda client: client.install(keep=keep))
        assert result["failed"]
        assert (running.agent._idle == float("inf")) is stays


class TestVariables:
    LENT = {  # noqa: RUF012  # never changed
        "PIP_INDEX_URL": "https://index.example/simple", "HF_TOKEN": "hf_0123456789",
        "HTTPS_PROXY": "http://me:word@proxy.example:3128", "ALL_PROXY": "me:word@proxy.example:3128",
        "UV_INDEX_URL": "https://index.example/simple?token=12345678",
    }  # fmt: skip

    def test_that_are_no_secrets_are_stored(self, running):
        assert read_lent(running.files) == {}
        store_lent(running.files, self.LENT)
        assert read_lent(running.files) == {"PIP_INDEX_URL": "https://index.example/simple"}

    @pytest.mark.parametrize("inside", [Inside, InContainer])
    async def test_are_there_again_when_a_container_comes_back(self, running, tmp_path, monkeypatch, inside):
        for name in self.LENT:  # the agent sets them in this process
            monkeypatch.setenv(name, "before")
        place = inside(tmp_path) if inside is InContainer else inside()
        async with running.serving(inside=place):
            await running.ask(lambda client: client.run("start.js", environment=self.LENT))
            await running.ask(lambda client: client.stop())
        kept = read_lent(running.files)
        assert kept == ({"PIP_INDEX_URL": "https://index.example/simple"} if inside is InContainer else {})
        monkeypatch.setenv("PIP_INDEX_URL", "before")
        async with running.serving(inside=place):
            await running.agent.start_again()
            assert container.os.environ["PIP_INDEX_URL"] == kept.get("PIP_INDEX_URL", "before")


@pytest.mark.parametrize(
    ("environ", "why"),
    [({"PINOCTL_TOKEN": "1"}, "this one has 1"), ({"PINOCTL_TRUSTED_PROXY": "x"}, "must list addresses")],
)
async def test_an_image_by_itself_ends_where_its_gate_cannot_be_opened(running, capsys, environ, why):
    environ = {"PORT": str(free_port()), **environ}
    async with running.serving():
        assert await container._stand_alone(running.agent, InContainer(running.files.home.run), environ)
        await asyncio.wait_for(running.agent._done.wait(), LONG)
    said = capsys.readouterr().err
    assert "error: the gate of `app` cannot be opened: " in said
    assert why in said
    assert "hint: " in said
    assert running.engine.started == []


async def test_an_image_by_itself_writes_down_who_came_beside_the_apps_logs(running):
    port = free_port()
    token = "a-token-that-nobody-guesses"
    async with running.serving():
        inside = InContainer(running.files.home.run)
        assert not await container._stand_alone(running.agent, inside, {"PORT": str(port), "PINOCTL_TOKEN": token})
        assert "HTTP/1.1 401 " in await ask(port, Authorization="Bearer wrong")
        (event,) = read(running.files.folder / "gate.jsonl")
        assert (event["event"], event["way"]) == ("refused", "wrong token")


async def test_scripts_of_an_installation_see_the_machine_that_it_is_held_to(tmp_path):
    pinned = tmp_path / "hardware.json"
    assert container.opener(pinned) is open_real_engine
    pinned.write_text('{"gpu": "nvidia", "ram": 1001}')
    engine: Any = await container.opener(pinned)(Home(tmp_path / "home"), sink=lambda *_: None, answers=Answers())
    try:
        assert (engine.profile.gpu, engine.profile.ram) == ("nvidia", 1001)
    finally:
        await engine.close()
