"""What a vendor with a memory gives beside the newest prices: bars of past days, and what each code stands for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from processors.feeds.vendors.base import Row, Vendor, VendorError

ZONE = "Asia/Shanghai"
DAY = "day"
MINUTES = {"1min": 1, "5min": 5, "15min": 15, "30min": 30}  # bars of 60 end at 10:30 and 14:00: on no grid
EVERY_MS = {**{every: minutes * 60_000 for every, minutes in MINUTES.items()}, DAY: 86_400_000}
_CLOSE_MS = 15 * 3_600_000
_EXCHANGES = {"SH": ("6",), "SZ": ("0", "3"), "BJ": ("4", "8", "92")}
_UTC_OFFSET_MS = 8 * 3_600_000
BARS = pa.schema(
    [
        ("code", pa.string()),
        ("time", pa.timestamp("ms", tz="UTC")),
        ("price", pa.float64()),
        ("volume", pa.float64()),
        ("amount", pa.float64()),
    ]
)


@dataclass(frozen=True)
class Piece:
    """What one call asks for: some codes on the days from ``begin`` to ``end``, both of them counted."""

    codes: tuple[str, ...]
    begin: date
    end: date


class Archive(Vendor):
    """A vendor that has the past as well."""

    @abstractmethod
    def limits(self, every: str, days: int) -> tuple[int, int]:
        """Return how many codes, and how many days, of a range of ``days`` one call may ask for."""

    @abstractmethod
    def bars(self, piece: Piece, every: str) -> pa.Table:
        """Return bars as ``BARS``, unadjusted: time is the bar's end, price its close, volume in shares and amount in
        currency are the bar's own. No row for a code and day without a bar. Raises ``VendorError``."""

    @abstractmethod
    def instruments(self) -> list[dict[str, Any]]:
        """Return a row per code with the keys code, name, sector, listed, delisted as text; what the vendor does not
        tell is left out. Raises ``VendorError``."""

    def pieces(self, codes: Sequence[str], begin: date, end: date, every: str) -> Iterator[Piece]:
        """Yield the calls that a range takes, in order of time."""
        some, days = self.limits(every, (end - begin).days + 1)
        while begin <= end:
            last = min(begin + timedelta(days - 1), end)
            for place in range(0, len(codes), some):
                yield Piece(tuple(codes[place : place + some]), begin, last)
            begin = last + timedelta(1)

    def bar_table(self, rows: Sequence[Row], names: dict[str, str], units: dict[str, float], every: str) -> pa.Table:
        """Return rows of JSON as ``BARS``; the time of a day's bar is its close. Raises ``VendorError``."""
        if not rows:
            return BARS.empty_table()
        found = self.table(rows, names, units)
        try:
            at = pc.assume_timezone(_moments(found.column("time"), every), ZONE)
        except (pa.ArrowException, ValueError) as error:
            raise VendorError(f"{self.name}: columns changed, {error}") from error
        if at.null_count:
            raise VendorError(f"{self.name}: {at.null_count} bars without a time")
        place = found.column_names.index("time")
        return found.set_column(place, "time", at.cast(pa.timestamp("ms", tz="UTC"))).select(BARS.names).cast(BARS)


def phase_ms(every: str) -> int:
    """Return where in an interval, counted from 1970 UTC, bars end: those of a day at the close."""
    return _CLOSE_MS - _UTC_OFFSET_MS if every == DAY else 0


def plain_codes(texts: Sequence[str]) -> tuple[str, ...]:
    """Return codes without their exchange, each once, in order. Raises ``VendorError`` for one that is no A-share's."""
    codes = sorted({text.strip().partition(".")[0] for text in texts})
    for code in codes:
        suffixed(code)
    return tuple(codes)


def suffixed(code: str) -> str:
    """Return a code with its exchange, as Tushare writes it. Raises ``VendorError`` for one that is no A-share's."""
    for exchange, beginnings in _EXCHANGES.items():
        if len(code) == 6 and code.isdecimal() and code.startswith(beginnings):
            return f"{code}.{exchange}"
    raise VendorError(f"code {code!r}: expected six digits of an A-share, such as 600000")


def _moments(texts: pa.ChunkedArray, every: str) -> pa.ChunkedArray:
    """Return local times of 2021-12-01 09:31:00, 20211201 and 2021-12-01T00:00:00.000."""
    if every != DAY:
        return pc.replace_substring(texts, "T", " ").cast(pa.timestamp("ms"))
    digits = pc.utf8_slice_codeunits(pc.replace_substring(texts, "-", ""), 0, 8)
    day = pc.strptime(digits, "%Y%m%d", "ms")
    return pc.add(day, pa.scalar(_CLOSE_MS, pa.duration("ms")))
