"""Exports and registries: images that are made, moved and run without pinoctl serve the same app."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import ImageNotFound

from orchestrator.places.container import names, streams
from orchestrator.places.container.launcher import without_credentials
from tests.containers.building import (
    Place,
    World,
    await_page,
    fill,
    found_below,
    found_in,
    garden,
    launcher,
    move_on,
    page,
    refused,
    running,
    shell,
    tree,
    unlike,
)
from tests.containers.lab import PATIENCE, eventually
from tests.deploy.test_compose_started import compose, free_ports

pytestmark = [pytest.mark.docker, pytest.mark.slow]
assert callable(compose)  # a fixture
TOKEN = "a-long-token-of-its-user"


def forget(client: docker.DockerClient, reference: str) -> None:
    """Remove an image that may never have been made."""
    with contextlib.suppress(ImageNotFound):
        client.images.remove(reference, force=True)


def docker_build(folder: Path, reference: str, home: Path) -> str:
    """Build a folder with the plain command, and nothing of ours around."""
    home.mkdir()
    # Debian's own first: its BuildKit needs no plugin
    environ = {"PATH": f"/usr/bin:/bin:{os.environ['PATH']}", "HOME": str(home), "DOCKER_BUILDKIT": "1"}
    done = subprocess.run(
        ["docker", "build", "--network", "host", "--progress", "plain", "--tag", reference, str(folder)],
        env=environ, cwd=home, capture_output=True, text=True, timeout=800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-8000:]
    return done.stdout + done.stderr


@pytest.mark.network
def test_a_locked_export_is_built_by_docker_alone_and_serves_the_same_app(
    client: docker.DockerClient, world: World, place: Place, tmp_path: Path
) -> None:
    fill(world)
    made = place.pinoctl("build", garden(tmp_path / "garden", world), "--json", "-q").json()
    ours = tree(client, made["id"], "pinokio/api/garden")
    folder, reference = tmp_path / "export", f"rebuild-export-{uuid.uuid4().hex[:8]}:1"
    place.pinoctl("export", "dockerfile", "garden", "--output", folder)
    move_on(world)
    try:
        log = docker_build(folder, reference, tmp_path / "bare")
        assert "gamma" in log
        theirs = tree(client, reference, "pinokio/api/garden")
        assert unlike(ours, theirs) == []
        with running(client, reference, PINOCTL_TOKEN=TOKEN) as (container, url):
            await_page(url, token=TOKEN, holds="here is garden")
            assert refused(url) == 401
            assert await_line(container, "is ready")
    finally:
        forget(client, reference)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """Run Debian's registry on this machine; yield its address."""
    folder = tmp_path / "registry"
    folder.mkdir()
    fetch = ["apt-get", "download", "-qq", "docker-registry"]
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if subprocess.run(fetch, cwd=folder, env=environ, capture_output=True, timeout=300, check=False).returncode:
        subprocess.run(["apt-get", "update", "-qq"], env=environ, capture_output=True, timeout=300, check=True)
        subprocess.run(fetch, cwd=folder, env=environ, capture_output=True, timeout=300, check=True)
    [package] = folder.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", package, folder], check=True, timeout=60)
    settings = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": "127.0.0.1:0"},
    }
    (folder / "config.json").write_text(json.dumps(settings))  # JSON is YAML
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            [folder / "usr/bin/docker-registry", "serve", folder / "config.json"], stdout=log, stderr=log
        ) as running_registry,
    ):
        try:
            said = re.compile(r"listening on (127\.0\.0\.1:\d+)")
            address = eventually(lambda: said.search((folder / "log").read_text()))[1]
            await_page(f"http://{address}/v2/", holds="{}")
            yield address
        finally:
            running_registry.terminate()
            running_registry.wait(timeout=60)


