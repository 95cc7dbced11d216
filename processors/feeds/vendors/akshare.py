"""AKShare through AKTools, AKShare's own HTTP server: East Money's newest price of every A-share, its bars of past
days, and the exchanges' lists of what is listed.

AKTools (``pip install aktools``, ``python -m aktools``) runs beside the platform or elsewhere: what AKShare brings
along need not fit what the platform uses.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from processors.feeds.vendors.archive import BARS, DAY, MINUTES, Archive, Piece
from processors.feeds.vendors.base import LOT, NotThere, VendorError

_NAMES = {"code": "代码", "price": "最新价", "volume": "成交量", "amount": "成交额"}
_BAR = {"price": "收盘", "volume": "成交量", "amount": "成交额"}
_UNITS = {"volume": float(LOT)}
_NO_DATA = "数据为空"  # what AKTools says with 404 where AKShare found nothing
# The exchanges' own lists: which column holds the code, and what else is told.
_DETAILS = {
    "stock_info_sh_name_code": ("证券代码", {"listed": "上市日期"}),
    "stock_info_sz_name_code": ("A股代码", {"listed": "A股上市日期", "sector": "所属行业"}),
    "stock_info_bj_name_code": ("证券代码", {"listed": "上市日期", "sector": "所属行业"}),
}


class AKShare(Archive):
    """Volume comes in lots of 100 shares, amount in yuan: since the day's beginning, or of a bar."""

    name = "akshare"
    url = "http://127.0.0.1:8080"
    calls_per_min = 10

    def snapshot(self) -> pa.Table:
        return self.table(self._ask("stock_zh_a_spot_em"), _NAMES, _UNITS)

    def limits(self, every: str, days: int) -> tuple[int, int]:
        return 1, days

    def bars(self, piece: Piece, every: str) -> pa.Table:
        [code] = piece.codes
        if every == DAY:
            asked = {"period": "daily", "start_date": f"{piece.begin:%Y%m%d}", "end_date": f"{piece.end:%Y%m%d}"}
            call, time = "stock_zh_a_hist", "日期"
        else:  # days only: AKTools loses the blank before a time
            asked = {"period": str(MINUTES[every]), "start_date": str(piece.begin), "end_date": str(piece.end)}
            call, time = "stock_zh_a_hist_min_em", "时间"
        try:
            rows = self._ask(call, symbol=code, **asked)
        except NotThere as error:
            if _NO_DATA not in str(error):
                raise
            return BARS.empty_table()
        rows = [{**row, "code": code} for row in rows]
        return self.bar_table(rows, {**_BAR, "code": "code", "time": time}, _UNITS, every)

    def instruments(self) -> list[dict[str, Any]]:
        rows = self._ask("stock_info_a_code_name")
        self.table(rows, {"code": "code"})
        found = {row["code"]: {"code": row["code"], "name": row.get("name")} for row in rows}
        for call, (code, details) in _DETAILS.items():
            rows = self._ask(call)
            self.table(rows, {"code": code})
            for row in rows:
                found.get(row[code], {}).update({key: row.get(name) for key, name in details.items()})
        return list(found.values())

    def _ask(self, call: str, **params: str) -> list[dict[str, Any]]:
        answer: Any = self.call("GET", f"/api/public/{call}", params=params)
        if not isinstance(answer, list):
            raise VendorError(f"akshare: expected a list, got {str(answer)[:80]}")
        return answer
