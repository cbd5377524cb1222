"""The life cycle with a stand-in engine: which scripts run when, what is resumed, given up and undone."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.agent.condition import Condition
from orchestrator.agent.contracts import Plan, Target
from orchestrator.agent.outcome import UpOptions
from orchestrator.agent.probe import Answer
from tests.agent.bench import URL, Bench
from tests.agent.conftest import LONG
from tests.agent.fakes import FakeResult


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


async def test_a_fresh_app_is_installed_started_and_ready(tmp_path):
    bench = Bench(tmp_path)
    bench.app.plans = [bench.plan("install"), bench.plan("start")]
    outcome = await bench.life.up(UpOptions())
    assert outcome == {"state": "ready", "url": URL, "failed": None, "failed_children": []}
    assert bench.started() == ["install.js", "start.js"]
    assert bench.stored == ["installing", "stopped", "starting", "ready"]
    assert bench.of("ready") == [{"url": URL, "source": "local.url"}]


async def test_up_of_a_ready_app_does_nothing(bench):
    await bench.life.up(UpOptions())
    assert (await bench.life.up(UpOptions()))["state"] == "ready"
    assert bench.started() == ["start.js"]


async def test_up_of_an_app_that_answers_no_more_starts_it_again(bench):
    await bench.life.up(UpOptions())
    bench.answers.clear()
    again = asyncio.create_task(bench.life.up(UpOptions()))
    await bench.settle()
    bench.answers[URL] = Answer(200, page=True)
    assert (await again)["state"] == "ready"
    assert bench.started() == ["start.js", "start.js"]


async def test_two_at_once_are_one(bench):
    first, second = await asyncio.gather(bench.life.up(UpOptions()), bench.life.up(UpOptions()))
    assert first == second
    assert bench.started() == ["start.js"]


async def test_an_installed_app_is_only_started(bench):
    await bench.life.up(UpOptions())
    assert bench.started() == ["start.js"]


async def test_a_failed_install_says_where_and_is_gone_on_with(tmp_path):
    bench = Bench(tmp_path)
    bench.app.plans = [bench.plan("install")]

    async def failing(_engine, _payload):
        bench.event("step.start", script="app/install.js", index=2, steps=7, method="shell.run")
        bench.positions.save({bench.install.path: {"next": 2, "input": None, "local": {"a": 1}, "digest": "d"}})
        bench.positions.save({})
        return FakeResult("error", error="no space left", step=2, method="shell.run", hint="free it, `pinoctl up APP`")

    bench.engine.scripts[bench.install.path] = failing
    outcome = await bench.life.up(UpOptions())
    assert outcome["state"] == "failed (step 3, no space left)"
    assert outcome["failed"] == {
        "script": "app/install.js",
        "step": 3,
        "method": "shell.run",
        "reason": "no space left",
        "hint": "free it, `pinoctl up app`",
        "lines": ["last line"],
    }
    assert [each["hint"] for each in bench.of("failed")] == ["free it, `pinoctl up app`"]
    assert "installing (step 3 of 7)" in bench.stored
    assert bench.started() == ["install.js"]

    bench.engine.scripts[bench.install.path] = bench.ends()
    bench.app.plans = [bench.plan("install"), bench.plan("start")]
    assert (await bench.life.up(UpOptions()))["state"] == "ready"
    assert bench.of("resume") == [{"script": "app/install.js", "step": 3}]
    assert bench.positions.load(bench.install.path) is None


async def test_an_interrupted_install_goes_on_even_when_the_menu_believes_in_it(tmp_path):
    bench = Bench(tmp_path)
    bench.positions.begin(bench.install.path)
    bench.positions.save({bench.install.path: {"next": 4, "input": None, "local": {}, "digest": "d"}})
    bench.app.plans = [bench.plan("start")]
    seen = []

    async def script(engine, _payload):
        seen.append(engine.positions.earlier)
        return FakeResult()

    bench.engine.scripts[bench.install.path] = script
    await bench.life.up(UpOptions())
    assert seen[0][bench.install.path]["next"] == 4
    assert bench.started() == ["install.js", "start.js"]


@pytest.mark.parametrize(("options", "following"), [(UpOptions(fresh=True), None), (UpOptions(from_step=2), 1)])
async def test_the_position_can_be_thrown_away_or_set(tmp_path, options, following):
    bench = Bench(tmp_path)
    bench.folder.mkdir()
    (bench.folder / "install.js").write_text("module.exports = {run: []}")
    bench.positions.begin(bench.install.path)
    bench.positions.save({bench.install.path: {"next": 4, "input": None, "local": {"x": 1}, "digest": "old"}})
    bench.app.plans = [bench.plan("install"), bench.plan("start")]
    seen = []

    async def script(engine, _payload):
        seen.append(engine.positions.earlier.get(bench.install.path))
        return FakeResult()

    bench.engine.scripts[bench.install.path] = script
    await bench.life.up(options)
    assert (seen[0] and seen[0]["next"]) == following
    if following is not None:
        assert seen[0]["local"] == {"x": 1}
        assert seen[0]["digest"] != "old"


async def test_a_menu_that_still_asks_after_a_good_install_means_failure(tmp_path):
    bench = Bench(tmp_path)
    bench.app.plans = [bench.plan("install")]
    outcome = await bench.life.up(UpOptions())
    assert "still asks for the installation" in outcome["state"]
    assert bench.started() == ["install.js"]


async def test_a_menu_without_state_test_is_judged_by_the_script(tmp_path):
    bench = Bench(tmp_path)
    bench.app.plans = [bench.plan("install", lists_start=True)]
    assert (await bench.life.up(UpOptions()))["state"] == "ready"
    await bench.life.stop()
    assert (await bench.life.up(UpOptions()))["state"] == "ready"
    assert bench.started() == ["install.js", "start.js", "start.js"]
    assert bench.record.installed == bench.install.path
    await bench.life.stop()
    await bench.life.up(UpOptions(fresh=True))
    assert bench.started()[-2:] == ["install.js", "start.js"]


async def test_a_failed_sub_script_is_flagged(tmp_path):
    bench = Bench(tmp_path)
    bench.app.plans = [bench.plan("install"), bench.plan("start")]
    bench.engine.scripts[bench.install.path] = bench.ends(failed_children=["app/torch.js"])
    outcome = await bench.life.up(UpOptions())
    assert outcome["failed_children"] == ["app/torch.js"]
    assert any("failed sub-script: `app/torch.js`" in str(data["reason"]) for data in bench.of("state"))


async def test_no_start_script_is_a_clear_failure(tmp_path):
    bench = Bench(tmp_path)
    bench.app.plans = [bench.plan("start", start=None)]
    assert "offers no start script" in (await bench.life.up(UpOptions()))["state"]


async def test_a_start_script_that_fails_fails_at_once(bench):
    bench.engine.scripts[bench.start.path] = bench.ends(
        status="error", error="it printed `error:`", step=0, method="shell.run"
    )
    outcome = await bench.life.up(UpOptions())
    assert outcome["failed"]["step"] == 1
    assert outcome["state"] == "failed (step 1, it printed `error:`)"
    assert bench.time.now - 1000 < 2
    assert bench.engine.runs == {}


async def test_a_start_script_that_ends_leaves_no_server(bench):
    bench.engine.scripts[bench.start.path] = bench.ends()
    assert "left no server running" in (await bench.life.up(UpOptions()))["state"]


async def test_a_server_that_dies_at_once_is_reported_with_its_status(bench):
    async def script(_engine, _payload):
        bench.event("shell.start", id="s1", script="app/start.js", pid=1)
        asyncio.get_running_loop().call_later(
            0, lambda: bench.event("shell.end", id="s1", script="app/start.js", status=3, detached=True)
        )
        return FakeResult(daemon=True)

    bench.engine.scripts[bench.start.path] = script
    outcome = await asyncio.wait_for(bench.life.up(UpOptions()), LONG)
    assert outcome["failed"]["reason"] == "a server of `app/start.js` ended with status 3"
    assert outcome["failed"]["lines"] == ["last line"]
    assert bench.engine.stopped == [bench.start.path]


async def test_a_script_that_cannot_be_loaded_is_a_failure(bench):
    del bench.engine.scripts[bench.start.path]
    assert "there is no script" in (await bench.life.up(UpOptions()))["state"]


async def test_a_server_that_never_answers_is_given_up_and_stopped(bench):
    bench.answers.clear()
    outcome = await bench.life.up(UpOptions(timeout=30))
    assert "no answer after 30 s" in outcome["state"]
    assert bench.engine.runs == {}


async def test_down_while_it_installs_answers_the_waiting_and_keeps_the_position(tmp_path):
    bench = Bench(tmp_path)
    bench.app.plans = [bench.plan("install")]

    async def script(_engine, _payload):
        bench.positions.save({bench.install.path: {"next": 1, "input": None, "local": {}, "digest": "d"}})
        await asyncio.Event().wait()

    bench.engine.scripts[bench.install.path] = script
    waiting = asyncio.create_task(bench.life.up(UpOptions()))
    await bench.settle()
    assert str(bench.life.condition) == "installing"
    await bench.life.down()
    assert (await waiting)["failed"]["reason"] == "it was stopped before it was ready"
    assert bench.life.condition == Condition("not installed")
    assert bench.positions.step(bench.install.path) == 1


async def test_a_caller_that_leaves_stops_nothing(bench):
    caller = asyncio.create_task(bench.life.up(UpOptions()))
    await asyncio.sleep(0)
    caller.cancel()
    await bench.settle()
    assert bench.life.condition.word == "ready"


async def test_a_failed_update_is_undone_and_the_app_is_started_again(bench):
    await bench.life.up(UpOptions())
    bench.engine.scripts[bench.update.path] = bench.ends(status="error", error="merge conflict", step=0)
    outcome = await bench.life.update()
    assert outcome["failed"]["reason"] == "merge conflict"
    assert outcome["state"] == "ready"
    assert bench.app.saved == ["save", "restore", "discard"]
    assert bench.started() == ["start.js", "update.js", "start.js"]
    assert bench.of("restored") == [{"reason": "merge conflict"}]


async def test_a_good_update_of_a_stopped_app_leaves_it_stopped(bench):
    outcome = await bench.life.update()
    assert (outcome["state"], outcome["failed"]) == ("stopped", None)
    assert bench.app.saved == ["save", "discard"]


async def test_an_interrupted_update_is_undone_by_the_next_up(bench):
    bench.app.saved = ["save"]
    assert (await bench.life.up(UpOptions()))["state"] == "ready"
    assert bench.of("restored") == [{"reason": "its update was interrupted"}]
    assert bench.app.saved == ["save", "recover"]


async def test_running_the_start_script_is_an_up_and_others_just_run(bench):
    assert (await bench.life.run(bench.start))["state"] == "ready"
    other = Target(str(bench.folder / "job.js"), {"a": "1"})
    bench.engine.scripts[other.path] = bench.ends(result={"x": 1}, failed_children=["app/x.js"])
    assert await bench.life.run(other) == {
        "status": "end",
        "daemon": False,
        "error": None,
        "hint": None,
        "step": None,
        "method": None,
        "failed_children": ["app/x.js"],
        "result": {"x": 1},
    }
    assert bench.engine.started[-1] == (other.path, {"a": "1"})


async def test_a_url_stored_later_is_followed_once_it_answers(bench):
    await bench.life.up(UpOptions())
    bench.answers["http://127.0.0.1:2/"] = Answer(200, page=True)
    bench.event("local.url", script="app/start.js", name="other", value="http://127.0.0.1:3/")
    bench.event("local.url", script="app/start.js", name="url", value="http://127.0.0.1:2/")
    await bench.settle()
    assert bench.life.condition == Condition("ready", url="http://127.0.0.1:2/")


async def test_a_url_with_a_hidden_token_is_looked_up_in_the_scripts_memory(bench):
    full = "http://127.0.0.1:8888/lab?token=abcdef0123"

    async def script(_engine, _payload):
        bench.event("local.url", script="app/start.js", name="url", value="http://127.0.0.1:8888/lab?token=***")
        return FakeResult(daemon=True)

    async def local(_path):
        return {"url": full}

    bench.engine.scripts[bench.start.path] = script
    bench.engine.local = local
    bench.answers[full] = Answer(200, page=True)
    bench.event("shell.start", id="s9", script="app/start.js", pid=1)
    assert (await bench.life.up(UpOptions()))["url"] == full
    assert "abcdef0123" not in str(bench.told)


async def test_another_start_script_replaces_the_running_one(bench):
    await bench.life.up(UpOptions())
    variant = Target(str(bench.folder / "start-cpu.js"))
    bench.engine.scripts[variant.path] = bench.serves()
    await bench.life.up(UpOptions(start=variant))
    assert bench.started() == ["start.js", "start-cpu.js"]
    assert list(bench.engine.runs) == [variant.path]


async def test_a_menu_that_can_tell_is_asked_every_time(tmp_path):
    bench = Bench(tmp_path)
    bench.app.plans = [bench.plan("install"), bench.plan("start")]
    await bench.life.up(UpOptions())
    await bench.life.stop()
    bench.app.plans = [bench.plan("install"), bench.plan("start")]
    await bench.life.up(UpOptions())
    assert bench.started() == ["install.js", "start.js"] * 2


async def test_menus_that_never_change_are_installed_once(tmp_path):
    bench = Bench(tmp_path, Plan())
    bench.app.plans = [bench.plan("unknown", lists_start=True)]
    await bench.life.up(UpOptions())
    await bench.life.stop()
    await bench.life.up(UpOptions())
    assert bench.started() == ["install.js", "start.js", "start.js"]


async def test_a_daemon_that_another_script_stops_is_stopped(bench):
    await bench.life.up(UpOptions())
    bench.event("run.end", script="app/other.js", status="stopped")
    assert bench.life.condition.word == "ready"
    bench.event("run.end", script="app/start.js", status="stopped")
    assert bench.life.condition == Condition("stopped")


async def test_a_daemon_whose_trigger_fails_is_started_again(bench):
    await bench.life.up(UpOptions())
    bench.event("run.end", script="app/start.js", status="error", error="trigger failed")
    await bench.settle()
    assert bench.of("restart")[0]["reason"] == "trigger failed"
    assert bench.life.condition.word == "ready"


def test_a_named_script_gets_what_its_menu_item_gives():
    plan = Plan(
        start=Target("/a/start.js", {"mode": "x"}),
        others=(Target("/a/start.js", {"mode": "y"}), Target("/a/big.js", {"size": "9"})),
    )
    assert plan.offered(Target("/a/big.js", {"port": 1})) == Target("/a/big.js", {"size": "9", "port": 1})
    assert plan.offered(Target("/a/big.js", {"size": "1"})) == Target("/a/big.js", {"size": "1"})
    assert plan.offered(Target("/a/start.js")) == Target("/a/start.js", {"mode": "x"})
    assert plan.offered(Target("/a/own.js")) == Target("/a/own.js")


def test_a_target_is_served_by_the_same_script_with_its_arguments():
    served = Target("/a/start.js", {"mode": "x", "port": 1})
    assert Target("/a/start.js", {"mode": "x"}).is_served_by(served)
    assert not Target("/a/start.js", {"mode": "y"}).is_served_by(served)
    assert not Target("/a/big.js").is_served_by(served)


async def test_fresh_installs_again_what_is_installed_and_ready(tmp_path):
    bench = Bench(tmp_path)
    bench.app.plans = [bench.plan("start")]
    assert (await bench.life.up(UpOptions()))["state"] == "ready"
    assert (await bench.life.up(UpOptions(fresh=True)))["state"] == "ready"
    assert bench.started() == ["start.js", "install.js", "start.js"]


async def test_a_menu_that_throws_is_told_of_once(tmp_path):
    bench = Bench(tmp_path)
    bench.app.plans = [bench.plan("unknown", error="the menu of app fails: boom")]
    assert (await bench.life.up(UpOptions()))["state"] == "ready"
    assert bench.started() == ["install.js", "start.js"]
    assert [data["text"] for data in bench.of("warning")] == [
        "the menu of app fails: boom; the scripts on disk are used"
    ]


async def test_the_install_script_of_an_app_that_is_up_stops_it_and_starts_it_as_it_was(bench):
    chosen = Target(bench.start.path, {"listen": True})
    await bench.life.up(UpOptions(start=chosen))
    serving: list[bool] = []

    async def install(engine, _payload):
        serving.append(engine.running(bench.start.path))
        return FakeResult()

    bench.engine.scripts[bench.install.path] = install
    outcome = await bench.life.run(bench.install)
    assert (outcome["state"], outcome["url"], outcome["failed"]) == ("ready", URL, None)
    assert serving == [False]
    assert bench.started() == ["start.js", "install.js", "start.js"]
    assert bench.engine.started[-1][1] == {"listen": True}
    assert bench.stored[-4:] == ["installing", "stopped", "starting", "ready"]


async def test_an_install_script_that_fails_leaves_no_server_of_the_app_behind(bench):
    await bench.life.up(UpOptions())
    bench.engine.scripts[bench.install.path] = bench.ends(status="error", error="no network", step=0)
    outcome = await bench.life.run(bench.install)
    assert outcome["failed"]["reason"] == "no network"
    assert not bench.engine.running(bench.start.path)


async def test_the_install_script_of_a_stopped_app_starts_nothing(bench):
    assert (await bench.life.run(bench.install))["state"] == "stopped"
    assert bench.started() == ["install.js"]
