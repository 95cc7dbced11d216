"""``bin/bench history``: the stores of the history, and what else could have been taken, on the same rows of one run.

A made-up market of 6,000 stocks; written as db_store writes it, a minute of snapshots at a time and durable each time,
read back whole into Arrow. The day of one code is read from a compacted day of all of them.
"""

from __future__ import annotations

import argparse
import importlib.util
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from bench.figures import Figure, percentile, tell
from bench.floor import MadeUp
from processors.contract import FeedSpec
from processors.feeds.simulate import simulated_spec
from processors.history.parquet import ParquetHistory
from processors.history.rows import batch_columns, kept
from processors.history.store import History, Kept

PORTION = 12  # snapshots: a minute of a feed of 5 s
_CODES = 20  # that are asked for, one after the other


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bin/bench history", description=__doc__)
    parser.add_argument("--codes", type=int, default=6_000)
    parser.add_argument("--rows", type=int, default=1_000_000, help="for writing and reading whole")
    parser.add_argument(
        "--day", type=int, default=2_880, help="snapshots of the day of which one code is read; 0: none"
    )
    parser.add_argument("--no-rivals", action="store_true", help="the platform's own stores only")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    for figures in measured(args):
        tell(figures, as_json=args.json)


def measured(args: argparse.Namespace) -> Iterator[list[Figure]]:
    market = MadeUp(args.codes, simulated_spec("bench", 5.0))
    million = list(_snapshots(market, -(-args.rows // args.codes)))
    with tempfile.TemporaryDirectory(prefix="bench-history-") as folder:
        yield _store("parquet", ParquetHistory(Path(folder)), market.spec, million, (">= 1e6", "<= 0.3"))
    yield _mongo(market.spec, million)
    if not args.no_rivals:
        rows = pa.concat_tables([each.rows for each in million])
        portions = [
            pa.concat_tables([each.rows for each in million[at : at + PORTION]])
            for at in range(0, len(million), PORTION)
        ]
        for name, rival in RIVALS.items():
            if name == "sqlite" or importlib.util.find_spec(name):
                with tempfile.TemporaryDirectory(prefix="bench-history-") as folder:
                    yield _rival(name, rival(Path(folder)), portions, rows.num_rows)
    if args.day:
        with tempfile.TemporaryDirectory(prefix="bench-history-") as folder:
            yield _day(ParquetHistory(Path(folder)), market, args.day)


def _snapshots(market: MadeUp, count: int) -> Iterator[Kept]:
    for _ in range(count):
        header, slices = market.next()
        yield kept(header, [batch_columns(part) for part in slices])


# ---- the platform's own


def _store(
    name: str, store: History, spec: FeedSpec, snapshots: Sequence[Kept], to_reach: tuple[str | None, str | None]
) -> list[Figure]:
    store.describe(spec)
    rows = sum(each.rows.num_rows for each in snapshots)
    began = time.perf_counter()
    for at in range(0, len(snapshots), PORTION):
        store.append(spec.name, snapshots[at : at + PORTION])
    wrote_s = time.perf_counter() - began
    read_s = _median(lambda: store.read(spec.name).read_all().num_rows, rows)
    size = sum(day.size_bytes for day in store.coverage(spec.name))
    return [
        Figure(f"{name}_write_rows_per_s", rows / wrote_s, "rows/s", to_reach[0]),
        Figure(f"{name}_read_1m_s", read_s * 1e6 / rows, "s", to_reach[1]),
        Figure(f"{name}_bytes_per_row", size / rows, "bytes"),
    ]


def _mongo(spec: FeedSpec, snapshots: Sequence[Kept]) -> list[Figure]:
    import mongo_server
    import pymongo

    from tasks_app.history_mongo.store import MongoHistory

    with mongo_server.server(heap_mb=4096, java_options=()) as found, pymongo.MongoClient(found.url) as client:
        _store("warm", MongoHistory(lambda: client["warm"]), spec, snapshots[: 4 * PORTION], (None, None))
        client.drop_database("warm")  # what Java compiles while it is new is not what is measured
        return _store("mongo", MongoHistory(lambda: client["bench"]), spec, snapshots, (">= 2e5", "<= 2"))


def _day(store: ParquetHistory, market: MadeUp, snapshots: int) -> list[Figure]:
    """Write a day, put it together, and read one code after the other."""
    spec, codes = market.spec, market.rows.market.names
    store.describe(spec)
    portion: list[Kept] = []
    for each in _snapshots(market, snapshots):
        portion.append(each)
        if len(portion) == PORTION:
            store.append(spec.name, portion)
            portion = []
    store.append(spec.name, portion)
    began = time.perf_counter()
    store.compact(spec.name, now_ms=4 * 10**12)
    compact_s = time.perf_counter() - began
    day = store.coverage(spec.name)[-1]
    taken = []
    for number in range(_CODES):
        code = codes[(number * 7_919) % len(codes)]
        began = time.perf_counter()
        found = store.read(spec.name, day.first, day.last + 1, [code]).read_all()
        taken.append(1000 * (time.perf_counter() - began))
        assert found.num_rows and pc.all(pc.equal(found["code"], code)).as_py()
    return [
        Figure("day_rows", day.rows, "rows"),
        Figure("compact_rows_per_s", day.rows / compact_s, "rows/s"),
        Figure("compacted_bytes_per_row", day.size_bytes / day.rows, "bytes"),
        Figure("code_day_ms", percentile(taken, 0.5), "ms", "<= 100"),
        Figure("code_day_p95_ms", percentile(taken, 0.95), "ms"),
    ]


# ---- what else could have been taken: each writes a portion durably, and reads all into Arrow


class Sqlite:
    def __init__(self, folder: Path):
        self.connection = sqlite3.connect(folder / "rows.sqlite3")
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.names: list[str] = []

    def write(self, portion: pa.Table) -> None:
        if not self.names:
            self.names = portion.column_names
            columns = ", ".join(self.names)
            self.connection.execute(f"CREATE TABLE rows ({columns}, PRIMARY KEY (snapshot, code)) WITHOUT ROWID")
        columns = [_plain(portion.column(name)).to_pylist() for name in self.names]
        marks = ", ".join("?" for _ in self.names)
        with self.connection:
            self.connection.executemany(f"INSERT INTO rows VALUES ({marks})", zip(*columns, strict=True))

    def read(self) -> pa.Table:
        rows = self.connection.execute("SELECT * FROM rows ORDER BY snapshot, code").fetchall()
        return pa.table(dict(zip(self.names, map(pa.array, zip(*rows, strict=True)), strict=True)))


class Duckdb:
    def __init__(self, folder: Path):
        import duckdb

        self.connection = duckdb.connect(str(folder / "rows.duckdb"))
        self.made = False

    def write(self, portion: pa.Table) -> None:
        self.connection.register("portion", portion)
        self.connection.execute(
            "INSERT INTO rows SELECT * FROM portion" if self.made else "CREATE TABLE rows AS FROM portion"
        )
        self.connection.execute("CHECKPOINT")
        self.made = True

    def read(self) -> pa.Table:
        return self.connection.execute("SELECT * FROM rows ORDER BY snapshot, code").to_arrow_table()


class Arcticdb:
    def __init__(self, folder: Path):
        import arcticdb

        self.library = arcticdb.Arctic(f"lmdb://{folder}/arctic").get_library("history", create_if_missing=True)

    def write(self, portion: pa.Table) -> None:
        frame = portion.to_pandas()
        frame["snapshot"] = frame["snapshot"].dt.tz_localize(None)
        frame["time"] = frame["time"].dt.tz_localize(None)
        self.library.append("rows", frame.set_index("snapshot").sort_index(kind="stable"))

    def read(self) -> pa.Table:
        return pa.Table.from_pandas(self.library.read("rows").data)


RIVALS: dict[str, Callable[[Path], Sqlite | Duckdb | Arcticdb]] = {
    "sqlite": Sqlite,
    "duckdb": Duckdb,
    "arcticdb": Arcticdb,
}


def _rival(name: str, rival: Sqlite | Duckdb | Arcticdb, portions: Sequence[pa.Table], rows: int) -> list[Figure]:
    began = time.perf_counter()
    for portion in portions:
        rival.write(portion)
    wrote_s = time.perf_counter() - began
    read_s = _median(lambda: rival.read().num_rows, rows, times=3)
    return [
        Figure(f"{name}_write_rows_per_s", rows / wrote_s, "rows/s"),
        Figure(f"{name}_read_1m_s", read_s * 1e6 / rows, "s"),
    ]


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column


def _median(read: Callable[[], int], rows: int, times: int = 5) -> float:
    """Return the median seconds of some reads, each of which has to give all rows."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        assert read() == rows
        taken.append(time.perf_counter() - began)
    return percentile(taken, 0.5)
