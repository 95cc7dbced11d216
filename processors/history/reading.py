"""Reads a day of the Parquet history in order, a chunk at a time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from processors.history import manifest
from processors.history.manifest import Chunk, Segment
from processors.history.rows import by_snapshot
from processors.history.store import BATCH_ROWS, MOMENT, ROWS, Damaged, Unavailable, schema_of

_CODE = ROWS.names.index("code")


@dataclass(frozen=True)
class Wanted:
    """What of the rows is asked for: snapshots from ``start`` up to ``end``, ms UTC; ``codes`` None are all."""

    start: int
    end: int
    codes: list[str] | None
    columns: tuple[str, ...]

    def read_columns(self) -> list[str]:
        """Return the columns to read: what is asked for, and what decides on rows and order."""
        return [*dict.fromkeys(("snapshot", "code", *self.columns))]


def day(directory: Path, wanted: Wanted) -> Iterator[pa.RecordBatch]:
    """Yield a day's rows in order of (snapshot, code). What is appended meanwhile is not seen."""
    found = manifest.load(directory)
    chunks = [
        (chunk, segment)
        for segment in found.segments
        for chunk in segment.chunks
        if chunk.first < wanted.end and chunk.last >= wanted.start
    ]
    files = _Files(directory)
    for together in _overlapping(sorted(chunks, key=lambda each: each[0].first)):
        tables = [files.read(chunk, segment, wanted) for chunk, segment in together]
        table = pa.concat_tables(tables)
        if len(together) > 1 or together[0][1].by_code:
            table = by_snapshot(table)
        yield from table.select(wanted.columns).cast(schema_of(wanted.columns)).to_batches(BATCH_ROWS)


def _overlapping(chunks: list[tuple[Chunk, Segment]]) -> Iterator[list[tuple[Chunk, Segment]]]:
    """Put together chunks whose times overlap, in order of their first: they have to be sorted as one."""
    together: list[tuple[Chunk, Segment]] = []
    last = -1
    for each in chunks:
        if together and each[0].first > last:
            yield together
            together = []
        together.append(each)
        last = max(last, each[0].last)
    if together:
        yield together


class _Files:
    """A day's files; the one that was read last stays open, for a compacted day is one file of many chunks."""

    def __init__(self, directory: Path):
        self.directory = directory
        self._open: tuple[str, pq.ParquetFile] | None = None

    def read(self, chunk: Chunk, segment: Segment, wanted: Wanted) -> pa.Table:
        with told():
            file = self._file(segment.rows_file.name)
            groups = _groups(file.metadata, chunk, segment, wanted)
            table = file.read_row_groups(groups, columns=wanted.read_columns())
        return _filtered(table, chunk, wanted)

    def _file(self, name: str) -> pq.ParquetFile:
        if self._open is None or self._open[0] != name:
            self._open = name, pq.ParquetFile(self.directory / name, memory_map=True)
        return self._open[1]


def _groups(metadata: pq.FileMetaData, chunk: Chunk, segment: Segment, wanted: Wanted) -> Sequence[int]:
    """Return the row groups of a chunk that may hold one of the codes asked for, by their statistics."""
    groups = range(chunk.begin, chunk.end)
    if wanted.codes is None:
        return groups
    if not segment.by_code or len(wanted.codes) > len(groups):
        return [at for at in groups if _may_hold(metadata, at, wanted.codes)]
    found: set[int] = set()
    for code in wanted.codes:  # the groups are in order of their codes: a few are looked at, not all
        at = bisect_left(groups, code, key=lambda group: _span(metadata, group)[1])
        while at < len(groups) and _span(metadata, groups[at])[0] <= code:
            found.add(groups[at])
            at += 1
    return sorted(found)


def _may_hold(metadata: pq.FileMetaData, group: int, codes: list[str]) -> bool:
    first, last = _span(metadata, group)
    at = bisect_left(codes, first)
    return at < len(codes) and codes[at] <= last


def _span(metadata: pq.FileMetaData, group: int) -> tuple[str, str]:
    """Return the first and the last code of a row group; of one without statistics all that there can be."""
    found = metadata.row_group(group).column(_CODE).statistics
    return (found.min, found.max) if found is not None and found.has_min_max else ("", chr(0x10FFFF))


def _filtered(table: pa.Table, chunk: Chunk, wanted: Wanted) -> pa.Table:
    if wanted.codes is not None:
        table = table.filter(pc.is_in(table.column("code"), pa.array(wanted.codes, pa.string())))
    if chunk.first < wanted.start or chunk.last >= wanted.end:
        moment = table.column("snapshot")
        after = pc.greater_equal(moment, pa.scalar(wanted.start, MOMENT))
        table = table.filter(pc.and_(after, pc.less(moment, pa.scalar(wanted.end, MOMENT))))
    return table


@contextmanager
def told() -> Iterator[None]:
    """Tell a file that can't be read in the history's words."""
    try:
        yield
    except FileNotFoundError as error:
        raise Damaged(f"{error.filename or error} is gone: deleted while it was read, or damaged") from error
    except (pa.ArrowException, ValueError) as error:
        raise Damaged(f"a file of the history can't be read: {error}") from error
    except OSError as error:
        if error.errno is None:  # of Arrow itself: the content is wrong
            raise Damaged(f"a file of the history can't be read: {error}") from error
        raise Unavailable(f"the history does not answer: {error}") from error
