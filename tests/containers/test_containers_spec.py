"""Requests to the daemon: hardened where apps run, limits as they were set, nothing secret, recognised by a digest."""

from __future__ import annotations

import dataclasses
import json

import pytest

from orchestrator.places.container import names
from orchestrator.places.container.containers import RESERVED, Spec, build_spec, home_in, run_spec
from orchestrator.places.container.running import fits
from orchestrator.places.container.settings import Settings

GPU = {"Driver": "", "Capabilities": [["gpu"]], "Count": -1}


def run(settings=Settings(), **more):  # noqa: B008  # frozen
    given = {
        "name": "c",
        "image": "sha256:1",
        "app": "demo",
        "home": "k",
        "volume": "shared",
        "own_volume": "own",
        "devices": [],
    }
    return run_spec(settings=settings, **{**given, **more})


def build(settings=Settings(), **more):  # noqa: B008  # frozen
    given = {
        "name": "c", "image": "sha256:1", "app": "demo", "labels": {"a": "b"}, "devices": [],
        "volume": "shared", "own_volume": "own",
        "code_volume": "code", "containerd_store": False,
    }  # fmt: skip
    return build_spec(settings=settings, **{**given, **more})


def targets(spec):
    return {mount["Target"]: mount for mount in spec.body["HostConfig"]["Mounts"]}


class TestRunning:
    def test_has_no_privileges(self):
        host = run().body["HostConfig"]
        assert host["CapDrop"] == ["ALL"]
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        assert {"Privileged", "CapAdd", "NetworkMode", "PidMode", "Devices"}.isdisjoint(host)
        assert "User" not in run().body  # the image's, which is not root

    def test_ports_are_published_on_loopback_only_and_anywhere_free(self):
        spec = run()
        assert set(spec.body["HostConfig"]["PortBindings"]) == set(spec.body["ExposedPorts"])
        assert set(spec.body["ExposedPorts"]) == {f"{port}/tcp" for port in RESERVED}
        assert all(
            each == [{"HostIp": "127.0.0.1", "HostPort": ""}]
            for each in spec.body["HostConfig"]["PortBindings"].values()
        )

    def test_limits_are_what_was_set(self):
        host = run(Settings(memory=8 << 30, cpus=1.5, shm=2 << 30, pids=99)).body["HostConfig"]
        assert (host["Memory"], host["MemorySwap"]) == (8 << 30, 8 << 30)  # no swap on top
        assert (host["NanoCpus"], host["ShmSize"], host["PidsLimit"]) == (1_500_000_000, 2 << 30, 99)

    @pytest.mark.parametrize("settings", [Settings(), Settings(memory=0, shm=0)])
    def test_limits_without_settings(self, settings):
        host = run(settings).body["HostConfig"]
        assert (host["Memory"], host["MemorySwap"], host["NanoCpus"]) == (0, 0, 0)  # none
        assert host["ShmSize"] == 1 << 30
        assert host["PidsLimit"] > 1000

    def test_it_is_started_again_and_its_log_is_rotated(self):
        host = run().body["HostConfig"]
        assert host["RestartPolicy"]["Name"] == "unless-stopped"
        assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
        assert run().body["Cmd"] == ["serve"]
        assert run().body["StopTimeout"] >= 10

    def test_it_mounts_the_volume_and_what_was_asked_for(self):
        found = targets(run(Settings(mounts=("/mnt/a:/a:ro", "set:/b"))))
        assert set(found) == {"/data", "/data/private", "/a", "/b"}
        assert found["/data"]["Source"] == "shared"
        assert found["/data"]["VolumeOptions"] == {"Labels": {names.KIND: "shared", names.HOME: "k"}}
        assert found["/data/private"]["Source"] == "own"  # no other app sees what is there
        labels = {names.KIND: "own", names.APP: "demo", names.HOME: "k"}
        assert found["/data/private"]["VolumeOptions"] == {"Labels": labels}
        assert found["/a"]["ReadOnly"] is True

    def test_in_volume_mode_the_home_is_the_volume_and_code_is_mounted(self):
        settings = Settings(mode="volume")
        spec = run(settings, code_volume="code")
        assert targets(spec)["/opt/pinoctl/code"]["ReadOnly"] is True
        assert "PINOCTL_HOME=/data" in spec.body["Env"]
        assert list(spec.body["HostConfig"]["Tmpfs"]) == ["/data/run"]
        assert home_in(settings) == "/data"
        assert home_in(Settings()) == "/pinokio"
        assert list(run().body["HostConfig"]["Tmpfs"]) == ["/pinokio/run"]

    def test_labels_find_it_again(self):
        assert run().labelled()["Labels"] == {
            names.KIND: "app", names.APP: "demo", names.HOME: "k", names.MODE: "image", names.CONFIG: run().digest,
        }  # fmt: skip


