"""The stores that have to keep the history's contract."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from history_support import SPEC

from processors.history.parquet import ParquetHistory
from processors.history.store import History

sys.path.insert(0, str(Path(__file__).parents[2] / "integration"))  # where the tests' servers are


@pytest.fixture(scope="session")
def mongo_url() -> Iterator[str]:
    """The URL of a server that speaks MongoDB's protocol, up to the database's name."""
    import mongo_server

    with mongo_server.server() as found:
        yield found.url


@pytest.fixture(params=["parquet", "mongodb"])
def history(request: pytest.FixtureRequest, tmp_path: Path) -> History:
    """An empty store in which the feed of ``history_support`` is described."""
    found = ParquetHistory(tmp_path) if request.param == "parquet" else _mongo(request, tmp_path)
    found.describe(SPEC)
    return found


def _mongo(request: pytest.FixtureRequest, tmp_path: Path) -> History:
    """Return the MongoDB store on djongo's connection, as a process with MONGODB_URL has it."""
    from mongo_history import open_at

    blocker = request.getfixturevalue("django_db_blocker").unblock()  # it is no database of Django's tests
    blocker.__enter__()
    request.addfinalizer(lambda: blocker.__exit__(None, None, None))
    return open_at(request.getfixturevalue("mongo_url"), f"history_{abs(hash(str(tmp_path))) % 10**8}")
