"""Which answers a build remembers: none that a script calls secret, whatever happens."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from orchestrator.engine.errors import PinoctlError
from orchestrator.engine.home import Home
from orchestrator.places.container import build, settings
from orchestrator.places.container.build import Build, Wish
from orchestrator.plan.plan import Question


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


def failing_build(home, monkeypatch):
    plan = SimpleNamespace(
        problem="no card",
        hint=None,
        questions=(Question("i.js", "name"), Question("i.js", "phrase", secret=True), Question("j.js", "phrase")),
    )
    monkeypatch.setattr(build, "read_launcher", lambda *_: SimpleNamespace(plan=plan, left_out=()))
    chosen = settings.read(home, "app")
    return Build(None, home, "app", settings=chosen, profile=None, say=print, listen=print)


def test_what_is_secret_or_not_known_to_be_none_is_not_written_before_it_is_asked(home, monkeypatch):
    settings.write(home, "app", settings.Settings(answers={"name": "before", "phrase": "left by an earlier version"}))
    made = failing_build(home, monkeypatch)
    with pytest.raises(PinoctlError, match="no card"):
        made.run(Wish(remember={"name": "me", "phrase": "hunter2", "other": "hunter3"}))
    assert settings.read(home, "app").answers == {"name": "me"}
    assert "hunter" not in settings.file_of(home, "app").read_text()


def test_without_new_answers_those_of_before_stay(home, monkeypatch):
    settings.write(home, "app", settings.Settings(answers={"name": "me"}))
    with pytest.raises(PinoctlError):
        failing_build(home, monkeypatch).run(Wish())
    assert settings.read(home, "app").answers == {"name": "me"}


def test_a_label_tells_that_an_answer_changed_and_not_what_it_is(home, tmp_path):
    first = settings.salted(home, {"a": "x", "b": "y"}, {"a"})
    assert first == settings.salted(home, {"a": "x"}, {"a"})
    assert set(first) == {"a"}
    assert first != settings.salted(home, {"a": "z"}, {"a"})
    assert first != settings.salted(Home(tmp_path / "other"), {"a": "x"}, {"a"})
    assert settings.salted(Home(tmp_path / "none"), {"a": "x"}, set()) == {}
    assert not (tmp_path / "none").exists()
