"""`pinoctl doctor`: the findings, and the command on this machine; the check of the disk before `up`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import cli
from orchestrator.commands.doctor import (
    command_checks,
    gpu_checks,
    home_check,
    network_checks,
    room_checks,
    sandbox_checks,
)
from orchestrator.commands.up import ensure_room
from orchestrator.engine.confinement import Layer
from orchestrator.engine.errors import PinoctlError
from orchestrator.engine.hardware import Card, HardwareProfile
from orchestrator.engine.home import Home
from orchestrator.engine.limits import Limits
from orchestrator.engine.tools.host import Missing
from orchestrator.hosts.resources.network import Reach
from orchestrator.hosts.resources.resources import Disk, Resources
from tests.plan.steps import NO_GPU, machine


def levels(checks):
    return [(check.name, check.level) for check in checks]


@pytest.mark.parametrize(
    ("profile", "found"),
    [
        (NO_GPU, [("gpu", "warning")]),
        (HardwareProfile(gpu="amd", gpu_model="radeon"), [("gpu", "warning")]),
        (machine(driver="580.65.06"), [("gpu", "ok"), ("driver", "ok")]),
        (machine(driver="535.104"), [("gpu", "ok"), ("driver", "warning")]),
        (machine(driver="390.1"), [("gpu", "ok"), ("driver", "problem")]),
        (HardwareProfile(gpu="nvidia", gpu_model="x", vram=1), [("gpu", "ok"), ("driver", "problem")]),
    ],
)
def test_cards_and_drivers(profile, found):
    checks = list(gpu_checks(profile))
    assert levels(checks) == found
    assert all(check.remedy for check in checks if check.level != "ok")


def test_every_card_is_named():
    cards = [
        Card("NVIDIA Corporation", "Tesla T4", "570", 15360, "sm_75"),
        Card("NVIDIA Corporation", "NVIDIA L4", "570"),
    ]
    checks = list(gpu_checks(machine(driver="580.65.06"), cards))
    assert [check.text for check in checks][1] == "also nvidia l4"
    assert levels(checks) == [("gpu", "ok"), ("gpu", "ok"), ("driver", "ok")]


def test_a_driver_names_the_cuda_it_runs():
    (_, driver) = gpu_checks(machine(driver="570.133.20"))
    assert "CUDA up to 12.9" in driver.text


@pytest.mark.parametrize(
    ("free", "memory", "found"),
    [(50 << 30, 16 << 30, ["ok", "ok", "ok", "ok"]), (1 << 30, 1 << 30, ["warning", "ok", "warning", "ok"])],
)
def test_room(tmp_path, free, memory, found):
    disks = (Disk("/", "ext4", free, 100 << 30), Disk("/tmp", "tmpfs", 1 << 30, 1 << 30))  # a name
    checks = list(room_checks(Resources(Limits(memory, 2, "/sys/fs/cgroup/memory.max"), disks), Home(tmp_path)))
    assert [check.level for check in checks] == found
    assert "memory.max" in checks[2].text


def test_commands_network_sandbox_and_home(tmp_path):
    assert levels(
        command_checks([Missing("git", "fetching", "apt-get install git"), Missing("ffmpeg", "video", "x")])
    ) == [("command", "problem"), ("command", "warning")]
    assert levels(command_checks([])) == [("command", "ok")]
    assert levels(network_checks([Reach("PyPI", "u", "no"), Reach("npm", "u", "no"), Reach("GitHub", "u")])) == [
        ("network", "problem"),
        ("network", "warning"),
        ("network", "ok"),
    ]
    assert levels(
        sandbox_checks([Layer("landlock", active=False, why="old kernel"), Layer("limits", active=True, why="")])
    ) == [("sandbox", "ok"), ("sandbox", "warning")]
    assert home_check(Home(tmp_path / "a" / "b")).level == "ok"
    (tmp_path / "file").write_text("")
    assert home_check(Home(tmp_path / "file" / "home")).level == "problem"
    assert home_check(Home(Path("/proc/nope"))).level == "problem"  # though its folder says that one may write there
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_the_command_on_this_machine(tmp_path, capfd):
    status = cli.invoke(["doctor", "--no-network", "--json", "--home", str(tmp_path)])
    found = json.loads(capfd.readouterr().out)
    assert status == (1 if any(check["level"] == "problem" for check in found["checks"]) else 0)
    names = {check["name"] for check in found["checks"]}
    assert {"gpu", "disk", "memory", "home", "node", "ports", "sandbox", "docker"} <= names
    assert found["docker"]["usable"] == ("docker base" in names)
    assert "network" not in names
    assert found["resources"]["memory"] > 0


def test_the_command_for_people(tmp_path, capfd):
    cli.invoke(["doctor", "--no-network", "--home", str(tmp_path)])
    out = capfd.readouterr().out
    assert f"`{tmp_path}`" in out
    assert "hint: " in out


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr("orchestrator.hosts.resources.resources.free_at", lambda _: 5 * 10**9)


@pytest.mark.usefixtures("small")
def test_an_app_that_needs_more_disk_than_there_is_ends_before_anything_is_fetched(tmp_path, capfd):
    assert cli.invoke(["up", "flux-webui", "--home", str(tmp_path / "home")]) == 1
    err = capfd.readouterr().err
    assert "there is not enough disk to install `flux-webui`: it takes about 7.5 GB, and 5.0 GB are free" in err
    assert "Cloning" not in err
    assert not list((tmp_path / "home" / "api").glob("*"))


@pytest.mark.usefixtures("small")
def test_what_is_small_installed_or_asked_for_goes_on(tmp_path, monkeypatch):
    home = Home(tmp_path)
    ensure_room(home, "https://github.com/a/b", None)
    with pytest.raises(PinoctlError):
        ensure_room(home, "flux-webui@main", None)
    monkeypatch.setenv("PINOCTL_IGNORE_DISK", "1")
    ensure_room(home, "flux-webui", None)
    monkeypatch.delenv("PINOCTL_IGNORE_DISK")
    home.app("flux-webui").mkdir(parents=True)
    ensure_room(home, "flux-webui", None)
