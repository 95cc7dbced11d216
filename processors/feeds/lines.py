"""Ticks as lines of CSV from a peer that is not to be trusted with where a line ends, or what is in it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.csv

from processors.contract import QUOTE_FIELDS
from processors.feeds.fields import find_fields
from processors.feeds.tally import SourceError, Tally

LONGEST_LINE = 65_536
_SHOWN = 300
_NUMBERS = ("price", "change", "volume", "amount", *QUOTE_FIELDS)


class LineBuffer:
    """Cuts a stream of bytes into whole lines. A line longer than ``longest`` is given up, so that the buffer is
    bounded whatever the peer sends."""

    def __init__(self, longest: int = LONGEST_LINE) -> None:
        self.longest = longest
        self.rest = b""  # of a line whose end has not come
        self._skipping = False

    def add(self, data: bytes) -> tuple[bytes, list[bytes]]:
        """Return (whole lines, the beginnings of lines that were given up now)."""
        if self._skipping:
            _, end, data = data.partition(b"\n")
            self._skipping = not end
        cut = data.rfind(b"\n") + 1
        lines, self.rest = (self.rest + data[:cut], data[cut:]) if cut else (b"", self.rest + data)
        lines, given_up = self._without_long(lines)
        if len(self.rest) > self.longest:
            given_up.append(self.rest[:_SHOWN])
            self.rest, self._skipping = b"", True
        return lines, given_up

    def _without_long(self, lines: bytes) -> tuple[bytes, list[bytes]]:
        """Return the lines that are not too long, and the beginnings of the others; looks at one in 64 KB."""
        kept, given_up, start, good = [], [], 0, 0
        while start < len(lines):
            end = lines.rfind(b"\n", start, start + self.longest + 1)
            if end < 0:
                kept.append(lines[good:start])
                given_up.append(lines[start : start + _SHOWN])
                end = lines.find(b"\n", start)
                good = end + 1
            start = end + 1
        return (b"".join([*kept, lines[good:]]) if given_up else lines), given_up


class LineParser:
    """Turns whole lines into a table whose columns are named by our fields. What is no line of ``columns`` is counted
    (``broken_line``). Raises ``SourceError`` if ``columns`` lack a required field."""

    def __init__(self, columns: Sequence[str], tally: Tally, source: str) -> None:
        self.tally = tally
        self.names = [name.strip() for name in columns]
        self.fields = find_fields(self.names, source)
        self._read = {"column_names": self.names, "use_threads": False}
        used = list(self.fields.values())
        # Text is read by Arrow in one go where all of it is as it should be; else as text, which the validator judges.
        numeric = {name: pa.float64() for field, name in self.fields.items() if field in _NUMBERS}
        typed = {**dict.fromkeys(used, pa.string()), **numeric, self.fields["time"]: pa.timestamp("us")}
        self._typed = pa.csv.ConvertOptions(column_types=typed, include_columns=used, null_values=[""])
        self._text = pa.csv.ConvertOptions(column_types=dict.fromkeys(used, pa.string()), include_columns=used)

    def __call__(self, lines: bytes) -> pa.Table | None:
        """Return the rows, None if there are none. ``lines`` ends with a line's end."""
        if b'"' in lines:
            lines = self._unquoted(lines)
        if not lines.strip():
            return None
        if not lines.isascii():
            lines = lines.decode("latin-1").encode()  # no stray byte makes the others unreadable
        try:
            table = self._parse(lines, self._typed, count=False)
        except pa.ArrowInvalid:
            table = self._parse(lines, self._text, count=True)
        return table.rename_columns(list(self.fields)) if table.num_rows else None

    def _parse(self, lines: bytes, convert: pa.csv.ConvertOptions, *, count: bool) -> pa.Table:
        """Raises ``ArrowInvalid`` at a broken line, unless they are to be counted, and at what cannot be converted."""

        def skip(row: pa.csv.InvalidRow) -> str:
            self._broken(row.text)
            return "skip"

        parsing = pa.csv.ParseOptions(quote_char=False, invalid_row_handler=skip if count else None)
        reading = pa.csv.ReadOptions(**self._read, block_size=len(lines) + 1)
        return pa.csv.read_csv(io.BytesIO(lines), reading, parsing, convert)

    def _unquoted(self, lines: bytes) -> bytes:
        """Take the quotes off: an unclosed one would swallow the lines that follow."""
        kept = []
        for line in lines.splitlines():
            text = line.decode("latin-1")
            cells = _cells(text)
            if cells is None or text.count('"') % 2 or any("," in cell for cell in cells):
                self._broken(text)
            else:
                kept.append(",".join(cells).encode("latin-1"))
        return b"\n".join(kept) + b"\n"

    def _broken(self, text: str) -> None:
        self.tally.refuse("broken_line", text)


def columns_of_header(line: bytes) -> list[str] | None:
    """Return the names in a line that names columns, None for any other line."""
    names = _cells(line.removeprefix(b"\xef\xbb\xbf").decode("latin-1").strip("\r\n")) or []
    try:
        find_fields(names, "the line")
    except SourceError:
        return None
    return names


def _cells(text: str) -> list[str] | None:
    """Return a line's cells, None where it is no line of CSV."""
    try:
        return next(csv.reader([text]), None)
    except csv.Error:
        return None
