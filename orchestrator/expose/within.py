"""Waiting for something, but not for ever."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable

T = TypeVar("T")


async def within(seconds: float, work: Awaitable[T]) -> T:
    """Return what some work returns; when it takes longer it is cancelled, and asyncio.TimeoutError raised.

    Before Python 3.12 `asyncio.wait_for` forgets that it was cancelled where its work is done in the same moment; who
    cancelled it and waits for its end would wait for ever.
    """
    task: asyncio.Future[T] = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
        if not done:
            raise asyncio.TimeoutError
        return task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
