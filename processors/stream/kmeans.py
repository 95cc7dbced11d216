"""Clusters of stocks that behave alike, and nothing else: who belongs together, and what a cluster costs."""

from __future__ import annotations

import pyarrow as pa

from processors.algorithms import grouping
from processors.contract import Params, Result
from processors.stream import clusters, report
from processors.stream.market import MarketProcessor, State
from processors.stream.snapshot_view import SnapshotView


class KMeansParams(Params):
    k: clusters.K = 4
    clustering: clusters.Model = "kmeans"
    features: clusters.Features = "behaviour"
    decay: clusters.Decay = 0.99
    seed: clusters.Seed = 1


class KMeans(MarketProcessor):
    title = "Clusters (k-means)"
    description = "Groups stocks that behave alike and follows each group's price. It predicts nothing."
    Params = KMeansParams

    def window(self, params: KMeansParams) -> int:
        return 2  # the last return is all that stocks are remembered by

    def begin(self, params: KMeansParams, trade_sign: bool) -> State:
        return clusters.begin(params)

    def grow(self, state: State, count: int) -> None:
        grouping.grow(state["groups"], count)

    def change(self, state: State, params: KMeansParams) -> State:
        return clusters.change(state, params)

    def look_back(self, state: State, now: SnapshotView, params: KMeansParams) -> None:
        clusters.move_indices(state, now)

    def look_ahead(self, state: State, now: SnapshotView, params: KMeansParams) -> None:
        clusters.advance(state, now, params)

    def tell(self, state: State, now: SnapshotView, codes: list[pa.StringArray], params: KMeansParams) -> Result:
        numbers = report.numbers(
            now.header,
            feature_set=params.features,
            silhouette=state["silhouette"],
            k=state["k"],
            **report.seen(now),
            clusters=report.clusters(state, now),
            events=report.taken_events(state),
        )
        return Result(numbers, report.stocks(state, now, codes))
