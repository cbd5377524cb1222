"""Each call to the daemon with real containers, images and volumes: files, commits, names, starting, ending."""

from __future__ import annotations

import http.client
import stat
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.agent.client import AgentGoneError
from orchestrator.engine.home import Home
from orchestrator.places.container import code, files, finish, images, living, names, streams
from orchestrator.places.container.base_image import NoBaseError, _start_id, inspect
from orchestrator.places.container.buildkit import build
from orchestrator.places.container.chain import Texts, write
from orchestrator.places.container.containers import Spec
from orchestrator.places.container.docker import Docker, DockerError, connect
from orchestrator.places.container.place import is_log
from tests.containers.lab import ROOTFS

pytestmark = pytest.mark.docker
PYTHON_IN_BOX = "/opt/pinoctl/venv/bin/python"
PYTHON = """#!/bin/sh
echo "$PYTHONPATH: $*"
case "$*" in *fail*) echo "first" >&2; echo "it is broken" >&2; exit 3;; esac
"""


@pytest.fixture(scope="module")
def docker(base_image: str) -> Iterator[Docker]:
    """Connect as pinoctl does."""
    assert base_image == ROOTFS
    connected = connect()
    yield connected
    connected.close()


class Box:
    """Make containers and images of one test with names and labels of their own, and remove them all."""

    def __init__(self, docker: Docker) -> None:
        self.docker = docker
        self.app = f"unit-{uuid.uuid4().hex[:10]}"
        self.home = Home(Path("/nonexistent", self.app))
        self.made: list[str] = []

    def make(self, *command: str, image: str = ROOTFS, what: str = "", start: bool = False, **host: Any) -> str:
        body = {"Image": image, "Cmd": list(command) or ["true"], "Labels": {names.APP: self.app}, "HostConfig": host}
        made = living.create(self.docker, Spec(f"{self.app}{what}", body))
        self.made.append(made)
        if start:
            living.start(self.docker, made)
        return made

    def run(self, container: str, script: str) -> str:
        status, said, errors = streams.run(self.docker, container, ["sh", "-ec", script])
        assert status == 0, errors
        return said.decode()

    def checkpoint(self, key: str, *, image: str = ROOTFS, **labels: str) -> str:
        container = self.make(image=image, what=f"-{key}")
        files.write(self.docker, container, f"/opt/{key}", b"done", below="/opt")
        whose = {names.APP: self.app, names.HOME: names.home_key(self.home)}
        kind = {names.KIND: "checkpoint", **whose, **labels}
        return images.commit(self.docker, container, names.checkpoint(self.app, key * 20), kind)

    def clean(self) -> None:
        for container in self.made:
            living.remove(self.docker, container)
        for _ in range(2):  # what others are built on goes when they are gone
            for row in self.docker.api.images(filters={"label": [f"{names.APP}={self.app}"]}, all=True):
                for name in [tag for tag in row.get("RepoTags") or () if tag != images.NO_TAG] or [row["Id"]]:
                    images.untag(self.docker, name)


@pytest.fixture
def box(docker: Docker) -> Iterator[Box]:
    made = Box(docker)
    yield made
    made.clean()


