"""Snapshots as documents: one per snapshot and piece of at most 20,000 rows, each column an array.

``{feed, day, time, at, write, piece, n, code: […], time_ms: […], price: […], …}``; a column that is null throughout is
left out. ``write`` names the append that wrote it; only rows whose ``write`` stands in the snapshot's header count.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from bson import ObjectId

from processors.history.rows import by_snapshot
from processors.history.store import MOMENT, ROWS, Damaged, Kept
from processors.snapshot import Header

PIECE_ROWS = 20_000  # a document may have 16 MB: some 4 MB with quotes
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ARRAYS = [name for name in ROWS.names if name not in ("snapshot", "time")]


def pieces(snapshot: Kept, day: str, write: ObjectId) -> Iterator[dict[str, Any]]:
    """Yield the documents of a snapshot's rows, in order of code."""
    header, rows = snapshot.header, by_snapshot(snapshot.rows).combine_chunks()
    for piece, begin in enumerate(range(0, rows.num_rows, PIECE_ROWS)):
        part = rows.slice(begin, PIECE_ROWS)
        document = {
            "_id": ObjectId(),
            "feed": header.feed,
            "day": day,
            "time": header.time,
            "at": _EPOCH + timedelta(milliseconds=header.time),
            "write": write,
            "piece": piece,
            "n": part.num_rows,
            "time_ms": _values(part.column("time").cast(pa.int64())),
        }
        yield document | {
            name: _values(part.column(name)) for name in _ARRAYS if part.column(name).null_count < part.num_rows
        }


def _values(column: pa.ChunkedArray) -> np.ndarray | list[Any]:
    """Return a column as ``arrays`` takes it: whole where it can."""
    if column.null_count or pa.types.is_string(column.type):
        return column.to_pylist()
    return column.to_numpy().astype(np.float64 if pa.types.is_floating(column.type) else np.int64, copy=False)


def header_document(snapshot: Kept, day: str, write: ObjectId, size: int) -> dict[str, Any]:
    """Return the document that makes a snapshot be there."""
    pieces = -(-snapshot.rows.num_rows // PIECE_ROWS)
    return {
        **asdict(snapshot.header),
        "day": day,
        "at": _EPOCH + timedelta(milliseconds=snapshot.header.time),
        "write": write,
        "pieces": pieces,
        "rows": snapshot.rows.num_rows,
        "quotes": snapshot.quotes,
        "size": size,
    }


def read_header(document: dict[str, Any]) -> tuple[Header, bool]:
    named = {name: document[name] for name in Header.__dataclass_fields__}
    return Header(**named), document["quotes"]


def projection(columns: list[str]) -> dict[str, int]:
    """Return what of the documents of rows is needed for some columns."""
    fields = ["time_ms" if name == "time" else name for name in columns if name != "snapshot"]
    return dict.fromkeys(["time", "write", "piece", "n", "code", *fields], 1)


def table(document: dict[str, Any], columns: list[str]) -> pa.Table:
    """Return some columns of a document of rows; raise Damaged when its arrays have not the length it says."""
    n = document["n"]
    arrays = []
    for name in columns:
        if name == "snapshot":
            arrays.append(pa.array(np.full(n, document["time"]), MOMENT))
            continue
        values = document.get("time_ms" if name == "time" else name)
        arrays.append(pa.nulls(n, ROWS.field(name).type) if values is None else pa.array(values, ROWS.field(name).type))
        if len(arrays[-1]) != n:
            raise Damaged(f"{document['_id']}: {name} has {len(arrays[-1])} values, its document says {n}")
    return pa.Table.from_arrays(arrays, schema=pa.schema([ROWS.field(name) for name in columns]))


def only(rows: pa.Table, codes: pa.Array | None) -> pa.Table:
    return rows if codes is None else rows.filter(pc.is_in(rows.column("code"), codes))
