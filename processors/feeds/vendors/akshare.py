"""AKShare: East Money's newest price of every A-share, through AKTools, AKShare's own HTTP server.

AKTools (``pip install aktools``, ``python -m aktools``) runs beside the platform or elsewhere: what AKShare brings
along need not fit what the platform uses.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from processors.feeds.vendors.base import Vendor, VendorError

_NAMES = {"code": "代码", "price": "最新价", "volume": "成交量", "amount": "成交额"}
LOT = 100


class AKShare(Vendor):
    """Volume comes in lots of 100 shares, amount in yuan, both since the day's beginning."""

    name = "akshare"
    url = "http://127.0.0.1:8080"
    calls_per_min = 10

    def snapshot(self) -> pa.Table:
        answer: Any = self.call("GET", "/api/public/stock_zh_a_spot_em")
        if not isinstance(answer, list):
            raise VendorError(f"akshare: expected a list, got {str(answer)[:80]}")
        return self.table(answer, _NAMES, lot=LOT)
