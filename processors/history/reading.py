"""Reads a day of the Parquet history in order, a chunk at a time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from processors.history import manifest
from processors.history.manifest import Chunk, Segment
from processors.history.rows import by_snapshot
from processors.history.store import BATCH_ROWS, MOMENT, ROWS, Damaged, Unavailable, schema_of

PORTION_ROWS = 2**19  # that are read and put in order at once, at most (a snapshot is never divided)
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
    chunks = [
        (chunk, segment)
        for segment in manifest.load(directory).segments
        for chunk in segment.chunks
        if chunk.first < wanted.end and chunk.last >= wanted.start
    ]
    files = _Files(directory)
    parts = (files.part(chunk, segment, wanted) for chunk, segment in sorted(chunks, key=lambda each: each[0].first))
    for portion in _portions(parts):
        yield from _rows(files, portion, wanted)  # a frame of its own, so that nothing stays while the next is read


@dataclass(frozen=True)
class _Part:
    """Row groups of a file, their rows, and the times between which their snapshots lie."""

    file: str
    groups: Sequence[int]
    rows: int
    first: int
    last: int


def _portions(parts: Iterable[_Part]) -> Iterator[list[_Part]]:
    """Put together what is read at once, from parts in order of their first time: those whose times overlap, for they
    are sorted as one, and as many more as there is room for."""
    portion: list[_Part] = []
    rows, last = 0, -1
    for part in parts:
        if portion and part.first > last and rows + part.rows > PORTION_ROWS:
            yield portion
            portion, rows = [], 0
        portion.append(part)
        rows, last = rows + part.rows, max(last, part.last)
    if portion:
        yield portion


def _rows(files: _Files, portion: list[_Part], wanted: Wanted) -> Iterator[pa.RecordBatch]:
    tables = [
        files.read(name, [group for part in parts for group in part.groups], wanted.read_columns())
        for name, parts in groupby(portion, key=lambda part: part.file)
    ]
    whole = portion[0].first >= wanted.start and max(part.last for part in portion) < wanted.end
    table = by_snapshot(_filtered(pa.concat_tables(tables), wanted, whole))
    yield from table.select(wanted.columns).cast(schema_of(wanted.columns)).to_batches(BATCH_ROWS)


class _Files:
    """A day's files; the one that was looked at last stays open, for a compacted day is one file of many chunks."""

    def __init__(self, directory: Path):
        self.directory = directory
        self._open: tuple[str, pq.ParquetFile] | None = None

    def part(self, chunk: Chunk, segment: Segment, wanted: Wanted) -> _Part:
        name = segment.rows_file.name
        with told():
            metadata = self._file(name).metadata
            groups = _groups(metadata, chunk, segment, wanted)
            rows = sum(metadata.row_group(group).num_rows for group in groups)
        return _Part(name, groups, rows, chunk.first, chunk.last)

    def read(self, name: str, groups: Sequence[int], columns: list[str]) -> pa.Table:
        with told():
            return self._file(name).read_row_groups(groups, columns=columns)

    def _file(self, name: str) -> pq.ParquetFile:
        if self._open is None or self._open[0] != name:
            self._open = name, pq.ParquetFile(self.directory / name)
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


def _filtered(table: pa.Table, wanted: Wanted, whole: bool) -> pa.Table:
    """Return the rows that are asked for; ``whole``: all of them lie in the time asked for."""
    if wanted.codes is not None:
        table = table.filter(pc.is_in(table.column("code"), pa.array(wanted.codes, pa.string())))
    if not whole:
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
