"""The history as a Spark DataFrame is what the history gives to Arrow."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import mongo_server
import pyarrow as pa
import pytest
from pyspark import cloudpickle
from pyspark.sql import SparkSession

from processors import spark
from processors.contract import Context
from processors.history.frame import frame, parts
from processors.history.parquet import ParquetHistory
from processors.history.store import EARLIEST_MS, LATEST_MS, History

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "history"))
from history_support import BEGIN, DAY_MS, SPEC, kept_market

pytestmark = pytest.mark.timeout(300)
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # executors can't import a test


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    found = spark.session("history", Context(0, 0, "", "", Path(tmp_path_factory.mktemp("spark"))))
    yield found
    found.stop()


def at_url(url: str) -> History:
    import pymongo

    from tasks_app.history_mongo.store import MongoHistory

    client: Any = pymongo.MongoClient(url)
    return MongoHistory(client.get_default_database)


@pytest.fixture(params=["parquet", "mongodb"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], History]]:
    if request.param == "parquet":
        yield lambda: ParquetHistory(tmp_path)
        return
    with mongo_server.server() as found:
        yield partial(at_url, f"{found.url}frames")


def test_rows_columns_codes_and_times_are_those_of_arrow(
    session: SparkSession, opened: Callable[[], History], monkeypatch: pytest.MonkeyPatch
) -> None:
    history = opened()
    history.describe(SPEC)
    history.append(SPEC.name, kept_market(40) + kept_market(30, begin=BEGIN + DAY_MS))
    monkeypatch.setattr("processors.history.frame.PART_ROWS", 200)
    whole = frame(session, opened, SPEC.name)
    assert whole.count() == history.read(SPEC.name).read_all().num_rows
    asked: dict[str, Any] = {
        "start": BEGIN + 10 * 3_000,
        "end": BEGIN + DAY_MS + 5 * 3_000,
        "codes": ["000003", "000011"],
        "columns": ["snapshot", "code", "price", "bid", "type"],
    }
    found = frame(session, opened, SPEC.name, **asked).orderBy("snapshot", "code").toArrow()
    expected = history.read(SPEC.name, **asked).read_all()
    assert found.cast(expected.schema).to_pylist() == expected.to_pylist()
    assert expected.num_rows > 40
    assert frame(session, opened, SPEC.name, start=LATEST_MS - 1).count() == 0


def test_parts_cover_the_range_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processors.history.frame.PART_ROWS", 100)
    history = ParquetHistory(tmp_path)
    history.describe(SPEC)
    history.append(SPEC.name, kept_market(40) + kept_market(3, begin=BEGIN + DAY_MS))
    found = parts(history, SPEC.name, EARLIEST_MS, LATEST_MS)
    assert len(found) > 5
    rows = [history.read(SPEC.name, start, end).read_all() for start, end in found]
    assert pa.concat_tables(rows).equals(history.read(SPEC.name).read_all())
