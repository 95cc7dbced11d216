"""Ticks of any source as the uniform CSV lines, at the source's pace or another."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import redis
import structlog

from processors.bus import Bus
from processors.contract import QUOTE_FIELDS, FeedSpec, Header
from processors.feeds import parse
from processors.feeds.assemble import Snapshot
from processors.feeds.codebook import Codebook
from processors.feeds.files import read_ticks
from processors.feeds.market import Market, MarketShape
from processors.feeds.pacing import ClockPacer
from processors.feeds.simulate import GridClock, SimulatedRows
from processors.feeds.watermark import NEVER, Watermark

log = structlog.get_logger()
COLUMNS = ("time", "code", "price", "change", "volume", "amount", "type")
_FAR_MS = 60_000
_STEP_MS = 100  # of wall time between two chunks of a paced file
_RETRY_S = 0.5
_ROWS = 8_192  # of a chunk
_WRITE = pa.csv.WriteOptions(include_header=False, quoting_style="none")
_SPECIAL = r"[\",\r\n]"


class Lines:
    """Renders rows. Times are local to ``zone``, to the ms; with ``quotes`` bid and ask follow the seven columns."""

    def __init__(self, zone: str, *, quotes: bool = False) -> None:
        self.zone = zone
        self.fields = COLUMNS + (QUOTE_FIELDS if quotes else ())
        self.header = (",".join(self.fields).replace("code", "stock_code") + "\n").encode()

    def __call__(self, rows: pa.RecordBatch | pa.Table) -> bytes:
        """Return a line per row; a field that the rows do not have stays empty. Rows that are no lines are left out."""
        columns = [self._column(rows, field) for field in self.fields]
        sink = pa.BufferOutputStream()
        table = pa.table(dict(zip(self.fields, columns, strict=True)))
        try:
            pa.csv.write_csv(table, sink, _WRITE)
        except pa.ArrowInvalid:  # a text with a comma or a quote in it
            sink = pa.BufferOutputStream()
            pa.csv.write_csv(_plain_only(table), sink, _WRITE)
        return sink.getvalue().to_pybytes()

    def _column(self, rows: pa.RecordBatch | pa.Table, field: str) -> pa.Array:
        if field not in rows.schema.names:
            return pa.nulls(rows.num_rows, pa.string())
        column = parse.flat(rows.column(field))
        if field == "time" and not parse.is_text(column):
            return _local(column, self.zone)
        if pa.types.is_dictionary(column.type):
            return column.cast(pa.string())
        return without_nan(column)


def _local(column: pa.Array, zone: str) -> pa.Array:
    """Return times as they are written in the zone; without a zone of their own they are local already."""
    if pa.types.is_integer(column.type):
        column = column.cast(pa.timestamp("ms", tz="UTC"))
    column = column.cast(pa.timestamp("ms", tz=column.type.tz), safe=False)
    return pc.local_timestamp(column.cast(pa.timestamp("ms", tz=zone))) if column.type.tz else column


def _plain_only(table: pa.Table) -> pa.Table:
    special = np.zeros(table.num_rows, dtype=bool)
    for column in table.columns:
        if parse.is_text(column):
            special |= pc.fill_null(pc.match_substring_regex(column, _SPECIAL), False).to_numpy()
    log.warning("rows left out: a comma, a quote or a line's end inside a field", rows=int(special.sum()))
    return table.filter(pa.array(~special))


def small(batches: Iterable[pa.RecordBatch | pa.Table]) -> Iterator[pa.RecordBatch | pa.Table]:
    """Yield the batches in parts that fit a client's queue."""
    for batch in batches:
        for start in range(0, batch.num_rows, _ROWS):
            yield batch.slice(start, _ROWS)


# ---- sources


def of_file(
    path: Path,
    zone: str,
    *,
    pace: float,
    loop: bool,
    stopping: threading.Event,
    mapping: Mapping[str, str] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Yield a file's rows when their time has come: ``pace`` times real time, or, with 0, as fast as they are taken.

    Raises ``SourceError`` if the file cannot be used.
    """
    again = True
    while again and not stopping.is_set():
        clock = _Clock(zone, pace)
        for batch in read_ticks(path, FeedSpec("", zone=zone), mapping=mapping):
            for rows in clock.paced(batch, stopping) if pace > 0 else [batch]:
                if stopping.is_set():
                    return
                yield rows
        again = loop


class _Clock:
    """Lets rows go by the time that they agree on: a row from 2030 holds nobody up."""

    def __init__(self, zone: str, pace: float) -> None:
        self.zone = zone
        self.step_ms = max(1, round(_STEP_MS * pace))
        self._pacer = ClockPacer(pace, self.step_ms)
        self._codebook, self._watermark = Codebook(1), Watermark(_FAR_MS)

    def paced(self, batch: pa.RecordBatch, stopping: threading.Event) -> Iterator[pa.RecordBatch]:
        times = parse.times(batch.column("time"), self.zone)
        codes = self._codebook.numbers(batch.column("code"))
        known = np.where(times == parse.NO_TIME, max(self._watermark.now, 0), times)
        step = self._watermark.advance(codes, known, final=True) // self.step_ms
        starts = np.flatnonzero(np.append(True, step[1:] != step[:-1]))
        for start, end in zip(starts, [*starts[1:], batch.num_rows], strict=True):
            self._pacer.wait(Snapshot(int(step[start]) * self.step_ms, "", True, 0, 1, []), stopping, lambda: None)
            yield batch.slice(start, end - start)


def of_simulator(codes: int, every_s: float, seed: int, stopping: threading.Event) -> Iterator[pa.RecordBatch]:
    """Yield a made-up market's rows, a step per interval of the wall clock."""
    rows = SimulatedRows(Market(MarketShape(codes, every_s, seed)))
    for end in GridClock(round(every_s * 1000), NEVER // 2, stopping).ends():
        yield rows.take(end)


def of_feed(bus: Bus, after: int, stopping: threading.Event) -> Iterator[tuple[Header, pa.Table]]:
    """Yield (header, real rows) of a feed's snapshots behind a number, as they come; waits while Redis is away.

    Volume is in shares, times are in ms UTC. A snapshot that the bus lost before it was read is logged and left out.
    """
    while not stopping.is_set():
        try:
            header = bus.wait(after, block_ms=200)
            if header is None:
                continue
            parts = [bus.read(number, [header.seq])[0] for number in range(header.slices)]
        except redis.RedisError as error:
            log.warning("bus does not answer, waiting", feed=bus.feed, error=str(error))
            stopping.wait(_RETRY_S)
            continue
        after = header.seq
        if any(part is None for part in parts):
            log.warning("snapshot trimmed from the bus before it was read", feed=header.feed, seq=header.seq)
            continue
        table = pa.Table.from_batches(parts)
        yield header, table.filter(pc.equal(table.column("age_s"), 0.0))


def without_nan(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return a column with nothing where it is not a number."""
    return pc.if_else(pc.is_nan(column), None, column) if pa.types.is_floating(column.type) else column
