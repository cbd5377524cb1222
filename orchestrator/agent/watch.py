"""What an app uses: its processes' CPU, memory, GPU memory and listening ports, sampled every two seconds."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator.agent.proc import Listening, Process, descendants, listening, processes

EVERY = 2.0
KEPT = 30


@dataclass(frozen=True, slots=True)
class Usage:
    """Hold one sample: `cpu` in percent of one core, `memory` and `gpu_memory` in bytes, `gpu` load in percent.

    `gpu` and `gpu_memory` are None where there is no GPU; `gpu_memory` is 0 too where the driver hides who uses it.
    """

    t: float
    cpu: float
    memory: int
    processes: int
    gpu: float | None = None
    gpu_memory: int | None = None


Table = Callable[[], Mapping[int, Process]]
Ports = Callable[[Iterable[int]], list[Listening]]
GpuUse = Callable[[Iterable[int]], "tuple[float, int] | None"]


class Gpus:
    """Ask NVIDIA's library, loaded only where a card is; without one every answer is None."""

    def __init__(self, *, present: Callable[[], bool] | None = None) -> None:
        self._present = present or (
            lambda: any(Path(node).exists() for node in ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg"))
        )
        self._library: Any = None
        self._handles: list[Any] = []
        self._tried = False

    def __call__(self, pids: Iterable[int]) -> tuple[float, int] | None:
        """Return the highest load of any card in percent, and the bytes that these processes hold on all of them."""
        if not self._tried:
            self._tried = True
            self._open()
        if not self._handles:
            return None
        wanted, load, used = set(pids), 0.0, 0
        for handle in self._handles:
            try:
                load = max(load, float(self._library.nvmlDeviceGetUtilizationRates(handle).gpu))
            except self._library.NVMLError:
                continue
            for ask in (
                self._library.nvmlDeviceGetComputeRunningProcesses,
                self._library.nvmlDeviceGetGraphicsRunningProcesses,
            ):
                try:
                    used += sum(int(one.usedGpuMemory or 0) for one in ask(handle) if one.pid in wanted)
                except self._library.NVMLError:  # noqa: PERF203  # each card may fail on its own
                    continue
        return load, used

    def _open(self) -> None:
        if not self._present():
            return
        try:
            import pynvml  # noqa: PLC0415  # megabytes that hosts without a GPU should not pay

            pynvml.nvmlInit()
            self._library = pynvml
            self._handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        except Exception:  # noqa: BLE001  # a broken driver raises whatever it likes, and costs only these numbers
            self._handles = []


class Watch:
    """Sample what runs below this process; `latest` and `ports` are ready to be shown at any time."""

    def __init__(
        self,
        *,
        root: int | None = None,
        table: Table = processes,
        ports: Ports = listening,
        gpu: GpuUse | None = None,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._root = os.getpid() if root is None else root
        self._table = table
        self._ports = ports
        self._gpu = gpu if gpu is not None else Gpus()
        self._clock = clock
        self._sleep = sleep
        self._before: dict[tuple[int, int], float] = {}
        self._at: float | None = None
        self.samples: deque[Usage] = deque(maxlen=KEPT)
        self.ports: list[Listening] = []

    def alive(self) -> list[Process]:
        """Return the app's processes: all below this one, except our own helpers.

        Sidecars and keepers share their session with us or with a child of ours; what a shell starts has its own.
        """
        table = self._table()
        below = descendants(self._root, table)
        ours = {one.session for one in below if one.parent == self._root}
        return [one for one in below if one.session not in ours]

    def listening(self) -> list[Listening]:
        """Return the ports that those processes listen on now."""
        self.ports = self._ports([one.pid for one in self.alive()])
        return self.ports

    def sample(self) -> Usage:
        """Take one sample; CPU is measured since the sample before."""
        alive, now = self.alive(), self._clock()
        used = {(one.pid, one.started): one.cpu for one in alive}
        spent = sum(max(0.0, cpu - self._before.get(key, 0.0)) for key, cpu in used.items())
        elapsed = now - self._at if self._at is not None else 0.0
        pids = [one.pid for one in alive]
        gpu = self._gpu(pids)
        usage = Usage(
            t=round(now, 3),
            cpu=round(100 * spent / elapsed, 1) if elapsed > 0 else 0.0,
            memory=sum(one.memory for one in alive),
            processes=len(alive),
            gpu=gpu[0] if gpu else None,
            gpu_memory=gpu[1] if gpu else None,
        )
        self._before, self._at = used, now
        self.samples.append(usage)
        self.ports = self._ports(pids)
        return usage

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            self.sample()
            await self._sleep(EVERY)

    def report(self) -> dict[str, Any]:
        """Return the last sample as `status` shows it, `{}` before the first."""
        return (
            {key: value for key, value in asdict(self.samples[-1]).items() if key != "t" and value is not None}
            if self.samples
            else {}
        )
