"""How tests are spread over two processes (``bin/test`` runs them with ``-n 2 --dist loadgroup``)."""

from __future__ import annotations

import pytest

# These kill and freeze things that have seconds to be noticed: one of them runs at a time.
CLOCKED = ("test_faults", "test_up", "test_life", "test_slots", "test_scheduled")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Keep what shares a module's servers together. Later would be too late: xdist reads the groups early."""
    item.add_marker(pytest.mark.xdist_group("clocked" if item.path.stem in CLOCKED else item.path.stem))


@pytest.hookimpl(trylast=True)  # pytest-django has an order of its own
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest."""
    items.sort(key=lambda item: (item.path.stem not in CLOCKED, "integration" not in item.path.parts))
