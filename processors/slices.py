"""One slice of one snapshot, on a Spark executor: wait for it, read its window from the bus, map it, deliver the
columns.

Workers live longer than one batch: connection, processor and decoded snapshots are kept between calls.
"""

from __future__ import annotations

import gc
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import redis

from processors.alignment import places
from processors.bus import Bus, connect
from processors.contract import Columns, StreamProcessor, Window
from processors.inbox import Outbox
from processors.loading import load
from processors.snapshot import Header
from processors.source import Plan, Turn


class _Worker:
    def __init__(self, plan: Plan):
        self.plan = plan
        self.bus = Bus(connect(plan.redis_url), plan.feed)
        self.driver = Outbox(plan.driver, plan.key)
        self.processor: StreamProcessor = load(plan.processor)()
        self.params = self.processor.Params.model_validate_json(plan.params)
        self.slices: dict[int, OrderedDict[int, pa.RecordBatch]] = {}
        self.headers: OrderedDict[int, Header] = OrderedDict()
        self.deliveries = 0

    def header(self, turn: Turn) -> Header:
        """Wait for the snapshot of a turn: the first that any of its tasks sees, whatever is trimmed meanwhile."""
        found = None
        while found is None:  # a task that is no longer wanted ends with its process
            found = self.bus.wait(turn.after, block_ms=_HOLD_MS)
        told = self.bus.client.set(turn.key(self.plan), found.to_json(), nx=True, get=True, ex=_AGREED_S)
        return found if told is None else Header.from_json(told)

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
_SETTLING = 4  # tasks in which modules are still being imported
_HOLD_MS = 1_000  # of one look at the bus, less than a socket's time limit
_AGREED_S = 3_600


def deliver(plan: Plan, turn: Turn, number: int) -> None:
    """Wait for a turn's snapshot, map the slices of it that are this task's, and hand their columns, or word that they
    are gone, to the driver."""
    worker = _workers.get(plan.key)
    if worker is None:
        _workers.clear()
        worker = _workers[plan.key] = _Worker(plan)
    if worker.deliveries < _SETTLING:
        # pyspark collects garbage after every task: what the first tasks imported is not to be looked through each
        # time, which took 28 ms.
        gc.freeze()
    worker.deliveries += 1
    header = worker.header(turn)
    for each in range(number, header.slices, plan.slices):  # more than one where the feed once had more slices
        begun_ms = time.time_ns() // 1_000_000
        window = worker.window(header, each)
        if window is None:
            delivery = pack(header, each, None, {}, begun_ms)
        else:
            columns = worker.processor.map_slice(window, worker.params)
            delivery = pack(header, each, window.codes, columns, begun_ms)
        worker.driver.send(delivery)


def pack(header: Header, number: int, codes: pa.StringArray | None, columns: Columns, begun_ms: int = 0) -> memoryview:
    """Return a delivery: columns as Arrow IPC, the snapshot's header in its metadata."""
    arrays = {} if codes is None else {"code": codes, **{name: pa.array(values) for name, values in columns.items()}}
    metadata = {
        "header": header.to_json(),
        "slice": str(number),
        "gone": "yes" if codes is None else "no",
        "begun": str(begun_ms),
    }
    schema = pa.schema([pa.field(name, array.type) for name, array in arrays.items()], metadata=metadata)
    batch = pa.RecordBatch.from_arrays(list(arrays.values()), schema=schema)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(batch)
    return memoryview(sink.getvalue())


@dataclass(frozen=True)
class Delivery:
    header: Header
    number: int
    gone: bool
    begun_ms: int  # wall time at which an executor began with the slice
    codes: pa.StringArray | None
    columns: Columns


def unpack(data: bytearray | memoryview) -> Delivery:
    """Return a delivery whose columns lie in ``data``."""
    with pa.ipc.open_stream(pa.py_buffer(data)) as reader:
        batch = reader.read_next_batch()
    metadata = batch.schema.metadata
    gone = metadata[b"gone"] == b"yes"
    names = batch.schema.names[1:]
    columns = {name: batch.column(name).to_numpy(zero_copy_only=False) for name in names}
    codes = None if gone else batch.column(0)
    return Delivery(
        Header.from_json(metadata[b"header"]), int(metadata[b"slice"]), gone, int(metadata[b"begun"]), codes, columns
    )


def joined(deliveries: Sequence[Delivery]) -> tuple[list[pa.StringArray], Columns]:
    """Return a snapshot's codes, an array per slice, and its columns, slices one after the other."""
    columns = {name: np.concatenate([part.columns[name] for part in deliveries]) for name in deliveries[0].columns}
    return [part.codes for part in deliveries if part.codes is not None], columns


# ---- a window of snapshots on the newest one's codes


def align(headers: Sequence[Header], batches: Sequence[pa.RecordBatch]) -> Window:
    """Return the batches, oldest first, as one window on the codes of the last."""
    codes = batches[-1].column("code")
    rows = [places(codes, batch.column("code")) for batch in batches[:-1]] + [None]
    return Window(codes, _Stacked(batches, rows), tuple(headers), _Newest(batches[-1]))


class _Newest(Mapping[str, np.ndarray]):
    """A batch's columns but ``code``, as arrays."""

    def __init__(self, batch: pa.RecordBatch):
        self._batch = batch
        self._names = [name for name in batch.schema.names if name != "code"]

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        return self._batch.column(name).to_numpy(zero_copy_only=False)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class _Stacked(Mapping[str, np.ndarray]):
    """A window's columns, each put together when it is first asked for: most processors look at few of them."""

    def __init__(self, batches: Sequence[pa.RecordBatch], rows: Sequence[np.ndarray | None]):
        self._batches, self._rows = batches, rows
        self._names = [name for name in batches[-1].schema.names if name != "code"]
        self._made: Columns = {}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._made:
            if name not in self._names:
                raise KeyError(name)
            parts = [_take(batch, name, where) for batch, where in zip(self._batches, self._rows, strict=True)]
            self._made[name] = np.stack(parts)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


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
    client.rpush(f"work:{key}:credit", *[b"1"] * credits)
    client.expire(f"work:{key}:credit", 3600)
