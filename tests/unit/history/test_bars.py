"""Bars against pandas' own resampling."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from history_support import BEGIN, DAY_MS, expected_rows, kept_market

from processors.history.bars import BARS, COLUMNS, bars, width_ms
from processors.history.store import HistoryError

ZONE = "Asia/Shanghai"


def rows(count: int = 400, **options: Any) -> pa.Table:
    return expected_rows(kept_market(count, stocks=7, **options)).select(COLUMNS)


def by_pandas(table: pa.Table, every: str) -> pd.DataFrame:
    frame = table.to_pandas()
    frame["local"] = frame["snapshot"].dt.tz_convert(ZONE)
    grouped = frame.groupby(["code", pd.Grouper(key="local", freq=every, closed="right", label="right")])
    found = grouped.agg(
        open=("price", "first"), high=("price", "max"), low=("price", "min"), close=("price", "last"),
        volume=("volume", "sum"), amount=("amount", "sum"), rows=("price", "size"),
    ).reset_index()  # fmt: skip
    found = found[found["rows"] > 0].sort_values(["local", "code"], ignore_index=True)
    return found.rename(columns={"local": "end"})


@pytest.mark.parametrize(("every", "freq"), [("5s", "5s"), ("1m", "1min"), ("5m", "5min"), ("1h", "1h"), ("1d", "1D")])
@pytest.mark.parametrize("batch_rows", [100_000, 61])
def test_bars_are_those_of_pandas(every: str, freq: str, batch_rows: int) -> None:
    table = pa.concat_tables([rows(), rows(30, begin=BEGIN + DAY_MS, seed=5)])
    found = list(bars(table.to_batches(batch_rows), width_ms(every, 3_000), ZONE))
    told = pa.Table.from_batches(found, BARS).to_pandas()
    expected = by_pandas(table, freq)
    assert (told["end"] == expected["end"].dt.tz_convert("UTC")).all()
    assert (told["end"] - told["begin"] == pd.Timedelta(width_ms(every, 3_000), unit="ms")).all()
    names = ["code", "open", "high", "low", "close", "volume", "amount", "rows"]
    pd.testing.assert_frame_equal(told[names], expected[names], check_dtype=False, rtol=1e-12)


def test_a_snapshot_at_a_bars_end_belongs_to_it() -> None:
    table = rows(count=2, begin=BEGIN)  # 09:30:00 and 09:30:03
    found = pa.Table.from_batches(bars(table.to_batches(), 60_000, ZONE))
    ends = found.column("end").cast(pa.int64()).to_pylist()
    assert set(ends) == {BEGIN, BEGIN + 60_000}


def test_a_width_that_can_not_be_is_named() -> None:
    with pytest.raises(HistoryError, match="every '7s': expected one of 5s, 10s"):
        width_ms("7s", 3_000)
    with pytest.raises(HistoryError, match=r"each 60 s, no bar is shorter"):
        width_ms("5s", 60_000)


def test_no_rows_no_bars() -> None:
    assert list(bars(rows(3).slice(0, 0).to_batches(), 60_000, ZONE)) == []