@pytest.mark.network
def test_an_image_from_a_registry_serves_the_app_by_itself(
    client: docker.DockerClient, place: Place, registry: str, tmp_path: Path
) -> None:
    app = launcher(tmp_path / "rebuild-pushed", [], said="from afar")
    failed = place.pinoctl("build", app, "--push", "127.0.0.1:1/me/x:1", "--json", "-q", fails=True).json()
    assert failed["image"] == names.current(place.home, "rebuild-pushed")  # what was built is told nevertheless
    assert (Path(failed["lock"]).exists(), failed["digest"]) == (True, None)
    assert "cannot be pushed" in failed["error"]
    assert "127.0.0.1:1/me/x:1" not in [tag for image in place.images() for tag in image.tags]
    pushed = place.pinoctl("build", app, "--push", f"{registry}/me/pushed:1", "--json", "-q").json()
    assert pushed["image"] == f"{registry}/me/pushed:1"
    again = place.pinoctl("image", "push", "rebuild-pushed", f"{registry}/me/pushed", "--json", "-q").json()
    assert again["image"] == f"{registry}/me/pushed:latest"
    assert again["digest"] == pushed["digest"]
    assert again["digest"].startswith("sha256:")
    for tag in ("1", "latest"):
        client.images.remove(f"{registry}/me/pushed:{tag}")
    place.close()
    assert not place.images()
    image = client.images.pull(f"{registry}/me/pushed", tag="1")
    try:
        with running(client, image.id) as (container, url):
            shown = await_line(container, "?token=")
            token = shown.partition("?token=")[2].split()[0]
            await_page(url, token=token, holds="from afar")
            assert refused(url) == 401
            browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
            for address in (f"{url}?token={token}", url):  # logging in, and then by the cookie
                page = urllib.request.Request(address, headers={"Accept": "text/html"})
                with browser.open(page, timeout=60) as answer:
                    assert answer.read() == b"from afar"
        with running(client, image.id, PINOCTL_PUBLIC="1") as (_container, url):
            await_page(url, holds="from afar")
    finally:
        forget(client, f"{registry}/me/pushed:1")


