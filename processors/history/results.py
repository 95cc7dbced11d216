"""Results that are kept: what a task said of each snapshot, in Parquet files below ``<root>/<task>/<day>/``.

A row is a result: ``numbers`` as JSON text (predictions, scores, events), and a list per column of its stocks
(``stock_code``, ``stock_cluster``, ``stock_forecast`` …), so that each stock's membership and forecast can be looked at
afterwards. A result is known by its snapshot's number on the bus, as in Redis: the same again is refused.
"""

from __future__ import annotations

import fcntl
import json
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from processors.durable import writing
from processors.history.reading import told
from processors.history.store import EARLIEST_MS, LATEST_MS, MOMENT, Unavailable, local_day

_STOCK = "stock_"


@dataclass(frozen=True)
class KeptResult:
    """``time`` is the snapshot's, ms UTC; ``numbers`` and ``stocks`` are those of ``contract.Result``."""

    time: int
    seq: int
    numbers: dict[str, Any]
    stocks: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class KeptDay:
    """What is kept of a task on a day of UTC; ``first`` and ``last`` are times of snapshots in ms UTC."""

    day: str
    results: int
    first: int
    last: int
    size_bytes: int


class ResultArchive:
    """The kept results below a directory; days are those of UTC. Any number of processes may read and write."""

    def __init__(self, root: Path):
        self.root = root
        self._known: tuple[Path, dict[str, set[int]]] | None = None  # the day last written to: file → numbers in it

    def append(self, task: int, results: Sequence[KeptResult]) -> int:
        """Keep results of a task; return how many were new. What is returned of is durable."""
        new = 0
        with self._locked(task) as directory:
            ordered = sorted(results, key=lambda each: each.seq)
            for day, group in groupby(ordered, key=lambda each: local_day(each.time, "UTC")):
                held = self._numbers_of(directory / day)
                fresh = list({each.seq: each for each in group if each.seq not in held}.values())
                if fresh:
                    (directory / day).mkdir(exist_ok=True)
                    name = f"{fresh[0].seq:015d}-{secrets.token_hex(4)}.parquet"
                    with writing(directory / day / name) as file:
                        pq.write_table(table(fresh), file, compression="zstd")
                new += len(fresh)
        return new

    def read(
        self, task: int, start: int = EARLIEST_MS, end: int = LATEST_MS, *, after: int = 0, stocks: bool = True
    ) -> Iterator[KeptResult]:
        """Yield the results of snapshots with ``start`` ≤ time < ``end`` and a number above ``after``, in the order of
        their numbers."""
        for path in self._files(task, start, end):
            with told():
                file = pq.ParquetFile(path)
                names = [name for name in file.schema_arrow.names if stocks or not _is_stock(name)]
                found = file.read(columns=names)
            yield from (each for each in _results(found) if start <= each.time < end and each.seq > after)

    def stocks(self, task: int, start: int = EARLIEST_MS, end: int = LATEST_MS) -> pa.RecordBatchReader:
        """Return a row per stock of each result of a range: ``time`` and ``seq`` of the snapshot, then its columns."""
        schemas = [pa.schema([("time", MOMENT), ("seq", pa.int64())])]
        for path in self._files(task, start, end):
            with told():
                fields = [field for field in pq.read_schema(path) if _is_stock(field.name)]
            schemas.append(pa.schema([(field.name.removeprefix(_STOCK), field.type.value_type) for field in fields]))
        schema = pa.unify_schemas(schemas, promote_options="permissive")
        batches = (_stock_rows(each, schema) for each in self.read(task, start, end) if each.stocks)
        return pa.RecordBatchReader.from_batches(schema, batches)

    def days(self, task: int) -> list[KeptDay]:
        """Return what is kept of each day, oldest first."""
        found = sorted((self.root / str(task)).glob("????-??-??"))
        with told():
            return [_summary(path) for path in found if any(path.glob("*.parquet"))]

    def tasks(self) -> list[int]:
        return sorted(int(path.name) for path in self.root.glob("[0-9]*") if path.name.isdecimal())

    def delete_before(self, task: int, day: str) -> int:
        """Delete the days before ``day`` (YYYY-MM-DD in UTC); return how many."""
        with self._locked(task) as directory:
            old = [path for path in directory.glob("????-??-??") if path.name < day]
            for path in old:
                shutil.rmtree(path)
        return len(old)

    def _files(self, task: int, start: int, end: int) -> list[Path]:
        """Return the files that may hold results of a range, in the order of their numbers."""
        if start >= end:
            return []
        low, high = local_day(max(start, EARLIEST_MS), "UTC"), local_day(min(end, LATEST_MS) - 1, "UTC")
        found = (self.root / str(task)).glob("????-??-??/*.parquet")
        between = (path for path in found if low <= path.parent.name <= high)
        return sorted(between, key=lambda path: path.name)  # a name begins with the first number in it

    def _numbers_of(self, directory: Path) -> set[int]:
        """Return the numbers that a day holds; what is known of its files is not read again."""
        known = self._known[1] if self._known is not None and self._known[0] == directory else {}
        with told():
            held = {
                path.name: known.get(path.name) or set(pq.read_table(path, columns=["seq"])["seq"].to_pylist())
                for path in directory.glob("*.parquet")
            }
        self._known = directory, held
        return set().union(*held.values())

    @contextmanager
    def _locked(self, task: int) -> Iterator[Path]:
        directory = self.root / str(task)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with (directory / ".lock").open("wb") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield directory
        except OSError as error:
            raise Unavailable(f"the kept results do not take it: {error}") from error


