"""How tests are spread over two processes (``bin/test`` runs them with ``-n 2 --dist loadgroup``)."""

from __future__ import annotations

import pytest

# These kill and freeze things that have seconds to be noticed: one of them runs at a time.
CLOCKED = ("test_faults", "test_up", "test_life", "test_slots", "test_scheduled")


@pytest.hookimpl(tryfirst=True)  # xdist looks at the groups in its own hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep what shares a module's servers together; begin with what takes longest."""
    items.sort(key=lambda item: (item.path.stem not in CLOCKED, "integration" not in item.path.parts))
    for item in items:
        item.add_marker(pytest.mark.xdist_group("clocked" if item.path.stem in CLOCKED else item.path.stem))
