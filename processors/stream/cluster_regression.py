"""Clusters of stocks that behave alike, and the next price of each cluster and each stock, learned online.

The executors compute what needs the window only: lagged returns and what quotes say. The driver remembers what lasts.
A snapshot goes through in this order: open forecasts meet their truth, are scored as issued and learned from; the
memory of each stock advances; the stocks are clustered; the next forecasts are made.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from processors.algorithms import cluster_price, clustering, features, grouping, memory, predictor
from processors.contract import QUOTE_FIELDS, Columns, FeedSpec, Header, Params, Result, StreamProcessor, Window
from processors.stream import report
from processors.stream.snapshot_view import Places, SnapshotView, lagged_returns_bp, mark

State = dict[str, Any]

QUOTED = ("mid", "micro", "imbalance", "spread")
SILHOUETTE_EVERY = 10  # snapshots
GRID_EVERY = 10  # snapshots between two looks at the decimals of prices
GROUP_AT_MOST = 1_000  # stocks per snapshot


class ClusterRegressionParams(Params):
    k: int = Field(4, ge=1, le=32, title="Clusters (K)", json_schema_extra={"live": True})
    clustering: Literal["kmeans", "streaming_kmeans"] = Field(
        "kmeans",
        title="Clustering model",
        description="kmeans: one Lloyd step per snapshot; streaming_kmeans: decayed averages as in Spark MLlib",
    )
    regression: predictor.Kind = Field(
        "hierarchical",
        title="Regression model",
        description="hierarchical: all stocks, each cluster, the market; rls, sgd: one plain regression per cluster",
    )
    features: Literal["behaviour", "returns", "price"] = Field(
        "behaviour", title="Clustering features", description="What makes two stocks alike"
    )
    window: int = Field(3, ge=2, le=50, title="Window", description="Snapshots that the lags look back over")
    coefficient_clusters: int = Field(
        8, ge=1, le=32, title="Clusters of coefficients", description="Apart from those on the screen (hierarchical)"
    )
    forgetting: float = Field(
        0.999, gt=0.5, le=1, title="Forgetting", description="Weight kept per snapshot (hierarchical, rls)"
    )
    learning_rate: float = Field(0.02, gt=0, le=1, title="Learning rate", description="Step size (sgd)")
    decay: float = Field(0.99, ge=0, le=1, title="Decay", description="Weight kept per snapshot (streaming_kmeans)")
    seed: int = Field(1, ge=0, title="Seed", description="Of the first cluster centres")


class ClusterRegression(StreamProcessor[State]):
    title = "Clusters and regression"
    description = "Groups stocks that behave alike and predicts each cluster's and each stock's next price."
    Params = ClusterRegressionParams

    def __init__(self) -> None:
        self._places = Places()

    def window(self, params: ClusterRegressionParams) -> int:
        return params.window

    def map_slice(self, window: Window, params: ClusterRegressionParams) -> Columns:
        columns = {name: window.newest[name] for name in ("price", "volume", "amount", "age_s", "type")}
        if window.headers[-1].index % GRID_EVERY == 0:
            columns["decimals"] = memory.decimals_of(columns["price"])
        lags = lagged_returns_bp(window)
        missing = np.full(len(window.codes), np.nan)
        for lag in range(params.window - 1):
            columns[f"r{lag}"] = lags[lag] if lag < len(lags) else missing
        if "bid" in window.newest:
            quoted = (window.newest[name] for name in QUOTE_FIELDS)
            said = features.quotes(columns["price"], *quoted)
            columns |= {name: getattr(said, name) for name in QUOTED}
        return columns

    def init(self, params: ClusterRegressionParams, spec: FeedSpec) -> State:
        return _begin(params, trade_sign=spec.type_meaning == "trade_sign")

    def change(self, state: State, params: ClusterRegressionParams) -> State:
        if params.k != state["k"]:
            state["events"].append({"kind": "k_changed", "from": state["k"], "to": params.k})
            state["k"] = params.k
        return state

    def step(
        self,
        state: State,
        header: Header,
        codes: list[pa.StringArray],
        columns: Columns,
        params: ClusterRegressionParams,
    ) -> tuple[State, Result]:
        if state["last"] and state["last"]["run"] != header.run:
            # What was learned of a recording would be knowledge of the future in its next run.
            state = _begin(params, trade_sign=state["trade_sign"])
            state["events"].append({"kind": "run_began", "run": header.run})
        state["snapshots"] += 1
        state["codes"], rows = self._places.of(state["codes"], codes)
        _grow(state, len(state["codes"]))
        now = SnapshotView(header, columns, rows, len(state["codes"]), state["last"])
        _meet_truth(state, now, params)
        if header.trading:
            returns = now["r0"] if now.follows else np.full(now.count, np.nan)
            memory.advance(state["stocks"], now.real, now["price"], returns, now["volume"], now["amount"])
            if "decimals" in now:
                memory.learn_grid(state["stocks"], now.real, now["decimals"])
            _group(state, now, params)
            _forecast(state, now, params)
        state["last"] = mark(header)
        return state, Result(report.numbers(state, now, params), report.stock_columns(state, now, codes))


def _begin(params: ClusterRegressionParams, *, trade_sign: bool) -> State:
    return {
        "trade_sign": trade_sign,
        "codes": pa.array([], pa.string()),
        "stocks": memory.empty(),
        "k": params.k,
        "groups": grouping.new(),
        "coefficient_groups": grouping.new(),
        "predictor": predictor.new(_settings(params, trade_sign)),
        "clusters": cluster_price.new(),
        "silhouette": None,
        "snapshots": 0,
        "counts": {"predicted": 0, "scored": 0, "no_truth": 0},
        "last": None,
        "events": [],
    }


def _settings(params: ClusterRegressionParams, trade_sign: bool) -> predictor.Settings:
    hierarchical = params.regression == "hierarchical"
    return predictor.Settings(
        kind=params.regression,
        features=len(features.names(trade_sign)) if hierarchical else params.window - 1 + 2,
        market_features=len(features.MARKET),
        forgetting=params.forgetting,
        rate=params.learning_rate,
    )


def _grow(state: State, count: int) -> None:
    if count > len(state["groups"]["label"]):
        memory.grow(state["stocks"], count)
        predictor.grow(state["predictor"], count)
        for name in ("groups", "coefficient_groups"):
            grouping.grow(state[name], count)


# ---- the truth has come


def _meet_truth(state: State, now: SnapshotView, params: ClusterRegressionParams) -> None:
    opened = int(state["predictor"]["open"].sum())
    if now.follows:
        rows = predictor.learn(state["predictor"], _settings(params, state["trade_sign"]), now["r0"], now.real)
        cluster_price.learn(state["clusters"], now["r0"][rows], state["groups"]["label"][rows])
        state["counts"]["scored"] += len(rows)
        state["counts"]["no_truth"] += opened - len(rows)
    else:  # no truth comes across a session's end or a hole
        state["counts"]["no_truth"] += predictor.drop(state["predictor"])
        cluster_price.drop(state["clusters"])
        memory.start_session(state["stocks"])


# ---- clusters


def _group(state: State, now: SnapshotView, params: ClusterRegressionParams) -> None:
    """Carry on the clusters on the screen, and those that share coefficients."""
    decay = params.decay if params.clustering == "streaming_kmeans" else None
    screen, shared = state["groups"], state["coefficient_groups"]
    hierarchical = params.regression == "hierarchical"
    before, number = list(screen["ids"]), state["snapshots"]
    wanted = [(screen, params.k, number)]
    if hierarchical:  # a snapshot earlier, so that no snapshot pays for two fits
        wanted.append((shared, params.coefficient_clusters, number + 1))
    rows, points = _points(state, now, params.features, wanted)
    if not len(rows):
        return
    origin = grouping.advance(screen, points, rows, params.k, number, grouping.Settings(decay, params.seed))
    if origin is not None:
        state["events"] += _events(before, screen["ids"])
        cluster_price.rearrange(state["clusters"], origin)
    if state["silhouette"] is None or number % SILHOUETTE_EVERY == 0:
        score = clustering.silhouette(points, screen["label"][rows])
        state["silhouette"] = None if score is None else round(score, 4)
    if hierarchical:
        if params.features != "behaviour":
            rows, points = _points(state, now, "behaviour", wanted[1:])
        settings = grouping.Settings(seed=params.seed)
        origin = grouping.advance(shared, points, rows, *wanted[1][1:], settings)
    if origin is not None:
        predictor.rearrange(state["predictor"], _settings(params, state["trade_sign"]), origin)


def _points(
    state: State, now: SnapshotView, which: str, wanted: list[tuple[State, int, int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the stocks whose cluster is looked at now, and their robust z-scores.

    These are all of them, or in a market of thousands, where behaviour changes over hundreds of snapshots, every n-th
    in turn and those without a cluster; all again when clusters are fitted anew.
    """
    stocks = state["stocks"]
    for group, *_ in wanted:
        grouping.leave(group, now.present)
    rows = np.flatnonzero(now.present & _can_be_grouped(stocks, which))
    turns = -(-len(rows) // GROUP_AT_MOST)
    if turns > 1 and not any(grouping.refits(group, k, len(rows), number) for group, k, number in wanted):
        chosen = np.any([group["label"][rows] == clustering.NONE for group, *_ in wanted], axis=0)
        chosen[state["snapshots"] % turns :: turns] = True
        rows = rows[chosen]
    return rows, clustering.robust_z(_clustered_by(stocks, which, rows)) if len(rows) else np.zeros((0, 1))


def _can_be_grouped(stocks: memory.Stocks, which: str) -> np.ndarray:
    return stocks["behaviour_w"] > 0 if which == "behaviour" else ~np.isnan(stocks["log_price"])


def _clustered_by(stocks: memory.Stocks, which: str, rows: np.ndarray) -> np.ndarray:
    if which == "behaviour":
        return memory.behaviour(stocks, rows)
    if which == "price":
        return stocks["log_price"][rows, None]
    return np.column_stack([trend[rows] for trend in features.trends(stocks)])


def _events(before: list[int], after: list[int]) -> list[dict[str, Any]]:
    ended = [{"kind": "cluster_ended", "cluster": identity} for identity in before if identity not in after]
    return ended + [{"kind": "cluster_began", "cluster": identity} for identity in after if identity not in before]


# ---- the next forecast


def _forecast(state: State, now: SnapshotView, params: ClusterRegressionParams) -> None:
    """Forecast every clustered stock's return to the next snapshot; what is missing is missing, not 0."""
    stocks, group = state["stocks"], state["groups"]["label"]
    where = now.present & now.follows & ~np.isnan(now["r0"]) & (group != clustering.NONE)
    by = features.scales(stocks)
    hierarchical = params.regression == "hierarchical"
    x = _features(state, now, by) if hierarchical else _plain_features(stocks, now, by.sigma, params)
    given = predictor.Inputs(
        x=x,
        cluster=state["coefficient_groups"]["label"] if hierarchical else group,
        market=predictor.means(x[_market_rows(state)], where) if hierarchical else np.zeros(len(features.MARKET)),
        sigma=by.sigma,
        tick=by.tick,
        still=by.still,
        where=where,
    )
    predictor.forecast(state["predictor"], _settings(params, state["trade_sign"]), given)
    state["counts"]["predicted"] += int(where.sum())
    point, median = (state["predictor"][name][where] for name in ("point", "median"))
    cluster_price.forecast(state["clusters"], point, median, group[where])


def _features(state: State, now: SnapshotView, by: features.Scales) -> np.ndarray:
    said = features.Quotes(*(now.get(name) for name in QUOTED))
    lags = np.stack([now["r0"], now.get("r1")])
    trade_sign = state["trade_sign"]
    return features.build(state["stocks"], by, lags, now["type"], now["volume"], said, trade_sign=trade_sign)


def _market_rows(state: State) -> list[int]:
    names = features.names(state["trade_sign"])
    return [names.index(name) for name in features.MARKET]


def _plain_features(
    stocks: memory.Stocks, now: SnapshotView, sigma: np.ndarray, params: ClusterRegressionParams
) -> np.ndarray:
    """Return lags, d3 and d10 in units of σ; a lag that does not exist yet says nothing: 0."""
    lags = [now[f"r{lag}"] for lag in range(params.window - 1)]
    x = np.stack([*lags, *features.trends(stocks)]) / sigma
    return np.clip(np.nan_to_num(x), -features.CLIP_SIGMA, features.CLIP_SIGMA)
