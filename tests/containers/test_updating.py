"""What becomes of names, the launcher's clone and the app when an update's next container gets ready, and when not."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.agent.client import Event, Output
from orchestrator.engine.home import Home
from orchestrator.launcher import git
from orchestrator.places.container import images, names, settings
from orchestrator.places.container.following import follow, head_of
from orchestrator.places.container.making import launcher_changed
from orchestrator.places.container.reading import launcher_hash
from orchestrator.places.container.updating import Asking, NotReadyError, Updating
from tests.lock.world import commit, repository, run

BROKEN = {"state": "failed", "failed": {"reason": "it does not listen"}, "url": None}


class Running:
    """Replace a container in words."""

    def __init__(self, done: list[str]) -> None:
        self.done = done

    def settle(self) -> dict[str, Any]:
        return {"Id": "old", "State": {"Running": True}}

    def spec(self, image: str) -> str:
        return image

    @contextmanager
    def replacing(self, _spec: str, _there: Any) -> Any:
        try:
            yield "next"
        except BaseException:
            self.done.append("went back")
            raise
        self.done.append("switched")

    def forget_images(self) -> None:
        self.done.append("cleaned")


@dataclass
class Bench:
    """Be an update in words of an app that is a real clone, whose upstream was at three commits since."""

    home: Home
    commits: list[str]
    updating: Updating
    done: list[str]

    @property
    def folder(self) -> Path:
        return self.home.app("app")

    def switch(self, monkeypatch: pytest.MonkeyPatch, tried: Any, at: str | None = None) -> Any:
        """Switch to the next image, whose container is `tried`, and whose launcher the update brought `at` a commit."""

        def work(*_: Any) -> Any:
            if isinstance(tried, BaseException):
                raise tried
            return tried

        monkeypatch.setattr(self.updating, "_tried", work)
        with suppress(KeyboardInterrupt):
            return self.updating._switch("after", {}, at)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    done: list[str] = []
    home, upstream = Home(tmp_path / "home"), tmp_path / "upstream"
    commits = [repository(upstream, start__js="one")]
    home.api.mkdir(parents=True)
    run("git", "clone", "-q", upstream, home.app("app"), cwd=tmp_path)
    commits += [commit(upstream, start__js=text) for text in ("two", "three")]
    settings.write(home, "app", settings.Settings(installed={"launcher": launcher_hash(home, "app")}))
    place: Any = SimpleNamespace(
        docker=None,
        home=home,
        containers=lambda _app: Running(done),
        image=lambda _app: "before",
        seen=lambda _app, answer: {**answer, "log": "here"},
        status=lambda _app, **_: {"word": "ready", "url": "http://before"},
    )
    monkeypatch.setattr(
        images, "tag", lambda _docker, _image, name: done.append(name.rpartition(":")[2][8:] or "named")
    )
    monkeypatch.setattr(images, "untag", lambda *_: None)
    monkeypatch.setattr(images, "by_reference", lambda *_: SimpleNamespace(labels={names.ROOT: "root 12"}))
    made = Updating(place, "app", profile=Any, say=done.append, listen=lambda _message: None)  # type: ignore[arg-type]
    monkeypatch.setattr(made, "_resume", lambda *_: done.append("up again"))
    return Bench(home, commits, made, done)


def test_the_clone_goes_where_the_update_went_when_the_app_is_ready(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bench.switch(monkeypatch, {"url": "http://x"}, bench.commits[1]) == {"url": "http://x"}
    assert bench.done == ["switched", "-previous", "named", "cleaned"]
    assert git.commit_of(bench.folder) == bench.commits[1]
    assert settings.read(bench.home, "app").installed == {
        "launcher": launcher_hash(bench.home, "app"), "image": "after", "update": "12",
    }  # fmt: skip


def test_a_clone_that_the_update_did_not_move_stays(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.switch(monkeypatch, {"url": "http://x"})
    assert git.commit_of(bench.folder) == bench.commits[0]
    assert not launcher_changed(bench.updating.place, "app")


def test_a_change_that_no_build_has_seen_is_due_after_an_update_as_before(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bench.folder / "install.js").write_text("changed")
    run("git", "add", "install.js", cwd=bench.folder)
    bench.switch(monkeypatch, {"url": "http://x"}, bench.commits[1])
    assert git.commit_of(bench.folder) == bench.commits[1]
    assert launcher_changed(bench.updating.place, "app")


def test_a_clone_that_cannot_follow_stays_and_is_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (bench.folder / "start.js").write_text("mine")
    bench.switch(monkeypatch, {"url": "http://x"}, bench.commits[1])
    assert bench.done[-1].startswith(f"the launcher's copy in `{bench.folder}` stays as it is: `git merge` failed")
    assert (bench.folder / "start.js").read_text() == "mine"


@pytest.mark.parametrize(("tried", "then"), [(NotReadyError(BROKEN), ["up again"]), (KeyboardInterrupt(), [])])
def test_everything_stays_as_it_is_otherwise(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tried: BaseException, then: list[str]
) -> None:
    result = bench.switch(monkeypatch, tried, bench.commits[1])
    assert [each for each in bench.done if "version" not in each] == ["went back", *then]
    assert git.commit_of(bench.folder) == bench.commits[0]
    if then:  # the answer is why, and how the app goes on
        assert result == {"state": "ready", "url": "http://before", "failed": BROKEN["failed"], "log": "here"}


def test_a_commit_is_read_however_git_keeps_it(tmp_path: Path) -> None:
    folder = tmp_path / "app"
    made = repository(folder, a__txt="a")

    def at(name: str) -> bytes | None:
        file = folder / ".git" / name
        return file.read_bytes() if file.exists() else None

    assert head_of(at) == made
    run("git", "pack-refs", "--all", cwd=folder)
    assert at("refs/heads/main") is None
    assert head_of(at) == made
    run("git", "checkout", "-q", "--detach", cwd=folder)
    assert head_of(at) == made
    (folder / ".git" / "HEAD").write_text("--upload-pack=evil\n")
    assert head_of(at) is None
    assert head_of(lambda _name: None) is None


def test_a_folder_of_the_users_does_not_follow(tmp_path: Path) -> None:
    made = repository(tmp_path / "mine", a__txt="a")
    (tmp_path / "app").symlink_to(tmp_path / "mine")
    assert not follow(tmp_path / "app", made)


def test_questions_of_an_update_reach_a_person() -> None:
    answered: list[Any] = []
    heard: list[Any] = []
    client: Any = SimpleNamespace(answer=lambda question, values: answered.append((question, values)))
    asking = Asking(client, lambda form: {"kind": form["kind"]}, heard.append)
    asking.listen(Event("question", 0.0, {"id": "q1", "form": {"kind": "small"}}))
    asking.listen(Output("text", "update.js", 4))
    assert answered == [("q1", {"kind": "small"})]
    assert len(heard) == 1
