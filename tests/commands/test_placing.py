"""Where commands put an app: what moves it, what does not, and what becomes of the place that it leaves."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import APIError, ImageNotFound

from orchestrator.agent.files import AgentFiles
from orchestrator.commands import placing
from orchestrator.commands.placing import Placed, leave_other, may_fall_back, on_trial, placed, stop_everywhere
from orchestrator.engine.errors import BadInputError, PinoctlError
from orchestrator.engine.home import Home
from orchestrator.places.choosing import CONTAINER, HOST, Choice, choose, places_of
from orchestrator.places.container import settings
from orchestrator.places.container.docker import DockerError, RefusedError
from orchestrator.places.container.settings import Settings


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Give a home on a machine without Docker."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    monkeypatch.delenv("PINOCTL_PLACE", raising=False)
    return Home(tmp_path / "home")


def installed_on_host(home, app="app"):
    files = AgentFiles(home, app)
    files.prepare()
    files.state.write_text("{}")


class TestLimits:
    @pytest.mark.parametrize("remembered", [True, False])
    def test_do_not_move_an_app_that_lives_on_the_host(self, home, remembered):
        if remembered:
            settings.write(home, "app", Settings(place=HOST))
        else:
            installed_on_host(home)
        before = settings.read(home, "app")
        with pytest.raises(BadInputError, match="`--memory` is for containers") as raised:
            placed(home, "app", None, {"memory": "4g"}, quiet=True)
        assert "--place container" in raised.value.hint
        assert settings.read(home, "app") == before

    def test_and_the_host_exclude_each_other(self, home):
        with pytest.raises(BadInputError, match="`--volume-mode` is for containers"):
            placed(home, "app", HOST, {"volume_mode": True}, quiet=True)

    def test_ask_for_a_container_where_the_app_is_new_or_is_to_move(self, home):
        assert placed(home, "new", None, {"memory": "4g"}, quiet=True).name == CONTAINER
        installed_on_host(home)
        moved = placed(home, "app", CONTAINER, {"memory": "4g"}, quiet=True)
        assert (moved.name, moved.before.place) == (CONTAINER, HOST)
        assert settings.read(home, "app").memory == 4 << 30


class TestWhatTheDaemonKnows:
    """Options are refused, and not kept, where a daemon says that they cannot be had."""

    @pytest.fixture
    def daemon(self, monkeypatch):
        """Be a daemon on a machine with two processors, one image, and no network."""
        api = SimpleNamespace(inspect_image=self.inspect_image, inspect_distribution=self.inspect_distribution)
        docker = SimpleNamespace(info={"NCPU": 2}, api=api)
        monkeypatch.setattr("orchestrator.places.container.docker.connect", lambda: docker)

    def inspect_image(self, reference):
        if reference != "here:1":
            raise ImageNotFound("no such image")
        return {"Id": "sha256:1"}

    def inspect_distribution(self, reference):
        raise APIError("500", explanation=f"lookup registry of {reference}: no such host")

    @pytest.mark.usefixtures("daemon")
    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"cpus": 99.0}, "more than the 2 processors"),
            ({"base": "nosuch:image"}, "there is no image `nosuch:image`"),
        ],
    )
    def test_what_cannot_be_had_is_not_kept(self, home, given, said):
        before = Settings(place=CONTAINER, base="here:1", cpus=1.0)
        settings.write(home, "app", before)
        with pytest.raises(PinoctlError, match=said) as raised:
            placed(home, "app", None, given, quiet=True)
        assert "none`" in (raised.value.hint or "")
        assert settings.read(home, "app") == before

    @pytest.mark.usefixtures("daemon")
    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            ({"cpus": 2.0}, (2.0, None)),
            ({"base": "here:1"}, (1.0, "here:1")),
            ({"base": "none", "cpus": 0}, (None, None)),
        ],
    )
    def test_what_can_be_had_is(self, home, given, kept):
        settings.write(
            home, "app", Settings(place=CONTAINER, base="gone" if given.get("base") == "none" else None, cpus=1.0)
        )
        placed(home, "app", None, given, quiet=True)
        now = settings.read(home, "app")
        assert (now.cpus, now.base) == kept


def test_a_build_leaves_an_app_on_the_host(home):
    installed_on_host(home)
    placed(home, "app", None, {"memory": "4g"}, quiet=True, building=True)
    kept = settings.read(home, "app")
    assert (kept.place, kept.left, kept.memory) == (HOST, True, 4 << 30)
    assert choose(home, "app", None, {}) == Choice(HOST)


class TestTrial:
    def test_what_cannot_be_had_is_not_kept(self, home, capsys):
        settings.write(home, "app", Settings(place=CONTAINER, memory=1 << 30, answers={"a": 1}))
        now = placed(home, "app", None, {"mount": ("/usr:/x",), "memory": "2g"}, quiet=True)
        settings.write(home, "app", settings.read(home, "app").changed(answers={"b": 2}))
        with pytest.raises(RefusedError), on_trial(home, "app", now):
            raise RefusedError("it cannot be mounted")
        assert settings.read(home, "app") == Settings(place=CONTAINER, memory=1 << 30, answers={"b": 2})
        assert "keeps the settings" in capsys.readouterr().err

    def test_nor_is_the_place(self, home):
        installed_on_host(home)
        now = placed(home, "app", CONTAINER, {}, quiet=True)
        with pytest.raises(RefusedError), on_trial(home, "app", now):
            raise RefusedError("no")
        assert settings.read(home, "app").place == HOST

    def test_other_trouble_changes_nothing(self, home, capsys):
        now = placed(home, "app", CONTAINER, {"memory": "2g"}, quiet=True)
        with pytest.raises(DockerError), on_trial(home, "app", now):
            raise DockerError("the daemon is gone")
        assert settings.read(home, "app") == Settings(place=CONTAINER, memory=2 << 30)
        assert capsys.readouterr().err == ""


class Place:
    """Be a place in which an app runs, or one that cannot be looked at."""

    def __init__(self, name, *, runs=True, error=False):
        self.name, self.runs, self.error = name, runs, error

    def stop(self, _app):
        if self.error:
            raise DockerError("the daemon is gone")
        was, self.runs = self.runs, False
        return was

    def has(self, _app):
        return self.runs


@pytest.mark.parametrize(
    ("given", "before", "there", "may"),
    [
        (False, None, False, True),
        (True, None, False, False),
        (False, CONTAINER, False, False),
        (False, None, True, False),
    ],
)
def test_only_a_new_app_falls_back_to_the_host(given, before, there, may):
    place: Any = Place(CONTAINER, runs=there)
    assert may_fall_back(place, "app", Placed(CONTAINER, given, Settings(place=before))) is may


class TestTheOtherPlace:
    def names(self, home):
        return [place.name for place in places_of(home, "app")]

    def test_is_remembered(self, home):
        assert self.names(home) == [HOST]
        settings.write(home, "app", Settings(place=CONTAINER))
        assert self.names(home) == [CONTAINER, HOST]
        placed(home, "app", HOST, {}, quiet=True)
        assert self.names(home) == [HOST, CONTAINER]
        placed(home, "app", CONTAINER, {}, quiet=True)
        assert self.names(home) == [CONTAINER, HOST]

    @pytest.fixture
    def two(self, monkeypatch):
        """Return a function that says which places there are."""

        def be(*there):
            monkeypatch.setattr(placing, "places_of", lambda *_: list(there))
            return there

        return be

    @pytest.mark.parametrize(("first", "other"), [(HOST, CONTAINER), (CONTAINER, HOST)])
    def test_is_stopped_and_what_stays_is_said(self, home, two, capsys, first, other):
        here, there = two(Place(first), Place(other))
        leave_other(home, "app", Placed(first, given=True, before=Settings(place=other)))
        assert (here.runs, there.runs) == (True, False)
        said = capsys.readouterr().err
        assert "stay" in said
        assert f"`--place {other}` goes back to it" in said

    def test_is_not_mentioned_where_nothing_runs(self, home, two, capsys):
        two(Place(CONTAINER), Place(HOST, runs=False))
        leave_other(home, "app", Placed(CONTAINER, given=False, before=Settings(place=CONTAINER)))
        assert capsys.readouterr().err == ""

    def test_that_cannot_be_looked_at_is_only_warned_of(self, home, two, capsys):
        two(Place(HOST), Place(CONTAINER, error=True))
        leave_other(home, "app", Placed(HOST, given=True, before=Settings(place=CONTAINER)))
        assert stop_everywhere(home, "app") is True
        assert capsys.readouterr().err.count("the daemon is gone") == 2

    def test_is_stopped_by_down_as_well(self, home, two):
        here, there = two(Place(HOST, runs=False), Place(CONTAINER))
        assert stop_everywhere(home, "app") is True
        assert (here.runs, there.runs) == (False, False)

    def test_an_error_where_it_lives_is_one(self, home, two):
        two(Place(CONTAINER, error=True), Place(HOST))
        with pytest.raises(PinoctlError, match="daemon is gone"):
            stop_everywhere(home, "app")
