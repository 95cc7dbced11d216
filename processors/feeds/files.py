"""Read tick files, CSV (gzip too) and Parquet, in bounded memory, as Arrow batches in the order of time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from processors.feeds import parse
from processors.feeds.fields import EXPECTED, find_fields
from processors.feeds.tally import SourceError, Tally

BATCH_ROWS = 65_536
SORTED_BYTES = 512 * 2**20  # a file whose stocks come one after the other is sorted in memory up to this size
_READ = pa.csv.ReadOptions(block_size=4 * 2**20, encoding="latin-1")  # never fails on a stray byte


def read_ticks(path: Path, zone: str, tally: Tally | None = None) -> Iterator[pa.RecordBatch]:
    """Yield the file's batches: in file order, or, where it lists one stock after the other, sorted by time.

    Lines with a wrong number of fields are counted in ``tally`` (``broken_line``) and left out.
    Raises ``SourceError``, naming the file, if it is missing, empty, unreadable or lacks a column.
    """
    try:
        yield from _ordered(_batches(path, tally or Tally()), path, zone)
    except FileNotFoundError as error:
        raise SourceError(f"{path} does not exist; expected a CSV or Parquet file with {EXPECTED}") from error
    except (pa.ArrowException, OSError) as error:
        kind = "Parquet" if is_parquet(path) else "CSV"
        raise SourceError(f"{path} cannot be read as {kind}: {error}; expected {EXPECTED}") from error


def is_parquet(path: Path) -> bool:
    return path.suffix.lower() in (".parquet", ".pq")


def _batches(path: Path, tally: Tally) -> Iterator[pa.RecordBatch]:
    if path.stat().st_size == 0:
        raise SourceError(f"{path} is empty; expected a CSV or Parquet file with {EXPECTED}")
    if is_parquet(path):
        yield from _parquet(path)
    else:
        yield from _csv(path, tally)


def _parquet(path: Path) -> Iterator[pa.RecordBatch]:
    with pa.parquet.ParquetFile(path) as file:
        names = list(find_fields(file.schema_arrow.names, str(path)).values())
        yield from file.iter_batches(BATCH_ROWS, columns=names)


def _csv(path: Path, tally: Tally) -> Iterator[pa.RecordBatch]:
    def skip(row: pa.csv.InvalidRow) -> str:
        tally.received += 1
        tally.reject("broken_line", np.zeros(1), lambda _: row.text)
        return "skip"

    names = list(find_fields(_header(path), str(path)).values())
    convert = pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), include_columns=names)
    parsing = pa.csv.ParseOptions(invalid_row_handler=skip)
    with _open(path) as stream, pa.csv.open_csv(stream, _READ, parsing, convert) as reader:
        for batch in reader:
            for start in range(0, batch.num_rows, BATCH_ROWS):
                yield batch.slice(start, BATCH_ROWS)


def _open(path: Path) -> pa.NativeFile:
    stream = pa.input_stream(str(path), compression="gzip" if path.suffix.lower() == ".gz" else None)
    if stream.read(3) != b"\xef\xbb\xbf":  # a byte order mark is no part of the first column's name
        stream.close()
        stream = pa.input_stream(str(path), compression="gzip" if path.suffix.lower() == ".gz" else None)
    return stream


def _header(path: Path) -> list[str]:
    with _open(path) as stream:
        line = stream.read(65_536).split(b"\n", 1)[0]
    if not line.strip():
        raise SourceError(f"{path} begins with an empty line; expected {EXPECTED}")
    return [name.strip('"') for name in line.decode("latin-1").strip("\r").split(",")]


def _ordered(batches: Iterator[pa.RecordBatch], path: Path, zone: str) -> Iterator[pa.RecordBatch]:
    """Hold a file back while it may be one stock after the other and small enough to be sorted."""
    held: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        held.append(batch)
        size += batch.nbytes
        if size > SORTED_BYTES:
            yield from held
            yield from batches
            return
    if not held:
        raise SourceError(f"{path} has a header and no rows; expected at least one")
    table = pa.Table.from_batches(held)
    del held
    yield from (sort_by_time(table, str(path), zone) if is_stock_by_stock(table, str(path)) else table).to_batches(
        BATCH_ROWS
    )


def is_stock_by_stock(table: pa.Table, source: str) -> bool:
    """True if the file lists long stretches of one stock after the other instead of going through time."""
    code = parse.flat(table.column(find_fields(table.column_names, source)["code"]))
    if not parse.is_text(code) or len(code) < 3:
        return False
    numbers = code.dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False)
    stretches = 1 + np.count_nonzero(numbers[1:] != numbers[:-1])
    return bool(len(np.unique(numbers)) > 1 and stretches * 3 < len(numbers))


def sort_by_time(table: pa.Table, source: str, zone: str) -> pa.Table:
    """Return the table in order of time; equal times stay in the order they came."""
    time = parse.times(parse.flat(table.column(find_fields(table.column_names, source)["time"])), zone)
    return table.take(pa.array(np.argsort(time, kind="stable")))
