"""Find a source's columns under the names they are usually given."""

from __future__ import annotations

from collections.abc import Sequence

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


def find_fields(names: Sequence[str], source: str) -> dict[str, str]:
    """Return our field → the source's column name. Raises ``SourceError`` when a required one is missing."""
    given = {name.strip().lower(): name for name in reversed(names)}
    found = {
        field: next(given[name] for name in (field, *ALIASES.get(field, ())) if name in given)
        for field in (*REQUIRED, *OPTIONAL)
        if any(name in given for name in (field, *ALIASES.get(field, ())))
    }
    missing = [_spell(field) for field in REQUIRED if field not in found]
    if missing:
        raise SourceError(f"{source} has no column {', '.join(missing)}; expected {EXPECTED}, found {','.join(names)}")
    if not all(field in found for field in QUOTE_FIELDS):  # half a quote is none
        found = {field: name for field, name in found.items() if field not in QUOTE_FIELDS}
    return found


def _spell(field: str) -> str:
    return f"{field} (or {', '.join(ALIASES[field])})" if field in ALIASES else field
