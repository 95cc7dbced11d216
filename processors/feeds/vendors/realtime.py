"""The whole market as Tushare's Python package reads it for nothing: ``ts.realtime_list(src="dc")`` and ``"sina"``.

Both are lists of web sites, not of Tushare's servers: no token, no promise. East Money's is asked in the order of
codes, not of price changes as the package does, so that no stock moves to another page meanwhile.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from processors.feeds.vendors.base import LOT, Row, Vendor, VendorError

_EAST_MONEY = {"code": "f12", "price": "f2", "volume": "f5", "amount": "f6"}
_SINA = {"code": "code", "price": "trade", "volume": "volume", "amount": "amount"}
_A_SHARES = "m:0 t:6,m:0 t:80,m:1 t:2,m:1 t:23,m:0 t:81 s:2048"  # Shenzhen, ChiNext, Shanghai, STAR, Beijing
_SINA_ROWS = 80


class EastMoney(Vendor):
    """Volume comes in lots of 100 shares, amount in yuan, both since the day's beginning; 200 stocks a page, or as many
    as the site gives."""

    name = "tushare_dc"
    url = "http://82.push2.eastmoney.com"
    calls_per_min = 60

    def snapshot(self) -> pa.Table:
        return self.table(self.pages(self._page), _EAST_MONEY, {"volume": LOT})

    def _page(self, number: int) -> tuple[list[Row], int]:
        asked = {"pn": number, "pz": 200, "po": 0, "np": 1, "fltt": 2, "invt": 2, "fid": "f12", "fs": _A_SHARES}
        fields = ",".join(_EAST_MONEY.values())
        answer: Any = self.call("GET", "/api/qt/clist/get", params={**asked, "fields": fields})
        data = answer.get("data", answer) if isinstance(answer, dict) else answer
        if data is None:  # beyond the last page
            return [], 0
        if (
            not isinstance(data, dict)
            or not isinstance(data.get("diff"), list)
            or not isinstance(data.get("total"), int)
        ):
            raise VendorError(f"{self.name}: expected data with diff and total, got {str(answer)[:80]}")
        return data["diff"], data["total"]


class Sina(Vendor):
    """Volume comes in shares, amount in yuan, both since the day's beginning; 80 stocks a page."""

    name = "tushare_sina"
    url = "http://vip.stock.finance.sina.com.cn/quotes_service/api/json_v2.php"
    calls_per_min = 80

    def snapshot(self) -> pa.Table:
        total = self._asked("StockCount")
        if not str(total).isdecimal():
            raise VendorError(f"{self.name}: expected the number of stocks, got {str(total)[:80]}")
        return self.table(self.pages(lambda number: (self._page(number), int(total))), _SINA)

    def _page(self, number: int) -> list[Row]:
        found = self._asked("Data", page=number, num=_SINA_ROWS, sort="symbol", asc=1)
        if not isinstance(found, list):
            raise VendorError(f"{self.name}: expected a list, got {str(found)[:80]}")
        return found

    def _asked(self, what: str, **more: Any) -> Any:
        return self.call("GET", f"/Market_Center.getHQNode{what}", params={"node": "hs_a", **more})
