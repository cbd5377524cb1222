"""The supervision of a tunnel: real decisions, with time, programs and the network under the test's control."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from orchestrator.expose.tunnels.probing import Reply
from orchestrator.expose.tunnels.provider import PROBE_HEADERS, Here, Own
from orchestrator.expose.tunnels.supervisor import State
from tests.expose.tunnels.common import here
from tests.expose.tunnels.supervised import Fake, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_it_comes_up(world: World):
    world.scripts["a"] = [[(0.4, "hello"), (0.1, "url https://a")]]
    world.up("https://a")
    tunnel = world.tunnel("a", caveats={"a": "slow"})
    tunnel.start()
    await world.time.until(world.is_up("https://a"))
    assert world.statuses() == [("connecting", "a"), ("up", "a")]
    assert tunnel.state == State("up", "a", "https://a", since=1000.5, caveat="slow")
    assert world.asked[0][1:] == ("https://a/.pinoctl/nonce", PROBE_HEADERS)
    await tunnel.close()
    assert all(running.ended for _, _, running in world.started)


async def test_a_printed_url_is_not_up_until_the_gate_answers_there(world: World):
    world.scripts["a"] = [[(0, "url https://a")]]
    world.replies["https://a"] = Reply(530, "not yet")
    tunnel = world.tunnel("a")
    tunnel.start()
    await world.time.passes(20)
    assert world.statuses() == [("connecting", "a")]
    world.replies["https://a"] = Reply(200, "somebody else's page")
    await world.time.passes(5)
    assert world.statuses() == [("connecting", "a")]
    world.up("https://a")
    await world.time.until(world.is_up("https://a"), seconds=5)
    await tunnel.close()


async def test_a_printed_url_beats_a_guessed_one(world: World):
    world.scripts["a"] = [[(0, "port 81"), (1, "url https://a"), (1, "port 82")]]
    world.up("https://a")
    tunnel = world.tunnel("a")
    tunnel.start()
    await world.time.until(world.is_up("https://a"))
    await world.time.passes(100)
    assert tunnel.state.url == "https://a"
    await tunnel.close()


async def test_a_guessed_url_will_do(world: World):
    world.scripts["a"] = [[(0, "port 81")]]
    world.up("http://guess:81")
    tunnel = world.tunnel("a")
    tunnel.start()
    await world.time.until(world.is_up("http://guess:81"))
    await tunnel.close()


async def test_a_program_that_dies_is_started_again(world: World):
    world.scripts["a"] = [
        [(0, "url https://a"), (500, "problem broken pipe"), (0, "exit 255")],
        [(0, "url https://a2")],
    ]
    world.up("https://a", "https://a2")
    tunnel = world.tunnel("a", "b")
    tunnel.start()
    await world.time.until(world.is_up("https://a2"))
    assert world.statuses() == [("connecting", "a"), ("up", "a"), ("reconnecting", "a"), ("up", "a")]
    assert "broken pipe" in {state.reason for state in world.states}
    assert world.states[-1].reason == ""
    # one jittered first wait, nothing else
    assert world.started[1][0] - world.started[0][0] == pytest.approx(500.8, abs=0.1)
    await tunnel.close()


async def test_a_network_that_is_gone_is_noticed_and_survived(world: World):
    world.scripts["a"] = [[(0, "url https://a")]]
    world.up("https://a")
    tunnel = world.tunnel("a")
    tunnel.start()
    await world.time.until(world.is_up("https://a"))
    gone = world.time.now
    del world.replies["https://a"]
    await world.time.until(world.is_("reconnecting"))
    assert world.time.now - gone <= 30 + 2 * 3
    assert "cannot be resolved" in tunnel.state.reason
    await world.time.passes(3600)
    assert world.statuses()[-1][0] in {"failed", "reconnecting"}
    world.up("https://a")
    back = world.time.now
    await world.time.until(world.is_up("https://a"))
    assert world.time.now - back <= 60
    await tunnel.close()


async def test_one_lost_probe_is_nothing(world: World):
    world.scripts["a"] = [[(0, "url https://a")]]
    world.up("https://a")
    tunnel = world.tunnel("a")
    tunnel.start()
    await world.time.until(world.is_up("https://a"))
    count = len(world.asked)
    del world.replies["https://a"]
    await world.time.until(lambda: len(world.asked) > count)
    world.up("https://a")
    await world.time.passes(300)
    assert world.statuses() == [("connecting", "a"), ("up", "a")]
    assert len(world.started) == 1
    await tunnel.close()


async def test_nobody_blames_the_tunnel_for_the_gate(world: World):
    world.scripts["a"] = [[(0, "url https://a")]]
    world.up("https://a")
    tunnel = world.tunnel("a", "b")
    tunnel.start()
    await world.time.until(world.is_up("https://a"))
    world.gate = False
    world.replies["https://a"] = Reply(502)
    await world.time.passes(1000)
    assert world.statuses()[-1] == ("reconnecting", "a")
    assert "the gate does not answer" in tunnel.state.reason
    assert tunnel.state.url == "https://a"
    world.gate = True
    world.up("https://a")
    await world.time.until(world.is_up("https://a"), seconds=5)
    assert len(world.started) == 1
    await tunnel.close()


async def test_a_gate_that_is_late_is_waited_for(world: World):
    world.scripts["a"] = [[(0, "url https://a")]]
    world.gate = False
    tunnel = world.tunnel("a", "b")
    tunnel.start()
    await world.time.passes(300)
    world.gate = True
    world.up("https://a")
    await world.time.until(world.is_up("https://a"), seconds=5)
    assert len(world.started) == 1
    await tunnel.close()


async def test_another_url_in_the_output(world: World):
    world.scripts["a"] = [[(0, "url https://a"), (100, "url https://b")]]
    world.up("https://a", "https://b")
    tunnel = world.tunnel("a")
    tunnel.start()
    await world.time.until(world.is_up("https://b"))
    assert [(state.status, state.url) for state in world.states] == [
        ("connecting", ""),
        ("up", "https://a"),
        ("reconnecting", "https://b"),
        ("up", "https://b"),
    ]
    assert len(world.started) == 1
    await tunnel.close()


async def test_fails_over_after_three_tries(world: World):
    world.scripts["a"] = [[(0.1, "problem refused SECRET"), (0, "exit 1")]]
    world.scripts["b"] = [[(0, "url https://b")]]
    world.up("https://b")
    tunnel = world.tunnel("a", "b")
    tunnel.start()
    await world.time.until(world.is_up("https://b"))
    assert [name for _, name, _ in world.started] == ["a", "a", "a", "b"]
    assert {state.reason for state in world.states} == {"", "refused ***"}
    gaps = [round(after[0] - before[0], 2) for before, after in zip(world.started, world.started[1:], strict=False)]
    assert gaps[0] < gaps[1]
    assert all(state.provider == "b" for state in world.states if state.status == "up")
    await tunnel.close()


async def test_no_url_in_time(world: World):
    world.scripts["a"] = [[(0, "still trying")]]
    world.scripts["b"] = [[(0, "url https://b")]]
    world.up("https://b")
    tunnel = world.tunnel("a", "b")
    tunnel.start()
    await world.time.until(world.is_up("https://b"))
    assert any("no URL within 45 s: still trying" in state.reason for state in world.states)
    assert all(running.ended for _, name, running in world.started if name == "a")
    await tunnel.close()


async def test_stays_with_what_works_and_comes_back_when_it_breaks(world: World):
    world.scripts["a"] = [[(0, "exit 1")], [(0, "exit 1")], [(0, "exit 1")], [(0, "url https://a")]]
    world.scripts["b"] = [[(0, "url https://b"), (5000, "exit 1")], [(0, "exit 1")]]
    world.up("https://a", "https://b")
    tunnel = world.tunnel("a", "b")
    tunnel.start()
    await world.time.until(world.is_up("https://b"))
    await world.time.passes(4000)
    assert world.states[-1].url == "https://b"  # although `a` is the better one, and would do by now
    await world.time.until(world.is_up("https://a"))
    assert [name for _, name, _ in world.started] == ["a"] * 3 + ["b"] * 3 + ["a"]
    await tunnel.close()


async def test_a_wrong_token_is_not_tried_again(world: World):
    world.scripts["a"] = [[(0, "final wrong token")]]
    world.scripts["b"] = [[(0, "exit 1")]]
    tunnel = world.tunnel("a", "b")
    tunnel.start()
    await world.time.until(world.is_("failed"))
    assert "`a`: wrong token" in tunnel.state.reason
    assert "`b`: it ended with status 1" in tunnel.state.reason
    await world.time.passes(1000)
    assert [name for _, name, _ in world.started].count("a") == 1
    assert [name for _, name, _ in world.started].count("b") > 6
    await tunnel.close()


async def test_last_words_that_are_read_late_still_say_why(world: World):
    world.scripts["a"] = [[(0, "exit 1"), (0.5, "final wrong token")]]
    tunnel = world.tunnel("a")
    tunnel.start()
    await world.time.until(world.is_("failed"))
    assert tunnel.state.reason == "`a`: wrong token"
    assert len(world.started) == 1
    await tunnel.close()


async def test_an_end_is_noticed_although_the_output_stays_open(world: World):
    world.scripts["a"] = [[(0, "exit 1"), (5000, "somebody else's words")]]
    tunnel = world.tunnel("a")
    tunnel.start()
    await world.time.until(lambda: len(world.started) > 1, seconds=5)
    await tunnel.close()


async def test_it_ends_when_nothing_can_help(world: World):
    world.scripts["a"] = [[(0, "final wrong token")]]
    tunnel = world.tunnel("a")
    tunnel.start()
    await world.time.until(world.is_("failed"))
    assert (tunnel.state.reason, tunnel.state.hint) == ("`a`: wrong token", "do this")
    await asyncio.wait_for(tunnel.wait(), 60)
    await tunnel.close()


async def test_all_failed_and_then_one_comes_back(world: World):
    world.scripts["a"] = [[(0, "exit 1")]]
    world.scripts["b"] = [[(0, "exit 1")]]
    tunnel = world.tunnel("a", "b")
    tunnel.start()
    await world.time.until(world.is_("failed"))
    await world.time.passes(3600)
    world.scripts["a"] = [[(0, "url https://a")]]
    world.up("https://a")
    await world.time.until(world.is_up("https://a"), seconds=400)
    await tunnel.close()


async def test_a_program_that_cannot_be_had(world: World):
    world.missing = "there is no `fake` on PATH"
    tunnel = world.tunnel("a")
    tunnel.start()
    await world.time.until(world.is_("failed"))
    assert "there is no `fake`" in tunnel.state.reason
    assert tunnel.state.hint == "install it"
    await tunnel.close()


async def test_a_full_disk_is_a_reason_and_not_the_end(world: World):
    world.broken = OSError(28, "No space left on device")
    world.scripts["a"] = [[(0, "url https://a")]]
    world.up("https://a")
    tunnel = world.tunnel("a")
    tunnel.start()
    await world.time.until(world.is_("failed"))
    assert "No space left" in tunnel.state.reason
    world.broken = None
    await world.time.until(world.is_up("https://a"))
    await tunnel.close()


async def test_a_new_name_is_left_alone_at_first(world: World):
    world.scripts["a"] = [[(1, "url https://a"), (0, "noise")]]
    world.up("https://a")
    tunnel = world.tunnel(Fake("a", settle=3.0))
    tunnel.start()
    await world.time.until(world.is_up("https://a"))
    assert world.asked[0][0] == pytest.approx(1004)
    await tunnel.close()


async def test_no_providers(world: World):
    tunnel = world.tunnel()
    tunnel.start()
    await world.time.until(world.is_("failed"))
    assert tunnel.state.reason == "nothing is possible"
    await tunnel.close()


async def test_the_platforms_own_url(world: World):
    machine = here(world.folder, own=Own("https://own"))
    world.up("https://own")
    tunnel = world.tunnel("own", "a", machine=machine)
    tunnel.start()
    await world.time.until(world.is_up("https://own"))
    assert world.started == []
    await tunnel.close()


async def test_the_platforms_own_url_that_leads_nowhere(world: World):
    machine = here(world.folder, own=Own("https://own"))
    world.replies["https://own"] = Reply(404)
    world.scripts["a"] = [[(0, "url https://a")]]
    world.up("https://a")
    tunnel = world.tunnel("own", "a", machine=machine)
    tunnel.start()
    await world.time.until(world.is_up("https://a"), seconds=30)
    await tunnel.close()


async def test_the_platforms_own_url_is_proved_by_the_nonce_whoever_signed_its_certificate(world: World):
    machine = here(world.folder, own=Own("https://9.9.9.9:33526", inside="https://127.0.0.1:8443", verify=False))
    world.up("https://9.9.9.9:33526", "https://a")
    world.scripts["a"] = [[(0, "url https://a")]]
    tunnel = world.tunnel("own", "a", machine=machine)
    tunnel.start()
    await world.time.until(world.is_up("https://9.9.9.9:33526"))
    assert world.verified == [False]
    del world.replies["https://9.9.9.9:33526"]  # the address became another one
    await world.time.until(world.is_up("https://a"))
    assert {url.partition("/.")[0] for _, url, _ in world.asked} == {
        "https://9.9.9.9:33526", "https://127.0.0.1:8443", "https://a",
    }  # fmt: skip
    assert world.verified[-1], "what a service signed is verified"
    await tunnel.close()


async def test_the_platforms_own_url_that_was_away_for_a_minute(world: World):
    machine = here(world.folder, own=Own("https://own"))
    world.up("https://own")
    tunnel = world.tunnel("own", "a", machine=machine)
    tunnel.start()
    await world.time.passes(1000)
    del world.replies["https://own"]
    await world.time.passes(75)
    world.up("https://own")
    await world.time.until(world.is_up("https://own"))
    assert world.started == []
    await tunnel.close()


async def test_a_provider_with_a_bug_is_passed_over(world: World):
    world.scripts["a"] = [[(0, "bug oh no")]]
    world.scripts["b"] = [[(0, "url https://b")]]
    world.up("https://b")
    tunnel = world.tunnel("a", "b")
    tunnel.start()
    await world.time.until(world.is_up("https://b"), seconds=5)
    await tunnel.close()


async def test_a_bug_of_ours_is_told(world: World):
    def provide(name: str, machine: Here) -> str:
        raise KeyError(name)

    world.provide = provide  # type: ignore[assignment]  # broken on purpose
    tunnel = world.tunnel("a")
    tunnel.start()
    await world.time.until(world.is_("failed"))
    assert tunnel.state.reason == "the supervision failed: KeyError: 'fake'"
    with pytest.raises(KeyError):
        await tunnel.wait()
    await tunnel.close()


@pytest.mark.parametrize("after", [0.0, 0.05, 1.0, 40.0, 200.0])
async def test_closing_at_any_time_leaves_nothing(world: World, after: float):
    world.scripts["a"] = [[(0.1, "url https://a"), (100, "exit 1")]]
    world.up("https://a")
    tunnel = world.tunnel("a")
    tunnel.start()
    await world.time.passes(after)
    await tunnel.close()
    await tunnel.close()
    assert all(running.ended for _, _, running in world.started)
    assert {task for task in asyncio.all_tasks() if task is not asyncio.current_task()} == set()
