"""What becomes of names, the launcher's copy and the app when an update's next container gets ready, and when not."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.agent.client import Event, Output
from orchestrator.engine.home import Home
from orchestrator.places.container import images, updating
from orchestrator.places.container.updating import Asking, NotReadyError, Updating

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


@pytest.fixture
def bench(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return an update in words, whose next container is `tried`, and what was done."""
    done: list[str] = []
    place: Any = SimpleNamespace(
        docker=None, home=Home(tmp_path), containers=lambda _app: Running(done), image=lambda _app: "before"
    )
    monkeypatch.setattr(
        images, "tag", lambda _docker, _image, name: done.append(name.rpartition(":")[2][8:] or "named")
    )
    monkeypatch.setattr(images, "untag", lambda *_: None)
    monkeypatch.setattr(updating, "launcher_hash", lambda *_: "hash")
    made = Updating(place, "app", profile=Any, say=lambda _line: None, listen=lambda _message: None)  # type: ignore[arg-type]
    monkeypatch.setattr(made, "_pull_launcher", lambda: done.append("pulled"))
    monkeypatch.setattr(made, "_resume", lambda *_: done.append("up again"))

    def switch(tried: Any) -> Any:
        def work(*_: Any) -> Any:
            if isinstance(tried, BaseException):
                raise tried
            return tried

        monkeypatch.setattr(made, "_tried", work)
        with suppress(KeyboardInterrupt):
            return made._switch("after", {}, pull=True)

    return SimpleNamespace(switch=switch, done=done)


def test_the_launchers_copy_follows_when_the_app_is_ready(bench: Any) -> None:
    assert bench.switch({"url": "http://x"}) == {"url": "http://x"}
    assert bench.done == ["switched", "-previous", "named", "cleaned", "pulled"]


@pytest.mark.parametrize(
    ("tried", "result", "then"), [(NotReadyError(BROKEN), BROKEN, ["up again"]), (KeyboardInterrupt(), None, [])]
)
def test_and_stays_as_it_is_otherwise(bench: Any, tried: BaseException, result: Any, then: list[str]) -> None:
    assert bench.switch(tried) == result
    assert bench.done == ["went back", *then]


def test_questions_of_an_update_reach_a_person() -> None:
    answered: list[Any] = []
    heard: list[Any] = []
    client: Any = SimpleNamespace(answer=lambda question, values: answered.append((question, values)))
    asking = Asking(client, lambda form: {"kind": form["kind"]}, heard.append)
    asking.listen(Event("question", 0.0, {"id": "q1", "form": {"kind": "small"}}))
    asking.listen(Output("text", "update.js", 4))
    assert answered == [("q1", {"kind": "small"})]
    assert len(heard) == 1
