"""From raw rows to ticks in the platform's units: each row is kept, or counted under the first reason against it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa

from processors.contract import QUOTE_FIELDS, Columns, FeedSpec
from processors.feeds import parse
from processors.feeds.codebook import Codebook
from processors.feeds.fields import find_fields
from processors.feeds.tally import SourceError, Tally

# Ticks are columns of equal length: code (int64, number in the codebook), time (int64, ms UTC), price, change (NaN
# where the source gives none), volume, amount, type (int8) and, where the feed has them, the quote fields.
Refused = Callable[[str, np.ndarray], None]
EARLIEST_MS, LATEST_MS = 0, 7_258_118_400_000  # 1970 to 2200
FUTURE_MS = 86_400_000
LARGEST = {"price": 1e9, "change": 1e9, "volume": 1e14, "amount": 1e16}


class Validator:
    """Checks one source's batches. ``source`` names it in errors; ``quotes`` is settled by the first batch.

    Volume comes out in shares; a cumulative one is still cumulative, for only a closed interval knows the order.
    """

    def __init__(self, spec: FeedSpec, codebook: Codebook, tally: Tally, source: str = "the source") -> None:
        self.spec, self.codebook, self.tally, self.source = spec, codebook, tally, source
        self.quotes: bool | None = None

    def __call__(self, rows: pa.RecordBatch | pa.Table, refused: Refused | None = None) -> Columns:
        """Return the valid rows as ticks, in the order they came; tell ``refused`` reason and numbers of the others.

        Raises ``SourceError`` for a missing column.
        """
        fields = find_fields(rows.schema.names, self.source)
        columns = {field: parse.plain(rows.column(name), encoded=field == "code") for field, name in fields.items()}
        if self.quotes is None:
            self.quotes = "bid" in fields
        self.tally.received += rows.num_rows
        ticks = self._read(columns)
        rejected = self._reject(rows, ticks, refused)
        if rejected.any():
            ticks = {name: values[~rejected] for name, values in ticks.items()}
        self._check_quotes(ticks)
        return {name: values for name, values in ticks.items() if not name.startswith("_")}

    def _read(self, columns: dict[str, pa.Array]) -> Columns:
        """Return all rows' values; ``_bad_*`` columns mark what could not be read."""
        code = columns["code"]
        if not (parse.is_text(code) or (pa.types.is_dictionary(code.type) and parse.is_text(code.dictionary))):
            raise SourceError(f"{self.source}: column code is {code.type}, expected text (leading zeros would be lost)")
        size = len(code)
        ticks: Columns = {"code": self.codebook.numbers(code), "time": parse.times(columns["time"], self.spec.zone)}
        for name in ("price", "change", "volume", "amount", *(QUOTE_FIELDS if self.quotes else ())):
            given = name in columns
            nothing = (np.full(size, np.nan), np.zeros(size, dtype=bool))
            ticks[name], ticks[f"_bad_{name}"] = parse.numbers(columns[name]) if given else nothing
        kinds = parse.trade_types(columns["type"]) if "type" in columns else None
        ticks["type"], ticks["_bad_type"] = kinds or (np.zeros(size, np.int8), np.zeros(size, dtype=bool))
        if self.spec.volume_unit == "lots":
            ticks["volume"] = ticks["volume"] * self.spec.lot_size
        return ticks

    def _reject(self, rows: pa.RecordBatch | pa.Table, ticks: Columns, refused: Refused | None) -> np.ndarray:
        rejected = np.zeros(rows.num_rows, dtype=bool)
        for reason, mask in _reasons(ticks, self._latest_ms()):
            new = mask & ~rejected
            if new.any():
                self.tally.reject(reason, np.flatnonzero(new), lambda row: _text(rows, row))
                rejected |= new
                if refused is not None:
                    refused(reason, np.flatnonzero(new))
        return rejected

    def _latest_ms(self) -> float:
        """Return what no real time can lie beyond: who says so has a wrong clock, and time would never come back."""
        return np.inf if self.spec.simulated else time.time() * 1000 + FUTURE_MS

    def _check_quotes(self, ticks: Columns) -> None:
        """Blank a quote that cannot be true; its row stays. A quote that was not given is not counted."""
        if not self.quotes:
            return
        bid, ask, bid_size, ask_size = (ticks[name] for name in QUOTE_FIELDS)
        broken = np.logical_or.reduce([ticks[f"_bad_{name}"] for name in QUOTE_FIELDS])
        bad = broken | (bid <= 0) | (ask <= 0) | (bid > ask) | (bid_size < 0) | (ask_size < 0)
        bad |= np.isfinite(bid) != np.isfinite(ask)
        if bad.any():
            codes = self.codebook.codes
            self.tally.note("bad_quote", np.flatnonzero(bad), lambda i: f"{codes[ticks['code'][i]]} {bid[i]} {ask[i]}")
            for name in QUOTE_FIELDS:
                ticks[name] = np.where(bad, np.nan, ticks[name])


def _reasons(ticks: Columns, latest_ms: float) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each reason with the rows it is true of; a row is counted under the first."""
    yield "bad_time", (ticks["time"] < EARLIEST_MS) | (ticks["time"] >= LATEST_MS)
    yield "ahead", ticks["time"] > latest_ms
    yield "bad_code", ticks["code"] < 0
    number = ticks["_bad_change"].copy()
    for name in ("price", "volume", "amount"):
        number |= ~np.isfinite(ticks[name])
    for name, largest in LARGEST.items():
        number |= np.abs(ticks[name]) > largest
    yield "bad_number", number
    yield "price_not_positive", ticks["price"] <= 0
    yield "unknown_type", ticks["_bad_type"]
    yield "negative_volume", ticks["volume"] < 0
    yield "negative_amount", ticks["amount"] < 0


def _text(rows: pa.RecordBatch | pa.Table, row: int) -> str:
    return ",".join(parse.shown(rows.column(place)[row]) for place in range(rows.num_columns))
