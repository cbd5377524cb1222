"""Docker's errors as people read them: what was refused, why, and what to do; and images as `--json` shows them."""

from __future__ import annotations

import errno

import pytest
import requests
from docker.errors import APIError, DockerException, NotFound

from orchestrator.commands.image import list_
from orchestrator.places.container import images, names
from orchestrator.places.container.carry import told_aside
from orchestrator.places.container.docker import REMEDIES, DockerError, connect, remedy_of, told
from orchestrator.places.container.images import AppImage, to_json
from orchestrator.places.container.pushing import remedy

# what daemons from 20.10 to 28.5 say
SAID = {
    'could not select device driver "" with capabilities: [[gpu]]': "Container Toolkit",
    "Unknown runtime specified nvidia": "Container Toolkit",
    "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.8": "driver is too old",
    "write /var/lib/docker/tmp/x: no space left on device": "pinoctl image rm",
    "Bind for 127.0.0.1:42000 failed: port is already allocated": "another port",
    "max depth exceeded": "--fresh",
    "toomanyrequests: You have reached your pull rate limit": "docker login",
    "pull access denied for x, repository does not exist": "docker login",
    "manifest for debian:99 not found: manifest unknown: manifest unknown": "tag",
    'error mounting "/a.txt" to rootfs at "/data/drive": not a directory': "over a folder only",
    'Conflict. The container name "/x" is already in use by container "1a"': "again",
    "failed to resolve source metadata for docker.io/library/x": "--base",
}


@pytest.mark.parametrize(("text", "remedy"), SAID.items())
def test_known_errors_have_a_remedy(text, remedy):
    assert remedy in remedy_of(text)


def test_every_remedy_is_for_something_that_daemons_say():
    assert {remedy for _sign, remedy in REMEDIES} == {remedy_of(text) for text in SAID}
    assert remedy_of("something else") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('Get "https://nowhere.example/v2/": dial tcp: lookup nowhere.example on 10.0.0.1:53: no such host', "network"),
        ('Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused', "network"),
        ("http: server gave HTTP response to HTTPS client", "insecure-registries"),
        ("denied: requested access to the resource is denied", "docker login"),
        ("no basic auth credentials", "docker login"),
        ("write /tmp/x: no space left on device", "pinoctl image rm"),
    ],
)
def test_a_push_that_fails_has_the_remedy_of_its_cause(text, expected):
    said = {
        word for word in ("network", "insecure-registries", "docker login", "pinoctl image rm") if word in remedy(text)
    }
    assert said == {expected}


def test_what_is_kept_beside_is_named_with_the_way_there():
    folder = "/pinokio/api/tavern"
    said = told_aside([f"{folder}/.pinoctl-kept/2026/a.py", "/home/pinokio/x.new"], folder)
    assert all(
        each in said for each in ("`.pinoctl-kept/2026/a.py`", "`/home/pinokio/x.new`", "`pinoctl shell tavern`")
    )
    many = told_aside([f"{folder}/{number}.new" for number in range(100)], folder)
    assert many.startswith("100 files")
    assert "`0.new`" in many
    assert " more" in many
    assert "`99.new`" not in many


def refused(text, status=500):
    response = requests.Response()
    response.status_code = status
    return APIError("500 Server Error", response=response, explanation=text)


def test_what_the_daemon_refused_is_said_with_what_to_do():
    with (
        pytest.raises(DockerError, match=r"^the box cannot be made: no space left on device$") as raised,
        told("the box cannot be made"),
    ):
        raise refused("no space left on device\n")
    assert raised.value.hint == remedy_of("no space left")
    assert isinstance(raised.value.__cause__, APIError)


def test_errors_without_an_explanation_keep_their_text():
    with pytest.raises(DockerError, match="Docker refused: 500 Server Error") as raised, told():
        raise refused(None)
    assert raised.value.hint is None


@pytest.mark.parametrize(
    "error",
    [
        requests.exceptions.ConnectionError("gone"),
        requests.exceptions.ReadTimeout("gone"),
        DockerException("gone"),
        requests.exceptions.ChunkedEncodingError("gone"),
    ],
)
def test_a_daemon_that_went_away_is_told_apart(error):
    with pytest.raises(DockerError, match="the Docker daemon does not answer any more: gone") as raised, told("x"):
        raise error
    assert "goes on where it stopped" in raised.value.hint


def test_the_innermost_reason_is_told():
    error = requests.exceptions.ConnectionError("a long story")
    error.__context__ = ConnectionRefusedError("Connection refused")
    with pytest.raises(DockerError, match="any more: Connection refused"), told():
        raise error


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyError("x"), DockerError("ours", hint="h")])
def test_errors_that_are_not_dockers_pass(error):
    with pytest.raises(type(error)) as raised, told("x"):
        raise error
    assert raised.value is error


def test_what_is_not_found_is_refused_too():
    with pytest.raises(DockerError, match="no such box"), told():
        raise NotFound("404", explanation="no such box")


def test_without_a_daemon_nothing_is_connected():
    with pytest.raises(DockerError, match=r"/nonexistent/docker\.sock") as raised:
        connect({"DOCKER_HOST": "unix:///nonexistent/docker.sock"})
    assert raised.value.hint


def test_images_are_shown_as_json():
    labels = {names.APP: "demo", names.KIND: "image", names.HARDWARE: '{"gpu": "none"}', names.BASE: "sha256:2"}
    shown = to_json(AppImage("sha256:1", ("pinoctl/demo:k",), labels, 5, "2026"))
    assert (shown["id"], shown["tags"], shown["app"], shown["size"]) == ("sha256:1", ["pinoctl/demo:k"], "demo", 5)
    assert shown["hardware"] == {"gpu": "none"}
    assert to_json(AppImage("x", (), {}, 0, ""))["hardware"] is None


def test_images_without_a_name_are_listed_by_their_id(monkeypatch, capsys):
    labels = {names.APP: "demo", names.KIND: "image"}
    found = [
        AppImage("sha256:1", ("pinoctl/demo:k",), labels, 5, ""),
        AppImage(f"sha256:{'2' * 64}", (), labels, 5, ""),
    ]
    monkeypatch.setattr("orchestrator.places.container.docker.connect", lambda: None)
    monkeypatch.setattr(images, "listed", lambda *_: found)
    list_.callback(app=None, everything=False, as_json=False)
    said = capsys.readouterr()
    assert "pinoctl/demo:k" in said.out + said.err
    assert "sha256:222222222222 " in said.out + said.err
