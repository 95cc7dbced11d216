"""What stands between a stream task and the history: snapshots are gathered and written together."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar

import numpy as np
import pyarrow as pa
import redis

from processors.bus import Bus
from processors.contract import Columns, Header, NotTaken, Result
from processors.history.results import KeptResult, ResultArchive
from processors.history.rows import kept
from processors.history.store import RAW, History, Kept, Unavailable
from processors.snapshot import FeedSpec

GATHER_S = 60.0
GATHER_BYTES = 32 * 2**20
GATHER_STOCKS = 300_000
Clock = Callable[[], float]
Item = TypeVar("Item")


class _Gathered(Generic[Item]):
    """Items that wait to be written together, until there are ``enough`` of them or ``gather_s`` has passed."""

    def __init__(self, enough: float, gather_s: float, clock: Clock):
        self.items: list[Item] = []
        self._enough, self._gather_s, self._clock = enough, gather_s, clock
        self._size, self._since = 0, clock()

    def add(self, item: Item, size: int) -> None:
        if not self.items:
            self._since = self._clock()
        self.items.append(item)
        self._size += size

    def due(self) -> bool:
        waited = self._clock() - self._since >= self._gather_s
        return bool(self.items) and (waited or self._size >= self._enough)

    def clear(self) -> None:
        self.items, self._size = [], 0


def _bytes_for(spec: FeedSpec) -> int:
    """Return what is enough: well below half of the bus, or a feed that waits for its readers would wait for the
    clock."""
    return min(GATHER_BYTES, spec.max_bytes // 4)


class _Writer:
    """Appends snapshots of a feed to a history that it has described first."""

    def __init__(self, history: History, spec: FeedSpec):
        self.history, self.spec = history, spec
        self._described = False

    def append(self, snapshots: Sequence[Kept]) -> int:
        """Return how many were new; raise NotTaken while the history takes nothing."""
        try:
            if not self._described:
                self.history.describe(self.spec)
                self._described = True
            return self.history.append(self.spec.name, snapshots)
        except Unavailable as error:
            raise NotTaken(str(error)) from error


class HistorySink:
    """Writes to the history once a minute, or when enough has been gathered (a ``processors.contract.Sink``).

    ``progress`` is told ``stored`` (snapshots new to the history), ``already`` (there already, by their time)
    and ``gathered`` (not written yet).
    """

    def __init__(
        self,
        history: History,
        spec: FeedSpec,
        progress: Callable[..., None],
        gather_s: float = GATHER_S,
        clock: Clock = time.monotonic,
    ):
        self._writer, self._progress = _Writer(history, spec), progress
        self._gathered = _Gathered[Kept](_bytes_for(spec), gather_s, clock)
        self.told = {"stored": 0, "already": 0, "gathered": 0}

    def take(self, header: Header, codes: list[pa.StringArray], columns: Columns, result: Result | None = None) -> None:
        part: dict[str, Any] = {"code": pa.concat_arrays(codes) if codes else pa.array([], pa.string()), **columns}
        snapshot = kept(header, [part])
        self._gathered.add(snapshot, snapshot.rows.nbytes + 500)
        self._tell()

    def due(self) -> bool:
        return self._gathered.due()

    def flush(self) -> None:
        if not self._gathered.items:
            return
        new = self._writer.append(self._gathered.items)
        self.told["stored"] += new
        self.told["already"] += len(self._gathered.items) - new
        self._gathered.clear()
        self._tell()

    def _tell(self) -> None:
        self.told["gathered"] = len(self._gathered.items)
        self._progress(**self.told)


class RawSink:
    """Writes the ticks that snapshots were made of, which it reads from the bus when it writes, as ``HistorySink`` does
    with the snapshots.

    A row of the history is a tick then, its volume in shares, and its header counts ticks. ``progress`` is told
    ``raw_rows``, and ``raw_missed``: snapshots whose ticks were no longer on the bus.
    """

    def __init__(
        self,
        history: History,
        spec: FeedSpec,
        bus: Bus,
        progress: Callable[..., None],
        gather_s: float = GATHER_S,
        clock: Clock = time.monotonic,
    ):
        self._writer = _Writer(history, replace(spec, name=spec.name + RAW, volume_unit="shares"))
        self._bus, self._progress = bus, progress
        self._gathered = _Gathered[Header](_bytes_for(spec), gather_s, clock)
        self.told = {"raw_rows": 0, "raw_missed": 0}

    def take(self, header: Header, codes: list[pa.StringArray], columns: Columns, result: Result) -> None:
        self._gathered.add(header, header.size_bytes)

    def due(self) -> bool:
        return self._gathered.due()

    def flush(self) -> None:
        headers = self._gathered.items
        if not headers:
            return
        found = [raw_kept(header, ticks) for header in headers if (ticks := self._read(header)) is not None]
        if found:
            self._writer.append(found)
        self.told["raw_rows"] += sum(each.rows.num_rows for each in found)
        self.told["raw_missed"] += len(headers) - len(found)
        self._gathered.clear()
        self._progress(**self.told)

    def _read(self, header: Header) -> pa.RecordBatch | None:
        try:
            return self._bus.read(header.slices, [header.seq])[0]
        except redis.RedisError as error:
            raise NotTaken(f"the ticks can't be read from the bus: {error}") from error


def raw_kept(header: Header, ticks: pa.RecordBatch) -> Kept:
    """Return ticks as the history keeps them, under the header of the snapshot that was made of them."""
    count = ticks.num_rows
    told = replace(header, feed=header.feed + RAW, expected=count, received=count, complete=True)
    columns = dict(zip(ticks.schema.names, ticks.columns, strict=True))
    return kept(told, [{**columns, "age_s": np.zeros(count, dtype=np.float32)}])


class ResultSink:
    """Writes the results of a task that keeps them to the archive, as ``HistorySink`` does with snapshots."""

    def __init__(
        self,
        archive: ResultArchive,
        task: int,
        progress: Callable[..., None],
        gather_s: float = GATHER_S,
        clock: Clock = time.monotonic,
    ):
        self.archive, self.task, self._progress = archive, task, progress
        self._gathered = _Gathered[KeptResult](GATHER_STOCKS, gather_s, clock)
        self.kept = 0

    def take(self, header: Header, codes: list[pa.StringArray], columns: Columns, result: Result) -> None:
        stocks = {name: _copied(values) for name, values in result.stocks.items()}
        one = KeptResult(header.time, header.seq, result.numbers, stocks)
        self._gathered.add(one, len(next(iter(stocks.values()), ())))

    def due(self) -> bool:
        return self._gathered.due()

    def flush(self) -> None:
        if not self._gathered.items:
            return
        try:
            self.kept += self.archive.append(self.task, self._gathered.items)
        except Unavailable as error:
            raise NotTaken(str(error)) from error
        self._gathered.clear()
        self._progress(kept=self.kept)


def _copied(values: Any) -> Any:
    """Return what the processor's next step can't change."""
    return values.copy() if isinstance(values, np.ndarray) else values
