"""What an agent does for the place that it is in: steps and checkpoints of builds, health, ports; requests checked."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from orchestrator.agent.condition import READY
from orchestrator.agent.files import AgentFiles
from orchestrator.agent.inside import LEFT, InBuild, InContainer, Inside, UpTo
from orchestrator.agent.requests import arguments, install_options, seconds, up_options, whole
from orchestrator.agent.saving import Cost
from orchestrator.agent.scrub import scrub
from orchestrator.engine.errors import BadInputError, PinoctlError
from orchestrator.engine.home import Home


class Bench:
    """Hold a build's place with a clock and a disk that tests move."""

    def __init__(self, tmp_path, cost=None):
        self.now, self.written, self.left, self.asked = 0.0, 1000, [], []
        self.files = AgentFiles(Home(tmp_path), "demo", kept=tmp_path / "kept")
        self.files.prepare()
        self.file = tmp_path / "kept" / "steps.json"
        self.cost = cost or Cost()
        self.hears = True
        self.scrubbed = scrub
        self.make()

    def make(self):
        self.inside = InBuild(
            self.files, self.cost, private=self.files.home.root / "private",
            clock=lambda: self.now, written=lambda: self.written, leave=self.left.append,
            scrub=self.scrubbed, everywhere=str(self.files.home.root), mounted=tuple,
        )  # fmt: skip
        self.inside.ask = self.ask

    def ask(self, how, unsaved):
        self.asked.append((how, unsaved))
        return self.hears

    def ended(self, script, index, **more):
        self.inside.event("step.end", {"script": script, "index": index, **more})

    async def between(self, *, last=False, idle=True):
        await self.inside.between_steps(following=None, last=last, idle=idle)

    async def answered(self, *, leave, last=False):
        waiting = asyncio.create_task(self.between(last=last))
        await asyncio.sleep(0)
        assert not waiting.done()
        self.inside.go_on(leave=leave)
        await waiting

    def steps(self):
        return json.loads(self.file.read_text())


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


class TestSteps:
    async def test_are_noted_once_in_their_order(self, bench):
        bench.ended("a.js", 0)
        bench.inside.event("step.skip", {"script": "a.js", "index": 1})
        bench.ended("b.js", 0)
        bench.ended("a.js", 0)  # in a loop
        bench.inside.event("run.end", {})
        assert bench.steps() == [["a.js", 0], ["a.js", 1], ["b.js", 0]]

    async def test_that_fail_or_only_begin_are_not_noted(self, bench):
        bench.ended("a.js", 0, error={"message": "no"})
        bench.inside.event("step.start", {"script": "a.js", "index": 1})
        bench.inside.event("run.end", {})
        assert bench.steps() == []

    async def test_go_on_where_an_earlier_agent_left(self, bench):
        bench.ended("a.js", 0)
        bench.inside.write()
        bench.make()
        bench.ended("a.js", 0)
        bench.ended("a.js", 1)
        bench.inside.write()
        assert bench.steps() == [["a.js", 0], ["a.js", 1]]

    @pytest.mark.parametrize("content", ["", "{", '{"a": 1}', "null"])
    async def test_of_a_torn_file_are_none(self, bench, content):
        bench.file.write_text(content)
        bench.make()
        assert bench.inside.steps == []

    async def test_are_written_before_anything_is_saved(self, bench):
        bench.ended("a.js", 0)
        await bench.between(idle=False)
        assert bench.steps() == [["a.js", 0]]


