"""An app's ports stay the same through restarts and replacements, and move on where somebody else has them."""

from __future__ import annotations

import contextlib
import socket

import pytest

from orchestrator.places.container.containers import RESERVED, run_spec
from orchestrator.places.container.ports import BLOCKS, FIRST, chosen, fixed, is_free
from orchestrator.places.container.running import fits
from orchestrator.places.container.settings import Settings
from tests.containers.lab import Lab
from tests.deploy.test_compose_started import free_ports


def ports(app="app", *, before=None, avoid=(), free=lambda _port: True):
    return chosen("home", app, before=before, avoid=avoid, free=free)


def spec(given):
    return run_spec(name="c", image="i", app="app", home="home", volume="shared", own_volume="own", devices=[],
                    settings=Settings(), ports=given)  # fmt: skip


def container(given, *, running=False):
    made = spec(given)
    return {
        "Config": {"Labels": made.labelled()["Labels"]},
        "HostConfig": made.body["HostConfig"],
        "State": {"Running": running},
    }


def test_they_follow_from_home_and_app_and_apps_differ():
    assert ports() == ports() != ports("other")
    assert len(set(ports())) == len(RESERVED)
    assert all(FIRST <= port < FIRST + BLOCKS * len(RESERVED) for port in ports())


def test_those_of_the_container_before_stay_though_it_has_them_itself():
    before = container((1001, 1002, 1003, 1004))
    assert ports(before=before, free=lambda _port: False) == (1001, 1002, 1003, 1004)
    assert fixed(container(())) == ()
    assert fixed(None) == ()


def test_what_is_taken_or_to_be_avoided_is_passed_over():
    first = ports()
    second = ports(free=lambda port: port != first[2])
    assert not set(first) & set(second)
    assert ports(before=container(first), avoid=first) == second
    assert ports(free=lambda _port: False) == ()


def test_a_port_that_somebody_listens_on_is_not_free():
    [port] = free_ports(1)
    with contextlib.closing(socket.create_server(("127.0.0.1", port))):
        assert not is_free(port)
    assert is_free(port)


def test_a_container_is_made_with_them_and_not_known_by_them():
    bindings = spec((1, 2, 3, 4)).body["HostConfig"]["PortBindings"]
    assert bindings["42001/tcp"] == [{"HostIp": "127.0.0.1", "HostPort": "2"}]
    assert spec((1, 2, 3, 4)).digest == spec(()).digest


@pytest.mark.parametrize(
    ("before", "running", "expected"), [((1, 2, 3, 4), False, False), ((1, 2, 3, 4), True, True), ((), False, True)]
)
def test_only_a_stopped_container_gives_way_for_its_ports(before, running, expected):
    assert fits(container(before, running=running), spec((5, 6, 7, 8))) is expected


@pytest.mark.docker
@pytest.mark.slow
def test_bookmarks_last_and_a_taken_port_is_left_to_who_has_it(lab: Lab) -> None:
    lab.write()
    url = lab.up()
    lab.inside("echo mine > mine.txt")
    assert lab.run("restart", lab.app).out.strip() == url
    assert lab.up("--pids", "999") == url  # in another container
    lab.run("down", lab.app)
    port = int(url.rpartition(":")[2].rstrip("/"))
    with contextlib.closing(socket.create_server(("127.0.0.1", port))):
        other = lab.up()
        assert other != url
        assert lab.inside("cat mine.txt").strip() == "mine"
    lab.check_nothing_left()
