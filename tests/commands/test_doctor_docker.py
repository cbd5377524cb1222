"""What `pinoctl doctor` says of Docker: with daemons that are played by real servers, and the machine's own."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import http.server
import json
import os
import re
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import cli
from orchestrator.commands import doctor_docker
from orchestrator.commands.doctor_docker import (
    BaseFound,
    Facts,
    Usage,
    base_check,
    base_found,
    daemon_checks,
    disk_checks,
    docker_checks,
    examine,
    gpu_check,
    place_checks,
    registry,
    root_of,
    usage,
)
from orchestrator.engine.hardware import HardwareProfile
from orchestrator.hosts.resources.resources import Disk
from orchestrator.places.container import base_image
from orchestrator.places.container.endpoint import Endpoint, Look
from tests.plan.steps import NO_GPU, machine

INFO: dict[str, Any] = {
    "ServerVersion": "27.3.1",
    "OSType": "linux",
    "Driver": "overlay2",
    "CgroupVersion": "2",
    "MemoryLimit": True,
    "Name": socket.gethostname(),
}
CONTAINERD = {"Driver": "overlayfs", "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}
NVIDIA = {"Runtimes": {"runc": {}, "nvidia": {}}}
HERE = Endpoint("unix:///var/run/docker.sock", "the default socket")


def facts(url: str = HERE.url, *, toolkit: bool = False, **more: Any) -> Facts:
    return Facts(Look(Endpoint(url, "a test"), "usable", info={**INFO, **more}, api="1.47"), toolkit=toolkit)


class Daemon(http.server.BaseHTTPRequestHandler):
    """Answer as a daemon does; what it says is `server.said`, and None is never said."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]  # put there by `serving`
        said = self.server.said.get(self.path.removeprefix("/v1.44"), (404, {"message": "nothing"}))  # type: ignore[attr-defined]  # as above
        if said is None:
            self.server.over.wait()  # type: ignore[attr-defined]  # as above
            return
        body = json.dumps(said[1]).encode()
        self.send_response(said[0])
        self.send_header("Api-Version", "1.44")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):
            self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = False


@contextlib.contextmanager
def running(server: Any, said: dict[str, Any]) -> Iterator[list[str]]:
    server.said, server.asked, server.over = said, [], threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.asked
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


Serving = Callable[[dict[str, Any]], contextlib.AbstractContextManager[tuple[dict[str, str], list[str]]]]


@pytest.fixture
def serving() -> Iterator[Serving]:
    """Give what serves a daemon on a socket, with the variables that lead to it and the list of what it was asked."""
    with tempfile.TemporaryDirectory(prefix="doctor-") as folder:

        @contextlib.contextmanager
        def serve(said: dict[str, Any]) -> Iterator[tuple[dict[str, str], list[str]]]:
            path = Path(folder, "s")
            with running(UnixServer(str(path), Daemon), said) as asked:
                yield {"DOCKER_HOST": f"unix://{path}"}, asked
            path.unlink()

        yield serve