class TestFiles:
    @pytest.mark.parametrize("content", [b"", b"text\n", bytes(range(256)) * 5000])
    def test_are_read_as_they_were_written_in_a_container_that_never_ran(self, box, content):
        container = box.make()
        files.write(box.docker, container, "/opt/a/b/c.bin", content, below="/opt")
        assert files.read(box.docker, container, "/opt/a/b/c.bin") == content

    def test_have_their_mode_and_user(self, box):
        container = box.make("sleep", "900", start=True)
        files.write(box.docker, container, "/opt/a/token", b"x", below="/opt", mode=0o600)
        files.write(box.docker, container, "/top", b"x", below="/", user=0)
        found = box.run(container, "stat -c '%a %u:%g %n' /opt/a /opt/a/token /top")
        assert found.splitlines() == ["755 1000:1000 /opt/a", "600 1000:1000 /opt/a/token", "644 0:0 /top"]

    def test_what_is_no_file_is_none(self, box):
        container = box.make()
        for path in ("/none", "/none/deeper", "/etc", "/etc/os-release"):  # the last is a link
            assert files.read(box.docker, container, path) is None

    @pytest.mark.parametrize(("content", "expected"), [(b'{"a": [1]}', {"a": [1]}), (b'{"a', None), (b"\xff", None)])
    def test_of_json_may_be_torn(self, box, content, expected):
        container = box.make()
        assert files.read_json(box.docker, container, "/opt/x.json") is None
        files.write(box.docker, container, "/opt/x.json", content, below="/opt")
        assert files.read_json(box.docker, container, "/opt/x.json") == expected

    def test_on_a_volume_are_seen_by_the_next_container(self, box):
        volume = box.docker.client.volumes.create(f"unit-{uuid.uuid4().hex[:10]}")
        mounts = [{"Type": "volume", "Source": volume.name, "Target": "/data"}]
        try:
            first = box.make(Mounts=mounts)
            files.write(box.docker, first, "/data/a/b", b"kept", below="/data")
            living.remove(box.docker, first)
            second = box.make(Mounts=mounts, what="-2")
            assert files.read(box.docker, second, "/data/a/b") == b"kept"
            living.remove(box.docker, second)
        finally:
            volume.remove(force=True)

    def test_of_a_container_that_is_gone_are_an_error_or_none(self, box):
        assert files.read(box.docker, "unit-none", "/x") is None
        with pytest.raises(DockerError, match="`/opt/x` cannot be written"):
            files.write(box.docker, "unit-none", "/opt/x", b"", below="/opt")

    def test_of_a_folder_or_what_no_memory_holds_are_none(self, box):
        container = box.make("sleep", "900", start=True)
        box.run(container, "truncate -s 100G /opt/large")
        assert files.read(box.docker, container, "/opt/large") is None
        assert files.read(box.docker, container, "/usr") is None

    def test_only_wanted_files_are_copied_out_and_no_links(self, box, tmp_path):
        container = box.make("sleep", "900", start=True)
        box.run(
            container,
            "mkdir -p /opt/log/terminal.log; cd /opt/log; echo 1 >journal.jsonl; echo '{}' >place.json; chmod 777 *;"
            " echo 2 >terminal.log/terminal.log; ln -s /etc/passwd terminal-0.log; truncate -s 100M terminal-7.log",
        )
        (tmp_path / "terminal-3.log").write_text("rotated away since")
        (tmp_path / "pinoctl.lock.json").write_text("not the container's")
        for _ in range(2):  # again, over it
            assert files.copy_out(box.docker, container, "/opt/log", tmp_path, wanted=is_log)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["journal.jsonl", "pinoctl.lock.json"]
        assert (tmp_path / "journal.jsonl").read_text() == "1\n"
        assert stat.S_IMODE((tmp_path / "journal.jsonl").stat().st_mode) == 0o600

    def test_nothing_is_copied_out_beyond_a_limit(self, box, tmp_path):
        container = box.make("sleep", "900", start=True)
        box.run(container, "mkdir /opt/log; cd /opt/log; echo 1 >a; truncate -s 20M b; echo 2 >c")
        assert files.copy_out(box.docker, container, "/opt/log", tmp_path, wanted=lambda _: True, most=1 << 20)
        assert sorted(path.name for path in tmp_path.iterdir()) <= ["a", "c"]

    def test_a_folder_that_is_not_there_is_no_matter(self, box, tmp_path):
        assert not files.copy_out(box.docker, box.make(), "/none", tmp_path / "out", wanted=is_log)
        assert not (tmp_path / "out").exists()