def await_line(container: Any, holds: str) -> str:
    """Return the line of a container's log that holds a text."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        for line in container.logs().decode().splitlines():
            if holds in line:
                return str(line)
        time.sleep(0.1)
    raise AssertionError(f"no `{holds}` in:\n{container.logs().decode()}")


def test_names_that_no_image_can_have_are_refused_before_anything_is_built(place: Place, tmp_path: Path) -> None:
    app = launcher(tmp_path / "rebuild-named", [])
    for option in ("--push", "--tag"):
        said = place.pinoctl("build", app, option, "Not/A Name", fails=True)
        assert "cannot be the name of an image" in said.err
    assert not place.images()


PHRASE, TOKEN_WORD, PASSWORD, LOGIN = (f"{word}{uuid.uuid4().hex}" for word in ("phrase", "shop", "hub", "login"))
SECRETS = [PHRASE, TOKEN_WORD, PASSWORD, LOGIN]
OPEN = f"open{uuid.uuid4().hex}"  # is to be found, as a check on the search


def test_secrets_are_in_no_image_label_log_lock_or_export(
    client: docker.DockerClient, world: World, place: Place, tmp_path: Path
) -> None:
    world.repository("lib", lib__txt="a library")
    form = [
        {"key": "phrase", "type": "password", "title": "The phrase"},
        {"key": "color", "title": "A color"},
    ]
    host = world.url.removeprefix("http://")
    steps = [
        {"method": "input", "params": {"title": "Who", "form": form}},
        {"method": "fs.write", "params": {"path": "who.json", "text": "phrase {{input.phrase}}, {{input.color}}."}},
        shell(f"git clone http://shop:{{{{envs.SHOP_TOKEN}}}}@{host}/git/lib lib"),
        shell('echo "$SHOP_TOKEN $HF_TOKEN" | tee said-aloud; echo "$HF_TOKEN" > ~/token'),
        shell(f"echo {OPEN} | tee open.txt; cat who.json && cp who.json kept.txt && wc -c kept.txt"),
    ]
    pre = [{"env": "SHOP_TOKEN", "title": "The shop's token"}]
    launcher(tmp_path / "made", steps, said="{{local.nothing}}open", pre=pre)
    texts = {file.name.replace(".", "__"): file.read_text() for file in (tmp_path / "made").iterdir()}
    world.repository("rebuild-shop", **texts)
    lock, folder = tmp_path / "lock.json", tmp_path / "export"
    built = place.pinoctl(
        "build", f"http://me:{LOGIN}@{host}/git/rebuild-shop", "--lock", lock, "--json",
        "--answer", f"phrase={PHRASE}", "--answer", "color=green", "--answer", f"SHOP_TOKEN={TOKEN_WORD}",
        HF_TOKEN=PASSWORD,
    )  # fmt: skip
    assert found_in(iter([built.out.encode(), built.err.encode()]), SECRETS) == set()
    assert "/git/lib" in world.asked()
    url = place.pinoctl("up", "rebuild-shop", "-q", HF_TOKEN=PASSWORD).out.split()[-1]
    assert page(url).endswith("open")
    said = place.pinoctl("export", "dockerfile", "rebuild-shop", "--lock", lock, "--output", folder, fails=True)
    assert "`phrase`" in said.err
    other = tmp_path / "without.json"  # as if the script took no secret: nothing else of it may leave this machine
    other.write_text(json.dumps({**json.loads(lock.read_text()), "secrets": []}))
    place.pinoctl("export", "dockerfile", "rebuild-shop", "--lock", other, "--output", folder)
    place.pinoctl("export", "compose", "rebuild-shop", "--output", tmp_path / "compose.yaml")

    assert json.loads(lock.read_text())["captured"] == {"color": "green"}
    assert "green" in (folder / "answers.json").read_text()
    assert found_below(folder, SECRETS) == set()
    assert found_in(iter([lock.read_bytes(), (tmp_path / "compose.yaml").read_bytes()]), SECRETS) == set()
    container = client.containers.get(f"pinoctl-rebuild-shop-{place.key}")
    assert found_in(iter([container.logs()]), SECRETS) == set()
    who_says = streams.run(client, container.id, ["cat", "/pinokio/api/rebuild-shop/who.json"])[1]
    assert who_says == f"phrase {PHRASE}, green.".encode()  # the app has it
    logs, _about = container.get_archive("/data/private/.logs")
    assert found_in(logs, [*SECRETS, OPEN]) == {OPEN}
    assert found_in(iter([json.dumps([each.attrs for each in place.images()]).encode()]), SECRETS) == set()
    # only the launcher's own clone on this machine knows where it came from, for its updates
    place.pinoctl("down", "rebuild-shop")
    assert found_below(place.folder, SECRETS) <= {"api/rebuild-shop/.git/config"}
    who = tree(client, built.json()["id"], "pinokio/api/rebuild-shop")["pinokio/api/rebuild-shop/who.json"]
    assert who.startswith("2 ")  # a link
    assert who.endswith(" /data/private/rebuild-shop/pinokio/api/rebuild-shop/who.json")
    references = [tag for image in place.images() for tag in image.tags]
    assert len(references) > 1
    saved = client.api._stream_raw_result(  # `get_image` takes one name only
        client.api._get(client.api._url("/images/get"), params={"names": references}, stream=True),
        1 << 22,
        False,  # noqa: FBT003  # see above
    )
    assert found_in(saved, [*SECRETS, OPEN]) == {OPEN}


@pytest.mark.network
def test_exported_apps_start_together_with_compose(
    client: docker.DockerClient, place: Place, compose: Path, tmp_path: Path
) -> None:
    names_ = ("rebuild-one", "rebuild-two")
    for name in names_:
        app = launcher(tmp_path / name, [shell(f"mkdir -p $PINOKIO_HOME/drive/{name}")])
        place.pinoctl("build", app, "-q")
    port = pair_of_ports()
    project, file = f"rebuild-{uuid.uuid4().hex[:8]}", tmp_path / "compose.yaml"
    place.pinoctl("export", "compose", *names_, "--output", file, "--port", str(port), "--project", project)
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PINOCTL_TOKEN": TOKEN}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(compose), "-f", str(file), *words],
            env=environ,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    try:
        up = run("up", "--detach")
        assert up.returncode == 0, up.stderr
        for at, name in enumerate(names_):
            url = f"http://127.0.0.1:{port + at}/"
            await_page(url, token=TOKEN, holds=f"here is {name}")
            assert refused(url) == 401
        volumes = sorted(each.name for each in client.volumes.list(filters={"name": project}))
        assert volumes == [f"{project}-shared", *(f"{project}_own-{name}" for name in names_)]
    finally:
        down = run("down", "--volumes", "--timeout", "2")
    assert down.returncode == 0, down.stderr


def pair_of_ports() -> int:
    """Return a free port whose next one is free as well."""
    for _ in range(50):
        [first] = free_ports(1)
        with contextlib.suppress(OSError, OverflowError), socket.socket() as second:
            second.bind(("127.0.0.1", first + 1))
            return first
    raise AssertionError("no two free ports beside each other")


def test_an_app_without_a_lock_is_exported_step_by_step_with_its_answers(
    client: docker.DockerClient, place: Place, tmp_path: Path
) -> None:
    form = {"method": "input", "params": {"title": "Which", "form": [{"key": "color", "title": "A color"}]}}
    keep = {"method": "fs.write", "params": {"path": "color.txt", "text": "painted {{input.color}}"}}
    app = launcher(tmp_path / "rebuild-asks", [form, keep, shell("cat color.txt > copy.txt")], said="in color")
    place.pinoctl("up", app, "-q", "--answer", "color=it's green")
    place.pinoctl("down", "rebuild-asks")
    folder, reference = tmp_path / "export", f"rebuild-export-{uuid.uuid4().hex[:8]}:1"
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "notes.txt").write_text("mine")
    said = place.pinoctl("export", "dockerfile", "rebuild-asks", "--output", taken, fails=True)
    assert "is there already, and is no export" in said.err
    for _ in range(2):  # an older export is replaced
        place.pinoctl("export", "dockerfile", "rebuild-asks", "--output", folder)
    own = (folder / "Dockerfile").read_text().partition("ENV PINOCTL_APP=rebuild-asks")[2]
    assert own.count(" install ") == 4
    assert own.rstrip().endswith("USER pinokio")  # after sudo was taken away
    assert (folder / "pins" / "env.sh").read_text() == ""
    place.close()
    try:
        log = docker_build(folder, reference, tmp_path / "bare")
        assert "install --until 3" in log
        files = tree(client, reference, "pinokio/api/rebuild-asks")
        assert {"pinokio/api/rebuild-asks/copy.txt", "pinokio/api/rebuild-asks/said.txt"} <= files.keys()
        with running(client, reference, PINOCTL_TOKEN=TOKEN) as (container, url):
            await_page(url, token=TOKEN, holds="in color")
            copied = streams.run(client, container.id, ["cat", "/pinokio/api/rebuild-asks/copy.txt"])
            assert copied[1] == b"painted it's green"
    finally:
        forget(client, reference)


@pytest.mark.parametrize(
    ("noted", "kept"),
    [
        (b"\turl = https://me:pass@host/a.git\n", b"\turl = https://host/a.git\n"),
        (b"\turl = HTTPS://token@host:8443/a\n", b"\turl = HTTPS://host:8443/a\n"),
        (b"\turl = ssh://git@host/a.git\n", b"\turl = ssh://git@host/a.git\n"),
        (b"\turl = git@host:a.git\n", b"\turl = git@host:a.git\n"),
        (b"\temail = me@example.org\n", b"\temail = me@example.org\n"),
        (b"\turl = https://host/a@b.git\n", b"\turl = https://host/a@b.git\n"),
        (b"[http]\n\textraheader = AUTHORIZATION: basic eA==\n[core]\n", b"[http]\n[core]\n"),
        (
            b"1\t2 me <me@x.org> 1 +0\tclone: from https://u:p@h/a\n",
            b"1\t2 me <me@x.org> 1 +0\tclone: from https://h/a\n",
        ),
    ],
)
def test_what_git_noted_goes_into_images_without_credentials(noted: bytes, kept: bytes) -> None:
    assert without_credentials(noted) == kept
