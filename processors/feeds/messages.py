"""What a message of a broker says: ticks, one or a whole snapshot of them, in a declared format."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from processors.contract import QUOTE_FIELDS
from processors.feeds import parse
from processors.feeds.fields import ALIASES, OPTIONAL, REQUIRED, find_fields
from processors.feeds.lines import LineParser
from processors.feeds.tally import SourceError, Tally

Format = Literal["csv", "json", "snapshot_csv", "snapshot_arrow", "snapshot_parquet"]
FIELDS = (*REQUIRED, *OPTIONAL)
_NAMES = {field: (field, *ALIASES.get(field, ())) for field in FIELDS}
_DEEPEST = 32
_NUMBERS = ("price", "change", "volume", "amount", *QUOTE_FIELDS)


@dataclass
class Decoded:
    """``rows`` come from the messages ``taken`` (numbers among those given), in order; where a message is a tick they
    are as many. ``wrong`` holds (number, reason) of those that say nothing."""

    rows: list[pa.Table] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    wrong: list[tuple[int, str]] = field(default_factory=list)


Decoder = Callable[[Sequence[bytes]], Decoded]


def decoder(kind: Format, columns: Sequence[str], source: str) -> Decoder:
    """Return what decodes messages. ``columns`` are those of a CSV tick; ``SourceError`` if they lack a field."""
    if kind == "csv":
        return CsvTicks(columns, source)
    if kind == "json":
        return json_ticks
    return Snapshots({"snapshot_csv": _csv, "snapshot_arrow": _arrow, "snapshot_parquet": _parquet}[kind], kind)


class CsvTicks:
    """A line per message."""

    def __init__(self, columns: Sequence[str], source: str) -> None:
        self._parse = LineParser(columns, Tally(), source)
        self._commas = len(self._parse.names) - 1

    def __call__(self, values: Sequence[bytes]) -> Decoded:
        done, lines = Decoded(), []
        for number, value in enumerate(values):
            line = value.strip()
            if line.count(b",") == self._commas and b"\n" not in line and line.count(b'"') % 2 == 0:
                done.taken.append(number)
                lines.append(line.replace(b'"', b""))
            else:
                done.wrong.append((number, "broken_line"))
        table = self._parse(b"\n".join(lines) + b"\n") if lines else None
        if table is not None:
            done.rows.append(table)
        return done


# ---- JSON: all in one go where they are alike, else one by one


def json_ticks(values: Sequence[bytes]) -> Decoded:
    """Decode an object per message; names are our fields or those they are usually given."""
    table = _alike(values)
    if table is not None:
        return Decoded([table], list(range(len(values))))
    done, rows = Decoded(), []
    for number, value in enumerate(values):
        row, reason = _one(value)
        if row is None:
            done.wrong.append((number, reason))
        else:
            done.taken.append(number)
            rows.append(row)
    if rows:
        named = [name for name in FIELDS if name not in QUOTE_FIELDS or any(row.get(name) for row in rows)]
        done.rows.append(pa.table({name: pa.array([row.get(name) for row in rows], pa.string()) for name in named}))
    return done


_EXPLICIT = pa.schema(
    [(name, pa.string()) for name in _NAMES["code"]]
    + [(name, pa.float64()) for each in _NUMBERS for name in _NAMES[each]]
)


def _alike(values: Sequence[bytes]) -> pa.Table | None:
    """Return the rows if all messages are objects of the same plain kind, as Arrow reads them."""
    if not all(map(_is_shallow, values)):
        return None
    text = b"\n".join(values)
    try:
        table = pa.json.read_json(
            io.BytesIO(text),
            pa.json.ReadOptions(use_threads=False, block_size=len(text) + 1),
            pa.json.ParseOptions(explicit_schema=_EXPLICIT, unexpected_field_behavior="infer"),
        )
    except pa.ArrowInvalid:
        return None
    if table.num_rows != len(values):
        return None
    columns: dict[str, pa.Array] = {}
    for name in FIELDS:
        found = [parse.flat(table.column(each)) for each in _NAMES[name] if each in table.column_names]
        found = [column for column in found if column.null_count < len(column)]
        if len(found) == 1 and _plain(found[0].type):
            columns[name] = parse.plain(found[0])
        elif found or name in REQUIRED:
            return None  # two names at once, none at all, or something that is no value
    return pa.table(columns)


def _is_shallow(value: bytes) -> bool:
    """True for what may be an object and is not nested deeply: Arrow's reader dies of both, and Python with it."""
    value = value.strip()
    return value[:1] == b"{" and value[-1:] == b"}" and value.count(b"{") + value.count(b"[") <= _DEEPEST


def _one(value: bytes) -> tuple[dict[str, str | None] | None, str]:
    """Return a message's fields as text, or None and why it has none."""
    try:
        given = json.loads(value)
    except (ValueError, RecursionError):
        return None, "not_json"
    if not isinstance(given, dict):
        return None, "not_an_object"
    found = {name: next((given[each] for each in _NAMES[name] if given.get(each) is not None), None) for name in FIELDS}
    if any(found[name] is None for name in REQUIRED):
        return None, "missing_field"
    if not isinstance(found["code"], str):
        return None, "code_not_text"  # its leading zeros are gone
    return {name: None if value is None else _text(value) for name, value in found.items()}, ""


def _text(value: object) -> str:
    """Return a value's text; half of a pair of surrogates, which no text holds, becomes the mark of what is lost."""
    return str(value).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


# ---- snapshots: a table per message


class Snapshots:
    def __init__(self, read: Callable[[bytes], pa.Table], kind: str) -> None:
        self._read, self._reason = read, f"not_{kind.removeprefix('snapshot_')}"

    def __call__(self, values: Sequence[bytes]) -> Decoded:
        done = Decoded()
        for number, value in enumerate(values):
            try:
                done.rows.append(_named(self._read(value)))
                done.taken.append(number)
            except SourceError:
                done.wrong.append((number, "wrong_columns"))
            except (pa.ArrowException, OSError, ValueError, LookupError):
                done.wrong.append((number, self._reason))
        return done


def _named(table: pa.Table) -> pa.Table:
    """Return the columns that are ours. Raises ``SourceError`` for a missing one and for what is no plain column,
    ``ArrowInvalid`` for a table whose parts do not fit: Arrow takes what it is given at its word."""
    table.validate(full=True)
    fields = find_fields(table.column_names, "the message")
    table = table.select(list(fields.values())).rename_columns(list(fields))
    wrong = [each.name for each in table.schema if not _plain(each.type)]
    code = table.schema.field("code").type
    if wrong or not _is_text(code):
        raise SourceError(f"columns {', '.join(wrong) or 'code'} of the message are of no usable type")
    return table


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind)


def _plain(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return pa.types.is_string(kind.value_type)
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return number or _is_text(kind) or pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_null(kind)


def _csv(value: bytes) -> pa.Table:
    names, _, _ = value.partition(b"\n")
    columns = [name.strip('"') for name in names.decode("latin-1").strip("\r").split(",")]
    text = pa.csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.string()))
    read = pa.csv.ReadOptions(use_threads=False, block_size=len(value) + 1, encoding="latin-1")
    return pa.csv.read_csv(io.BytesIO(value), read, convert_options=text)


def _arrow(value: bytes) -> pa.Table:
    with pa.ipc.open_stream(value) as reader:
        return reader.read_all()


def _parquet(value: bytes) -> pa.Table:
    return pa.parquet.read_table(pa.BufferReader(value))
