"""From snapshots to the rows of a history, and the order that rows are kept in: plain functions on Arrow tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from processors.contract import QUOTE_FIELDS
from processors.history.store import MOMENT, ROWS, Kept
from processors.snapshot import Header

HEADERS = pa.schema(
    [
        pa.field("time", MOMENT, nullable=False),
        pa.field("run", pa.int64()),
        pa.field("seq", pa.int64()),
        pa.field("index", pa.int64()),
        pa.field("session", pa.string()),
        pa.field("trading", pa.bool_()),
        pa.field("expected", pa.int64()),
        pa.field("received", pa.int64()),
        pa.field("complete", pa.bool_()),
        pa.field("slices", pa.int64()),
        pa.field("interval_ms", pa.int64()),
        pa.field("pace", pa.float64()),
        pa.field("published_ms", pa.int64()),
        pa.field("size_bytes", pa.int64()),
        pa.field("handed_ms", pa.int64()),
        pa.field("quotes", pa.bool_()),
    ]
)


def kept(header: Header, slices: Sequence[Mapping[str, pa.Array | np.ndarray]]) -> Kept:
    """Return a snapshot as the history keeps it. ``slices`` map the bus columns, ``code`` among them, to arrays."""
    parts = [_real(header, part) for part in slices if len(part["code"])]
    quotes = any("bid" in part for part in slices)
    return Kept(header, pa.Table.from_batches(parts, ROWS), quotes)


def _real(header: Header, part: Mapping[str, pa.Array | np.ndarray]) -> pa.RecordBatch:
    real = np.flatnonzero(np.asarray(part["age_s"]) == 0)
    count, whole = len(real), len(real) == len(part["code"])
    arrays = [pa.array(np.full(count, header.time), MOMENT)]
    for field in list(ROWS)[1:]:
        if field.name not in part:
            arrays.append(pa.nulls(count, field.type))
            continue
        values = part[field.name]
        if isinstance(values, pa.Array):
            values = values if whole else values.take(pa.array(real))
            arrays.append(values if values.type == field.type else values.cast(field.type))
        else:
            values = values if whole else values[real]
            arrays.append(pa.array(values, field.type, from_pandas=field.name in QUOTE_FIELDS))
    return pa.RecordBatch.from_arrays(arrays, schema=ROWS)


def batch_columns(batch: pa.RecordBatch) -> dict[str, pa.Array]:
    """Return a slice's columns as ``kept`` takes them; what is no quote becomes null."""
    columns = {name: batch.column(name) for name in batch.schema.names}
    for name in QUOTE_FIELDS:
        if name in columns:
            columns[name] = pa.array(columns[name].to_numpy(zero_copy_only=False), pa.float64(), from_pandas=True)
    return columns


def header_table(snapshots: Sequence[Kept]) -> pa.Table:
    """Return a row per snapshot, in the order given."""
    rows = [{**asdict(each.header), "quotes": each.quotes} for each in snapshots]
    return pa.Table.from_pylist(rows, HEADERS)


def read_headers(feed: str, table: pa.Table) -> list[tuple[Header, bool]]:
    """Return each row of ``header_table`` as the header it was made from, with its ``quotes``."""
    rows = table.set_column(0, "time", table.column("time").cast(pa.int64())).to_pylist()
    return [(Header(feed=feed, **row), quotes) for row in rows for quotes in [row.pop("quotes")]]


# ---- orders


def by_snapshot(table: pa.Table) -> pa.Table:
    """Return rows of ROWS in order of (snapshot, code)."""
    moment, rank = _moments(table), _ranks(table.column("code"))
    ordered = (moment[1:] > moment[:-1]) | ((moment[1:] == moment[:-1]) & (rank[1:] >= rank[:-1]))
    if ordered.all():
        return table
    return table.take(pa.array(_order(moment, rank)))


def by_code(table: pa.Table) -> pa.Table:
    """Return rows of ROWS in order of (code, snapshot)."""
    moment, rank = _moments(table), _ranks(table.column("code"))
    return table.take(pa.array(_order(rank, moment)))


def _order(first: np.ndarray, then: np.ndarray) -> np.ndarray:
    """Return what sorts by ``first``, then by ``then``. Rows that come in order of either are sorted once only."""
    if (then[1:] >= then[:-1]).all():
        return _stable(first)
    inner = _stable(then)
    return inner[_stable(first[inner])]


def _stable(values: np.ndarray) -> np.ndarray:
    """Return a stable argsort; NumPy sorts 16 bits by their digits, several times faster than by comparing."""
    if not len(values):
        return np.empty(0, dtype=np.int64)
    values = values - values.min()
    values = values // max(int(np.gcd.reduce(values)), 1)  # times on a grid become its numbers
    return np.argsort(values.astype(np.uint16) if values.max() < 2**16 else values, kind="stable")


def _moments(table: pa.Table) -> np.ndarray:
    return table.column("snapshot").cast(pa.int64()).to_numpy()


def _ranks(codes: pa.ChunkedArray) -> np.ndarray:
    """Return each code's place among the sorted codes, shape (n,)."""
    encoded = codes.dictionary_encode().combine_chunks()
    order = pc.sort_indices(encoded.dictionary).to_numpy()
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return rank[encoded.indices.to_numpy()]
