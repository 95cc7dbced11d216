"""The bus as a Spark streaming source that does the work per stock where Spark reads it.

One micro-batch is one snapshot, one partition one of its slices. ``latestOffset`` blocks on the bus instead of being
polled. ``read`` runs on the executors: it reads its slice of the window from the bus, calls the processor's
``map_slice`` and hands the columns to the driver through Redis; the rows that Spark itself sees are none, so that no
second query has to be planned for each snapshot. A task that Spark runs twice delivers twice; the driver takes one.

Flow control is by credits: the driver grants one per snapshot that it is ready for, so that at most a few snapshots'
columns wait in Redis.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import redis
from pyspark.sql.datasource import DataSource, DataSourceStreamReader, InputPartition
from pyspark.sql.streaming.datasource import ReadAllAvailable, ReadLimit
from pyspark.sql.types import StructType

from processors.bus import Bus, connect
from processors.contract import Columns, Header, StreamProcessor, Window
from processors.loading import load

# Upper bound on how long the source holds a thread of Spark: a stopped query ends at the next return.
_HOLD_MS = 200


@dataclass(frozen=True)
class Plan:
    """What the source needs to know, pickled to planner and executors."""

    redis_url: str
    feed: str
    key: str  # of this attempt's lists in Redis
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
        return ReadAllAvailable()

    def latestOffset(self, start: dict, limit: ReadLimit) -> dict:
        """Return the next snapshot's number, or ``start`` when none came for a while."""
        bus = self._connected()
        if not self._credit:
            self._credit = bus.client.blpop([f"{self.plan.key}:credit"], timeout=_HOLD_MS / 1000) is not None
        header = bus.wait(start["seq"], block_ms=_HOLD_MS) if self._credit else None
        if header is None:
            return start
        self._credit = False
        self._announced = {header.seq: header}
        return {"seq": header.seq}

    def partitions(self, start: dict, end: dict) -> Sequence[InputPartition]:
        header = self._announced[end["seq"]]
        return [Slice(header.to_json(), number) for number in range(header.slices)]

    def read(self, partition: InputPartition) -> Iterator[tuple]:
        assert isinstance(partition, Slice)
        deliver(self.plan, Header.from_json(partition.header), partition.number)
        return iter(())

    def _connected(self) -> Bus:
        if self._bus is None:
            self._bus = Bus(connect(self.plan.redis_url), self.plan.feed)
        return self._bus


# ---- on the executors. Workers live longer than one batch: connection, processor and decoded slices are kept here.


class _Worker:
    def __init__(self, plan: Plan):
        self.plan = plan
        self.bus = Bus(connect(plan.redis_url), plan.feed)
        self.processor: StreamProcessor = load(plan.processor)()
        self.params = self.processor.Params.model_validate_json(plan.params)
        self.slices: dict[int, OrderedDict[int, pa.RecordBatch]] = {}
        self.headers: OrderedDict[int, Header] = OrderedDict()

    def window(self, header: Header, number: int) -> Window | None:
        """Return the slice's window, None if the newest snapshot is no longer on the bus."""
        headers = self._window_headers(header)
        held = self.slices.setdefault(number, OrderedDict())
        missing = [each.seq for each in headers if each.seq not in held]
        for seq, batch in zip(missing, self.bus.read(number, missing), strict=True):
            if batch is not None:
                held[seq] = batch
        _keep(held, header.seq, self.plan.window)
        headers = [each for each in headers if each.seq in held]
        if not headers or headers[-1].seq != header.seq:
            return None
        return align(headers, [held[each.seq] for each in headers])

    def _window_headers(self, header: Header) -> list[Header]:
        self.headers[header.seq] = header
        wanted = range(header.index - self.plan.window + 1, header.index)
        known = {each.index: each for each in self.headers.values() if each.seq < header.seq}
        if any(index not in known for index in wanted if index >= 0):
            for each in self.bus.before(header.seq, count=self.plan.window):
                self.headers[each.seq] = each
            known = {each.index: each for each in self.headers.values() if each.seq < header.seq}
        _keep(self.headers, header.seq, self.plan.window)
        return [*(known[index] for index in wanted if index in known), header]


