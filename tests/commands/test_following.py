"""Following the log of an app in a container: heard from its agent, copied only when that ends."""

from __future__ import annotations

import contextlib
from collections import deque

from orchestrator.agent.client import AgentGoneError, Dropped, Event, Output
from orchestrator.commands.following import Following


class Stop(Exception):  # noqa: N818  # no error, as Ctrl-C is none
    """End a test's endless log."""


class Agent:
    """Be a connection that says what it was given, and then ends."""

    def __init__(self, *messages):
        self.given = messages
        self.asked = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def follow(self, offset):
        self.asked = offset

    def messages(self, **_):
        return iter(self.given)


class Place:
    """Be a container whose log lies elsewhere until it is copied."""

    def __init__(self, log=b"", agents=()):
        self.log = log
        self.copy = b""
        self.copied = 0
        self.agents = deque(agents)

    def find(self, _app):
        found = self.agents.popleft() if self.agents else None
        if isinstance(found, Exception):
            raise found
        return found

    def mirror_logs(self, _app):
        self.copied += 1
        self.copy = self.log

    def read(self, offset):
        if offset < len(self.copy):
            yield offset, self.copy[offset:]


def follow(place, what="output", *, sleeps=0):
    """Return what was heard until it slept more often than that."""
    slept = []

    def sleep(_seconds):
        slept.append(1)
        if len(slept) > sleeps:
            raise Stop

    place.mirror_logs("app")
    place.copied = 0
    heard = []
    with contextlib.suppress(Stop):
        for piece in getattr(Following(place, "app", place.read, sleep), what)(0):
            heard.append(piece)  # noqa: PERF402  # it ends by raising
    return heard


def test_what_comes_is_heard_and_nothing_is_copied_meanwhile():
    agent = Agent(Output("two", "s", 6), Event("x", 0.0, {}), Output("three", "s", 11))
    place = Place(b"one", [agent])
    place.mirror_logs("app")
    pieces = Following(place, "app", place.read).output(0)
    counts = [(next(pieces), place.copied) for _ in range(3)]
    pieces.close()
    assert counts == [(b"one", 1), (b"two", 1), (b"three", 1)]
    assert agent.asked == 3
    assert place.copied == 2  # once at the end


def test_what_came_too_fast_is_read_from_a_copy():
    place = Place(b"one", [Agent(Output("two", "s", 6), Dropped(3)), Agent(Output("six", "s", 12))])
    place.mirror_logs("app")
    pieces = Following(place, "app", place.read).output(0)
    assert [next(pieces), next(pieces)] == [b"one", b"two"]
    place.log = b"onetwo..."
    assert [next(pieces), next(pieces)] == [b"...", b"six"]


def test_an_app_that_is_down_is_waited_for():
    place = Place(b"one", [None, AgentGoneError("it ended"), Agent(Output("two", "s", 6))])
    assert follow(place, sleeps=2) == [b"one", b"two"]


def test_nothing_is_heard_twice():
    place = Place(b"onetwo", [Agent(Output("two", "s", 6), Output("new", "s", 9))])
    assert follow(place) == [b"onetwo", b"new"]


def test_events_are_copied_when_one_has_come():
    place = Place(b"{}\n", [None, Agent(Output("x", "s", 1), Event("ready", 0.0, {}))])
    assert follow(place, "events", sleeps=2) == [b"{}\n"]
    assert place.copied == 2  # when it listens, and what came last


def test_an_event_of_before_it_listens_does_not_wait_for_the_next_one():
    place = Place(b"{}\n", [Agent()])
    place.mirror_logs("app")
    place.log += b"[]\n"
    pieces = Following(place, "app", place.read).events(0)
    assert next(pieces) == place.log
