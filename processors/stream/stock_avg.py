"""The smallest stream processor: the market's average price, and its moving average as the forecast of the next."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from processors.contract import Columns, FeedSpec, Header, Params, Result, StreamProcessor, Window
from processors.stream import report


class StockAvgParams(Params):
    window: int = Field(3, ge=1, le=100, title="Window", description="Snapshots in the moving average")


class StockAvg(StreamProcessor[dict[str, Any]]):
    title = "Average price"
    description = "The mean price of all stocks, with its moving average as the forecast: the smallest example."
    Params = StockAvgParams

    def window(self, params: StockAvgParams) -> int:
        return params.window

    def init(self, params: StockAvgParams, spec: FeedSpec) -> dict[str, Any]:
        return {"snapshots": 0}

    def map_slice(self, window: Window, params: StockAvgParams) -> Columns:
        prices = window.columns["price"]
        return {"price": prices[-1], "mean": np.nanmean(prices, axis=0)}

    def step(
        self,
        state: dict[str, Any],
        header: Header,
        codes: list[pa.StringArray],
        columns: Columns,
        params: StockAvgParams,
    ) -> tuple[dict[str, Any], Result]:
        state["snapshots"] += 1
        size = len(columns["price"])
        cluster = {
            "id": 1,
            "size": size,
            "price": float(columns["price"].mean()) if size else None,
            "predicted_price": float(columns["mean"].mean()) if size else None,
        }
        numbers = report.numbers(header, stocks=header.expected, real=header.received, clusters=[cluster])
        return state, Result(numbers)
