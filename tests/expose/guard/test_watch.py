"""The loop of the guard, on a clock that only its own sleep moves."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from orchestrator.engine.errors import BadInputError, PinoctlError
from orchestrator.expose.guard.finish import NotAllowedError, Outcome, choice, failure, finish, warning
from orchestrator.expose.guard.states import HoursGuard, IdleGuard, Meter, Sample, Verdict
from orchestrator.expose.guard.watch import EVERY, SAVE_EVERY, Watch

STOP = Verdict("stop", "not used for 10m", 0)


class World:
    """An app under watch: its clock, what is seen of it, and what was told and done, each with the time."""

    def __init__(self, **guards):
        self.now = 0.0
        self.used: float | None = None
        self.broken: set[str] = set()
        self.told: list[tuple[float, str, object]] = []
        self.watch = Watch(
            sample=self.sample,
            warn=lambda verdict: self.tell("warn", verdict),
            stop=self.stop,
            clock=lambda: self.now,
            trouble=lambda text: self.tell("trouble", text),
            save=lambda meter: self.tell("save", meter),
            sleep=self.sleep,
            sample_seconds=0.01,
            **guards,
        )
        self.until = 100_000.0

    async def sample(self):
        if "sample" in self.broken:
            raise OSError("no such socket")
        if "hang" in self.broken:
            await asyncio.sleep(60)
        return Sample(self.now, self.used, 0, 0.0, working=False)

    def tell(self, kind, what):
        self.told.append((self.now, kind, what))
        if kind in self.broken:
            raise RuntimeError(f"{kind} is broken")

    async def stop(self, verdict):
        self.tell("stop", verdict)

    async def sleep(self, seconds):
        self.now += seconds
        if self.now > self.until:
            raise asyncio.CancelledError
        await asyncio.sleep(0)

    async def run(self, until=100_000.0):
        self.until = until
        with contextlib.suppress(asyncio.CancelledError):
            await self.watch.run()

    def times(self, kind):
        return [(at, what) for at, one, what in self.told if one == kind]


async def test_it_warns_once_and_then_stops_and_ends():
    world = World(idle=IdleGuard(600))
    await world.run()
    (warned, verdict), (stopped, why) = world.times("warn")[0], world.times("stop")[0]
    assert (warned, stopped) == (450, 600)
    assert (verdict.kind, verdict.seconds_left, why.kind) == ("warn", 150, "stop")
    assert len(world.told) == 2
    assert world.watch.stopped
    assert world.watch.verdict is why


async def test_the_warning_is_taken_back_by_use():
    world = World(idle=IdleGuard(600))
    await world.run(until=500)
    world.used = world.now
    await world.run(until=900)
    assert [what and what.kind for _, what in world.times("warn")] == ["warn", None]
    assert world.watch.verdict.kind == "fine"
    await world.run()
    assert [what and what.kind for _, what in world.times("warn")] == ["warn", None, "warn"]
    assert len(world.times("stop")) == 1


async def test_without_guards_there_is_nothing_to_watch():
    world = World()
    await world.watch.run()
    assert world.now == 0


@pytest.mark.parametrize("how", ["sample", "hang"])
async def test_a_sampler_that_fails_stops_nothing_and_is_told_once(how):
    world = World(idle=IdleGuard(600))
    await world.run(until=300)
    world.broken = {how}
    await world.run(until=3000 if how == "sample" else 600)
    assert len(world.times("trouble")) == 1
    assert "cannot see" in world.times("trouble")[0][1]
    assert world.watch.blind == world.times("trouble")[0][1]
    assert not world.times("stop")
    world.broken.clear()
    await world.watch.once()
    assert not world.watch.blind
    recovered = world.now
    await world.run()
    assert world.times("stop")[0][0] >= recovered + 150
    world.broken = {how}
    await world.watch.once()
    assert len(world.times("trouble")) == 2


async def test_the_hours_go_on_while_nothing_can_be_seen():
    world = World(idle=IdleGuard(600), hours=HoursGuard(1200, Meter.begin(0, "b")))
    world.broken = {"sample"}
    await world.run()
    assert [at for at, _ in world.times("stop")] == [1200]
    assert "running for 20m of 20m" in world.times("stop")[0][1].reason


async def test_the_hours_are_kept_once_a_minute():
    world = World(hours=HoursGuard(7200, Meter.begin(0, "b")))
    await world.run(until=600)
    times = [at for at, _ in world.times("save")]
    assert times == [SAVE_EVERY * number for number in range(11)]
    assert [meter.elapsed for _, meter in world.times("save")] == times


async def test_callbacks_that_raise_end_nothing():
    world = World(idle=IdleGuard(600), hours=HoursGuard(7200, Meter.begin(0, "b")))
    world.broken = {"warn", "save", "trouble", "sample"}
    await world.run(until=300)
    world.broken = {"warn", "save", "trouble"}
    await world.run()
    assert world.watch.stopped


async def test_a_stop_that_fails_is_tried_again_ever_less_often():
    world = World(idle=IdleGuard(600))
    world.broken = {"stop"}
    await world.run(until=3000)
    times = [at for at, _ in world.times("stop")]
    gaps = [(times[at + 1] - times[at]) / EVERY for at in range(6)]
    assert times[0] == 600
    assert gaps == [2, 4, 8, 16, 21, 21]
    assert len(world.times("trouble")) == len(times)
    assert "next try in 30 s: stop is broken" in world.times("trouble")[0][1]
    assert not world.watch.stopped
    assert world.watch.failure == "stop is broken"
    world.broken.clear()
    await world.run()
    assert world.watch.stopped
    assert world.watch.left is None


async def test_what_is_left_goes_on_between_two_looks_and_no_further():
    world = World(idle=IdleGuard(600))
    assert world.watch.left is None
    await world.watch.once()
    assert world.watch.left == 600
    world.now += 10
    assert world.watch.left == 590
    world.now += 1000
    assert world.watch.left == 600 - EVERY, "what nobody sees makes nothing idle"


async def test_a_stop_that_failed_is_forgotten_when_the_app_is_used():
    world = World(idle=IdleGuard(600))
    world.broken = {"stop"}
    await world.run(until=700)
    tried = len(world.times("stop"))
    world.used = world.now
    await world.run(until=world.now + 300)
    assert world.watch.verdict.kind == "fine"
    assert not world.watch.failure
    assert len(world.times("stop")) == tried


async def test_it_can_be_cancelled_at_any_moment():
    world = World(idle=IdleGuard(600))
    world.broken = {"hang"}
    task = asyncio.create_task(world.watch.run())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_it_can_be_cancelled_at_the_very_moment_of_an_answer():
    world = World(idle=IdleGuard(600))

    async def sample():
        asyncio.get_running_loop().call_soon(task.cancel)
        return await world.sample()

    world.watch._sample = sample
    task = asyncio.create_task(world.watch.run())
    await asyncio.wait({task})
    assert task.cancelled()
    assert world.now == 0, "it does not go on"


class Machine:
    """What `finish` stops, in which order; `broken` maps what fails to how."""

    def __init__(self, **broken):
        self.broken = broken
        self.done: list[str] = []

    def stopper(self, name):
        async def stop():
            self.done.append(name)
            if error := self.broken.get(name):
                raise error

        return stop

    async def finish(self, what="machine", *, asks=True):
        machine = self.stopper("machine") if asks else None
        return await finish(what, STOP, stop_apps=self.stopper("apps"), stop_machine=machine)


async def test_an_app_is_stopped_and_the_machine_left_alone():
    machine = Machine()
    assert await machine.finish("app") == Outcome("app", STOP.reason)
    assert machine.done == ["apps"]


async def test_apps_are_stopped_before_their_machine():
    machine = Machine()
    outcome = await machine.finish()
    assert (outcome, str(outcome)) == (
        Outcome("machine", STOP.reason),
        "the machine was stopped: not used for 10m",
    )
    assert machine.done == ["apps", "machine"]


async def test_where_no_token_allows_it_the_app_is_stopped_and_the_cost_is_told():
    machine = Machine(machine=NotAllowedError("no token is set", hint="Set `RUNPOD_API_KEY`"))
    outcome = await machine.finish()
    assert outcome.stopped == "app"
    assert "the machine still runs and costs money: no token is set (Set `RUNPOD_API_KEY`)" in str(outcome)
    silent = await Machine().finish(asks=False)
    assert silent.stopped == "app"
    assert "costs money" in str(silent)


async def test_a_provider_that_does_not_answer_is_asked_again():
    machine = Machine(machine=PinoctlError("the provider answered 503"))
    with pytest.raises(PinoctlError, match="503"):
        await machine.finish()
    machine.broken.clear()
    assert (await machine.finish()).stopped == "machine"


async def test_an_app_that_hangs_does_not_keep_the_machine():
    outcome = await Machine(apps=PinoctlError("it hangs")).finish()
    assert outcome.stopped == "machine"
    assert str(outcome) == "not every app could be stopped before: it hangs; the machine was stopped: not used for 10m"


@pytest.mark.parametrize(("what", "asks"), [("app", True), ("machine", False)])
async def test_an_app_that_hangs_on_a_machine_that_stays_is_tried_again(what, asks):
    with pytest.raises(PinoctlError, match="it hangs"):
        await Machine(apps=PinoctlError("it hangs")).finish(what, asks=asks)


def test_the_warning_is_one_sentence():
    idle = Verdict("warn", "not used for 25m", 300)
    hours = HoursGuard(8 * 3600, Meter(28_600, 0, "b")).judge(Sample(0, None, 0, None, working=False))
    assert warning("comfy", idle) == "`comfy` will be stopped in 5m: not used for 25m; any use keeps it"
    told = warning("comfy", hours, "machine")
    assert told == "the machine that `comfy` runs on will be stopped in 3m: running for 7h57m of 8h"
    assert warning("comfy", STOP) == "`comfy` is being stopped: not used for 10m"


def test_what_could_not_be_stopped_is_one_sentence():
    told = failure("comfy", STOP, "it hangs")
    assert told == "`comfy` still runs, though it was to be stopped (not used for 10m): it hangs; pinoctl tries again"
    assert failure("comfy", STOP, "no", "machine").startswith("the machine still runs and costs money, though ")


def test_what_is_stopped_is_read():
    assert [choice("app"), choice("machine")] == ["app", "machine"]
    with pytest.raises(BadInputError, match="`pod`"):
        choice("pod")