class TestBuilding:
    def test_what_no_image_may_hold_is_on_volumes(self):
        found = targets(build())
        assert set(found) == {"/data", "/data/private", "/tmp", "/opt/pinoctl/code"}
        assert found["/data/private"]["Source"] == "own"
        assert found["/opt/pinoctl/code"]["ReadOnly"] is True
        assert "Source" not in found["/tmp"]  # its own, removed with the container

    def test_launchers_may_use_sudo(self):
        assert {"CapDrop", "SecurityOpt"}.isdisjoint(build().body["HostConfig"])

    def test_nothing_is_published_nor_started_again(self):
        assert {"PortBindings", "RestartPolicy"}.isdisjoint(build().body["HostConfig"])

    def test_devices_and_mounts_are_there_as_well(self):
        spec = build(Settings(mounts=("/a:/a",), shm=3 << 30), devices=[GPU])
        assert spec.body["HostConfig"]["DeviceRequests"] == [GPU]
        assert "/a" in targets(spec)
        assert spec.body["HostConfig"]["ShmSize"] == 3 << 30

    def test_it_logs_elsewhere_where_the_app_is_served_meanwhile(self):
        assert build(beside=True).body["Cmd"] == [*build().body["Cmd"], "--beside"]

    def test_the_cost_of_commits_is_told(self):
        def cost(**more):
            words = build(**more).body["Cmd"]
            assert [words[0], *words[1::2]] == ["build", "--fixed", "--rate"]
            return float(words[2]) + 1e9 / float(words[4])

        assert cost() < cost(containerd_store=True) < cost(settings=Settings(mode="volume"))


class TestDigest:
    @pytest.mark.parametrize(
        "change",
        [
            {"image": "sha256:2"},
            {"volume": "other"},
            {"own_volume": "other"},
            {"devices": [GPU]},
            {"app": "other"},
        ],
    )
    def test_changes_with_the_request(self, change):
        assert run(**change).digest != run().digest

    @pytest.mark.parametrize(
        "change",
        [
            {"memory": 1 << 30},
            {"cpus": 1.0},
            {"shm": 1 << 29},
            {"pids": 50},
            {"mounts": ("/a:/a",)},
            {"mode": "volume"},
        ],
    )
    def test_changes_with_settings_that_containers_have(self, change):
        assert run(Settings(**change)).digest != run().digest

    @pytest.mark.parametrize("change", [{"answers": {"a": 1}}, {"installed": {"a": 1}}, {"place": "container"}])
    def test_stays_with_other_settings(self, change):
        assert run(Settings(**change)).digest == run().digest

    def test_does_not_count_which_pinoctl_it_is(self):
        volume = Settings(mode="volume")
        assert run(volume, code_volume="new").digest == run(volume, code_volume="old").digest

    @pytest.mark.parametrize(
        ("running", "before", "fitting"),
        [(True, "old", True), (False, "old", False), (False, "new", True), (True, "new", True)],
    )
    def test_only_what_does_not_run_gets_another_pinoctl(self, running, before, fitting):
        earlier, now = (run(Settings(mode="volume"), code_volume=each) for each in (before, "new"))
        there = {
            "Config": earlier.labelled(), "HostConfig": earlier.body["HostConfig"], "State": {"Running": running}
        }  # fmt: skip
        assert fits(there, now) == fitting

    def test_does_not_count_names_nor_labels(self):
        assert run(name="other", home="other").digest == run().digest
        assert build(labels={"x": "y"}).digest == build().digest

    def test_is_kept_with_the_labels(self):
        spec = Spec("c", {"Image": "x"})
        assert spec.labelled() == {"Image": "x", "Labels": {names.CONFIG: spec.digest}}
        assert spec.body == {"Image": "x"}


@pytest.mark.parametrize("spec", [run(), build(), run(Settings(mode="volume"), code_volume="c")])
def test_requests_are_json_and_hold_no_answers(spec):
    assert json.loads(json.dumps(spec.labelled())) == spec.labelled()
    secret = dataclasses.replace(Settings(), answers={"HF_TOKEN": "hf_secret"})
    assert "hf_secret" not in json.dumps([run(secret).labelled(), build(secret).labelled()])
