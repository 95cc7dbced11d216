"""Clusters of stocks that behave alike, and the next price of each cluster and each stock, learned online.

A snapshot goes through in this order: open forecasts meet their truth, are scored as issued and learned from; the
memory of each stock advances; the stocks are clustered; the next forecasts are made.
"""

from __future__ import annotations

import pyarrow as pa
from pydantic import Field

from processors.algorithms import grouping, predictor
from processors.contract import Columns, Params, Result, Window
from processors.stream import clusters, forecasts, report
from processors.stream.market import MarketProcessor, State
from processors.stream.snapshot_view import SnapshotView


class ClusterRegressionParams(Params):
    k: clusters.K = 4
    clustering: clusters.Model = "kmeans"
    regression: predictor.Kind = Field(
        "hierarchical",
        title="Regression model",
        description="hierarchical: all stocks, each cluster, the market; rls, sgd: one plain regression per cluster",
    )
    features: clusters.Features = "behaviour"
    window: forecasts.Lags = 3
    coefficient_clusters: int = Field(
        8, ge=1, le=32, title="Clusters of coefficients", description="Apart from those on the screen (hierarchical)"
    )
    forgetting: forecasts.Forgetting = 0.999
    learning_rate: forecasts.LearningRate = 0.02
    decay: clusters.Decay = 0.99
    seed: clusters.Seed = 1


class ClusterRegression(MarketProcessor):
    title = "Clusters and regression"
    description = "Groups stocks that behave alike and predicts each cluster's and each stock's next price."
    Params = ClusterRegressionParams

    def window(self, params: ClusterRegressionParams) -> int:
        return params.window

    def map_slice(self, window: Window, params: ClusterRegressionParams) -> Columns:
        return super().map_slice(window, params) | forecasts.hints(window)

    def begin(self, params: ClusterRegressionParams, trade_sign: bool) -> State:
        shared = {"coefficient_groups": grouping.new()}
        return clusters.begin(params) | shared | forecasts.begin(params, trade_sign)

    def grow(self, state: State, count: int) -> None:
        predictor.grow(state["predictor"], count)
        for name in ("groups", "coefficient_groups"):
            grouping.grow(state[name], count)

    def change(self, state: State, params: ClusterRegressionParams) -> State:
        return clusters.change(state, params)

    def look_back(self, state: State, now: SnapshotView, params: ClusterRegressionParams) -> None:
        forecasts.meet_truth(state, now, params)

    def look_ahead(self, state: State, now: SnapshotView, params: ClusterRegressionParams) -> None:
        _group(state, now, params)
        by = "coefficient_groups" if params.regression == "hierarchical" else "groups"
        forecasts.forecast(state, now, params, state[by]["label"])

    def tell(
        self, state: State, now: SnapshotView, codes: list[pa.StringArray], params: ClusterRegressionParams
    ) -> Result:
        numbers = report.numbers(
            now.header,
            feature_set=params.features,
            regression=params.regression,
            silhouette=state["silhouette"],
            k=state["k"],
            **report.seen(now),
            clusters=report.predicted_clusters(state, now),
            **report.scored(state),
            events=report.taken_events(state),
        )
        return Result(numbers, report.predicted_stocks(state, now, codes))


def _group(state: State, now: SnapshotView, params: ClusterRegressionParams) -> None:
    """Carry on the clusters on the screen, and those that share coefficients."""
    hierarchical = params.regression == "hierarchical"
    # It counts a snapshot ahead, so that no snapshot pays for two fits.
    shared = clusters.Wanted(state["coefficient_groups"], params.coefficient_clusters, state["snapshots"] + 1)
    found = clusters.advance(state, now, params, (shared,) if hierarchical else ())
    if found is None:
        return
    rows, points, origin = found
    if hierarchical:
        if params.features != "behaviour":
            rows, points = clusters.look(state, now, "behaviour", (shared,))
        if not len(rows):
            return  # prices can be grouped a snapshot before behaviour can
        origin = grouping.advance(shared.group, points, rows, *shared[1:], grouping.Settings(seed=params.seed))
    if origin is not None:
        forecasts.rearrange(state, params, origin)
