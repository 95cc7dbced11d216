"""Puts a day's pieces together into one file in which a code's whole day lies close together.

The file is a row of chunks, each some snapshots long and in order of (code, snapshot): a code is read from a row group
or two of each chunk, and the whole day in order of time a chunk at a time, in bounded memory.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from processors.durable import writing
from processors.history import manifest, reading
from processors.history.manifest import RETIRED_MS, Chunk, Manifest, Segment
from processors.history.rows import by_code
from processors.history.store import EARLIEST_MS, LATEST_MS, ROWS

GROUP_ROWS = 8_192
_SEARCHED_BY = ["snapshot", "code"]  # of all columns they would make the end that each reader reads twice as long


def put_together(directory: Path, found: Manifest) -> Segment:
    """Write all of a day as one segment that no manifest names yet."""
    name = f"{min(each.first for each in found.segments)}-{secrets.token_hex(4)}.parquet"
    chunks, groups = [], 0
    with writing(directory / f"rows-{name}") as file, _writer(file) as writer:
        for table in _chunks(directory):
            moments = pc.min_max(table.column("snapshot").cast(pa.int64())).as_py()
            writer.write_table(by_code(table), row_group_size=GROUP_ROWS)
            begin, groups = groups, groups + -(-table.num_rows // GROUP_ROWS)
            chunks.append(Chunk(begin, groups, moments["min"], moments["max"]))
    headers = pa.concat_tables(pq.read_table(directory / each.headers_file.name) for each in found.segments)
    headers = headers.sort_by("time")
    with writing(directory / f"headers-{name}") as file:
        pq.write_table(headers, file, compression="zstd")
    return Segment(
        rows_file=manifest.describe(directory / f"rows-{name}"),
        headers_file=manifest.describe(directory / f"headers-{name}"),
        rows=sum(each.rows for each in found.segments),
        snapshots=headers.num_rows,
        expected=sum(each.expected for each in found.segments),
        chunks=_covering(chunks, headers),
        by_code=True,
    )


def _writer(file: IO[bytes]) -> pq.ParquetWriter:
    return pq.ParquetWriter(file, ROWS, compression="zstd", write_statistics=_SEARCHED_BY)


def _chunks(directory: Path) -> Iterator[pa.Table]:
    """Yield the day's rows in order of time, about as many at a time as are read at once, cut between two snapshots."""
    held: list[pa.Table] = []
    rows = 0
    everything = reading.Wanted(EARLIEST_MS, LATEST_MS, None, tuple(ROWS.names))
    for batch in reading.day(directory, everything):
        held.append(pa.Table.from_batches([batch]))
        rows += batch.num_rows
        if rows >= reading.PORTION_ROWS:
            table = pa.concat_tables(held)
            newest = table.column("snapshot")[-1]
            whole = int(pc.index(table.column("snapshot"), newest).as_py())
            if whole:  # else it is one snapshot so far
                yield table.slice(0, whole)
                held, rows = [table.slice(whole)], table.num_rows - whole
    if rows:
        yield pa.concat_tables(held)


def _covering(chunks: list[Chunk], headers: pa.Table) -> tuple[Chunk, ...]:
    """Stretch the chunks over snapshots without rows, so that a day's first and last time stay what they were."""
    times = headers.column("time").cast(pa.int64()).to_pylist()
    if not chunks:
        return (Chunk(0, 0, times[0], times[-1]),)
    first, last = chunks[0], chunks[-1]
    chunks[0] = Chunk(first.begin, first.end, min(first.first, times[0]), first.last)
    last = chunks[-1]
    chunks[-1] = Chunk(last.begin, last.end, last.first, max(last.last, times[-1]))
    return tuple(chunks)


def sweep(directory: Path, now_ms: int) -> None:
    """Delete files that nobody reads any more: retired an hour ago, or left by a writer that died."""
    found = manifest.load(directory)
    due = {name for name, at in found.retired.items() if now_ms - at > RETIRED_MS}
    counted = {file.name for file in found.files()} | found.retired.keys() - due
    for path in directory.iterdir():
        old = now_ms - path.stat().st_mtime_ns // 1_000_000 > RETIRED_MS
        if path.name != manifest.NAME and path.name not in counted and (old or path.name in due):
            path.unlink()
    if due:
        left = {name: at for name, at in found.retired.items() if name not in due}
        manifest.save(directory, Manifest(found.segments, left))
