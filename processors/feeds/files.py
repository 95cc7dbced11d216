"""Read tick files, CSV (gzip, zip) and Parquet, in bounded memory, as Arrow batches in the order of time."""

from __future__ import annotations

import contextlib
import csv
import functools
import io
import lzma
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from processors.contract import FeedSpec
from processors.feeds import parse
from processors.feeds.fields import EXPECTED, TURNOVER, columns_of, find_fields
from processors.feeds.tally import SourceError, Tally

BATCH_ROWS = 65_536
SORTED_BYTES = 512 * 2**20  # a file whose stocks come one after the other is sorted in memory up to this size
_READ = pa.csv.ReadOptions(block_size=4 * 2**20, encoding="latin-1")  # never fails on a stray byte
# RuntimeError is what zipfile says of a password, and, as NotImplementedError, of a packing that it does not know.
_UNREADABLE = (
    *(pa.ArrowException, OSError, EOFError, UnicodeError, csv.Error, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
Open = Callable[[], pa.NativeFile]


def read_ticks(
    path: Path, spec: FeedSpec, tally: Tally | None = None, mapping: Mapping[str, str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield the file's batches: in file order, or sorted where it goes back in time or lists one stock after the other.

    Columns are named by our fields; ``mapping`` (field → column of the file) says where they are, else they are found
    under their usual names. A mapping's time may be ``date+time``, two columns; its amount ``price*volume``, where
    the file has none and volume is per row. Lines with a wrong number of fields are counted in ``tally``
    (``broken_line``) and left out. Raises ``SourceError``, naming the file, if it is missing, empty, unreadable or
    lacks a column.
    """
    check_turnover(mapping, spec.volume_mode, path)
    lot = spec.lot_size if spec.volume_unit == "lots" else 1
    with _told_by_name(path):
        yield from _ordered(_batches(path, tally or Tally(), mapping, lot), path, spec.zone)


def check_turnover(mapping: Mapping[str, str] | None, volume_mode: str, path: Path) -> None:
    """Raise ``SourceError`` for an amount of price times volume where volume is a running total."""
    if (mapping or {}).get("amount") == TURNOVER and volume_mode == "cumulative":
        raise SourceError(
            f"{path}: amount can't be {TURNOVER}, for volume is cumulative; expected a column for amount, or "
            "volume_mode interval"
        )


def column_names(path: Path) -> list[str]:
    """Return the names of the file's columns, whatever they are. Raises ``SourceError`` if it cannot be read."""
    with _told_by_name(path):
        _not_empty(path)
        if is_parquet(path):
            with pa.parquet.ParquetFile(path) as file:
                return list(file.schema_arrow.names)
        names, _ = _header(_parts(path)[0], path)
        return [spoken(name) for name in names]


def preview(path: Path, count: int) -> tuple[list[str], list[list[str]]]:
    """Return the names of all columns and the first rows as text. Raises ``SourceError`` as ``column_names`` does."""
    names = column_names(path)
    with _told_by_name(path):
        if is_parquet(path):
            with pa.parquet.ParquetFile(path) as file:
                for batch in file.iter_batches(count):
                    return names, [[parse.shown(column[row]) for column in batch] for row in range(batch.num_rows)]
            return names, []
        part = _parts(path)[0]
        _, delimiter = _header(part, path)
        with part() as stream:
            # Not str.splitlines: to it a byte within a letter of UTF-8 may end a line.
            lines = stream.read(65_536).decode("latin-1").rstrip("\r\n").split("\n")[1 : count + 1]
        rows = csv.reader([line.replace("\r", "") for line in lines], delimiter=delimiter)
        return names, [[spoken(cell) for cell in row] for row in rows]


def first_rows(path: Path, batches: int, mapping: Mapping[str, str] | None = None) -> pa.Table:
    """Return the beginning of a file in its own order, columns named as by ``read_ticks``, without reading the rest.

    Raises ``SourceError`` as ``read_ticks`` does.
    """
    with _told_by_name(path):
        found = list(islice(_batches(path, Tally(), mapping, lot=1), batches))
        if not found:
            raise SourceError(f"{path} has a header and no rows; expected at least one")
        return pa.Table.from_batches(found)


def is_parquet(path: Path) -> bool:
    return path.suffix.lower() in (".parquet", ".pq")


@contextlib.contextmanager
def _told_by_name(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise SourceError(f"{path} does not exist; expected a CSV or Parquet file with {EXPECTED}") from error
    except _UNREADABLE as error:
        raise SourceError(f"{path} cannot be read as {_kind(path)}: {error}; expected {EXPECTED}") from error


def _kind(path: Path) -> str:
    return "Parquet" if is_parquet(path) else "CSV"


def _not_empty(path: Path) -> None:
    if path.stat().st_size == 0:
        raise SourceError(f"{path} is empty; expected a CSV or Parquet file with {EXPECTED}")


def _batches(path: Path, tally: Tally, mapping: Mapping[str, str] | None, lot: int) -> Iterator[pa.RecordBatch]:
    _not_empty(path)
    if is_parquet(path):
        yield from _parquet(path, mapping, lot)
        return
    for part in _parts(path):
        yield from _csv(part, path, tally, mapping, lot)


def _parquet(path: Path, mapping: Mapping[str, str] | None, lot: int) -> Iterator[pa.RecordBatch]:
    with pa.parquet.ParquetFile(path) as file:
        names = file.schema_arrow.names
        fields = find_fields(names, str(path), mapping)
        for batch in file.iter_batches(BATCH_ROWS, columns=_used(fields, names)):
            yield _by_field(batch, fields, lot)


def _used(fields: Mapping[str, str], names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(part for column in fields.values() for part in columns_of(column, names)))


def _by_field(batch: pa.RecordBatch, fields: Mapping[str, str], lot: int) -> pa.RecordBatch:
    """Return the columns named by our fields. ``lot``: how many shares a volume of 1 is, for an amount made of it."""
    columns: dict[str, pa.Array] = {}
    for field, column in fields.items():
        parts = [parse.plain(batch.column(name)) for name in columns_of(column, batch.schema.names)]
        if not parts:
            (price, _), (volume, _) = (parse.numbers(columns[name]) for name in ("price", "volume"))
            with np.errstate(over="ignore"):
                columns[field] = pa.array(price * volume * lot)
        elif len(parts) == 1:
            columns[field] = parts[0]
        else:
            columns[field] = pc.binary_join_element_wise(*(part.cast(pa.string()) for part in parts), " ")
    return pa.RecordBatch.from_pydict(columns)


# ---- CSV: one text, or those that a zip holds, in the order of their names


def _csv(
    open_part: Open, path: Path, tally: Tally, mapping: Mapping[str, str] | None, lot: int
) -> Iterator[pa.RecordBatch]:
    broken: deque[str] = deque()  # Arrow reads ahead in threads of its own, and the tally is ours

    def skip(row: pa.csv.InvalidRow) -> str:
        broken.append(row.text)
        return "skip"

    names, delimiter = _header(open_part, path)
    written = {spoken(name): name for name in reversed(names)}
    readable = [spoken(name) for name in names]
    fields = find_fields(readable, str(path), mapping)
    used = _used(fields, readable)
    columns = [written[name] for name in used]
    convert = pa.csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.string()), include_columns=columns)
    parsing = pa.csv.ParseOptions(delimiter=delimiter, invalid_row_handler=skip)
    with open_part() as stream:
        lines = _WholeLines(stream, delimiter, broken)
        with pa.csv.open_csv(lines, _READ, parsing, convert) as reader:
            for batch in reader:
                named = _by_field(batch.rename_columns(used), fields, lot)
                for start in range(0, batch.num_rows, BATCH_ROWS):
                    yield named.slice(start, BATCH_ROWS)
                _count_broken(broken, tally)
    _count_broken(broken, tally)


def _count_broken(lines: deque[str], tally: Tally) -> None:
    while lines:
        tally.refuse("broken_line", lines.popleft())


def _parts(path: Path) -> list[Open]:
    if path.suffix.lower() != ".zip":
        return [lambda: _after_mark(lambda: pa.input_stream(str(path), compression=_compression(path)))]
    with zipfile.ZipFile(path) as archive:
        files = [each for each in archive.infolist() if not each.is_dir() and each.file_size]
    seen = [each for each in files if not _is_hidden(each.filename)]
    if not seen:
        raise SourceError(f"{path} holds no file; expected CSV files with {EXPECTED}")
    members = sorted(seen, key=lambda each: each.filename)
    return [functools.partial(_after_mark, functools.partial(_member, path, member)) for member in members]


def _is_hidden(name: str) -> bool:
    """True for what macOS adds to what somebody packs."""
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))


def _member(path: Path, member: zipfile.ZipInfo) -> pa.NativeFile:
    return pa.PythonFile(zipfile.ZipFile(path).open(member), mode="r")


def _compression(path: Path) -> str | None:
    return "gzip" if path.suffix.lower() == ".gz" else None


def _after_mark(open_part: Open) -> pa.NativeFile:
    """Open a text behind its byte order mark, which is no part of the first column's name; UTF-16 becomes UTF-8."""
    stream = open_part()
    mark = stream.read(3)
    if mark == b"\xef\xbb\xbf":
        return stream
    stream.close()
    stream = open_part()
    return pa.transcoding_input_stream(stream, "utf-16", "utf-8") if mark[:2] in _UTF_16 else stream


def _header(open_part: Open, path: Path) -> tuple[list[str], str]:
    """Return the names of the first line, as Arrow will read them (Latin-1), and what stands between them."""
    with open_part() as stream:
        line = stream.read(65_536).split(b"\n", 1)[0].decode("latin-1").strip("\r")
    if not line.strip():
        raise SourceError(f"{path} begins with an empty line; expected {EXPECTED}")
    delimiter = max(",;\t|", key=line.count)
    return next(csv.reader([line], delimiter=delimiter)), delimiter


def spoken(name: str) -> str:
    """Return a name that was read as Latin-1 as it was meant: in UTF-8, in GB 18030, or so."""
    raw = name.encode("latin-1")
    for encoding in ("utf-8", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return name


class _WholeLines(io.RawIOBase):
    """A text without the lines whose quotes do not close: they would swallow all that follows them. They are put into
    ``broken``; other lines go through as they are."""

    def __init__(self, stream: pa.NativeFile, delimiter: str, broken: deque[str]) -> None:
        self._stream, self._delimiter, self._broken = stream, delimiter, broken
        self._rest = b""  # the beginning of a line whose end has not come

    def readable(self) -> bool:
        return True

    def read(self, size: int = 2**22) -> bytes:
        """Return at most ``size`` bytes, nothing at the end. A line longer than that is for Arrow to refuse."""
        while data := self._stream.read(size - len(self._rest)):
            self._rest += data
            cut = self._rest.rfind(b"\n") + 1 or (len(self._rest) if len(self._rest) >= size else 0)
            whole, self._rest = self._rest[:cut], self._rest[cut:]
            if kept := self._closing(whole):
                return kept
        whole, self._rest = self._rest, b""
        return self._closing(whole)

    def _closing(self, lines: bytes) -> bytes:
        if b'"' not in lines:
            return lines
        return b"\n".join(line for line in lines.split(b"\n") if b'"' not in line or self._closes(line))

    def _closes(self, line: bytes) -> bool:
        text = line.decode("latin-1").rstrip("\r")
        try:
            next(csv.reader([text], delimiter=self._delimiter, strict=True))
        except csv.Error:
            self._broken.append(text)
            return False
        return True


# ---- order


def _ordered(batches: Iterator[pa.RecordBatch], path: Path, zone: str) -> Iterator[pa.RecordBatch]:
    """Hold a file back while it is small enough to be sorted, and sort it where it is not in order of time."""
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
    table, source = pa.Table.from_batches(held), str(path)
    del held
    if is_stock_by_stock(table, source) or is_newest_first(table, source, zone):
        table = sort_by_time(table, source, zone)
    yield from table.to_batches(BATCH_ROWS)


def is_stock_by_stock(table: pa.Table, source: str) -> bool:
    """True if the file lists long stretches of one stock after the other instead of going through time."""
    code = parse.flat(table.column(find_fields(table.column_names, source)["code"]))
    if not parse.is_text(code) or len(code) < 3:
        return False
    numbers = code.dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False)
    stretches = 1 + np.count_nonzero(numbers[1:] != numbers[:-1])
    return bool(len(np.unique(numbers)) > 1 and stretches * 3 < len(numbers))


def is_newest_first(table: pa.Table, source: str, zone: str) -> bool:
    """True if the file goes back in time: by a thousand of its rows, its first half is newer than its second."""
    looked_at = np.linspace(0, table.num_rows - 1, min(table.num_rows, 1_000)).astype(np.int64)
    time = _times(table.take(pa.array(looked_at)), source, zone)
    time = time[time != parse.NO_TIME]
    half = len(time) // 2
    return half > 0 and bool(np.median(time[:half]) > np.median(time[half:]))


def sort_by_time(table: pa.Table, source: str, zone: str) -> pa.Table:
    """Return the table in order of time; equal times stay in the order they came."""
    return table.take(pa.array(np.argsort(_times(table, source, zone), kind="stable")))


def _times(table: pa.Table, source: str, zone: str) -> np.ndarray:
    return parse.times(parse.flat(table.column(find_fields(table.column_names, source)["time"])), zone)
