"""What codes stand for: rows of a file or a vendor are checked and kept, and found again by name."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from django.db import transaction
from django.db.models import Q

from tasks_app.models import Instrument, Task

# Field → the names that a file may give it, in small letters.
NAMES: dict[str, tuple[str, ...]] = {
    "code": ("code", "stock_code", "symbol", "ts_code", "ticker", "代码", "股票代码", "证券代码", "a股代码"),
    "name": ("name", "stock_name", "short_name", "名称", "股票名称", "证券简称", "股票简称", "简称", "a股简称"),
    "sector": ("sector", "industry", "行业", "所属行业"),
    "tick_size": ("tick_size", "tick", "最小变动价位", "最小报价单位"),
    "lot_size": ("lot_size", "lot", "round_lot", "每手股数", "交易单位"),
    "listed": ("listed", "list_date", "listing_date", "ipo_date", "上市日期", "上市时间", "a股上市日期"),
    "delisted": ("delisted", "delist_date", "delisting_date", "out_date", "退市日期", "终止上市日期"),
    "calendar": ("calendar", "交易日历"),
}
REQUIRED = ("code", "name")
_ENCODINGS = ("utf-8-sig", "gb18030")


class Unusable(ValueError):
    """The file cannot be read at all; the message names it and what was expected."""


@dataclass
class Kept:
    """What became of the rows; ``bad`` says of each that was left out its line, its value and what was expected."""

    new: int = 0
    changed: int = 0
    same: int = 0
    bad: list[str] = field(default_factory=list)


Line = tuple[str, Mapping[str, Any]]  # where a row stands, and its values by field


def codes_listed(calendar: str, start: date, end: date) -> list[str]:
    """Return the codes of a market that were, as far as is known, listed on some day of a range."""
    before, after = Q(listed__lte=end) | Q(listed=None), Q(delisted__gt=start) | Q(delisted=None)
    return list(Instrument.objects.filter(before, after, calendar=calendar).values_list("code", flat=True))


def codes_named(task: int, text: str) -> list[str]:
    """Return the codes of a task's market whose names contain a text."""
    calendar = Task.objects.filter(pk=task).values("feed__calendar")
    return list(Instrument.objects.filter(calendar__in=calendar, name__icontains=text).values_list("code", flat=True))


def read(path: Path) -> Iterator[Line]:
    """Yield the rows of a CSV or Parquet file with the fields that its header names. Raises ``Unusable``."""
    try:
        lines = _parquet(path) if path.suffix.lower() in (".parquet", ".pq") else _csv(path)
        header = next(lines)
    except (OSError, pa.ArrowException) as error:
        raise Unusable(f"{path} cannot be read: {error}; expected a CSV or Parquet file") from error
    except StopIteration as error:
        raise Unusable(f"{path} is empty; expected a header with at least code and name") from error
    fields = _fields(path, header)
    for number, cells in enumerate(lines, 2):
        if any(cell not in (None, "") for cell in cells):
            yield f"line {number}", {name: cells[place] for name, place in fields.items() if place < len(cells)}


def _csv(path: Path) -> Iterator[list[Any]]:
    raw = path.read_bytes()
    for encoding in _ENCODINGS:
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        first = text.partition("\n")[0]
        delimiter = max(",;\t|", key=first.count)
        yield from csv.reader(io.StringIO(text), delimiter=delimiter)
        return
    raise Unusable(f"{path} is neither UTF-8 nor GB 18030")


def _parquet(path: Path) -> Iterator[list[Any]]:
    table = pq.read_table(path)
    yield table.column_names
    yield from map(list, zip(*(column.to_pylist() for column in table.columns), strict=True))


def _fields(path: Path, header: list[Any]) -> dict[str, int]:
    """Return field → place of its column; raise Unusable without a code and a name."""
    given = {str(name).strip().lower(): place for place, name in reversed(list(enumerate(header)))}
    found = {
        name: next(given[alias] for alias in aliases if alias in given)
        for name, aliases in NAMES.items()
        if any(alias in given for alias in aliases)
    }
    missing = [f"{name} ({', '.join(NAMES[name])})" for name in REQUIRED if name not in found]
    if missing:
        raise Unusable(f"{path} has no column {' and no '.join(missing)}; found {', '.join(map(str, header))}")
    return found


