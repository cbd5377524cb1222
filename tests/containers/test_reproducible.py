"""Builds from one lock: the same file tree though everything moved on, or a list of what could not be held."""

from __future__ import annotations

import json
from pathlib import Path

import docker
import pytest

from tests.containers.building import (
    Place,
    World,
    await_page,
    fill,
    garden,
    launcher,
    move_on,
    place_in,
    running,
    shell,
    tree,
    unlike,
)
from tests.lock.world import head

pytestmark = [pytest.mark.docker, pytest.mark.slow]
APP = "pinokio/api/garden"


def test_two_builds_from_one_lock_give_the_same_files_though_the_world_moved_on(
    client: docker.DockerClient, world: World, place: Place, tmp_path: Path
) -> None:
    fill(world)
    folder, lock = garden(tmp_path / "garden", world), tmp_path / "garden.lock.json"
    first = place.pinoctl("build", folder, "--json", "-q", "--lock", lock).json()
    assert first["lock"] == str(lock)
    before = tree(client, first["id"], APP, "pinokio/bin", "home/pinokio")
    move_on(world)
    with place_in(tmp_path / "elsewhere", client) as other:  # nothing of the first one's caches
        again = other.pinoctl("build", folder, "--json", "-q", "--locked", lock).json()
        assert again["id"] != first["id"]
        assert unlike(before, tree(client, again["id"], APP, "pinokio/bin", "home/pinokio")) == []
        newest = other.pinoctl("build", folder, "--json", "-q", "--fresh").json()
        moved = "\n".join(unlike(before, tree(client, newest["id"], APP)))
    for path in ("alpha-2.0", "gamma-1.1", "beta-1.1", "delta-0.1", "lib/lib.txt", "fromgit/__init__", "left/index.js"):
        assert path in moved
    held = json.loads(lock.read_text())
    assert {each["path"] for each in held["inventory"]["environments"]} >= {"api/garden/env", "api/garden/other"}


def test_what_cannot_be_held_is_named_and_the_app_keeps_its_image(
    client: docker.DockerClient, world: World, place: Place, tmp_path: Path
) -> None:
    fill(world)
    folder, lock = garden(tmp_path / "garden", world), tmp_path / "garden.lock.json"
    place.pinoctl("build", folder, "-q", "--lock", lock)
    image = place.image("garden")
    world.write("words.txt", "other words")
    world.forget("lib", "another history")
    refused = place.pinoctl("build", "garden", "--locked", lock, fails=True)
    assert "moved: download api/garden/words/words.txt: sha256 " in refused.err
    assert "moved: repository api/garden/lib: commit" in refused.err
    assert place.image("garden") == image
    move_on(world)
    (world.folder / "wheels" / "alpha-1.0-py3-none-any.whl").unlink()
    gone = place.pinoctl("build", "garden", "--locked", lock, fails=True)
    assert "moved: package alpha==1.0: cannot be had" in gone.err
    assert f"`pinoctl build --locked {lock} garden` tries again" in gone.err
    assert f"(`{place.home.logs}" in gone.err  # of this machine, not of the container
    assert place.image("garden") == image


def test_a_launcher_that_cannot_go_back_is_told_before_anything_is_built(
    client: docker.DockerClient, place: Place, tmp_path: Path
) -> None:
    folder, lock = launcher(tmp_path / "rebuild-changed", []), tmp_path / "lock.json"
    place.pinoctl("build", folder, "-q", "--lock", lock)
    base = json.loads(lock.read_text())["base"]
    assert base["id"] == client.images.get(base["reference"]).id
    held = json.loads(lock.read_text())
    assert place.pinoctl("build", folder, "--locked", lock, "--base", "debian:12", fails=True).status == 2
    other = {
        **held, "hardware": {**held["hardware"], "gpu": "amd"}, "base": {**held["base"], "recipe": "0" * 64},
    }  # fmt: skip
    lock.write_text(json.dumps(other))
    told = place.pinoctl("build", folder, "--locked", lock, "--json", fails=True)
    assert sorted(each.partition(":")[0] for each in told.json()["moved"]) == ["base image", "hardware gpu"]
    assert "step 1" not in told.err
    lock.write_text(json.dumps({**held, "base": {**held["base"], "reference": "pinoctl-none:none"}}))
    told = place.pinoctl("build", folder, "--locked", lock, "--json", fails=True)
    assert "docker pull" in told.json()["failed"]["hint"]
    lock.write_text(json.dumps(held))
    (folder / "server.py").write_text((folder / "server.py").read_text() + "# changed\n")
    told = place.pinoctl("build", folder, "--locked", lock, "--json", fails=True)
    assert len(told.json()["moved"]) == 1
    assert told.json()["moved"][0].startswith("launcher tree: ")
    assert "step 1" not in told.err