class TestImages:
    def test_a_commit_serves_and_has_the_labels_that_are_given(self, box):
        container = box.make("sleep", "900", start=True)
        box.run(container, "echo saved >/opt/saved")
        labels = {names.KIND: "image", names.APP: box.app, names.CONFIG: ""}
        made = images.commit(box.docker, container, f"pinoctl/{box.app}:x", labels)
        found = inspect(box.docker, f"pinoctl/{box.app}:x")
        assert found is not None
        assert found["Id"] == made
        assert found["Config"]["Cmd"] == ["serve"]
        assert found["Config"]["Labels"] == labels
        assert images.layers(box.docker, made) == images.layers(box.docker, ROOTFS) + 1
        assert files.read(box.docker, box.make(image=made, what="-2"), "/opt/saved") == b"saved\n"

    def test_of_a_container_that_is_gone_there_is_none(self, box):
        with pytest.raises(DockerError, match="`pinoctl/x:y` cannot be made"):
            images.commit(box.docker, "unit-none", "pinoctl/x:y", {})

    def test_names_are_given_taken_away_and_the_last_takes_the_image(self, box):
        one, two = box.checkpoint("1"), box.checkpoint("2")
        name = f"pinoctl/{box.app}:moving"
        images.tag(box.docker, one, name)
        images.tag(box.docker, two, name)
        found = images.by_reference(box.docker, name)
        assert found is not None
        assert (found.id, found.app) == (two, box.app)
        assert images.untag(box.docker, name)
        assert not images.untag(box.docker, name)
        assert images.by_reference(box.docker, two) is not None  # has its other name
        assert images.untag(box.docker, names.checkpoint(box.app, "2" * 20))
        assert images.by_reference(box.docker, two) is None

    def test_a_name_goes_even_while_a_container_runs_from_it(self, box):
        made = box.checkpoint("1")
        name = names.checkpoint(box.app, "1" * 20)
        running = box.make("sleep", "900", image=name, what="-at-work", start=True)
        assert images.untag(box.docker, name)
        assert inspect(box.docker, name) is None
        assert inspect(box.docker, made) is not None
        assert box.run(running, "echo on") == "on\n"
        living.remove(box.docker, running)
        assert images.clean_unnamed(box.docker, box.home, box.app) == [made]

    def test_builds_go_on_from_checkpoints_with_a_chain(self, box):
        chain = Texts({"a.js": ["", "x"]}).chain([["a.js", 0]])
        whole = box.checkpoint("1", **{names.CHAIN: write(chain), names.ROOT: "r"})
        box.checkpoint("2", **{names.CHAIN: "torn", names.ROOT: "r"})
        box.checkpoint("3", **{names.CHAIN: write(chain)})
        (found,) = images.saved(box.docker, box.app.upper())
        assert (found.id, found.root, found.chain) == (whole, "r", chain)

    def test_cleaning_keeps_what_is_to_be_kept(self, box):
        ids = {key: box.checkpoint(key) for key in "123"} | {"4": box.checkpoint("4", **{names.HOME: "another"})}
        assert {image.id for image in images.listed(box.docker, box.app)} == set(ids.values())
        removed = images.clean(box.docker, box.home, box.app, keep={ids["2"]})
        assert sorted(removed) == [names.checkpoint(box.app, key * 20) for key in "13"]
        assert {image.id for image in images.listed(box.docker, box.app)} == {ids["2"], ids["4"]}

    def test_unused_are_checkpoints_and_what_has_lost_its_name(self, box):
        saved, _kept = box.checkpoint("1"), box.checkpoint("2")
        images.untag(box.docker, names.checkpoint(box.app, "1" * 20))
        lost = images.commit(box.docker, box.make(), "pinoctl/x:lost", {
            names.KIND: "image", names.APP: box.app, names.HOME: names.home_key(box.home)})  # fmt: skip
        box.make("sleep", "900", image=lost, what="-held", start=True)
        box.docker.api.remove_image("pinoctl/x:lost", force=True)
        assert images.by_reference(box.docker, saved) is None
        assert images.unused(box.docker, box.home) == [names.checkpoint(box.app, "2" * 20)]
        living.remove(box.docker, f"{box.app}-held")
        assert images.unused(box.docker, box.home) == [names.checkpoint(box.app, "2" * 20), lost]

    def test_a_flat_image_has_one_layer_and_the_same_settings(self, box):
        deep = box.checkpoint("2", image=box.checkpoint("1"), extra="kept")
        flat = images.flatten(box.docker, deep)
        assert images.layers(box.docker, flat) < images.layers(box.docker, deep)
        one, other = inspect(box.docker, deep), inspect(box.docker, flat)
        assert one is not None
        assert other is not None
        assert all(one["Config"][key] == other["Config"][key] for key in ("Cmd", "Entrypoint", "WorkingDir", "User"))
        assert one["Config"]["Labels"].items() <= other["Config"]["Labels"].items()
        assert sorted(one["Config"]["Env"] or []) == sorted(other["Config"]["Env"] or [])

    def test_finishing_adds_the_code_and_leaves_no_container(self, box):
        ready = box.make("sleep", "900", start=True)
        box.run(ready, "mkdir -p /opt/pinoctl/code")
        label = {names.APP: box.app}
        installed = images.commit(box.docker, ready, f"pinoctl/{box.app}:installed", label)
        made = finish.finish(box.docker, installed, f"pinoctl/{box.app}:done", {**label, names.LOCK: "{}"})
        found = images.by_reference(box.docker, made)
        assert found is not None
        wanted = {names.KIND: "image", names.CODE: code.digest(), names.INSTALLED: "true", names.LOCK: "{}"}
        assert wanted.items() <= found.labels.items()
        inside = files.read(box.docker, box.make(image=made, what="-2"), f"{code.PLACE}/orchestrator/agent/inside.py")
        assert inside == dict(code.files())["orchestrator/agent/inside.py"]
        assert b"NOPASSWD" not in (
            files.read(box.docker, box.make(image=made, what="-3"), finish.SUDOERS) or b"NOPASSWD"
        )
        left = box.docker.api.containers(all=True, filters={"ancestor": installed, "label": f"{names.KIND}=helper"})
        assert left == []

    def test_an_image_that_nobody_has_is_an_error_with_a_way_out(self, docker):
        said: list[str] = []
        with pytest.raises(NoBaseError, match="cannot be downloaded") as raised:
            _start_id(docker, "localhost:1/unit/none:1", said.append)
        assert "--base IMAGE" in str(raised.value.hint)
        assert said == ["downloading `localhost:1/unit/none:1`"]

    def test_a_dockerfile_is_built_with_what_it_says_shown(self, box):
        said: list[str] = []
        text = f"ARG BASE\nFROM {ROOTFS}\nARG WORD\nCOPY a/b /b\nRUN echo $WORD; cat /b\n".encode()
        made = build(
            box.docker, {"Dockerfile": (text, 0o644), "a/b": (f"of {box.app}\n".encode(), 0o644)}, say=said.append,
            tag=f"pinoctl/{box.app}:built", arguments={"WORD": "hello"}, labels={names.APP: box.app},
        )  # fmt: skip
        assert {"hello", f"of {box.app}"} <= set(said)
        assert images.by_reference(box.docker, f"pinoctl/{box.app}:built").id == made
        with pytest.raises(DockerError, match=r"cannot be built: .*exit code: 3 \(.*oh no") as raised:
            build(
                box.docker, {"Dockerfile": (f"FROM {ROOTFS}\nRUN echo oh no; exit 3\n".encode(), 0o644)},
                tag=f"pinoctl/{box.app}:broken", arguments={}, labels={}, say=said.append,
            )  # fmt: skip
        assert raised.value.hint == "its log is above"


