"""The history as plain Parquet files: ``<root>/<feed>/<day>/rows-….parquet``, which any tool can read.

A directory per feed and day, a pair of files (rows, headers) per append, put together at the day's end
(``compaction.py``); the day's manifest says which files count (``manifest.py``). One lock per feed, which the kernel
frees when its holder dies, keeps writers apart; readers need none.
"""

from __future__ import annotations

import fcntl
import secrets
import shutil
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from processors.durable import sync_directory, writing
from processors.history import compaction, integrity, manifest, reading
from processors.history.manifest import Chunk, Manifest, Segment
from processors.history.rows import by_snapshot, header_table, read_headers
from processors.history.store import (
    EARLIEST_MS,
    LATEST_MS,
    ROWS,
    Day,
    History,
    HistoryError,
    Kept,
    Unavailable,
    UnknownFeed,
    checked_day,
    columns_of,
    feed_name,
    local_day,
    schema_of,
)
from processors.snapshot import FeedSpec, Header

_DAYS_KNOWN = 4


class ParquetHistory(History):
    """The history below a directory."""

    def __init__(self, root: Path):
        self.root = root
        self._held: OrderedDict[tuple[str, str], tuple[Manifest, set[int]]] = OrderedDict()

    # ---- feeds

    def describe(self, spec: FeedSpec) -> None:
        before = self.spec(spec.name)
        if before == spec:
            return
        if before is not None and before.zone != spec.zone and self._days(spec.name):
            raise HistoryError(
                f"feed {spec.name} is kept by days of {before.zone}, not {spec.zone}: delete its history first"
            )
        with self._locked(spec.name), writing(self._path(spec.name) / "feed.json") as file:
            file.write(spec.to_json().encode())

    def spec(self, feed: str) -> FeedSpec | None:
        try:
            return FeedSpec.from_json((self._path(feed) / "feed.json").read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unavailable(error) from error

    def feeds(self) -> list[str]:
        return sorted(path.parent.name for path in self.root.glob("*/feed.json"))

    # ---- writing

    def append(self, feed: str, snapshots: Sequence[Kept]) -> int:
        zone = self._zone(feed)
        ordered = sorted(snapshots, key=lambda each: each.header.time)
        new = 0
        with self._locked(feed):
            for day, group in groupby(ordered, key=lambda each: local_day(each.header.time, zone)):
                new += self._append_day(feed, day, list(group))
        return new

    def _append_day(self, feed: str, day: str, snapshots: list[Kept]) -> int:
        directory = self._path(feed) / day
        found = manifest.load(directory)
        held = self._times(feed, day, found)
        fresh: dict[int, Kept] = {}
        for each in snapshots:
            if each.header.time not in held:
                fresh.setdefault(each.header.time, each)
        if not fresh:
            return 0
        if not directory.is_dir():
            directory.mkdir()
            sync_directory(directory.parent)
        for part in _pieces(list(fresh.values())):
            found = found.add(_write(directory, part))
        sync_directory(directory)  # the files' names, before the manifest that names them
        manifest.save(directory, found)
        self._remember(feed, day, found, held | fresh.keys())
        return len(fresh)

    def _times(self, feed: str, day: str, found: Manifest) -> set[int]:
        """Return the times of the snapshots that a day holds."""
        known = self._held.get((feed, day))
        if known is not None and known[0] == found:
            return known[1]
        directory = self._path(feed) / day
        with reading.told():
            tables = [pq.read_table(directory / each.headers_file.name, columns=["time"]) for each in found.segments]
        times = {time for table in tables for time in table.column("time").cast(pa.int64()).to_pylist()}
        self._remember(feed, day, found, times)
        return times

    def _remember(self, feed: str, day: str, found: Manifest, times: set[int]) -> None:
        self._held[feed, day] = found, times
        self._held.move_to_end((feed, day))
        while len(self._held) > _DAYS_KNOWN:
            self._held.popitem(last=False)

    # ---- reading

    def read(
        self,
        feed: str,
        start: int = EARLIEST_MS,
        end: int = LATEST_MS,
        codes: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.RecordBatchReader:
        names = columns_of(columns)
        directories = self._between(feed, start, end)
        wanted = reading.Wanted(start, end, None if codes is None else sorted(set(codes)), tuple(names))
        batches = (batch for directory in directories for batch in reading.day(directory, wanted))
        return pa.RecordBatchReader.from_batches(schema_of(names), batches)

    def headers(self, feed: str, start: int = EARLIEST_MS, end: int = LATEST_MS) -> Iterator[tuple[Header, bool]]:
        for directory in self._between(feed, start, end):
            found = []
            for each in manifest.load(directory).segments:
                if each.first < end and each.last >= start:
                    with reading.told():
                        found += read_headers(feed, pq.read_table(directory / each.headers_file.name))
            found.sort(key=lambda each: each[0].time)
            yield from (each for each in found if start <= each[0].time < end)

    def files(self, feed: str, start: int = EARLIEST_MS, end: int = LATEST_MS) -> list[Path]:
        """Return the files of rows that hold a range, for tools that read Parquet by themselves."""
        return [
            directory / each.rows_file.name
            for directory in self._between(feed, start, end)
            for each in manifest.load(directory).segments
            if each.first < end and each.last >= start
        ]

    def coverage(self, feed: str) -> list[Day]:
        found = ((day, manifest.load(self._path(feed) / day)) for day in self._days(feed))
        return [each.day(day) for day, each in found if each.segments]

    def _between(self, feed: str, start: int, end: int) -> list[Path]:
        """Return the directories of the days that a range touches."""
        if not self._days(feed) or start >= end:
            return []
        zone = self._zone(feed)
        low = local_day(min(max(start, EARLIEST_MS), LATEST_MS), zone)
        high = local_day(min(max(end - 1, EARLIEST_MS), LATEST_MS), zone)
        return [self._path(feed) / day for day in self._days(feed) if low <= day <= high]

    # ---- keeping house

    def delete_before(self, feed: str, day: str) -> int:
        old = [each for each in self._days(feed) if each < checked_day(day)]
        if not old:
            return 0
        with self._locked(feed):
            for each in old:
                away = self._path(feed) / f".deleted-{each}-{secrets.token_hex(4)}"
                (self._path(feed) / each).rename(away)
            for away in self._path(feed).glob(".deleted-*"):
                shutil.rmtree(away)
        return len(old)

    def compact(self, feed: str, *, now_ms: int, quiet_s: float = 7_200) -> list[str]:
        done = []
        for day in self._days(feed):
            directory = self._path(feed) / day
            if (directory / manifest.NAME).stat().st_mtime_ns // 1_000_000 > now_ms - quiet_s * 1000:
                continue
            with self._locked(feed):
                compaction.sweep(directory, now_ms)
            before = manifest.load(directory)
            if before.segments and not before.day(day).compacted:
                whole = compaction.put_together(directory, before)
                with self._locked(feed):
                    self._replace(directory, before.segments, whole, now_ms)
                done.append(day)
        return done

    def _replace(self, directory: Path, parts: tuple[Segment, ...], whole: Segment, now_ms: int) -> None:
        """Let a compacted segment take the place of its parts, unless another process was first."""
        now = manifest.load(directory)
        if set(parts) <= set(now.segments):
            manifest.save(directory, now.put_together(parts, whole, now_ms))

    def check(self, feed: str) -> Iterator[str]:
        for day in self._days(feed):
            yield from integrity.check_day(self._path(feed) / day, day, self._zone(feed))

    # ---- paths and the lock

    def _path(self, feed: str) -> Path:
        return self.root / feed_name(feed)

    def _days(self, feed: str) -> list[str]:
        return sorted(path.parent.name for path in self._path(feed).glob(f"????-??-??/{manifest.NAME}"))

    def _zone(self, feed: str) -> str:
        spec = self.spec(feed)
        if spec is None:
            raise UnknownFeed(feed, self.feeds())
        return spec.zone

    @contextmanager
    def _locked(self, feed: str) -> Iterator[None]:
        try:
            self._path(feed).mkdir(parents=True, exist_ok=True)
            with (self._path(feed) / ".lock").open("wb") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise _unavailable(error) from error


def _unavailable(error: Exception) -> Unavailable:
    return Unavailable(f"the history does not take it: {error}")


def _pieces(snapshots: list[Kept]) -> Iterator[list[Kept]]:
    """Divide snapshots into segments of no more rows than are read at once."""
    piece: list[Kept] = []
    rows = 0
    for each in snapshots:
        if piece and rows + each.rows.num_rows > reading.PORTION_ROWS:
            yield piece
            piece, rows = [], 0
        piece.append(each)
        rows += each.rows.num_rows
    yield piece


def _write(directory: Path, snapshots: list[Kept]) -> Segment:
    """Write snapshots as a pair of files that no manifest names yet."""
    rows = by_snapshot(pa.concat_tables([each.rows for each in snapshots]).cast(ROWS))
    name = f"{snapshots[0].header.time}-{secrets.token_hex(4)}.parquet"
    with (
        writing(directory / f"rows-{name}", sync_name=False) as file,
        pq.ParquetWriter(file, ROWS, compression="zstd") as writer,
    ):
        writer.write_table(rows, row_group_size=max(rows.num_rows, 1))
    with writing(directory / f"headers-{name}", sync_name=False) as file:
        pq.write_table(header_table(snapshots), file, compression="zstd")
    times = np.array([each.header.time for each in snapshots])
    return Segment(
        rows_file=manifest.describe(directory / f"rows-{name}"),
        headers_file=manifest.describe(directory / f"headers-{name}"),
        rows=rows.num_rows,
        snapshots=len(snapshots),
        expected=sum(each.header.expected for each in snapshots),
        chunks=(Chunk(0, min(rows.num_rows, 1), int(times.min()), int(times.max())),),
    )
