"""What all tests share: the order in which they run."""

from __future__ import annotations

import pytest

SLOW = ("slow", "network", "docker")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the quick tests first, so that a mistake shows early; the order is otherwise that of the files."""
    items.sort(key=lambda item: sum(item.get_closest_marker(name) is not None for name in SLOW))
