"""One platform for the tests that only use it; tests that kill its parts start their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from platform_process import Platform, running


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with running(tmp_path_factory.mktemp("platform")) as found:
        yield found


@pytest.fixture
def own_platform(tmp_path: Path) -> Iterator[Platform]:
    with running(tmp_path) as found:
        yield found
