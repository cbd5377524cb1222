"""What a build goes on from: the serving image where no checkpoint has as much, and nothing from before an update."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.engine.home import Home
from orchestrator.places.container import chain, images, making, names, settings
from orchestrator.places.container.build import Build, Wish
from orchestrator.places.container.chain import Texts
from orchestrator.places.container.making import Making

TEXTS = Texts({"app/install.js": ["", "one", "two"]})


def image(name: str, steps: int, *, root: str = "r", created: str = "1", **labels: str) -> images.AppImage:
    done = TEXTS.chain([["app/install.js", index] for index in range(steps)])
    about = {names.KIND: "checkpoint", names.ROOT: root, names.CHAIN: chain.write(done), **labels}
    return images.AppImage(name, (name,), about, 0, created)


@pytest.fixture
def store(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what the daemon has: `checkpoints`, the `serving` image, the `layers` of each."""
    found = SimpleNamespace(checkpoints=[], serving=None, layers={}, home=Home(tmp_path))
    monkeypatch.setattr(images, "listed", lambda *_: found.checkpoints)
    monkeypatch.setattr(images, "current", lambda *_: found.serving)
    monkeypatch.setattr(images, "layers_of", lambda _docker, name: list(found.layers[name]))
    return found


def begins_with(store: Any, root: str = "r", **wish: Any) -> str | None:
    build = Build(
        None, store.home, "app", settings=settings.Settings(), profile=None, say=print, listen=print  # type: ignore[arg-type]
    )  # fmt: skip
    build._root, build._reading = root, SimpleNamespace(texts=TEXTS)  # type: ignore[assignment]
    found = build._saved(Wish(**wish))
    return found.id if found is not None else None


def test_the_checkpoint_comes_before_the_image_that_was_made_from_it(store: Any) -> None:
    store.checkpoints, store.serving = [image("one", 1), image("two", 2)], image("serving", 2, created="2")
    assert begins_with(store) == "two"
    assert begins_with(store, fresh=True) is None


def test_the_serving_image_comes_before_a_checkpoint_with_less(store: Any) -> None:
    store.checkpoints, store.serving = [image("one", 1)], image("serving", 2)
    assert begins_with(store) == "serving"
    assert begins_with(store, "other") is None


def test_nothing_from_before_an_update_serves_any_more(store: Any) -> None:
    store.checkpoints = [image("before", 2, created="9"), image("update", 2, root="r 12")]
    assert begins_with(store, "r 12") == "update"
    assert begins_with(store, "r 13") is None


def update_of(store: Any) -> str:
    place: Any = SimpleNamespace(home=store.home, docker=None)
    work = Making(place, "app", None, print, print)  # type: ignore[arg-type]
    return work._update(settings.read(store.home, "app"))


def test_which_update_an_app_has_behind_it_is_known_without_its_image(store: Any) -> None:
    assert update_of(store) == ""
    settings.write(store.home, "app", settings.Settings(installed={"update": "12"}))
    assert update_of(store) == "12"
    store.serving = image("serving", 2)  # a `rollback` may have been killed before it was written down
    assert update_of(store) == ""


def test_a_new_pinoctl_goes_on_from_what_the_image_was_made_of(store: Any) -> None:
    same = {names.INSTALLED: "true", names.LAUNCHER: "l"}
    store.checkpoints = [image("anew", 2, root="r 12", **same), image("update", 2, root="r 12", **same)]
    store.layers = {"serving": "abcd", "update": "abc", "anew": "axy"}
    serving = image("serving", 2, root="r 12", **same)
    assert making._below(None, "app", serving) == "update"  # type: ignore[arg-type]
    store.checkpoints.pop()
    assert making._below(None, "app", serving) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(("made", "expected"), [("abcx", True), ("abx", False), ("xyz", False)])
def test_two_images_begin_alike_when_they_have_more_in_common_than_the_base(
    store: Any, made: str, expected: object
) -> None:
    store.layers = {"before": "abcd", "made": made, "base": "ab"}
    built: Any = SimpleNamespace(image="made", labels={names.BASE: "debian base"})
    assert making._same_beginning(None, "before", built) is expected  # type: ignore[arg-type]
