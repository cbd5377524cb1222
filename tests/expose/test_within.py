"""Waiting with a limit: what is done in time, what is not, and a cancellation that comes when it is just done."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.expose.within import within


async def test_what_is_done_in_time_is_returned_or_raised():
    async def fails():
        raise OSError("no disk")

    assert await within(60, asyncio.sleep(0, "done")) == "done"
    with pytest.raises(OSError, match="no disk"):
        await within(60, fails())


async def test_what_takes_longer_is_cancelled():
    ended = asyncio.Event()

    async def goes_on():
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(asyncio.TimeoutError):
        await within(0.01, goes_on())
    assert ended.is_set()


async def test_a_cancellation_that_comes_when_it_is_just_done_is_not_lost():
    async def done():
        asyncio.get_running_loop().call_soon(waiting.cancel)

    waiting = asyncio.ensure_future(within(60, done()))
    await asyncio.wait({waiting})
    assert waiting.cancelled()