def _keep(held: OrderedDict[int, Any], newest: int, count: int) -> None:
    """Drop all but the ``count`` newest entries up to ``newest``."""
    for seq in sorted(seq for seq in held if seq <= newest)[:-count]:
        del held[seq]


_workers: dict[str, _Worker] = {}


def deliver(plan: Plan, header: Header, number: int) -> None:
    """Map one slice of one snapshot and hand its columns, or word that it is gone, to the driver."""
    worker = _workers.get(plan.key)
    if worker is None:
        _workers.clear()
        worker = _workers[plan.key] = _Worker(plan)
    window = worker.window(header, number)
    if window is None:
        delivery = pack(header, number, None, {})
    else:
        delivery = pack(header, number, window.codes, worker.processor.map_slice(window, worker.params))
    with worker.bus.client.pipeline(transaction=False) as pipe:
        pipe.rpush(f"{plan.key}:columns", delivery)
        pipe.expire(f"{plan.key}:columns", 60)
        pipe.execute()


def pack(header: Header, number: int, codes: pa.StringArray | None, columns: Columns) -> bytes:
    """Return a delivery: columns as Arrow IPC, the snapshot's header in its metadata."""
    arrays = {} if codes is None else {"code": codes, **{name: pa.array(values) for name, values in columns.items()}}
    metadata = {"header": header.to_json(), "slice": str(number), "gone": "yes" if codes is None else "no"}
    schema = pa.schema([pa.field(name, array.type) for name, array in arrays.items()], metadata=metadata)
    batch = pa.RecordBatch.from_arrays(list(arrays.values()), schema=schema)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


@dataclass(frozen=True)
class Delivery:
    header: Header
    number: int
    gone: bool
    codes: pa.StringArray | None
    columns: Columns


def unpack(data: bytes) -> Delivery:
    with pa.ipc.open_stream(data) as reader:
        batch = reader.read_next_batch()
    metadata = batch.schema.metadata
    gone = metadata[b"gone"] == b"yes"
    names = batch.schema.names[1:]
    columns = {name: batch.column(name).to_numpy(zero_copy_only=False) for name in names}
    codes = None if gone else batch.column(0)
    return Delivery(Header.from_json(metadata[b"header"]), int(metadata[b"slice"]), gone, codes, columns)


# ---- a window of snapshots on the newest one's codes


def align(headers: Sequence[Header], batches: Sequence[pa.RecordBatch]) -> Window:
    """Return the batches, oldest first, as one window on the codes of the last."""
    codes = batches[-1].column("code")
    names = [name for name in batches[-1].schema.names if name != "code"]
    rows = [_rows_of(codes, batch.column("code")) for batch in batches[:-1]] + [None]
    columns = {
        name: np.stack([_take(batch, name, where) for batch, where in zip(batches, rows, strict=True)])
        for name in names
    }
    return Window(codes, columns, tuple(headers))


def _rows_of(codes: pa.StringArray, among: pa.StringArray) -> np.ndarray | None:
    """Return where each code stands in ``among`` (−1: nowhere); None when both are the same list, as nearly always."""
    if codes.equals(among):
        return None
    return pa.compute.fill_null(pa.compute.index_in(codes, value_set=among), -1).to_numpy(zero_copy_only=False)


def _take(batch: pa.RecordBatch, name: str, rows: np.ndarray | None) -> np.ndarray:
    if name not in batch.schema.names:
        return np.full(batch.num_rows if rows is None else len(rows), np.nan)
    values = batch.column(name).to_numpy(zero_copy_only=False)
    if rows is None:
        return values
    nowhere = np.nan if values.dtype.kind == "f" else 0
    return np.where(rows >= 0, values[rows] if len(values) else 0, nowhere).astype(values.dtype)


def grant(client: redis.Redis, key: str, credits: int) -> None:
    """Let the source plan ``credits`` more snapshots."""
    client.rpush(f"{key}:credit", *[b"1"] * credits)
    client.expire(f"{key}:credit", 3600)