class TestCheckpoints:
    async def test_a_commit_that_cost_more_than_was_thought_makes_the_next_ones_rarer(self, bench):
        bench.now = 1000.0
        waiting = asyncio.create_task(bench.between())
        await asyncio.sleep(0)
        bench.now += 40.0  # what a large image costs where every file of it is looked at
        bench.inside.go_on(leave=False)
        await waiting
        assert len(bench.asked) == 1
        bench.now += 100.0
        await bench.between()
        assert len(bench.asked) == 1, "a hundred seconds of work are not worth forty"
        bench.now += 400.0
        await bench.answered(leave=False)
        assert len(bench.asked) == 2

    async def test_nothing_is_asked_while_little_is_unsaved(self, bench):
        bench.now = 1.0
        await bench.between()
        assert bench.asked == []

    async def test_nothing_is_asked_while_the_app_works(self, bench):
        bench.now = 1e6
        await bench.between(idle=False)
        assert bench.asked == []

    async def test_it_goes_on_in_the_same_container(self, bench):
        bench.now = 60.0
        await bench.answered(leave=False)
        assert [how for how, _ in bench.asked] == ["stay"]
        assert bench.left == []
        bench.now = 61.0
        await bench.between()  # counted from there
        assert len(bench.asked) == 1

    async def test_it_leaves_a_container_that_has_written_much(self, bench):
        bench.now, bench.written = 1000.0, 1000 + (1 << 30)
        await bench.answered(leave=True)
        ((how, unsaved),) = bench.asked
        assert (how, unsaved.written, unsaved.seconds) == ("leave", 1 << 30, 1000.0)
        assert bench.left == [LEFT]

    async def test_what_was_there_at_the_start_does_not_count(self, bench):
        bench.written = 1 << 33
        bench.make()
        bench.now = 60.0
        await bench.answered(leave=False)
        assert bench.asked[0][1].written == 0

    async def test_before_the_last_step_little_is_enough(self, bench):
        await bench.answered(leave=False, last=True)
        assert bench.asked[0][1].last

    async def test_it_goes_on_where_nobody_hears(self, bench):
        bench.hears, bench.now = False, 60.0
        await bench.between()
        assert len(bench.asked) == 1
        assert bench.left == []

    async def test_answers_that_nobody_waits_for_change_nothing(self, bench):
        bench.inside.go_on(leave=True)
        bench.now = 60.0
        await bench.answered(leave=False)
        bench.inside.go_on(leave=True)
        assert bench.left == []

    async def test_secrets_are_moved_out_of_the_app_first(self, bench):
        file = bench.files.home.app("demo") / ".env"
        file.parent.mkdir(parents=True)
        file.write_text("hf_abcdefgh")
        bench.inside.scrub({"hf_abcdefgh"})
        assert file.is_symlink()
        assert (bench.files.home.root / "private").is_dir()

    async def test_what_cannot_be_moved_is_named(self, bench):
        def refuse(_order):
            raise OSError(28, "No space left on device", "/etc/x.conf")

        bench.scrubbed = refuse
        bench.make()
        with pytest.raises(PinoctlError, match=r"`/etc/x\.conf` holds a secret.*No space"):
            bench.inside.scrub({"hf_abcdefgh"})


class Forwarder:
    def __init__(self):
        self.asked = []

    def assign(self, main, listening):
        self.asked.append((main, listening))
        return {} if main is None else {main: 42000}


def condition(word, url=None):
    return SimpleNamespace(word=word, url=url)


class TestContainer:
    @pytest.mark.parametrize(
        ("url", "port"),
        [
            ("http://127.0.0.1:7860/x", 7860), ("http://localhost", 80), ("https://localhost/", 443), (None, None),
            ("http://localhost:99999", None), ("http://[::1", None), ("http://localhost:x", None),
        ],
    )  # fmt: skip
    def test_a_ready_apps_page_is_forwarded(self, tmp_path, url, port):
        forwarder = Forwarder()
        inside = InContainer(tmp_path, forwarder)
        inside.became(condition(READY, url))
        assert forwarder.asked == [(port, [])]
        assert inside.forwards() == ({} if port is None else {str(port): 42000})
        assert inside.target() == (None if port is None else ("127.0.0.1", port))
        assert (tmp_path / "word").read_text() == READY

    def test_a_page_that_is_not_ready_is_not(self, tmp_path):
        inside = InContainer(tmp_path, Forwarder())
        inside.became(condition(READY, "http://127.0.0.1:7860"))
        inside.became(condition("starting", "http://127.0.0.1:7860"))
        assert inside.forwards() == {}
        assert inside.target() is None
        assert (tmp_path / "word").read_text() == "starting"
        assert [each.name for each in tmp_path.iterdir()] == ["word"]

    def test_ports_are_assigned_when_they_change(self, tmp_path):
        forwarder = Forwarder()
        inside = InContainer(tmp_path, forwarder)
        ports = [SimpleNamespace(host="127.0.0.1", port=5000)]
        inside.listens(ports)
        inside.listens(ports)
        inside.listens([])
        assert forwarder.asked == [(None, [("127.0.0.1", 5000)]), (None, [])]

    def test_a_full_or_missing_folder_stops_nothing(self):
        inside = InContainer(Path("/nonexistent"), None)
        inside.became(condition(READY, "http://127.0.0.1:7860"))
        assert inside.target() == ("127.0.0.1", 7860)
        assert inside.forwards() == {}

    def test_what_the_app_prints_is_shown(self, tmp_path, capsys):
        InContainer(tmp_path).wrote("on\r")
        assert capsys.readouterr().out == "on\r"


