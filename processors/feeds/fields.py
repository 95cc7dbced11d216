"""Find a source's columns: by a mapping, else under the names they are usually given; suggest a mapping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from processors.contract import QUOTE_FIELDS
from processors.feeds.tally import SourceError

REQUIRED = ("time", "code", "price", "volume", "amount")
OPTIONAL = ("change", "type", *QUOTE_FIELDS)
ALIASES: dict[str, tuple[str, ...]] = {
    "code": ("stock_code", "symbol", "ticker"),
    "time": ("timestamp", "datetime"),
    "price": ("last",),
    "volume": ("cum_volume",),
    "amount": ("cum_amount", "turnover"),
    "bid": ("bid1",),
    "ask": ("ask1",),
    "bid_size": ("bidsize1", "bidsize"),
    "ask_size": ("asksize1", "asksize"),
}
EXPECTED = "time,stock_code,price,change,volume,amount,type[,bid,ask,bid_size,ask_size]"
UNIFORM = "time,stock_code,price,change,volume,amount,type"
TURNOVER = "price*volume"  # what a mapping gives as the amount of a source that has no column of it

# What the columns are called elsewhere. Such a name may mean something else in another file (``close`` of a bar that is
# not over, ``vol`` in lots), so it is only suggested, and a person says yes.
_ELSEWHERE: dict[str, tuple[str, ...]] = {
    "time": ("trade_time", "ts", "date_time", "ts_event", "event_time", "date", "时间", "时间戳", "日期时间", "日期"),
    "code": ("ts_code", "secid", "securityid", "sym", "isin", "代码", "股票代码", "证券代码"),
    "price": ("last_price", "lastpx", "lastprice", "close", "px", "trade_price", "最新价", "成交价", "现价", "收盘"),
    "change": ("price_change", "chg", "diff", "涨跌", "涨跌额"),
    "volume": ("vol", "qty", "quantity", "size", "trade_volume", "totalvolumetrade", "成交量", "总成交量"),
    "amount": ("amt", "value", "trade_amount", "totalvaluetrade", "成交额", "成交金额", "总成交额"),
    "type": ("side", "bs", "bs_flag", "direction", "trade_type", "买卖方向", "方向", "性质"),
    "bid": ("bid_price", "bidpx1", "bid_price1", "bidprice1", "b1_p", "买一价", "买一"),
    "ask": ("ask_price", "askpx1", "ask_price1", "askprice1", "offer", "offerpx1", "a1_p", "卖一价", "卖一"),
    "bid_size": ("bid_volume", "bidvol1", "bid_qty", "bid_volume1", "b1_v", "买一量"),
    "ask_size": ("ask_volume", "askvol1", "ask_qty", "ask_volume1", "offersize1", "a1_v", "卖一量"),
}
_DAYS, _CLOCKS = ("date", "trade_date", "day", "日期", "交易日期"), ("time", "trade_time", "时间", "成交时间")


class MissingColumn(SourceError):
    """A required field has no column; ``guess`` is the mapping that the names speak for, as ``written`` reads it."""

    def __init__(self, message: str, names: Sequence[str]) -> None:
        super().__init__(message)
        speak = suggest(names)
        self.guess = ",".join(f"{field}={speak.get(field, '…')}" for field in REQUIRED)


def find_fields(names: Sequence[str], source: str, mapping: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return our field → the source's column name, or what a mapping says instead of one (see ``columns_of``).

    ``mapping`` (field → column) goes first; what it leaves out is found under its usual names among the columns
    that it does not use. Raises ``MissingColumn`` for a required field, ``SourceError`` for a mapping that does not
    fit.
    """
    chosen = _checked(mapping or {}, names, source)
    used = {part for column in chosen.values() for part in columns_of(column, names)}
    given = {name.strip().lower(): name for name in reversed(names) if name not in used}
    found = {
        field: chosen.get(field) or _first(given, (field, *ALIASES.get(field, ()))) for field in (*REQUIRED, *OPTIONAL)
    }
    fields = {field: name for field, name in found.items() if name is not None}
    missing = [_spell(field) for field in REQUIRED if field not in fields]
    if missing:
        told = f"{source} has no column {', '.join(missing)}; expected {EXPECTED}, found {','.join(names)}"
        raise MissingColumn(told, names)
    twice = [name for column in fields.values() for name in columns_of(column, names) if names.count(name) > 1]
    if twice:
        raise SourceError(f"{source} has more than one column {', '.join(twice)}; expected one")
    if not all(field in fields for field in QUOTE_FIELDS):  # half a quote is none
        fields = {field: name for field, name in fields.items() if field not in QUOTE_FIELDS}
    return fields


def columns_of(column: str, names: Sequence[str]) -> list[str]:
    """Return the columns that a mapping's value speaks of: one, two for a time given as ``date+time``, and none of its
    own for ``TURNOVER``."""
    if column in names:
        return [column]
    return [] if column == TURNOVER else column.split("+")


def suggest(names: Sequence[str]) -> dict[str, str]:
    """Return the mapping that the names speak for, each column once; fields that nothing speaks for are left out."""
    free = {_plain(name): name for name in reversed(names)}
    found = {}
    day, clock = _first(free, _DAYS), _first(free, _CLOCKS)
    if day is not None and clock is not None:
        found["time"] = f"{day}+{clock}"
        free = {plain: name for plain, name in free.items() if name not in (day, clock)}
    for field in (*REQUIRED, *OPTIONAL):
        if field in found:
            continue
        name = _first(free, [_plain(alias) for alias in (field, *ALIASES.get(field, ()), *_ELSEWHERE[field])])
        if name is not None:
            found[field] = name
            free = {plain: other for plain, other in free.items() if other != name}
    if "price" in found and "volume" in found:
        found.setdefault("amount", TURNOVER)
    return found


def written(text: str) -> dict[str, str]:
    """Return the mapping that ``price=close,volume=vol`` stands for; raise ``SourceError`` for another form."""
    pairs = [[side.strip() for side in part.split("=", 1)] for part in text.split(",")]
    if any(len(pair) != 2 or not all(pair) for pair in pairs):
        raise SourceError(
            f"columns {text!r}: expected field=column, separated by commas, such as price=close,volume=vol"
        )
    return {field: column for field, column in pairs}


def _checked(mapping: Mapping[str, str], names: Sequence[str], source: str) -> dict[str, str]:
    unknown = sorted(set(mapping) - {*REQUIRED, *OPTIONAL})
    if unknown:
        raise SourceError(
            f"mapping of {source} names {', '.join(unknown)}; expected some of {', '.join((*REQUIRED, *OPTIONAL))}"
        )
    gone = [f"{column} (for {field})" for field, column in mapping.items() if not _is_there(field, column, names)]
    if gone:
        raise SourceError(f"{source} has no column {', '.join(gone)}, as its mapping says; found {','.join(names)}")
    return dict(mapping)


def _is_there(field: str, column: str, names: Sequence[str]) -> bool:
    parts = columns_of(column, names)
    return all(part in names for part in parts) and len(parts) in {"time": (1, 2), "amount": (0, 1)}.get(field, (1,))


def _first(given: Mapping[str, str], names: Sequence[str]) -> str | None:
    return next((given[name] for name in names if name in given), None)


def _plain(name: str) -> str:
    return name.strip().strip("<>").lower().replace(" ", "_").replace("-", "_")


def _spell(field: str) -> str:
    return f"{field} (or {', '.join(ALIASES[field])})" if field in ALIASES else field