def keep(lines: Iterable[Line], calendar: str) -> Kept:
    """Bring rows into the table: new ones are added, known ones take over what the row tells. An empty value says
    nothing and changes nothing; ``calendar`` is that of rows that name none."""
    kept, wanted = Kept(), {}
    for place, row in lines:
        values, wrong = _checked(row, calendar)
        kept.bad += [f"{place}: {each}" for each in wrong]
        if not wrong:
            wanted[values.pop("calendar"), values.pop("code")] = values
    with transaction.atomic():
        _write(wanted, kept)
    return kept


def _write(wanted: dict[tuple[str, str], dict[str, Any]], kept: Kept) -> None:
    known = {(each.calendar, each.code): each for each in Instrument.objects.select_for_update()}
    new, changed = [], []
    for (calendar, code), values in wanted.items():
        row = known.get((calendar, code))
        if row is None:
            new.append(Instrument(calendar=calendar, code=code, **values))
        elif any(getattr(row, name) != value for name, value in values.items()):
            for name, value in values.items():
                setattr(row, name, value)
            changed.append(row)
    Instrument.objects.bulk_create(new, batch_size=500)
    Instrument.objects.bulk_update(changed, [name for name in NAMES if name not in ("code", "calendar")], 500)
    kept.new, kept.changed, kept.same = len(new), len(changed), len(wanted) - len(new) - len(changed)


def _checked(row: Mapping[str, Any], calendar: str) -> tuple[dict[str, Any], list[str]]:
    """Return a row's values, and what is wrong with it."""
    values: dict[str, Any] = {"calendar": calendar}
    wrong = [f"{name} is empty: expected a text" for name in REQUIRED if _text(row.get(name)) == ""]
    for name, value in row.items():
        text = _text(value)
        if text == "":
            continue
        try:
            values[name] = _READ[name](text)
        except (ValueError, InvalidOperation):
            wrong.append(f"{name} {text!r}: expected {_EXPECTED[name]}")
    if not wrong and values.get("delisted") and values.get("listed") and values["delisted"] < values["listed"]:
        wrong.append(f"delisted {values['delisted']}: expected a day after {values['listed']}, when it was listed")
    return values, wrong


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _code(text: str) -> str:
    """Return a code without the exchange: 600000.SH, sh600000 and 600000 are the same."""
    plain, _, exchange = text.partition(".")
    code = plain if exchange.upper() in ("SH", "SZ", "BJ", "XSHG", "XSHE") else text
    if code[:2].lower() in ("sh", "sz", "bj") and code[2:].isdecimal():
        code = code[2:]
    if not 0 < len(code) <= 32 or not code.isascii() or not code.isprintable() or "," in code or " " in code:
        raise ValueError(code)
    return code


def _short(limit: int) -> Callable[[str], str]:
    def read(text: str) -> str:
        if len(text) > limit:
            raise ValueError(text)
        return text

    return read


def _day(text: str) -> date:
    return date.fromisoformat(text[:10].replace("/", "-"))


def _tick_size(text: str) -> Decimal:
    found = Decimal(text)
    if not 0 < found < 1_000_000 or found != round(found, 6):
        raise ValueError(text)
    return found


def _lot_size(text: str) -> int:
    found = Decimal(text)
    if not 0 < found < 2**31 or found != int(found):
        raise ValueError(text)
    return int(found)


_READ: dict[str, Callable[[str], Any]] = {
    "code": _code, "name": _short(100), "sector": _short(100), "tick_size": _tick_size, "lot_size": _lot_size,
    "listed": _day, "delisted": _day, "calendar": _short(16),
}  # fmt: skip
_EXPECTED = {
    "code": "at most 32 characters of ASCII without blank and comma",
    "name": "at most 100 characters",
    "sector": "at most 100 characters",
    "tick_size": "a number above 0, such as 0.01",
    "lot_size": "a whole number above 0, such as 100",
    "listed": "a day as YYYY-MM-DD or YYYYMMDD",
    "delisted": "a day as YYYY-MM-DD or YYYYMMDD",
    "calendar": "at most 16 characters, such as XSHG",
}