class TestUpTo:
    @pytest.mark.parametrize(
        ("until", "following", "idle", "leaves"),
        [(2, 2, True, True), (2, 3, True, True), (2, 1, True, False), (2, None, True, False), (2, 2, False, False),
         (None, 9, True, False), (0, 0, True, True)],
    )  # fmt: skip
    async def test_it_leaves_before_a_step(self, until, following, idle, leaves):
        done = []
        inside = UpTo(until, leave=done.append)
        inside.flush = lambda: done.append("flushed")
        await inside.between_steps(following=following, last=False, idle=idle)
        assert done == (["flushed", 0] if leaves else [])


async def test_the_host_needs_nothing():
    inside = Inside()
    inside.became(condition(READY))
    inside.scrub(["x"])
    inside.go_on(leave=True)
    await inside.between_steps(following=1, last=True, idle=True)
    assert (inside.forwards(), inside.saves, inside.place) == ({}, False, "host")


class TestRequests:
    @pytest.mark.parametrize(
        ("request_", "value"), [({}, None), ({"n": None}, None), ({"n": 3}, 3), ({"n": 0}, 0), ({"n": -1}, -1)]
    )
    def test_whole_numbers(self, request_, value):
        assert whole(request_, "n") == value

    @pytest.mark.parametrize("value", [True, 1.0, "1", [], {}])
    def test_others_are_refused(self, value):
        with pytest.raises(BadInputError, match="`n` is a whole number"):
            whole({"n": value}, "n")

    @pytest.mark.parametrize("value", [1, 0.5, 1e9])
    def test_seconds(self, value):
        assert seconds({"n": value}, "n") == value
        assert seconds({}, "n") is None

    @pytest.mark.parametrize("value", [True, 0, -1, "1", float("inf"), float("nan"), []])
    def test_times_that_are_none_are_refused(self, value):
        with pytest.raises(BadInputError, match="`n` is a number of seconds"):
            seconds({"n": value}, "n")

    def test_arguments_are_an_object(self):
        assert arguments({}) == arguments({"args": None}) == {}
        assert arguments({"args": {"a": 1}}) == {"a": 1}
        with pytest.raises(BadInputError, match="`args` is an object"):
            arguments({"args": [1]})

    def test_of_up(self):
        found = up_options(
            {"fresh": True, "from_step": 2, "timeout": 5, "start": "start.js", "args": {"a": 1}},
            lambda name: f"/x/{name}",
        )
        assert (found.fresh, found.from_step, found.timeout) == (True, 2, 5)
        assert found.start.path == "/x/start.js"
        assert found.start.args == {"a": 1}
        nothing = up_options({"fresh": "yes", "start": 3}, str)
        assert (nothing.fresh, nothing.from_step, nothing.timeout, nothing.start) == (False, None, None, None)

    def test_of_install(self):
        assert install_options({"trusted": True}).trusted
        assert not install_options({"trusted": 1, "fresh": 1}).trusted
