"""Names of containers, images and volumes: valid for Docker, and no two apps or homes share one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from orchestrator.engine.home import Home
from orchestrator.launcher.names import PATTERN
from orchestrator.places.container import names

HERE, THERE = Home(Path("/home/a/pinokio")), Home(Path("/home/b/pinokio"))
# as Docker's reference grammar has it
REPOSITORY = re.compile(r"pinoctl/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
CONTAINER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
apps = st.from_regex(PATTERN, fullmatch=True)


@given(apps)
def test_names_are_valid_for_docker(app):
    references = [
        names.current(HERE, app), names.previous(HERE, app), names.candidate(HERE, app), names.checkpoint(app, "a" * 64)
    ]  # fmt: skip
    for reference in references:
        repository, _, tag = reference.partition(":")
        assert REPOSITORY.fullmatch(repository)
        assert TAG.fullmatch(tag)
    assert len(set(references)) == 4
    for what in ("", "build", "next", "old"):
        assert CONTAINER.fullmatch(names.container(HERE, app, what))


@given(apps, apps)
def test_apps_share_images_only_where_case_alone_differs(one, other):
    assert (names.repository(one) == names.repository(other)) == (one.lower() == other.lower())


@pytest.mark.parametrize("one", ["my--app", "my-_app", "my-app-", "my-app.", "my__app", "my-.app"])
def test_apps_whose_names_docker_does_not_allow_have_images_of_their_own(one):
    assert names.repository(one) != names.repository("my-app")
    assert REPOSITORY.fullmatch(names.repository(one))


def test_ordinary_names_stay_readable():
    assert names.repository("ComfyUI") == "pinoctl/comfyui"
    assert names.current(HERE, "a.b_c-d").startswith("pinoctl/a.b_c-d:")


@given(apps, apps, st.sampled_from(["", "build", "next", "old"]), st.sampled_from(["", "build", "next", "old"]))
def test_containers_have_names_of_their_own(one, other, what, else_):
    assume((one, what) != (other, else_))
    assert names.container(HERE, one, what) != names.container(HERE, other, else_)


def test_homes_are_told_apart():
    for made in (names.current, names.previous, names.candidate, names.container):
        assert made(HERE, "x") != made(THERE, "x")
    assert names.home_key(HERE) != names.home_key(THERE)
    assert names.home_key(HERE) == names.home_key(Home(Path("/home/a/pinokio")))


def test_checkpoints_are_shared_between_homes_and_named_by_their_chain():
    assert names.checkpoint("x", "a" * 64) == "pinoctl/x:checkpoint-" + "a" * 20
    assert names.checkpoint("x", "a" * 64) != names.checkpoint("x", "b" * 64)


def test_the_volume_is_the_homes_or_the_users():
    assert names.volume(HERE, {}) == f"pinoctl-shared-{names.home_key(HERE)}"
    assert names.volume(HERE, {"PINOCTL_VOLUME": "mine"}) == "mine"
    assert names.volume(HERE, {"PINOCTL_VOLUME": ""}) == names.volume(HERE, {})