class TestContainers:
    def test_each_call_may_be_repeated(self, box):
        container = box.make("sleep", "900", Init=True)
        for _ in range(2):
            living.start(box.docker, container)
        assert living.find(box.docker, box.app)["State"]["Running"]
        for _ in range(2):
            living.stop(box.docker, container)  # gently: where it takes long it would be killed
        assert living.wait(box.docker, container) == 143
        for _ in range(2):
            living.remove(box.docker, container)
        assert living.find(box.docker, container) is None
        assert living.wait(box.docker, container) == -1
        living.stop(box.docker, container)

    def test_two_do_not_share_a_name(self, box):
        box.make()
        with pytest.raises(DockerError, match="is already in use") as raised:
            box.make()
        assert raised.value.hint is not None

    @pytest.mark.parametrize(
        ("script", "said"),
        [
            ("echo starting; echo 'error: the disk is full' >&2; echo bye >&2; exit 3", "status 3: the disk is full"),
            ("echo only out; echo 'Traceback' >&2; echo 'KeyError: 1' >&2; exit 1", "status 1: KeyError: 1"),
            ("exit 75", "status 75"),
        ],
    )
    def test_one_that_ended_tells_why(self, box, script, said):
        container = box.make("sh", "-c", script, start=True)
        living.wait(box.docker, container)
        error = living.ended(box.docker, container, "demo")
        assert str(error) == f"the container of `demo` ended with {said}"
        assert "pinoctl up demo" in str(error.hint)
        with pytest.raises(DockerError, match=said.partition(":")[0]):
            living.await_running(box.docker, container, sleep=pytest.fail)

    def test_one_that_is_gone_tells_so(self, docker):
        assert "was removed" in str(living.ended(docker, "unit-none", "demo"))
        with pytest.raises(DockerError, match="was removed"):
            living.await_running(docker, "unit-none", sleep=pytest.fail)

    def test_one_runs_once_its_ports_are_known(self, box):
        ports = {"42000/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}
        body = {"Image": ROOTFS, "Cmd": ["sleep", "900"], "ExposedPorts": {"42000/tcp": {}}}
        container = living.create(box.docker, Spec(box.app, {**body, "HostConfig": {"PortBindings": ports}}))
        box.made.append(container)
        living.start(box.docker, container)
        found = living.ports_of(living.await_running(box.docker, container))
        assert list(found) == [42000]
        assert found[42000] > 1024

    def test_an_agent_that_does_not_come_is_told_of(self, box, tmp_path):
        container = box.make("sleep", "900", start=True)
        with pytest.raises(AgentGoneError, match="the agent of `demo` does not answer"):
            living.agent_of(box.docker, container, "demo", "/pinokio", timeout=0.2)
        # a socket at once, and no socat: the exec ends
        box.run(
            container,
            "mkdir -p /pinokio/run; perl -MSocket -e 'socket(S,1,1,0);bind(S,sockaddr_un(\"/pinokio/run/demo.sock\"))'",
        )
        pauses = []
        with pytest.raises(AgentGoneError, match=r"`demo` does not answer: .*socat"):
            living.agent_of(box.docker, container, "demo", "/pinokio", timeout=60, sleep=pauses.append)
        assert pauses == [0.2, 1.0]
        living.stop(box.docker, container, seconds=0)
        with pytest.raises(DockerError, match="the container of `demo` ended with status"):
            living.agent_of(box.docker, container, "demo", "/pinokio", timeout=60)

    def test_an_agent_that_comes_late_is_found(self, box):
        container = box.make("sleep", "900", start=True)
        box.run(
            container,
            "mkdir -p /pinokio/run; perl -MSocket -e 'socket(S,1,1,0);bind(S,sockaddr_un(\"/pinokio/run/demo.sock\"))'",
        )
        pauses = []

        def come(pause):
            pauses.append(pause)
            agent = """#!/bin/sh\nread -r hello; echo '{"id": 1, "ok": true, "result": {"pid": 7}}'; cat\n"""
            files.write(box.docker, container, "/usr/bin/socat", agent.encode(), below="/usr/bin", mode=0o755)

        with living.agent_of(box.docker, container, "demo", "/pinokio", timeout=60, sleep=come) as client:
            assert client.about == {"pid": 7}
        assert pauses == [0.2]

    def test_one_that_ends_again_and_again_is_told_of(self, box):
        policy = {"RestartPolicy": {"Name": "always"}}
        container = box.make("sh", "-c", "echo 'error: it is broken' >&2; exit 3", start=True, **policy)
        while not box.docker.client.containers.get(container).attrs["State"]["Restarting"]:
            time.sleep(0.02)
        with pytest.raises(DockerError, match="it is broken"):
            living.agent_of(box.docker, container, "demo", "/pinokio", timeout=60)

    def test_modules_are_run_in_it(self, box):
        container = box.make("sleep", "900", start=True)
        files.write(box.docker, container, PYTHON_IN_BOX, PYTHON.encode(), below="/opt", mode=0o755)
        assert living.run_module(box.docker, container, "a.b", ["c d"]) == f"{code.PLACE}: -m a.b c d\n"
        with pytest.raises(DockerError, match=r"`a\.fail` failed in the container: it is broken"):
            living.run_module(box.docker, container, "a.fail", [])

    def test_what_a_module_says_before_we_listen_is_heard(self, box, monkeypatch):
        container = box.make("sleep", "900", start=True)
        files.write(box.docker, container, PYTHON_IN_BOX, PYTHON.encode(), below="/opt", mode=0o755)
        answer = http.client.HTTPConnection.getresponse

        def late(connection):
            time.sleep(0.5)
            return answer(connection)

        monkeypatch.setattr(http.client.HTTPConnection, "getresponse", late)
        assert living.run_module(box.docker, container, "a.b", ["c d"]) == f"{code.PLACE}: -m a.b c d\n"


@pytest.mark.parametrize(
    ("ports", "expected"),
    [
        (None, {}),
        ({"42000/tcp": None, "8080/tcp": []}, {}),
        ({"42000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "32768"}]}, {42000: 32768}),
        ({"42000/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}], "x": [{"HostPort": "1"}]}, {}),
    ],
)
def test_published_ports(ports, expected):
    assert living.ports_of({"NetworkSettings": {"Ports": ports}}) == expected
    assert living.ports_of({}) == {}
