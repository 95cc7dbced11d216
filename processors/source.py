"""The bus as a Spark streaming source that does the work per stock where Spark reads it.

One micro-batch is one snapshot, one partition one of its slices, and a batch is planned before its snapshot is there:
``latestOffset`` promises the one after the last, and ``read``, on the executors, waits for it. So Spark's planning,
most of its time per batch, is over when the snapshot comes. ``read`` then gets its slice of the window from the bus,
calls the processor's ``map_slice`` and hands the columns to the driver by a socket (``slices.py``); the rows that Spark
itself sees are none, so that no second query has to be planned for each snapshot. A task that Spark runs twice delivers
twice; the driver takes one.

Which snapshot a batch turned out to be of is agreed on in Redis, by the first of its tasks that sees one: the others
take the same, and the next batch is planned from it.

Flow control is by credits: the driver grants one per snapshot that it is ready for, so that at most a few snapshots'
columns wait for it. Spark starts several helper processes that import this module: it imports next to nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from pyspark.sql.datasource import DataSource, DataSourceStreamReader, InputPartition

from processors.snapshot import Header

if TYPE_CHECKING:
    import redis
    from pyspark.sql.streaming.datasource import ReadLimit
    from pyspark.sql.types import StructType

# Upper bound on how long the source holds a thread of Spark: a stopped query ends at the next return.
_HOLD_MS = 200


@dataclass(frozen=True)
class Plan:
    """What the source needs to know, pickled to planner and executors."""

    redis_url: str
    feed: str
    slices: int  # tasks per batch
    driver: str  # address of its inbox
    key: str  # of that inbox, and of this query's list of credits in Redis
    start: int
    processor: str
    params: str  # JSON
    window: int


@dataclass(frozen=True)
class Turn:
    """One batch of a query: the ``number``-th, of the first snapshot above ``after``. Spark's offset is its end."""

    number: int
    after: int

    def key(self, plan: Plan) -> str:
        """Return where in Redis stands the header of the snapshot that it turned out to be of."""
        return f"work:{plan.key}:turn:{self.number}"


class Slice(InputPartition):
    def __init__(self, turn: Turn, number: int):
        super().__init__(None)
        self.turn, self.number = turn, number


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
        self._redis: redis.Redis | None = None

    def initialOffset(self) -> dict:
        return asdict(Turn(0, self.plan.start))

    def getDefaultReadLimit(self) -> ReadLimit:
        from pyspark.sql.streaming.datasource import ReadAllAvailable

        return ReadAllAvailable()

    def latestOffset(self, start: dict, limit: ReadLimit) -> dict:
        """Return the next turn, or ``start`` when the driver granted none for a while."""
        last = Turn(**start)
        client = self._connected()
        if client.blpop([f"work:{self.plan.key}:credit"], timeout=_HOLD_MS / 1000) is None:
            return start
        return asdict(Turn(last.number + 1, self._read_by(last, client)))

    def _read_by(self, turn: Turn, client: redis.Redis) -> int:
        """Return the number of the snapshot that a turn was of; the zeroth was of what the query starts after."""
        if turn.number == 0:
            return turn.after
        found = client.getdel(turn.key(self.plan))
        if found is None:
            from redis.exceptions import ConnectionError as Lost  # as one, it is waited out with a new query

            raise Lost(f"Redis no longer has what batch {turn.number} read: it was restarted or emptied")
        return Header.from_json(found).seq

    def partitions(self, start: dict, end: dict) -> Sequence[InputPartition]:
        if end == start:  # Spark plans a query's first batch even when nothing has come yet
            return []
        return [Slice(Turn(**end), number) for number in range(self.plan.slices)]

    def read(self, partition: InputPartition) -> Iterator[tuple]:
        from processors.slices import deliver

        assert isinstance(partition, Slice)
        deliver(self.plan, partition.turn, partition.number)
        return iter(())

    def _connected(self) -> redis.Redis:
        if self._redis is None:
            from processors.bus import connect

            self._redis = connect(self.plan.redis_url)
        return self._redis
