"""A real server of their own for the tests that use the bus."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from feed_support import Valkey


@pytest.fixture
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    yield server
    server.kill()


@pytest.fixture(scope="session")
def sample() -> Path:
    return Path(__file__).parents[3] / "sample" / "ashare_3s_30_20211201.parquet"
