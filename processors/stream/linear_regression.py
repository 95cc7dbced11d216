"""The next price of each stock and of the whole market, by one regression for all, learned online.

Open forecasts meet their truth, are scored as issued and learned from; then the next ones are made. There are no
clusters: the market is one group, told as cluster 1.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from pydantic import Field

from processors.algorithms import cluster_price, grouping, predictor
from processors.algorithms.clustering import NONE
from processors.contract import Columns, Params, Result, Window
from processors.stream import forecasts, report
from processors.stream.market import MarketProcessor, State
from processors.stream.snapshot_view import SnapshotView

MARKET = 1  # the id of the only group


class LinearRegressionParams(Params):
    regression: predictor.Kind = Field(
        "hierarchical",
        title="Regression model",
        description="hierarchical: all stocks, then the market's mean; rls, sgd: one plain regression for all",
    )
    window: forecasts.Lags = 3
    forgetting: forecasts.Forgetting = 0.999
    learning_rate: forecasts.LearningRate = 0.02


class LinearRegression(MarketProcessor):
    title = "Linear regression"
    description = "Predicts the next price of each stock and of the market by one regression for all, without clusters."
    Params = LinearRegressionParams

    def window(self, params: LinearRegressionParams) -> int:
        return params.window

    def map_slice(self, window: Window, params: LinearRegressionParams) -> Columns:
        return super().map_slice(window, params) | forecasts.hints(window)

    def begin(self, params: LinearRegressionParams, trade_sign: bool) -> State:
        group, price = {"label": np.zeros(0, dtype=int), "ids": [MARKET]}, cluster_price.new()
        cluster_price.rearrange(price, [NONE])
        return {"groups": group, "clusters": price, **forecasts.begin(params, trade_sign, models=1)}

    def grow(self, state: State, count: int) -> None:
        predictor.grow(state["predictor"], count)
        grouping.grow(state["groups"], count)

    def look_back(self, state: State, now: SnapshotView, params: LinearRegressionParams) -> None:
        forecasts.meet_truth(state, now, params)

    def look_ahead(self, state: State, now: SnapshotView, params: LinearRegressionParams) -> None:
        state["groups"]["label"] = np.where(now.present, 0, NONE)
        forecasts.forecast(state, now, params, state["groups"]["label"])

    def tell(
        self, state: State, now: SnapshotView, codes: list[pa.StringArray], params: LinearRegressionParams
    ) -> Result:
        numbers = report.numbers(
            now.header,
            regression=params.regression,
            **report.seen(now),
            clusters=report.predicted_clusters(state, now),
            **report.scored(state),
            events=report.taken_events(state),
        )
        return Result(numbers, report.predicted_stocks(state, now, codes))
