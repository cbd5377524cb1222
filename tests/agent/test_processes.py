"""Processes, ports, usage, leftovers and restarts: parsing, and the real /proc of this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from orchestrator.agent import proc
from orchestrator.agent.backoff import Backoff
from orchestrator.agent.leftovers import Mark, Recorded, find_leftovers, recorded_shells
from orchestrator.agent.proc import Listening, Process
from orchestrator.agent.watch import Gpus, Watch
from tests.agent.conftest import LONG, wait_until

TCP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0 100 0 0 10 0
   1: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 222 1 0 100 0 0 10 0
   2: 0100007F:1F91 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 333 1 0 100 0 0 10 0
   garbage
"""
TCP6 = """  sl  local_address remote_address st
   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 444 1
   1: 00000000000000000000000001000000:0051 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 555 1
   2: 0000000000000000FFFF00000100007F:0052 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 666 1
"""


def one(pid, parent=1, *, session=None, started=100, cpu=0.0, memory=0, state="S"):
    return Process(pid, parent, session or pid, started, cpu, memory, "x", state)


def table(*processes):
    return {each.pid: each for each in processes}


def test_listening_sockets_are_read_from_the_kernels_table():
    assert proc.parse_listening(TCP) == {"111": ("127.0.0.1", 8080), "222": ("0.0.0.0", 80)}
    assert proc.parse_listening(TCP6) == {"444": ("::", 8080), "555": ("::1", 81), "666": ("127.0.0.1", 82)}
    assert proc.parse_listening("") == {}


def test_a_process_name_may_hold_anything():
    found = proc.parse_stat("12 (a) b (c) S 3 4 5 0 -1 0 0 0 0 0 200 100 0 0 20 0 1 0 777 0 10 0")
    assert (found.pid, found.parent, found.session, found.started, found.name) == (12, 3, 5, 777, "a) b (c")
    assert found.cpu == 300 / proc.TICKS
    assert found.memory == 10 * proc.PAGE
    assert proc.parse_stat("12 (x") is None


def test_own_process_and_port_are_found():
    own = proc.processes()[os.getpid()]
    assert own == proc.process(os.getpid()) or own.started == proc.process(os.getpid()).started
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert port in [found.port for found in proc.listening([os.getpid()])]
        assert proc.listening([]) == []
    assert proc.process(2**30) is None
    assert proc.boot_id()


def test_descendants_leave_out_zombies_but_not_their_children():
    tree = table(one(1, 0), one(2, 1), one(3, 2, state="Z"), one(4, 3), one(5, 9))
    assert sorted(found.pid for found in proc.descendants(1, tree)) == [2, 4]


def test_only_the_process_that_was_meant_is_killed():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    try:
        real = proc.process(child.pid)
        other = Process(real.pid, real.parent, real.session, real.started + 1, 0, 0, "x", "S")
        assert proc.kill_verified([other]) == []
        assert child.poll() is None
        assert proc.kill_verified([real]) == [child.pid]
        assert child.wait(LONG) == -signal.SIGKILL
        assert proc.kill_verified([real]) == []
    finally:
        child.kill()
        child.wait()


def test_recorded_shells_are_those_of_this_boot_that_did_not_end():
    events = [
        {"kind": "shell.start", "id": "a", "pid": 1, "started": 10, "boot": "now"},
        {"kind": "shell.start", "id": "b", "pid": 2, "started": 11, "boot": "before"},
        {"kind": "shell.start", "id": "c", "pid": 3, "started": 12, "boot": "now"},
        {"kind": "shell.end", "id": "a"},
        {"kind": "shell.start", "id": "d", "pid": "x", "started": 12, "boot": "now"},
    ]
    assert recorded_shells(events, "now") == {"c": Recorded(3, 12)}


@pytest.mark.parametrize(
    ("processes", "found"),
    [
        ([one(50, started=100), one(51, 50, session=51), one(52, 51, session=52)], [50, 51, 52]),
        ([one(50, started=101), one(51, 50, session=50)], []),
        ([one(51, 1, session=50, started=150), one(52, 51, session=52)], [51, 52]),
        ([one(51, 1, session=50, started=99)], []),
        ([], []),
    ],
)
def test_leftovers_are_verified_by_start_time(processes, found):
    shells = [Recorded(50, 100)]
    assert sorted(each.pid for each in find_leftovers(shells, table(*processes), belongs=lambda _one: True)) == found


def test_members_of_a_dead_shells_session_must_belong_to_the_home(tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(1000)"], env={**os.environ, "PINOKIO_HOME": str(tmp_path)}
    )
    try:
        real = proc.process(child.pid)
        wait_until(lambda: Mark(tmp_path)(real))
        assert not Mark(tmp_path / "other")(real)
        assert not Mark(tmp_path)(one(2**30))
    finally:
        child.kill()
        child.wait()


def test_usage_counts_the_app_and_not_our_helpers():
    now, tables = (
        [100.0],
        [
            table(
                one(10, 1),
                one(11, 10, session=10, memory=7),
                one(20, 10, session=20, memory=7),
                one(21, 20, session=21, cpu=1.0, memory=5),
                one(22, 21, session=21, cpu=0.5, memory=6),
            )
        ],
    )
    asked = []

    def ports(pids):
        asked.append(sorted(pids))
        return [Listening(21, "127.0.0.1", 80)]

    watch = Watch(root=10, table=lambda: tables[0], ports=ports, gpu=lambda _pids: (50.0, 9), clock=lambda: now[0])
    watch.sample()
    now[0] += 2
    tables[0] = table(
        one(10, 1),
        one(20, 10, session=20),
        one(21, 20, session=21, cpu=2.0, memory=5),
        one(23, 21, session=21, cpu=1.0, memory=1),
    )
    usage = watch.sample()
    assert (usage.cpu, usage.memory, usage.processes, usage.gpu, usage.gpu_memory) == (100.0, 6, 2, 50.0, 9)
    assert asked == [[21, 22], [21, 23]]
    assert watch.report() == {"cpu": 100.0, "memory": 6, "processes": 2, "gpu": 50.0, "gpu_memory": 9}


def test_a_host_without_gpu_never_loads_the_library():
    gpus = Gpus(present=lambda: False)
    assert gpus([1]) is None
    assert Watch(clock=lambda: 0.0).report() == {}


def test_a_broken_driver_costs_only_the_numbers(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert Gpus(present=lambda: True)([1]) is None


def test_samples_are_few():
    watch = Watch(root=1, table=dict, ports=lambda _pids: [], gpu=lambda _pids: None, clock=time.monotonic)
    for _ in range(100):
        watch.sample()
    assert len(watch.samples) == 30


def test_delays_double_up_to_a_minute_and_end():
    backoff = Backoff(limit=8)
    assert [backoff.died(0) for _ in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, None]


def test_ten_minutes_of_health_make_it_forget():
    backoff = Backoff()
    for _ in range(5):
        backoff.died(0)
    backoff.healthy(100)
    assert backoff.died(699) is None
    backoff.healthy(700)
    assert backoff.died(1300) == 1
    backoff.reset()
    assert backoff.attempts == 0
