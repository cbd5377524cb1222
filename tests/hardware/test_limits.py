"""Limits of control groups, in file systems laid out as kernels do it."""

from __future__ import annotations

import pytest

from orchestrator.engine.hardware import detect
from orchestrator.engine.limits import read_limits

GIB = 1 << 30
V2 = "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "33 25 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "34 25 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
)


@pytest.fixture
def put(tmp_path):
    def write(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def limits(root):
    found = read_limits(root, memory=64 * GIB, cpus=16)
    return found.memory / GIB, found.cpus


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, (64, 16)),
        (
            {
                "proc/self/cgroup": "0::/\n",
                "proc/self/mountinfo": V2,
                "sys/fs/cgroup/memory.max": f"{8 * GIB}\n",
                "sys/fs/cgroup/cpu.max": "150000 100000\n",
            },
            (8, 1.5),
        ),
        (
            {
                "proc/self/cgroup": "0::/\n",
                "proc/self/mountinfo": V2,
                "sys/fs/cgroup/memory.max": "max\n",
                "sys/fs/cgroup/cpu.max": "max 100000\n",
            },
            (64, 16),
        ),
        # the smallest on the way up counts
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "proc/self/mountinfo": V2,
                "sys/fs/cgroup/a/b/memory.max": f"{32 * GIB}",
                "sys/fs/cgroup/a/memory.max": f"{4 * GIB}",
            },
            (4, 16),
        ),
        # a container sees the host's path, of which nothing is mounted but its own root
        (
            {
                "proc/self/cgroup": "0::/docker/abc\n",
                "proc/self/mountinfo": V2,
                "sys/fs/cgroup/memory.max": f"{2 * GIB}",
            },
            (2, 16),
        ),
        (
            {
                "proc/self/cgroup": "5:memory:/x\n3:cpu,cpuacct:/x\n",
                "proc/self/mountinfo": V1,
                "sys/fs/cgroup/memory/x/memory.limit_in_bytes": f"{6 * GIB}",
                "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us": "200000",
                "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us": "100000",
            },
            (6, 2),
        ),
        (
            {
                "proc/self/cgroup": "5:memory:/\n",
                "proc/self/mountinfo": V1,
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1",
            },
            (64, 16),
        ),
        # only a part of the hierarchy is mounted, somewhere else
        (
            {
                "proc/self/cgroup": "0::/kube/pod\n",
                "proc/self/mountinfo": "30 24 0:26 /kube /cg\\040roup rw - cgroup2 none rw\n",
                "cg roup/pod/memory.max": f"{3 * GIB}",
            },
            (3, 16),
        ),
        ({"proc/self/cgroup": "nonsense\n\0", "proc/self/mountinfo": "also nonsense - \n"}, (64, 16)),
        (
            {
                "proc/self/cgroup": "0::/\n",
                "proc/self/mountinfo": V2,
                "sys/fs/cgroup/memory.max": "",
                "sys/fs/cgroup/cpu.max": "x y",
            },
            (64, 16),
        ),
    ],
)
def test_limits(put, files, found):
    assert limits(put(files)) == found


def test_the_file_that_limits_is_named(put):
    root = put({"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": V2, "sys/fs/cgroup/memory.max": f"{GIB}"})
    found = read_limits(root, memory=2 * GIB, cpus=1)
    assert (found.memory_source, found.cpus_source) == (str(root / "sys/fs/cgroup/memory.max"), "")


def test_a_profile_has_the_memory_that_may_be_used(put):
    root = put({"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": V2, "sys/fs/cgroup/memory.max": f"{GIB}"})
    assert detect(root=root, run=lambda _: None, nvml=list).ram == 1


def test_this_machine():
    found = read_limits()
    assert found.memory > 100 << 20
    assert found.cpus > 0
