"""Tushare Pro over its HTTP interface: ``rt_k`` (the day's bar of every stock so far), ``daily`` and ``stk_mins`` (bars
of past days), ``stock_basic`` (what each code stands for)."""

from __future__ import annotations

from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from processors.feeds.vendors.archive import DAY, MINUTES, Archive, Piece, suffixed
from processors.feeds.vendors.base import LOT, VendorError

_PARTS = ("6*.SH", "0*.SZ,3*.SZ", "*.BJ")  # a call gives 6,000 rows at most
_NAMES = {"code": "ts_code", "price": "close", "volume": "vol", "amount": "amount"}
_CODES_AT_ONCE = 100
_SESSION_MIN = 240
_TOO_OFTEN = 40203
_INSTRUMENT = {"name": "name", "sector": "industry", "listed": "list_date", "delisted": "delist_date"}
_LISTS = [(exchange, status) for exchange in ("SSE", "SZSE", "BSE") for status in "LDP"]


class Tushare(Archive):
    """Volume of ``rt_k`` and ``stk_mins`` is in shares, their amount in yuan; ``daily`` has lots and thousands."""

    name = "tushare"
    url = "http://api.tushare.pro"
    calls_per_min = 50
    needs_token = True
    most_rows: ClassVar = {"daily": 6_000, "stk_mins": 8_000, "stock_basic": 6_000}  # of an answer

    def snapshot(self) -> pa.Table:
        return _plain(pa.concat_tables([self.table(self._ask("rt_k", ts_code=codes), _NAMES) for codes in _PARTS]))

    def limits(self, every: str, days: int) -> tuple[int, int]:
        if every == DAY:
            most = min(days, self.most_rows["daily"] - 1)
            return min((self.most_rows["daily"] - 1) // most, _CODES_AT_ONCE), most
        return 1, (self.most_rows["stk_mins"] - 1) // (_SESSION_MIN // MINUTES[every] + 1)

    def bars(self, piece: Piece, every: str) -> pa.Table:
        codes = ",".join(map(suffixed, piece.codes))
        if every == DAY:
            begin, end = f"{piece.begin:%Y%m%d}", f"{piece.end:%Y%m%d}"
            rows = self._ask("daily", ts_code=codes, start_date=begin, end_date=end)
            time, units = "trade_date", {"volume": float(LOT), "amount": 1000.0}
        else:
            begin, end = f"{piece.begin} 00:00:00", f"{piece.end} 23:59:59"
            rows = self._ask("stk_mins", ts_code=codes, freq=every, start_date=begin, end_date=end)
            time, units = "trade_time", {}
        return _plain(self.bar_table(rows, {**_NAMES, "time": time}, units, every))

    def instruments(self) -> list[dict[str, Any]]:
        fields = ",".join(["ts_code", *_INSTRUMENT.values()])
        rows = [
            row
            for exchange, status in _LISTS
            for row in self._ask("stock_basic", fields, exchange=exchange, list_status=status)
        ]
        self.table(rows, {"code": "ts_code"})
        return [{"code": row["ts_code"][:6]} | {key: row[name] for key, name in _INSTRUMENT.items()} for row in rows]

    def _ask(self, api: str, fields: str = "", **params: str) -> list[dict[str, Any]]:
        """Return the rows of a call. Raises ``VendorError`` for one that was cut off where Tushare's answers end."""
        body = {"api_name": api, "token": self.token, "params": params, "fields": fields}
        rows = _rows(self.call("POST", "", json=body))
        if len(rows) >= self.most_rows.get(api, len(rows) + 1):
            raise VendorError(f"tushare: {api} was cut off at {len(rows)} rows")
        return rows


def _plain(table: pa.Table) -> pa.Table:
    """Return the rows with codes without the exchange."""
    code = pc.utf8_slice_codeunits(table.column("code"), 0, 6)
    return table.set_column(table.column_names.index("code"), "code", code)


def _rows(answer: Any) -> list[dict[str, Any]]:
    if not isinstance(answer, dict):
        raise VendorError(f"tushare: expected an object, got {str(answer)[:80]}")
    if answer.get("code") != 0:
        pause_s = 60.0 if answer.get("code") == _TOO_OFTEN else None
        raise VendorError(f"tushare: code {answer.get('code')}, {answer.get('msg')}", pause_s=pause_s)
    data = answer.get("data") or {}
    names, items = data.get("fields") or [], data.get("items") or []
    return [dict(zip(names, item, strict=False)) for item in items]
