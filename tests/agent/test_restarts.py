"""Servers that die: when they are started again, how often, and when not, with a stand-in engine."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.agent.condition import Condition
from orchestrator.agent.outcome import UpOptions
from tests.agent.bench import URL, Bench
from tests.agent.fakes import FakeResult


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


async def test_a_dead_server_is_started_again_and_gets_ready(bench):
    await bench.life.up(UpOptions())
    bench.event("shell.end", id="s1", script="app/start.js", status=137, detached=True)
    await bench.settle()
    assert bench.life.condition == Condition("ready", url=URL)
    assert bench.of("restart") == [
        {"attempt": 1, "delay": 1.0, "reason": "a server of `app/start.js` ended with status 137"}
    ]
    assert bench.kinds()[-1] == "ready"
    assert bench.of("lost")[0]["lines"] == ["last line"]


async def test_an_app_is_not_ready_while_what_is_left_of_it_is_stopped(bench, monkeypatch):
    await bench.life.up(UpOptions())
    stop, seen = bench.engine.stop, []

    async def slow(path):
        seen.append(bench.life.condition.word)
        return await stop(path)

    monkeypatch.setattr(bench.engine, "stop", slow)
    bench.event("shell.end", id="s1", script="app/start.js", status=137, detached=True)
    await bench.settle()
    assert seen == ["starting"]


async def test_a_foreground_server_that_dies_is_started_again(bench):
    release = asyncio.Event()

    async def script(_engine, _payload):
        bench.event("local.url", script="app/start.js", name="url", value=URL)
        await release.wait()
        return FakeResult()

    bench.engine.scripts[bench.start.path] = script
    await bench.life.up(UpOptions())
    release.set()
    await asyncio.sleep(0)
    await bench.settle()
    assert len(bench.of("restart")) >= 1


async def test_restarts_back_off_and_end_with_a_reason(bench):
    await bench.life.up(UpOptions(timeout=5))
    bench.answers.clear()
    bench.event("shell.end", id="s1", script="app/start.js", status=1, detached=True)
    for _ in range(100):
        await bench.settle()
        if bench.life.condition.word == "failed":
            break
    assert [data["delay"] for data in bench.of("restart")] == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert str(bench.life.condition).startswith(
        "failed (gave up after 5 restarts, the last time because no answer after"
    )
    assert bench.of("given.up")[0]["attempts"] == 5
    assert bench.engine.runs == {}


async def test_a_clean_end_of_one_of_several_servers_is_only_a_warning(bench):
    await bench.life.up(UpOptions())
    bench.event("shell.end", id="s1", script="app/start.js", status=0, detached=True)
    await bench.settle()
    assert bench.life.condition.word == "ready"
    assert bench.kinds().count("warning") == 1
    assert "restart" not in bench.kinds()


@pytest.mark.parametrize("how", ["stop", "down"])
async def test_nothing_is_restarted_after_stop_and_down(bench, how):
    await bench.life.up(UpOptions())
    await getattr(bench.life, how)()
    bench.event("shell.end", id="s1", script="app/start.js", status=137, detached=True, how="stopped")
    await bench.settle()
    assert bench.life.condition == Condition("stopped")
    assert "restart" not in bench.kinds()
    assert bench.engine.closed is (how == "down")
    assert not bench.life.busy


async def test_stop_ends_a_restart_that_waits(bench):
    forever = asyncio.Event()

    async def sleep(seconds):
        await (forever.wait() if seconds == 1.0 else asyncio.sleep(0))

    bench.life.serving._sleep = sleep
    await bench.life.up(UpOptions())
    bench.event("shell.end", id="s1", script="app/start.js", status=1, detached=True)
    await bench.settle()
    assert str(bench.life.condition) == "starting"
    await bench.life.stop()
    assert bench.life.condition == Condition("stopped")
    assert bench.started() == ["start.js"]