def table(results: Sequence[KeptResult]) -> pa.Table:
    """Return a row per result."""
    columns: dict[str, pa.Array] = {
        "time": pa.array([each.time for each in results], MOMENT),
        "seq": pa.array([each.seq for each in results], pa.int64()),
        "numbers": pa.array([json.dumps(each.numbers, allow_nan=False) for each in results]),
    }
    for name in dict.fromkeys(name for each in results for name in each.stocks):
        parts = [_array(each.stocks[name]) if name in each.stocks else None for each in results]
        lengths = [0 if part is None else len(part) for part in parts]
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
        values = _joined([part for part in parts if part is not None])
        columns[f"{_STOCK}{name}"] = pa.ListArray.from_arrays(offsets, values)
    return pa.table(columns)


def _summary(directory: Path) -> KeptDay:
    """Return what the files of a day hold."""
    paths = list(directory.glob("*.parquet"))
    times = [pq.read_table(path, columns=["time"]).column("time").cast(pa.int64()) for path in paths]
    return KeptDay(
        day=directory.name,
        results=sum(map(len, times)),
        first=min(pc.min(each).as_py() for each in times),
        last=max(pc.max(each).as_py() for each in times),
        size_bytes=sum(path.stat().st_size for path in paths),
    )


def _is_stock(name: str) -> bool:
    return name.startswith(_STOCK)


def _stock_rows(result: KeptResult, schema: pa.Schema) -> pa.RecordBatch:
    count = len(next(iter(result.stocks.values())))
    columns = {"time": pa.repeat(pa.scalar(result.time, MOMENT), count), "seq": pa.repeat(result.seq, count)}
    columns |= result.stocks
    missing = {field.name: pa.nulls(count, field.type) for field in schema if field.name not in columns}
    return pa.RecordBatch.from_pydict({**columns, **missing}, schema)


def _joined(parts: Sequence[pa.Array]) -> pa.Array:
    """Join what may be of several widths: a processor says a column in float32 here and in float64 there."""
    schemas = [pa.schema([("", part.type)]) for part in parts]
    common = pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    return pa.concat_arrays([part.cast(common) for part in parts])


def _array(values: Any) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values)


def _results(found: pa.Table) -> Iterator[KeptResult]:
    times = found.column("time").cast(pa.int64()).to_pylist()
    names = [name for name in found.column_names if _is_stock(name)]
    for at in range(found.num_rows):
        lists = {name.removeprefix(_STOCK): found.column(name)[at].values for name in names}
        yield KeptResult(
            times[at],
            found.column("seq")[at].as_py(),
            json.loads(found.column("numbers")[at].as_py()),
            {name: values for name, values in lists.items() if len(values)},
        )
