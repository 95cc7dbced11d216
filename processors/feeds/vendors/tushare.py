"""Tushare Pro: ``rt_k``, the day's bar of every stock so far, over its HTTP interface."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from processors.feeds.vendors.base import Vendor, VendorError

_PARTS = ("6*.SH", "0*.SZ,3*.SZ", "*.BJ")  # a call gives 6,000 rows at most
_NAMES = {"code": "ts_code", "price": "close", "volume": "vol", "amount": "amount"}
_TOO_OFTEN = 40203


class Tushare(Vendor):
    """Volume is in shares, amount in yuan, both since the day's beginning."""

    name = "tushare"
    url = "http://api.tushare.pro"
    calls_per_min = 50
    needs_token = True

    def snapshot(self) -> pa.Table:
        found = pa.concat_tables([self._part(codes) for codes in _PARTS])
        code = pc.utf8_slice_codeunits(found.column("code"), 0, 6)
        return found.set_column(found.column_names.index("code"), "code", code)

    def _part(self, codes: str) -> pa.Table:
        body = {"api_name": "rt_k", "token": self.token, "params": {"ts_code": codes}, "fields": ""}
        return self.table(_rows(self.call("POST", "", json=body)), _NAMES)


def _rows(answer: Any) -> list[dict[str, Any]]:
    if not isinstance(answer, dict):
        raise VendorError(f"tushare: expected an object, got {str(answer)[:80]}")
    if answer.get("code") != 0:
        pause_s = 60.0 if answer.get("code") == _TOO_OFTEN else None
        raise VendorError(f"tushare: code {answer.get('code')}, {answer.get('msg')}", pause_s=pause_s)
    data = answer.get("data") or {}
    names, items = data.get("fields") or [], data.get("items") or []
    return [dict(zip(names, item, strict=False)) for item in items]
