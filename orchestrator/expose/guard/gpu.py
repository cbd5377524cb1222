"""How busy the GPU is: NVIDIA's library, asked in a thread of its own, because a broken driver may never answer."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

NODES: Final = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg")
ANSWER_SECONDS: Final = 5.0
ALL: Final = 100  # percent; some drivers leave entries of their buffer unwritten, which then say more


def _present() -> bool:
    return any(Path(node).exists() for node in NODES)


def _alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _load() -> Any:
    import pynvml  # noqa: PLC0415  # megabytes that hosts without a GPU should not pay

    return pynvml


class Gpu:
    """Ask NVIDIA's library for the load of the cards, loading it at the first question; not for two threads at once.

    `load` imports the library, `present` says whether there is a card at all, `alive` whether a process id means
    anything here: the driver of a container's host counts processes by the host's ids.
    """

    def __init__(
        self,
        *,
        load: Callable[[], Any] = _load,
        present: Callable[[], bool] = _present,
        alive: Callable[[int], bool] = _alive,
    ) -> None:
        self._load = load
        self._present = present
        self._alive = alive
        self._library: Any = None
        self._cards: list[Any] = []
        self._tried = False
        self._seen: dict[int, int] = {}  # card's index → time stamp (µs) of the newest sample of processes

    def busy(self, pids: Collection[int] | None = None) -> float | None:
        """Say how busy the busiest card is, in percent; None where it cannot be told.

        With `pids` only what these processes do counts, wherever the driver tells one process from another; where it
        does not, as in most containers, the whole card counts. Without `pids` the whole card always counts.
        """
        if not self._tried:
            self._tried = True
            self._open()
        loads = [load for index in range(len(self._cards)) if (load := self._card(index, pids)) is not None]
        return max(loads, default=None)

    def _open(self) -> None:
        # Whatever a broken driver raises costs no more than these numbers.
        with contextlib.suppress(Exception):
            if not self._present():
                return
            library = self._load()
            library.nvmlInit()
            self._library = library
            for index in range(library.nvmlDeviceGetCount()):
                with contextlib.suppress(library.NVMLError):  # one card lost is not all of them
                    self._cards.append(library.nvmlDeviceGetHandleByIndex(index))

    def _card(self, index: int, pids: Collection[int] | None) -> float | None:
        card = self._cards[index]
        try:
            whole = float(self._library.nvmlDeviceGetUtilizationRates(card).gpu)
        except self._library.NVMLError:
            whole = None
        if pids is None or not (there := self._processes(card)) or not all(map(self._alive, there)):
            return whole
        if not there & set(pids):
            return 0.0
        ours = self._of_processes(index, pids)
        return whole if ours is None else ours

    def _processes(self, card: Any) -> set[int]:
        found: set[int] = set()
        for ask in (
            self._library.nvmlDeviceGetComputeRunningProcesses,
            self._library.nvmlDeviceGetGraphicsRunningProcesses,
        ):
            with contextlib.suppress(self._library.NVMLError):
                found.update(int(one.pid) for one in ask(card))
        return found

    def _of_processes(self, index: int, pids: Collection[int]) -> float | None:
        """Return the most that any of these processes did since the last question, None if the driver does not say."""
        since = self._seen.get(index, 0)
        try:
            samples = self._library.nvmlDeviceGetProcessUtilization(self._cards[index], since)
        except self._library.NVMLError as error:
            # "Not found" says that no process did anything since then, or that this driver never tells.
            nothing = getattr(error, "value", None) == self._library.NVML_ERROR_NOT_FOUND
            return 0.0 if nothing and since else None
        new = [one for one in samples if int(one.timeStamp) > since]
        self._seen[index] = max((int(one.timeStamp) for one in new), default=since)
        loads = [load for one in new if one.pid in pids for load in (one.smUtil, one.encUtil, one.decUtil)]
        return float(max((load for load in loads if load <= ALL), default=0))


class Patient:
    """Put a question that may never be answered to a thread that nobody waits for at the end."""

    def __init__(self, ask: Callable[[], float | None], *, seconds: float = ANSWER_SECONDS) -> None:
        self._ask = ask
        self._seconds = seconds
        self._asked: asyncio.Future[float | None] | None = None

    async def __call__(self) -> float | None:
        """Return the answer; None when there is none in time, then also to further questions until it comes."""
        loop = asyncio.get_running_loop()
        if self._asked is None or self._asked.get_loop() is not loop:
            self._asked = loop.create_future()
            threading.Thread(target=self._work, args=(loop, self._asked), daemon=True, name="gpu use").start()
        asked = self._asked
        await asyncio.wait({asked}, timeout=self._seconds)
        if not asked.done():
            return None
        self._asked = None
        return asked.result()

    def _work(self, loop: asyncio.AbstractEventLoop, answer: asyncio.Future[float | None]) -> None:
        value: float | None = None
        with contextlib.suppress(Exception):  # no answer, for whatever reason
            value = self._ask()
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(_settle, answer, value)


def _settle(answer: asyncio.Future[float | None], value: float | None) -> None:
    if not answer.done():
        answer.set_result(value)


_gpu: Final = Gpu()
_asking: Final = threading.Lock()


def gpu_use(pids: Collection[int] | None = None) -> float | None:
    """Say how busy this machine's GPU is, in percent, as `Gpu.busy` does; may block, so ask through `Patient`."""
    with _asking:
        return _gpu.busy(pids)
