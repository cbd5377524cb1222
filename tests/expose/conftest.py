"""What the tests of the gate's process share."""

from __future__ import annotations

import pytest

from tests.expose.world import World


@pytest.fixture
async def world(tmp_path):
    """Give a home whose apps are servers of the test, with the gate's process in front of them."""
    made = World(tmp_path)
    yield made
    await made.end()
    for runner in made.runners:
        await runner.cleanup()
