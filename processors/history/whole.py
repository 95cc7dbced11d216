"""Whole snapshots out of a history, one after the other: headers and rows read side by side, a day at a time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pyarrow as pa

from processors.history.store import EARLIEST_MS, LATEST_MS, ROWS, Damaged, History, Kept
from processors.snapshot import Header


def snapshots(history: History, feed: str, start: int = EARLIEST_MS, end: int = LATEST_MS) -> Iterator[Kept]:
    """Yield the snapshots of a range in order of time; rows are in order of code. What is appended to a day once its
    headers are read is not seen. Raises Damaged where there are other rows than a header says."""
    for day in history.coverage(feed):
        low, high = max(day.first, start), min(day.last + 1, end)
        headers = list(history.headers(feed, low, high)) if low < high else []
        if headers:
            yield from _of_day(headers, _by_snapshot(history.read(feed, low, headers[-1][0].time + 1)))


def _of_day(headers: list[tuple[Header, bool]], groups: Iterator[tuple[int, pa.Table]]) -> Iterator[Kept]:
    waiting = next(groups, None)
    for header, quotes in headers:
        rows = ROWS.empty_table()
        while waiting is not None and waiting[0] <= header.time:
            rows = waiting[1] if waiting[0] == header.time else rows
            waiting = next(groups, None)
        if rows.num_rows != header.received:
            raise Damaged(f"{header.feed} at {header.time}: {rows.num_rows} rows, its header says {header.received}")
        yield Kept(header, rows, quotes)


def _by_snapshot(reader: pa.RecordBatchReader) -> Iterator[tuple[int, pa.Table]]:
    """Yield (time, rows) of each snapshot that has rows; one may reach over several batches."""
    time = -1
    held: list[pa.RecordBatch] = []
    for batch in reader:
        moments = batch.column("snapshot").cast(pa.int64()).to_numpy()
        starts = [0, *(np.flatnonzero(moments[1:] != moments[:-1]) + 1), len(moments)]
        for begin, end in pairwise(starts):
            if begin == end:
                continue
            if held and int(moments[begin]) != time:
                yield time, pa.Table.from_batches(held)
                held = []
            time = int(moments[begin])
            held.append(batch.slice(begin, end - begin))
    if held:
        yield time, pa.Table.from_batches(held)
