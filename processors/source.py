"""The bus as a Spark streaming source that does the work per stock where Spark reads it.

One micro-batch is one snapshot, one partition one of its slices. ``latestOffset`` blocks on the bus instead of being
polled. ``read`` runs on the executors: it reads its slice of the window from the bus, calls the processor's
``map_slice`` and hands the columns to the driver by a socket (``slices.py``); the rows that Spark itself sees are
none, so that no second query has to be planned for each snapshot. A task that Spark runs twice delivers twice; the
driver takes one.

Flow control is by credits: the driver grants one per snapshot that it is ready for, so that at most a few snapshots'
columns wait for it. Spark starts several helper processes that import this module: it imports next to nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql.datasource import DataSource, DataSourceStreamReader, InputPartition

from processors.snapshot import Header

if TYPE_CHECKING:
    from pyspark.sql.streaming.datasource import ReadLimit
    from pyspark.sql.types import StructType

    from processors.bus import Bus

# Upper bound on how long the source holds a thread of Spark: a stopped query ends at the next return.
_HOLD_MS = 200


@dataclass(frozen=True)
class Plan:
    """What the source needs to know, pickled to planner and executors."""

    redis_url: str
    feed: str
    driver: str  # address of its inbox
    key: str  # of that inbox, and of this query's list of credits in Redis
    start: int
    processor: str
    params: str  # JSON
    window: int


class Slice(InputPartition):
    def __init__(self, header: str, number: int):
        super().__init__(None)
        self.header, self.number = header, number


class SnapshotSource(DataSource):
    """Registered in the runner; its plan travels in one option."""

    @classmethod
    def name(cls) -> str:
        return "snapshots"

    def schema(self) -> str:
        return "seq long"

    def streamReader(self, schema: StructType) -> DataSourceStreamReader:
        return SnapshotReader(Plan(**json.loads(self.options["plan"])))


class SnapshotReader(DataSourceStreamReader):
    def __init__(self, plan: Plan):
        self.plan = plan
        self._bus: Bus | None = None
        self._credit = False
        self._announced: dict[int, Header] = {}

    def initialOffset(self) -> dict:
        return {"seq": self.plan.start}

    def getDefaultReadLimit(self) -> ReadLimit:
        from pyspark.sql.streaming.datasource import ReadAllAvailable

        return ReadAllAvailable()

    def latestOffset(self, start: dict, limit: ReadLimit) -> dict:
        """Return the next snapshot's number, or ``start`` when none came for a while."""
        bus = self._connected()
        if not self._credit:
            self._credit = bus.client.blpop([f"work:{self.plan.key}:credit"], timeout=_HOLD_MS / 1000) is not None
        header = bus.wait(start["seq"], block_ms=_HOLD_MS) if self._credit else None
        if header is None:
            return start
        self._credit = False
        self._announced = {header.seq: header}
        return {"seq": header.seq}

    def partitions(self, start: dict, end: dict) -> Sequence[InputPartition]:
        if end["seq"] == start["seq"]:  # Spark plans a query's first batch even when nothing has come yet
            return []
        header = self._announced[end["seq"]]
        return [Slice(header.to_json(), number) for number in range(header.slices)]

    def read(self, partition: InputPartition) -> Iterator[tuple]:
        from processors.slices import deliver

        assert isinstance(partition, Slice)
        deliver(self.plan, Header.from_json(partition.header), partition.number)
        return iter(())

    def _connected(self) -> Bus:
        if self._bus is None:
            from processors.bus import Bus, connect

            self._bus = Bus(connect(self.plan.redis_url), self.plan.feed)
        return self._bus
