"""Arrow batches as the bytes of a file, part by part: CSV, Parquet, Arrow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq


@dataclass(frozen=True)
class Format:
    media_type: str
    suffix: str
    writer: Callable[[Any, pa.Schema], Any]


FORMATS = {
    "csv": Format("text/csv", "csv", lambda sink, schema: pa.csv.CSVWriter(sink, schema)),
    "parquet": Format(
        "application/vnd.apache.parquet",
        "parquet",
        lambda sink, schema: pq.ParquetWriter(sink, schema, compression="zstd"),
    ),
    "arrow": Format("application/vnd.apache.arrow.stream", "arrows", pa.ipc.new_stream),
}


def encoded(reader: pa.RecordBatchReader, kind: Format) -> Iterator[bytes]:
    """Yield the file's bytes as its batches are read; no more than one batch is held."""
    sink = _Sink()
    with kind.writer(pa.PythonFile(sink, "w"), reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
            if part := sink.take():
                yield part
    yield sink.take()


class _Sink:
    """A file that gives away what was written to it."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._place = 0

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        self._place += len(data)
        return len(data)

    def tell(self) -> int:
        return self._place

    def flush(self) -> None:
        """There is nothing to wait for."""

    def close(self) -> None:
        """What is left is taken by whoever reads."""

    def writable(self) -> bool:
        return True

    def take(self) -> bytes:
        taken, self._parts = b"".join(self._parts), []
        return taken
