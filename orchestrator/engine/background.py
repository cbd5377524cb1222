"""Blocking work beside the event loop that must not keep the program from ending."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


async def in_thread(function: Callable[[], T], *, cancel: Callable[[], None] | None = None) -> T:
    """Run a blocking function in a daemon thread of its own and return its result.

    When the task is cancelled, `cancel` is called to make the function come back; it is not waited for, and a thread
    that stays blocked in the network dies with the program (one of `asyncio.to_thread` would be waited for).
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # a result of None is a T here

    def work() -> None:
        result, error = None, None
        try:
            result = function()
        except BaseException as caught:  # noqa: BLE001  # handed on to the loop
            error = caught
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=work, daemon=True, name="pinoctl-background").start()
    try:
        return await future
    except asyncio.CancelledError:
        if cancel is not None:
            cancel()
        raise
