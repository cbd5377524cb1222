"""How busy the GPU is, on a stand-in for NVIDIA's library: here is no card. Its answers are those the real one gives.

The stand-in is the library's outermost edge (its functions, their records, its error), with the meaning that NVIDIA's
documentation gives them; the records are the real library's own.
"""

from __future__ import annotations

import asyncio
import os
import threading

import pynvml
import pytest

from orchestrator.expose.guard.gpu import Gpu, Patient, gpu_use

HERE = os.getpid()


class Library:
    """Cards with a load each, who runs on them, and a buffer of what processes did; `fails` names what is refused."""

    NVMLError = pynvml.NVMLError
    NVML_ERROR_NOT_FOUND = pynvml.NVML_ERROR_NOT_FOUND

    def __init__(self, *loads, running=(), did=(), fails=None):
        self.loads = list(loads)
        self.running = list(running)
        self.did = list(did)  # (pid, time stamp, load of the multiprocessors, encoder's)
        self.fails = dict(fails or {})
        self.asked: list[int] = []

    def check(self, name):
        if name in self.fails:
            raise self.NVMLError(self.fails[name])

    def nvmlInit(self):  # noqa: N802  # the library's own names
        self.check("init")

    def nvmlDeviceGetCount(self):  # noqa: N802
        return len(self.loads)

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        self.check(f"handle {index}")
        return index

    def nvmlDeviceGetUtilizationRates(self, handle):  # noqa: N802
        self.check("rates")
        return pynvml.c_nvmlUtilization_t(gpu=self.loads[handle], memory=1)

    def nvmlDeviceGetComputeRunningProcesses(self, handle):  # noqa: N802
        self.check("compute")
        return [pynvml.c_nvmlProcessInfo_v3_t(pid=pid) for pid in self.running]

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle):  # noqa: N802
        self.check("graphics")
        return []

    def nvmlDeviceGetProcessUtilization(self, handle, since):  # noqa: N802
        self.asked.append(since)
        self.check("processes")
        found = [
            pynvml.c_nvmlProcessUtilizationSample_t(pid=pid, timeStamp=at, smUtil=load, encUtil=encoder)
            for pid, at, load, encoder in self.did
            if at > since
        ]
        if not found:
            raise self.NVMLError(self.NVML_ERROR_NOT_FOUND)
        return found


def gpu(library, *, present=True):
    return Gpu(load=lambda: library, present=lambda: present, alive=lambda pid: pid < 1000)


NOT_SUPPORTED = pynvml.NVML_ERROR_NOT_SUPPORTED


def test_the_busiest_card_counts():
    assert gpu(Library(3, 80, 0)).busy() == 80
    assert gpu(Library(0)).busy() == 0


def test_the_library_of_this_machine_is_asked():
    """Whatever this machine has, the answer is None or a load, and the second one comes as well."""
    for answer in (gpu_use(), gpu_use([HERE])):
        assert answer is None or 0 <= answer <= 100


def test_without_a_card_the_library_is_not_even_loaded():
    def load():
        raise AssertionError("loaded")

    assert Gpu(load=load, present=lambda: False).busy() is None


@pytest.mark.parametrize(
    "library",
    [Library(), Library(50, fails={"init": pynvml.NVML_ERROR_LIBRARY_NOT_FOUND}), Library(50, fails={"handle 0": 999})],
)
def test_without_a_usable_card_nothing_can_be_told(library):
    assert gpu(library).busy() is None
    assert gpu(library).busy([1]) is None


def test_a_library_that_is_not_there_or_breaks_is_none():
    def load():
        raise OSError("libnvidia-ml.so.1: wrong ELF class")

    broken = Gpu(load=load, present=lambda: True)
    assert broken.busy() is None
    assert broken.busy() is None


def test_a_card_that_fails_does_not_hide_the_others():
    assert gpu(Library(99, 20, fails={"handle 0": pynvml.NVML_ERROR_GPU_IS_LOST})).busy() == 20
    assert gpu(Library(99, fails={"rates": pynvml.NVML_ERROR_GPU_IS_LOST})).busy() is None


def test_only_the_apps_own_processes_count_where_they_are_told_apart():
    did = [(7, 100, 60, 0), (8, 110, 90, 0)]
    assert gpu(Library(95, running=[7, 8], did=did)).busy([7]) == 60
    assert gpu(Library(95, running=[7, 8], did=did)).busy([7, 8]) == 90
    assert gpu(Library(95, running=[8], did=did)).busy([7]) == 0
    assert gpu(Library(95, running=[7], did=[(7, 1, 0, 40)])).busy([7]) == 40


def test_only_what_is_new_counts():
    library = Library(95, running=[7, 8], did=[(7, 100, 60, 0)])
    asking = gpu(library)
    assert asking.busy([7]) == 60
    assert asking.busy([7]) == 0
    library.did.append((8, 200, 30, 0))
    assert asking.busy([7]) == 0
    library.did.append((7, 300, 20, 0))
    assert asking.busy([7]) == 20
    assert library.asked == [0, 100, 100, 200]


def test_a_burst_between_two_looks_is_seen():
    """The card rests at the moment of the question; the buffer remembers."""
    assert gpu(Library(0, running=[7], did=[(7, 100, 85, 0), (7, 110, 0, 0)])).busy([7]) == 85


@pytest.mark.parametrize(
    "library",
    [
        Library(70),  # a container: nobody is told
        Library(70, running=[123_456]),  # or by ids of the host
        Library(70, running=[7], fails={"processes": NOT_SUPPORTED}),
        Library(70, running=[7]),  # a driver that says "not found" from the start
        Library(70, running=[7], fails={"compute": NOT_SUPPORTED}),
    ],
)
def test_where_processes_are_not_told_apart_the_card_counts(library):
    asking = gpu(library)
    assert [asking.busy([7]), asking.busy([7])] == [70, 70]


def test_unwritten_entries_of_the_buffer_are_passed_over():
    assert gpu(Library(9, running=[7], did=[(7, 100, 3_000_000, 0), (7, 101, 12, 0)])).busy([7]) == 12


async def test_an_answer_comes_through_a_thread():
    names = []

    def ask():
        names.append(threading.current_thread())
        return 12.0

    asking = Patient(ask)
    assert [await asking(), await asking()] == [12.0, 12.0]
    assert threading.main_thread() not in names


async def test_a_question_that_raises_has_no_answer():
    def ask():
        raise OSError("driver")

    assert await Patient(ask)() is None


async def test_a_driver_that_hangs_is_not_asked_again_until_it_answers():
    asked, free = [], threading.Event()

    def ask():
        asked.append(1)
        free.wait(60)
        return 55.0

    asking = Patient(ask, seconds=0.01)
    assert [await asking() for _ in range(3)] == [None, None, None]
    free.set()
    asking._seconds = 60
    assert await asking() == 55.0
    assert len(asked) == 1


def test_a_loop_that_ended_meanwhile_does_no_harm():
    free, done = threading.Event(), threading.Event()

    def ask():
        free.wait(60)
        done.set()
        return 1.0

    asking = Patient(ask, seconds=0.01)
    assert asyncio.run(asking()) is None
    free.set()
    assert done.wait(60)
    asking._seconds = 60
    assert asyncio.run(asking()) == 1.0
