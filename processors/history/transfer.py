"""Brings snapshots into a history from a file, or from another history; both may be broken off and begun again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from processors.contract import FeedSpec
from processors.feeds import offline
from processors.feeds.tally import Tally
from processors.feeds.vendors.bars import Bars
from processors.history.rows import batch_columns, by_snapshot, kept
from processors.history.store import EARLIEST_MS, LATEST_MS, History, HistoryError, Kept
from processors.history.whole import snapshots

AT_ONCE_ROWS = 500_000


@dataclass
class Moved:
    """What was read so far, and how many snapshots of it were new."""

    snapshots: int = 0
    rows: int = 0
    new: int = 0


Told = Callable[[Moved], None]


def bring(history: History, feed: str, source: Iterator[Kept], told: Told = lambda moved: None) -> Moved:
    """Append what a source gives, a portion at a time; ``told`` is called after each."""
    moved, portion, rows = Moved(), [], 0
    for each in source:
        portion.append(each)
        rows += each.rows.num_rows
        if rows >= AT_ONCE_ROWS:
            _append(history, feed, portion, rows, moved)
            told(moved)
            portion, rows = [], 0
    if portion:
        _append(history, feed, portion, rows, moved)
        told(moved)
    return moved


def _append(history: History, feed: str, portion: list[Kept], rows: int, moved: Moved) -> None:
    moved.new += history.append(feed, portion)
    moved.snapshots += len(portion)
    moved.rows += rows


def of_file(path: Path, spec: FeedSpec, tally: Tally, mapping: Mapping[str, str] | None = None) -> Iterator[Kept]:
    """Yield the snapshots that a replay of a file publishes. Raises ``SourceError`` if it cannot be used."""
    for header, slices in offline.snapshots(path, spec, tally, mapping):
        yield kept(header, [batch_columns(part) for part in slices])


def of_bars(bars: Bars, spec: FeedSpec, tally: Tally) -> Iterator[Kept]:
    """Yield the snapshots that a vendor's bars make: of each bar one row, at its end."""
    for header, slices in offline.assembled(bars.batches(), spec, tally, bars.source, bars.phase_ms):
        yield kept(header, [batch_columns(part) for part in slices])


def copy(source: History, target: History, feed: str, told: Told = lambda moved: None) -> Moved:
    """Bring all that a history holds of a feed into another, and compare them day by day.

    Raises HistoryError when a day, afterwards, is not the same in both: the target had something else before.
    """
    spec = source.spec(feed)
    if spec is None:
        raise HistoryError(f"there is no feed {feed!r} in the history to copy from")
    target.describe(spec)
    moved = bring(target, feed, snapshots(source, feed), told)
    for day in source.coverage(feed):
        between = day.first, day.last + 1
        if digest(source, feed, *between) != digest(target, feed, *between):
            raise HistoryError(f"{feed} on {day.day} is not the same in both: the target held other snapshots before")
    return moved


def digest(history: History, feed: str, start: int = EARLIEST_MS, end: int = LATEST_MS) -> str:
    """Return a hash of the headers and rows of a range, the same whatever store holds them."""
    found = hashlib.sha256()
    for each in snapshots(history, feed, start, end):
        found.update(f"{each.header.to_json()} {each.quotes}".encode())
        sink = pa.BufferOutputStream()
        rows = by_snapshot(each.rows)
        with pa.ipc.new_stream(sink, rows.schema) as writer:
            for batch in rows.combine_chunks().to_batches():
                writer.write_batch(_plain(batch))
        found.update(sink.getvalue())
    return found.hexdigest()


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the batch in memory of its own: of one cut out of a longer one, other bytes would be written."""
    return batch.take(pa.array(range(batch.num_rows)))