PATIENT = 60.0  # seconds, for daemons that answer: a busy machine may take longer than a person is kept waiting


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a daemon time, also for what `examine` asks a usable one."""
    monkeypatch.setattr(doctor_docker, "examine", functools.partial(examine, patience=PATIENT))
    monkeypatch.setattr(doctor_docker, "asker", functools.partial(doctor_docker.asker, patience=PATIENT))


def image(kind: str | None = "image") -> dict[str, Any]:
    return {"Labels": {"pinoctl.kind": kind} if kind else None, "Size": 5}


def volume(name: str, taken: int = 3) -> dict[str, Any]:
    return {"Name": name, "UsageData": {"Size": taken, "RefCount": 0}}


IMAGES = {"LayersSize": 700, "Images": [image(), image("base"), image(None)]}
VOLUMES = {"Volumes": [volume("pinoctl-shared-abc"), volume("pinoctl-code-1", 4), volume("other"), volume("mine", 5)]}


@pytest.mark.parametrize(
    ("kind", "environ", "level"),
    [
        ("absent", {}, "ok"),
        ("absent", {"PINOCTL_PLACE": "host"}, "ok"),
        ("absent", {"PINOCTL_PLACE": "container"}, "problem"),
        ("absent", {"DOCKER_HOST": "unix:///nowhere/s"}, "warning"),
        ("broken", {"DOCKER_CONTEXT": "gone"}, "warning"),
    ],
)
def test_a_machine_without_docker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, environ: dict[str, str], level: str
) -> None:
    monkeypatch.setattr("orchestrator.places.container.endpoint.DEFAULT", f"unix://{tmp_path}/s")
    found = examine(NO_GPU, {"HOME": str(tmp_path), **environ})
    (check,) = docker_checks(found, NO_GPU)
    assert (found.look.kind, check.name, check.level) == (kind, "docker", level)
    assert ("apps go on the host" in check.text) == (level != "problem")
    assert bool(check.remedy) == (level != "ok")
    told = found.to_json()
    assert (told["usable"], told["kind"], told["version"]) == (False, kind, None)
    assert told["remedy"]


@pytest.mark.usefixtures("patient")
def test_a_daemon_with_everything(serving: Serving, tmp_path: Path) -> None:
    start = base_image.table()["cpu"]
    said = {
        "/info": (200, {**INFO, "DockerRootDir": str(tmp_path)}),
        "/system/df?type=image": (200, IMAGES),
        "/system/df?type=volume": (200, VOLUMES),
        f"/images/{start}/json": (200, {"Id": "sha256:1"}),
    }
    with serving(said) as (environ, asked):
        found = doctor_docker.examine(NO_GPU, {**environ, "PINOCTL_VOLUME": "mine"})
    checks = list(docker_checks(found, NO_GPU))
    assert [check.name for check in checks] == ["docker", "docker gpu", "docker disk", "docker disk", "docker base"]
    assert "version 27.3.1, API 1.44, storage overlay2, cgroup v2, at `unix://" in checks[0].text
    assert "(DOCKER_HOST)" in checks[0].text
    assert f"free at `{tmp_path}`" in checks[2].text
    assert found.usage == Usage(3, 2, 700, 3, 12)
    assert checks[3].text == "3 images in 1 kB, 2 of them pinoctl's; 3 volumes of pinoctl's in 0 kB"
    assert f"`{start}` (no NVIDIA card), which is here" in checks[4].text
    assert [path for path in asked if path.startswith("/v")] == [
        "/v1.44/system/df?type=image",
        "/v1.44/system/df?type=volume",
    ]
    told = json.loads(json.dumps(found.to_json()))
    assert (told["version"], told["api"], told["root"], told["gpu"]) == ("27.3.1", "1.44", str(tmp_path), None)
    assert told["usage"]["volume_bytes"] == 12
    assert told["base"]["here"] is True


def test_a_daemon_that_counts_slowly_is_not_waited_for(serving: Serving) -> None:
    said: dict[str, Any] = {"/info": (200, INFO), "/system/df?type=image": None}
    with serving(said) as (environ, asked):
        found = examine(NO_GPU, environ, patience=PATIENT, network=False)
    assert found.look.usable
    assert found.usage is None
    assert "/v1.44/system/df?type=volume" not in asked


def test_a_daemon_on_another_machine_has_no_folder_here(serving: Serving, tmp_path: Path) -> None:
    said = {"/info": (200, {**INFO, "Name": "docker-desktop", "DockerRootDir": str(tmp_path)})}
    with serving(said) as (environ, _):
        found = examine(NO_GPU, environ, patience=PATIENT)
    assert (found.root, found.disk) == ("", None)


def usage_of(answers: dict[str, Any], api: str = "1.47") -> tuple[Usage | None, list[str]]:
    asked: list[str] = []

    def ask(what: str) -> Any:
        asked.append(what)
        return answers.get(what.rpartition("=")[2])

    return usage(ask, api), asked


def test_what_images_and_volumes_take() -> None:
    everything, asked = usage_of({"image": (200, IMAGES | VOLUMES)}, api="1.41")
    assert everything == Usage(3, 2, 700, 2, 7)
    assert asked == ["/v1.41/system/df?type=image"]  # old daemons tell everything at once
    slow, asked = usage_of({"image": (200, IMAGES)})
    assert slow == Usage(3, 2, 700, 0, None)
    assert asked == ["/v1.44/system/df?type=image", "/v1.44/system/df?type=volume"]
    unknown = {"Volumes": [volume("pinoctl-shared-abc", -1)]}
    assert usage_of({"image": (200, IMAGES), "volume": (200, unknown)})[0] == Usage(3, 2, 700, 1, None)
    nothing = {"LayersSize": 0, "Images": None, "Volumes": []}
    assert usage_of({"image": (200, nothing)})[0] == Usage(0, 0, 0, 0, 0)
    assert usage_of({"image": (500, {"message": "no"})})[0] is None


def test_what_a_daemon_does_badly() -> None:
    assert [check.level for check in daemon_checks(facts())] == ["ok"]
    bad = list(daemon_checks(facts(Driver="vfs", MemoryLimit=False, SecurityOptions=["name=rootless"])))
    assert [check.level for check in bad] == ["ok", "warning", "warning"]
    assert "rootless, at" in bad[0].text
    assert all(check.remedy for check in bad[1:])
    (_, slow) = daemon_checks(facts(**CONTAINERD))
    assert "minutes longer" in slow.text
    assert "containerd-snapshotter" in slow.remedy


@pytest.mark.parametrize(
    ("more", "level", "text"),
    [
        (NVIDIA, "ok", "the card by NVIDIA's runtime"),
        ({"DiscoveredDevices": [{"Source": "cdi", "ID": "nvidia.com/gpu=all"}]}, "ok", "the card by CDI"),
        ({}, "warning", "does not offer this machine's card"),
    ],
)
def test_cards_for_containers(more: dict[str, Any], level: str, text: str) -> None:
    check = gpu_check(facts(**more), machine())
    assert check.level == level
    assert text in check.text
    assert bool(check.remedy) == (level != "ok")


def test_what_is_done_for_a_card_depends_on_what_is_there() -> None:
    install, configure = "install the NVIDIA Container Toolkit", "sudo nvidia-ctk runtime configure --runtime=docker`"
    remedy = gpu_check(facts(), machine()).remedy
    assert install in remedy
    assert configure in remedy
    remedy = gpu_check(facts(toolkit=True), machine()).remedy
    assert install not in remedy
    assert configure in remedy
    remedy = gpu_check(facts(toolkit=True, SecurityOptions=["name=rootless"]), machine()).remedy
    assert ".config/docker/daemon.json" in remedy
    assert "no-cgroups" in remedy
    assert gpu_check(facts("tcp://far:2375"), machine()).remedy.startswith("on the daemon's machine: ")


def test_cards_that_containers_cannot_have() -> None:
    assert gpu_check(facts(), NO_GPU).text == "containers get no card: only NVIDIA's can be given to them"
    assert "no amd card" in gpu_check(facts(), HardwareProfile(gpu="amd", gpu_model="x")).text
    assert "offers such by NVIDIA's runtime, but none is seen" in gpu_check(facts(**NVIDIA), NO_GPU).text


@pytest.mark.parametrize(("free", "level"), [(100 << 30, "ok"), (15 << 30, "warning")])
def test_the_room_for_images(free: int, level: str) -> None:
    found = dataclasses.replace(facts(), root="/d", disk=Disk("/", "ext4", free, 200 << 30))
    (check,) = disk_checks(found)
    assert (check.level, bool(check.remedy)) == (level, level != "ok")
    assert "free at `/d`" in check.text
    (kept,) = disk_checks(dataclasses.replace(facts(), usage=Usage(1, 0, None, 1, None)))
    assert kept.text == "1 image, 0 of them pinoctl's; 1 volume of pinoctl's"


def test_where_images_are_kept(tmp_path: Path) -> None:
    (tmp_path / "docker").mkdir()
    (tmp_path / "containerd").mkdir()
    info = {"DockerRootDir": str(tmp_path / "docker")}
    assert root_of(info, tmp_path / "containerd") == tmp_path / "docker"
    assert root_of(info | CONTAINERD, tmp_path / "containerd") == tmp_path / "containerd"
    own = info | CONTAINERD | {"SecurityOptions": ["name=rootless"]}
    assert root_of(own, tmp_path / "containerd") == tmp_path / "docker"
    assert root_of({"DockerRootDir": str(tmp_path / "no")}, tmp_path) is None
    assert root_of({}, tmp_path) is None


def test_the_base_image_of_a_machine() -> None:
    asked: list[str] = []

    def ask(what: str, here: tuple[str, ...]) -> Any:
        asked.append(what)
        return (200, {"Id": "sha256:1"}) if any(each in what for each in here) else (404, {"message": "no"})

    found = base_found(machine(driver="560.35"), {}, lambda what: ask(what, ("cuda:12.6",)))
    assert (found.variant, found.why, found.here, found.tag) == ("cuda12.6", "driver 560.35", True, "")
    assert asked[0] == f"/images/{base_image.table()['cuda']['12.6']['runtime']}/json"
    made = asked[1].removeprefix("/images/").removesuffix("/json")
    assert made.startswith("pinoctl/base:cuda12.6-")
    assert base_found(machine(driver="560.35"), {}, lambda what: ask(what, ("cuda:12.6", made))).tag == made
    assert base_found(NO_GPU, {}, lambda what: ask(what, ())).here is False
    assert base_found(NO_GPU, {}, lambda _: None).here is None
    assert base_found(NO_GPU, {}, None).here is None
    given = base_found(NO_GPU, {"PINOCTL_BASE_IMAGE": "a/b:c"}, None)
    assert (given.start, given.given) == ("a/b:c", True)
    none = base_check(base_found(NO_GPU, {"PINOCTL_BASE_IMAGE": "UPPER CASE"}, None))
    assert (none.level, "`UPPER CASE` cannot be the name of an image" in none.text) == ("warning", True)
    assert "PINOCTL_BASE_IMAGE" in none.remedy
    too_old = base_found(machine(driver="390.1"), {}, None)
    assert "390.1" in too_old.problem
    assert base_check(too_old).level == "warning"
    assert base_check(too_old).remedy


def test_a_place_that_is_none_is_named() -> None:
    [check] = place_checks({"PINOCTL_PLACE": "bad"})
    assert (check.level, "`bad`" in check.text, bool(check.remedy)) == ("problem", True, True)
    assert not [each for name in ("", "host", "container") for each in place_checks({"PINOCTL_PLACE": name})]


def test_what_is_said_of_the_base_image() -> None:
    base = BaseFound("debian:12", "cpu", "no NVIDIA card")
    assert base_check(base).text == "apps are built on `debian:12` (no NVIDIA card)"
    away = base_check(dataclasses.replace(base, here=False))
    assert (away.level, "downloads it from docker.io" in away.text) == ("ok", True)
    assert "PINOCTL_BASE_IMAGE=" in away.remedy
    script = re.search(r"\$\(([^)]+)\)", away.remedy)
    assert script is not None
    assert Path(script[1]).is_file()
    cut_off = base_check(dataclasses.replace(base, here=False, unreachable="its name cannot be resolved"))
    assert (cut_off.level, "docker.io, which cannot be reached: its name" in cut_off.text) == ("warning", True)
    given = base_check(dataclasses.replace(base, here=False, given=True))
    assert (given.level, "PINOCTL_BASE_IMAGE says so" in given.text) == ("warning", True)
    here = base_check(dataclasses.replace(base, here=True))
    assert (here.level, here.remedy, "which is here" in here.text) == ("ok", "", True)
    made = base_check(dataclasses.replace(base, here=True, tag="pinoctl/base:cpu-1"))
    assert made.text.startswith("`pinoctl/base:cpu-1` is here, made from `debian:12`")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("debian", "docker.io"),
        ("nvidia/cuda:12", "docker.io"),
        ("ghcr.io/a/b", "ghcr.io"),
        ("localhost/a", "localhost"),
        ("here:5000/a", "here:5000"),
    ],
)
def test_registries(name: str, found: str) -> None:
    assert registry(name) == found


def test_a_daemon_elsewhere_is_asked_where_the_network_may_be_used() -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Daemon)
    url = f"tcp://127.0.0.1:{server.server_address[1]}"
    info = {**INFO, **NVIDIA, "DockerRootDir": "/"}
    with running(server, {"/version": (200, {"ApiVersion": "1.44"}), "/info": (200, info)}) as asked:
        found = examine(machine(), {"DOCKER_HOST": url}, patience=PATIENT)
        assert asked
        asked.clear()
        silent = examine(machine(), {"DOCKER_HOST": url}, network=False)
        assert not asked
    assert (found.look.usable, found.look.api, found.disk, found.usage, found.base.here) == (
        True, "1.44", None, None, None)  # fmt: skip
    assert [check.name for check in docker_checks(found, machine())] == ["docker", "docker gpu", "docker base"]
    checks = list(docker_checks(silent, machine()))
    assert [check.name for check in checks] == ["docker", "docker base"]
    assert "was not asked" in checks[0].text
    gone = examine(machine(), {"DOCKER_HOST": url})
    (check,) = docker_checks(gone, machine())
    assert (check.level, f"DOCKER_HOST says `{url}`" in check.text, "refused" in check.text) == ("warning", True, True)
    assert "new apps need `--place host`" in check.text
    assert "DOCKER_HOST" in check.remedy


def test_a_daemon_that_hangs_holds_doctor_up_for_a_moment_only(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="doctor-") as folder, socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{folder}/s")
        server.listen()
        found = examine(NO_GPU, {"DOCKER_HOST": f"unix://{folder}/s"}, patience=0.1)
    (check,) = docker_checks(found, NO_GPU)
    assert (found.look.kind, check.level) == ("hung", "warning")


@pytest.mark.docker
@pytest.mark.usefixtures("patient")
def test_the_registry_is_asked_where_the_network_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def knock(host: str) -> str:
        asked.append(host)
        return "no answer"

    monkeypatch.setattr(doctor_docker, "knock", knock)
    environ = {**os.environ, "PINOCTL_BASE_IMAGE": "doctor-no-such-image:1"}
    assert doctor_docker.examine(NO_GPU, environ, network=False).base.unreachable == ""
    assert doctor_docker.examine(NO_GPU, environ).base.unreachable == "no answer"
    assert asked == ["registry-1.docker.io"]


@pytest.mark.docker
@pytest.mark.usefixtures("patient")
def test_doctor_with_the_daemon_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if not doctor_docker.examine(NO_GPU, os.environ, network=False).look.usable:
        pytest.skip("no Docker daemon here")
    monkeypatch.setenv("PINOCTL_BASE_IMAGE", "doctor-no-such-image:1")
    status = cli.invoke(["doctor", "--no-network", "--json", "--home", str(tmp_path)])
    found = json.loads(capfd.readouterr().out)
    docker = found["docker"]
    assert status == (1 if any(check["level"] == "problem" for check in found["checks"]) else 0)
    assert docker["usable"]
    assert docker["version"]
    assert docker["api"]
    assert docker["base"]["start"] == "doctor-no-such-image:1"
    assert docker["base"]["here"] is False
    (base,) = (check for check in found["checks"] if check["name"] == "docker base")
    assert base["level"] == "warning"


def test_nothing_of_docker_is_imported_for_a_daemon_on_this_machine() -> None:
    code = (
        "import sys; from orchestrator.commands.doctor_docker import examine;"
        "from orchestrator.engine.hardware import HardwareProfile;"
        "examine(HardwareProfile(), {'HOME': '/nowhere'}); print('docker' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True, text=True)
    assert done.stdout == "False\n"
