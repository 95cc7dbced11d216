"""Bars of open, high, low, close and sums, out of the rows of a history, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from processors.history.store import MOMENT, HistoryError

EVERY_MS = {
    "5s": 5_000, "10s": 10_000, "15s": 15_000, "30s": 30_000, "1m": 60_000, "5m": 300_000, "15m": 900_000,
    "30m": 1_800_000, "1h": 3_600_000, "1d": 86_400_000,
}  # fmt: skip
COLUMNS = ("snapshot", "code", "price", "volume", "amount")  # of the rows, what bars are made from
# A bar covers begin < snapshot ≤ end; prices are those of the snapshots in it, volume and amount their sums, `rows` how
# many of them had news of the stock. A bar without any is left out.
BARS = pa.schema(
    [
        pa.field("begin", MOMENT, nullable=False),
        pa.field("end", MOMENT, nullable=False),
        pa.field("code", pa.string(), nullable=False),
        *(
            pa.field(name, pa.float64(), nullable=False)
            for name in ("open", "high", "low", "close", "volume", "amount")
        ),
        pa.field("rows", pa.int64(), nullable=False),
    ]
)
_FOLDS = (("open", "first"), ("high", "max"), ("low", "min"), ("close", "last"))
_SUMS = ("volume", "amount", "rows")


def width_ms(every: str, interval_ms: int) -> int:
    """Return the width of bars by its name; raise HistoryError for one that is unknown or below the feed's interval."""
    if every not in EVERY_MS:
        raise HistoryError(f"every {every!r}: expected one of {', '.join(EVERY_MS)}")
    if EVERY_MS[every] < interval_ms:
        raise HistoryError(f"every {every!r}: the feed has a snapshot each {interval_ms / 1000:g} s, no bar is shorter")
    return EVERY_MS[every]


def bars(batches: Iterable[pa.RecordBatch], every_ms: int, zone: str) -> Iterator[pa.RecordBatch]:
    """Yield bars (BARS) of rows with COLUMNS in order of snapshot, in order of (end, code).

    The grid begins at midnight in the zone; a bar that ends the day belongs to the day that it closes.
    """
    open_bars = _empty()
    for batch in batches:
        if not batch.num_rows:
            continue
        found = pa.concat_tables([open_bars, _of_rows(batch, every_ms, zone)])
        folded = _folded(found)
        newest = pc.max(folded.column("end"))
        yield from _told(folded.filter(pc.less(folded.column("end"), newest)), every_ms, zone)
        open_bars = folded.filter(pc.equal(folded.column("end"), newest))
    yield from _told(open_bars, every_ms, zone)


def _of_rows(batch: pa.RecordBatch, every_ms: int, zone: str) -> pa.Table:
    """Return a bar per row, to be folded; ``end`` in local ms, where the grid is."""
    local = pc.local_timestamp(batch.column("snapshot").cast(pa.timestamp("ms", zone))).cast(pa.int64()).to_numpy()
    price = batch.column("price")
    columns = {
        "end": pa.array(-(-local // every_ms) * every_ms),
        "code": batch.column("code"),
        **{name: price for name, _ in _FOLDS},
        "volume": batch.column("volume"),
        "amount": batch.column("amount"),
        "rows": pa.array(np.ones(batch.num_rows, dtype=np.int64)),
    }
    return pa.table(columns)


def _empty() -> pa.Table:
    kinds = {"end": pa.int64(), "code": pa.string(), "rows": pa.int64()}
    names = ("end", "code", *(name for name, _ in _FOLDS), *_SUMS)
    return pa.schema([(name, kinds.get(name, pa.float64())) for name in names]).empty_table()


def _folded(found: pa.Table) -> pa.Table:
    """Return one bar per end and code; what came first stands first."""
    wanted = [*_FOLDS, *((name, "sum") for name in _SUMS)]
    grouped = found.group_by(["end", "code"], use_threads=False).aggregate(wanted)
    columns = {name: grouped.column(f"{name}_{how}") for name, how in wanted}
    return pa.table({"end": grouped.column("end"), "code": grouped.column("code"), **columns})


def _told(folded: pa.Table, every_ms: int, zone: str) -> Iterator[pa.RecordBatch]:
    if not folded.num_rows:
        return
    folded = folded.sort_by([("end", "ascending"), ("code", "ascending")])
    local = folded.column("end").combine_chunks().to_numpy()
    moments = {"begin": _utc(local - every_ms, zone), "end": _utc(local, zone)}
    columns = [moments[name] if name in moments else folded.column(name) for name in BARS.names]
    yield from pa.table(columns, schema=BARS).combine_chunks().to_batches()


def _utc(local_ms: np.ndarray, zone: str) -> pa.Array:
    """Return instants of local ms: the earlier where the clock is put back."""
    naive = pa.array(local_ms).cast(pa.timestamp("ms"))
    return pc.assume_timezone(naive, zone, ambiguous="earliest", nonexistent="earliest").cast(MOMENT)
