"""The history as a Spark DataFrame: the Parquet store's files as they are, any other store through a Python source."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import pyarrow as pa
from pyspark import cloudpickle
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.datasource import DataSource, DataSourceReader, InputPartition
from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema

from processors.history.store import EARLIEST_MS, LATEST_MS, History, columns_of, schema_of

if TYPE_CHECKING:
    from pyspark.sql.types import StructType

PART_ROWS = 1_000_000  # about what a partition of a day holds


def frame(
    session: SparkSession,
    open_history: Callable[[], History],
    feed: str,
    start: int = EARLIEST_MS,
    end: int = LATEST_MS,
    codes: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
) -> DataFrame:
    """Return the rows of a range as ``History.read`` gives them, in no order, partitioned by time.

    ``open_history`` is called here and on the executors, to which it is sent. Only the days, row groups and columns
    that are asked for are read.
    """
    from processors.history.parquet import ParquetHistory

    history, names = open_history(), columns_of(columns)
    if not isinstance(history, ParquetHistory):
        return _through_source(session, open_history, feed, (start, end), codes, names)
    files = [str(path) for path in history.files(feed, start, end)]
    if not files:
        return session.createDataFrame([], from_arrow_schema(schema_of(names)))
    found = session.read.parquet(*files).filter((F.col("snapshot") >= _at(start)) & (F.col("snapshot") < _at(end)))
    return (found if codes is None else found.filter(F.col("code").isin(list(codes)))).select(*names)


def _at(time_ms: int) -> F.Column:
    return F.timestamp_millis(F.lit(time_ms))


# ---- any other store


def _through_source(
    session: SparkSession,
    open_history: Callable[[], History],
    feed: str,
    between: tuple[int, int],
    codes: Sequence[str] | None,
    names: list[str],
) -> DataFrame:
    session.dataSource.register(HistorySource)
    plan = {
        "feed": feed,
        "columns": names,
        "codes": None if codes is None else list(codes),
        "parts": parts(open_history(), feed, *between),
    }
    reader = session.read.format("history").option("plan", json.dumps(plan))
    return reader.option("open", cloudpickle.dumps(partial(open_history)).hex()).load()


def parts(history: History, feed: str, start: int, end: int) -> list[tuple[int, int]]:
    """Return ranges of about PART_ROWS each that together are the range, by what each day holds."""
    found = []
    for day in history.coverage(feed):
        low, high = max(day.first, start), min(day.last + 1, end)
        if low >= high:
            continue
        count = max(1, -(-day.rows // PART_ROWS))
        edges = [low + (high - low) * at // count for at in range(count + 1)]
        found += list(pairwise(edges))
    return found


class Part(InputPartition):
    def __init__(self, start: int, end: int):
        super().__init__(None)
        self.start, self.end = start, end


class HistorySource(DataSource):
    """Its plan and how to open the store travel in two options."""

    @classmethod
    def name(cls) -> str:
        return "history"

    def schema(self) -> StructType:
        return from_arrow_schema(schema_of(json.loads(self.options["plan"])["columns"]))

    def reader(self, schema: StructType) -> DataSourceReader:
        return HistoryReader(json.loads(self.options["plan"]), self.options["open"], schema)


class HistoryReader(DataSourceReader):
    def __init__(self, plan: dict, opened: str, schema: StructType):
        self.plan, self.opened, self.schema = plan, opened, schema

    def partitions(self) -> Sequence[InputPartition]:
        return [Part(start, end) for start, end in self.plan["parts"]]

    def read(self, partition: InputPartition | None) -> Iterator[pa.RecordBatch]:
        if not isinstance(partition, Part):
            return  # where there are no partitions, Spark asks for None
        history: History = cloudpickle.loads(bytes.fromhex(self.opened))()
        told = to_arrow_schema(self.schema, timezone="UTC")
        plan = self.plan
        rows = history.read(plan["feed"], partition.start, partition.end, plan["codes"], plan["columns"])
        for batch in rows:
            yield from pa.Table.from_batches([batch]).cast(told).to_batches()