def test_a_locked_build_takes_the_launcher_back_and_one_that_fails_leaves_it(
    client: docker.DockerClient, world: World, place: Place, tmp_path: Path
) -> None:
    world.write("model.bin", "a model")
    download = {"method": "fs.download", "params": {"uri": f"{world.url}/files/model.bin", "dir": "models"}}
    launcher(tmp_path / "made", [download], said="the first")
    texts = {file.name.replace(".", "__"): file.read_text() for file in (tmp_path / "made").iterdir()}
    old = world.repository("rebuild-shop", **texts)
    lock, url = tmp_path / "lock.json", f"{world.url}/git/rebuild-shop"
    place.pinoctl("build", url, "-q", "--lock", lock)
    new = world.commit("rebuild-shop", install__js=texts["install__js"].replace("the first", "the second"))
    with place_in(tmp_path / "elsewhere", client) as other:
        other.pinoctl("build", url, "-q")
        clone, image = other.home.app("rebuild-shop"), other.image("rebuild-shop")
        assert head(clone) == new
        world.write("model.bin", "another model")
        moved = other.pinoctl("build", "rebuild-shop", "--locked", lock, "-q", "--json", fails=True).json()["moved"]
        assert [each.partition(":")[0] for each in moved] == ["download api/rebuild-shop/models/model.bin"]
        assert (head(clone), other.image("rebuild-shop")) == (new, image)
        world.write("model.bin", "a model")
        other.pinoctl("build", "rebuild-shop", "--locked", lock, "-q")
        assert head(clone) == old
        with running(client, str(other.image("rebuild-shop")), PINOCTL_PUBLIC="1") as (_container, page):
            await_page(page, holds="the first")


def test_a_locked_build_is_made_for_the_locks_machine_with_answers_that_may_be_others(
    client: docker.DockerClient, place: Place, tmp_path: Path
) -> None:
    form = [{"key": "phrase", "type": "password", "title": "The phrase"}, {"key": "color", "title": "A color"}]
    steps = [
        {"method": "input", "params": {"title": "Who", "form": form}},
        {"method": "fs.write", "params": {"path": "seen.txt", "text": "{{ram}} GiB, {{input.color}}."}},
        shell("cat seen.txt && cp seen.txt kept.txt"),
    ]
    folder, lock = launcher(tmp_path / "rebuild-other", steps), tmp_path / "lock.json"
    answers = ("--answer", "phrase=a long phrase", "--answer", "color=green")
    place.pinoctl("build", folder, "-q", "--lock", lock, *answers)
    held = json.loads(lock.read_text())
    assert held["secrets"] == ["phrase"]
    lock.write_text(json.dumps({**held, "hardware": {**held["hardware"], "ram": 1001}}))
    told = place.pinoctl("build", folder, "--locked", lock, fails=True)
    assert "--answer phrase=VALUE" in told.err
    again = ("--answer", "phrase=another phrase", "--answer", "color=blue")
    told = place.pinoctl("build", folder, "--locked", lock, *again)
    assert "hardware ram: 1001 -> " in told.err
    image = client.containers.create(str(place.image("rebuild-other")))
    try:
        stream = b"".join(image.get_archive("/pinokio/api/rebuild-other/kept.txt")[0])
        assert b"1001 GiB, blue." in stream
    finally:
        image.remove()


def test_the_users_own_index_is_brought_along(world: World, place: Place, tmp_path: Path) -> None:
    world.wheel("alpha", "1.0")
    said = '-c "import alpha; print(alpha.version)"'
    steps = [
        shell("uv pip install alpha", venv="env"),
        shell(f"python -m venv other && other/bin/pip install alpha && other/bin/python {said} > other.txt"),
    ]
    folder = launcher(tmp_path / "rebuild-index", steps)
    host = world.url.removeprefix("http://").partition(":")[0]
    place.pinoctl(
        "build", folder, "-q", "--lock", tmp_path / "lock.json",
        UV_INDEX_URL=world.index, PIP_INDEX_URL=world.index, PIP_TRUSTED_HOST=host,
    )  # fmt: skip
    held = json.loads((tmp_path / "lock.json").read_text())["inventory"]["environments"]
    found = {each["path"]: [package["name"] for package in each["packages"]] for each in held}
    assert "alpha" in found["api/rebuild-index/env"]
    assert "alpha" in found["api/rebuild-index/other"]
