"""Clusters of stocks that behave alike, and one incremental regression per cluster that predicts their next prices.

The executors compute what needs the window only: returns and their lags. The driver remembers what lasts: volatility,
moving averages, behaviour, memberships, models. A snapshot goes through in this order: the open forecasts meet their
truth and are scored as issued, guard and models learn from it, the memory advances, the stocks are clustered, the next
forecasts are made.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from processors.algorithms import clustering, guard, memory, regression, scores
from processors.contract import Columns, FeedSpec, Header, Params, Result, StreamProcessor, Window

State = dict[str, Any]

CLIP_SIGMA = 8.0
RIDGE = 300.0
_REFITS = {2, 4, 8, 16, 32, 64, 128}  # snapshots after which early clusters, made of little, are fitted anew


class ClusterRegressionParams(Params):
    k: int = Field(4, ge=1, le=32, title="Clusters (K)", json_schema_extra={"live": True})
    clustering: Literal["kmeans", "streaming_kmeans"] = Field(
        "kmeans",
        title="Clustering model",
        description="kmeans: one Lloyd step per snapshot; streaming_kmeans: decayed averages as in Spark MLlib",
    )
    regression: Literal["rls", "sgd"] = Field(
        "rls", title="Regression model", description="Recursive least squares, or stochastic gradient descent"
    )
    features: Literal["behaviour", "returns", "price"] = Field(
        "behaviour", title="Clustering features", description="What makes two stocks alike"
    )
    window: int = Field(3, ge=2, le=50, title="Window", description="Snapshots that the lags look back over")
    forgetting: float = Field(0.999, gt=0.5, le=1, title="Forgetting", description="Weight kept per snapshot (rls)")
    learning_rate: float = Field(0.02, gt=0, le=1, title="Learning rate", description="Step size (sgd)")
    decay: float = Field(0.99, ge=0, le=1, title="Decay", description="Weight kept per snapshot (streaming_kmeans)")
    seed: int = Field(1, ge=0, title="Seed", description="Of the first cluster centres")


class ClusterRegression(StreamProcessor[State]):
    title = "Clusters and regression"
    description = "Groups stocks that behave alike and predicts each cluster's and each stock's next price."
    Params = ClusterRegressionParams

    def __init__(self) -> None:
        self._places = _Places()

    def window(self, params: ClusterRegressionParams) -> int:
        return params.window

    def map_slice(self, window: Window, params: ClusterRegressionParams) -> Columns:
        columns = {name: window.columns[name][-1] for name in ("price", "amount", "age_s")}
        lags = lagged_returns_bp(window)
        missing = np.full(len(window.codes), np.nan)
        for lag in range(params.window - 1):
            columns[f"r{lag}"] = lags[lag] if lag < len(lags) else missing
        return columns

    def init(self, params: ClusterRegressionParams, spec: FeedSpec) -> State:
        features = params.window - 1 + 2
        return {
            "codes": {},
            "stocks": memory.empty(),
            "cluster": np.zeros(0, dtype=int),
            "open": np.zeros(0, dtype=bool),
            "x": np.zeros((0, features)),
            "raw": np.zeros(0),
            "forecast": np.zeros(0),
            "sigma": np.zeros(0),
            "k": params.k,
            "ids": [],
            "next_id": 1,
            "centres": np.zeros((0, 3)),
            "weights": np.zeros(0),
            "model": getattr(regression, params.regression)(0, features),
            "guard": guard.guard(0),
            "score": scores.scores(1),
            "cluster_score": scores.scores(0),
            "index": np.zeros(0),
            "silhouette": None,
            "snapshots": 0,
            "counts": {"predicted": 0, "scored": 0, "no_truth": 0},
            "last": None,
            "events": [],
        }

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
        state = self._begin(state, header, params)
        rows = self._places.of(state, codes)
        now = _Now(state, header, rows, columns)
        if now.follows:
            _learn(state, now, params)
        else:
            _drop_open(state)
            memory.start_session(state["stocks"])
        if header.trading:
            memory.advance(state["stocks"], now.real, now.price, now.returns, now.amount)
            _cluster(state, now, params)
            _forecast(state, now)
        state["last"] = mark(header)
        return state, Result(_numbers(state, now, params), _stock_columns(state, now, codes))

    def _begin(self, state: State, header: Header, params: ClusterRegressionParams) -> State:
        """A new run of a recording begins anew: what was learned of it would be knowledge of the future."""
        if state["last"] and state["last"]["run"] != header.run:
            state = self.init(params, FeedSpec(header.feed))
            state["events"].append({"kind": "run_began", "run": header.run})
        state["snapshots"] += 1
        return state


def lagged_returns_bp(window: Window) -> np.ndarray:
    """Return log returns in bp, newest first, shape (W' − 1, n); NaN where one would cross a session's end, a hole in
    the grid or a stock's absence."""
    logs = np.log(window.columns["price"])
    returns = np.diff(logs, axis=0)[::-1] * memory.BP
    newest_first = window.headers[::-1]
    joined = [follows(mark(older), newer) for newer, older in pairwise(newest_first)]
    returns[~np.logical_and.accumulate(np.array(joined, dtype=bool))] = np.nan
    return returns


def mark(header: Header) -> dict[str, Any]:
    """Return what is remembered of a snapshot to tell whether another follows it."""
    return {"run": header.run, "session": header.session, "time": header.time}


def follows(last: dict[str, Any], newer: Header) -> bool:
    """Say whether a return from one snapshot to the other is one interval of one trading session."""
    same = (last["run"], last["session"]) == (newer.run, newer.session)
    return same and newer.trading and newer.time - last["time"] == newer.interval_ms


class _Now:
    """One snapshot on the rows of the state: arrays of shape (N,) over all stocks ever seen."""

    def __init__(self, state: State, header: Header, rows: np.ndarray, columns: Columns):
        self.header, self.rows, self.count = header, rows, len(state["codes"])
        last = state["last"]
        self.follows = last is not None and follows(last, header)
        self.present = np.zeros(self.count, dtype=bool)
        self.present[rows] = True
        self.price = self._spread(columns["price"])
        self.amount = self._spread(columns["amount"])
        self.age_s = self._spread(columns["age_s"])
        self.real = self.present & (self.age_s == 0)
        self.lags = np.column_stack([self._spread(columns[f"r{lag}"]) for lag in range(len(columns) - 3)])
        self.returns = self.lags[:, 0] if self.follows else np.full(self.count, np.nan)

    def _spread(self, values: np.ndarray) -> np.ndarray:
        out = np.full(self.count, np.nan)
        out[self.rows] = values
        return out


class _Places:
    """Where the stocks of a snapshot stand in the state. The codes are nearly always those of the snapshot before: what
    is kept here spares looking 100,000 of them up, and says nothing that the state does not say."""

    def __init__(self) -> None:
        self.known: dict[str, int] | None = None
        self.codes: list[pa.StringArray] = []
        self.rows = np.zeros(0, dtype=np.int64)

    def of(self, state: State, codes: list[pa.StringArray]) -> np.ndarray:
        """Return the state's row of each code, making rows for new ones in the order they come."""
        same = self.known is state["codes"] and len(codes) == len(self.codes)
        if not (same and all(mine.equals(theirs) for mine, theirs in zip(codes, self.codes, strict=True))):
            self.known, self.codes, self.rows = state["codes"], codes, _rows(state, codes)
        return self.rows


def _rows(state: State, codes: list[pa.StringArray]) -> np.ndarray:
    known = state["codes"]
    names = [name for part in codes for name in part.to_pylist()]
    rows = np.fromiter((known.setdefault(name, len(known)) for name in names), dtype=np.int64, count=len(names))
    new = len(known) - len(state["cluster"])
    if new:
        memory.grow(state["stocks"], len(known))
        state["cluster"] = np.concatenate([state["cluster"], np.full(new, clustering.NONE)])
        state["open"] = np.concatenate([state["open"], np.zeros(new, dtype=bool)])
        state["x"] = np.concatenate([state["x"], np.zeros((new, state["x"].shape[1]))])
        for name in ("raw", "forecast", "sigma"):
            state[name] = np.concatenate([state[name], np.zeros(new)])
    return rows


# ---- the truth has come: score, guard, learn


def _learn(state: State, now: _Now, params: ClusterRegressionParams) -> None:
    truth = state["open"] & now.real & ~np.isnan(now.returns)
    state["counts"]["no_truth"] += int((state["open"] & ~truth).sum())
    y, forecast, cluster = now.returns[truth], state["forecast"][truth], state["cluster"][truth]
    _score(state, y, forecast, cluster)
    _chain_index(state, y, cluster)
    raw, sigma, count = state["raw"][truth], state["sigma"][truth], len(state["ids"])
    guard.learn(
        state["guard"],
        np.bincount(cluster, weights=y * raw, minlength=count),
        np.bincount(cluster, weights=raw**2, minlength=count),
    )
    x, scaled = state["x"][truth], np.clip(y / sigma, -CLIP_SIGMA, CLIP_SIGMA)
    if params.regression == "rls":
        regression.rls_learn(state["model"], x, scaled, cluster, params.forgetting, RIDGE)
    else:
        regression.sgd_learn(state["model"], x, scaled, cluster, params.learning_rate)
    state["open"][:] = False


def _score(state: State, y: np.ndarray, forecast: np.ndarray, cluster: np.ndarray) -> None:
    """Score the stocks, pooled, and each cluster: its truth is the mean return of the members it had."""
    state["counts"]["scored"] += len(y)
    scores.learn(state["score"], scores.interval_sums(y, forecast, np.zeros(len(y), dtype=int), 1))
    count = len(state["ids"])
    members = np.bincount(cluster, minlength=count)
    seen = np.flatnonzero(members)
    mean_y = np.bincount(cluster, weights=y, minlength=count)[seen] / members[seen]
    mean_forecast = np.bincount(cluster, weights=forecast, minlength=count)[seen] / members[seen]
    scores.learn(state["cluster_score"], scores.interval_sums(mean_y, mean_forecast, seen, count))


def _chain_index(state: State, y: np.ndarray, cluster: np.ndarray) -> None:
    count = len(state["ids"])
    members = np.bincount(cluster, minlength=count)
    mean_bp = np.bincount(cluster, weights=y, minlength=count) / np.maximum(members, 1)
    state["index"] = state["index"] * np.exp(mean_bp / memory.BP)


def _drop_open(state: State) -> None:
    """No truth comes for forecasts across a session's end or a hole."""
    state["counts"]["no_truth"] += int(state["open"].sum())
    state["open"][:] = False


# ---- clusters


def _cluster(state: State, now: _Now, params: ClusterRegressionParams) -> None:
    features = _features(state, now, params.features)
    usable = now.present & ~np.isnan(features).any(axis=1)
    k = max(1, min(params.k, int(usable.sum()) // 4)) if usable.any() else 0
    if k == 0:
        return
    points = clustering.robust_z(features[usable])
    if k != len(state["ids"]) or state["snapshots"] in _REFITS:
        _refit(state, points, usable, k, params)
    labels = clustering.assign(points, state["centres"], state["cluster"][usable])
    if params.clustering == "kmeans":
        state["centres"] = clustering.means(points, labels, state["centres"])
    else:
        state["centres"], state["weights"] = clustering.decayed_update(
            state["centres"], state["weights"], points, labels, params.decay
        )
    state["cluster"][:] = np.where(now.present, state["cluster"], clustering.NONE)
    state["cluster"][usable] = labels
    if state["silhouette"] is None or state["snapshots"] % 10 == 0:
        found = clustering.silhouette(points, labels)
        state["silhouette"] = None if found is None else round(found, 4)


def _features(state: State, now: _Now, which: str) -> np.ndarray:
    stocks = state["stocks"]
    if which == "behaviour":
        return memory.behaviour(stocks)
    if which == "price":
        return stocks["log_price"][:, None]
    return np.column_stack([stocks["log_price"] - stocks["fast"], stocks["log_price"] - stocks["slow"]]) * memory.BP


def _refit(state: State, points: np.ndarray, usable: np.ndarray, k: int, params: ClusterRegressionParams) -> None:
    """Fit clusters anew; each goes on as the old one it shares most members with, together with all it learned."""
    rng = np.random.default_rng([params.seed, state["snapshots"]])
    centres, labels = clustering.fit(points, k, rng)
    origin = clustering.match(state["cluster"][usable], labels, len(state["ids"]), k)
    kept = set(origin) - {clustering.NONE}
    for place, identity in enumerate(state["ids"]):
        if place not in kept:
            state["events"].append({"kind": "cluster_ended", "cluster": identity})
    ids = [
        state["ids"][old] if old >= 0 else state["next_id"] + origin[:new].count(-1) for new, old in enumerate(origin)
    ]
    state["next_id"] += origin.count(clustering.NONE)
    state["events"] += [{"kind": "cluster_began", "cluster": ids[new]} for new, old in enumerate(origin) if old < 0]
    state["index"] = np.array([state["index"][old] if old >= 0 else 100.0 for old in origin])
    state["model"] = regression.rearrange(state["model"], origin)
    state["guard"] = regression.rearrange(state["guard"], origin)
    state["cluster_score"] = scores.rearrange(state["cluster_score"], origin)
    state["ids"], state["centres"] = ids, centres
    state["weights"] = np.bincount(labels, minlength=k).astype(float)
    state["cluster"][:] = clustering.NONE
    state["cluster"][usable] = labels


# ---- the next forecast


def _forecast(state: State, now: _Now) -> None:
    """Forecast every clustered stock's return to the next snapshot, in bp; what is missing is missing, not 0."""
    stocks = state["stocks"]
    sigma = memory.sigma_bp(stocks)
    trend = np.column_stack([stocks["log_price"] - stocks["fast"], stocks["log_price"] - stocks["slow"]]) * memory.BP
    x = np.column_stack([now.lags, trend]) / sigma[:, None]
    # A lag that does not exist yet says nothing: 0, as for an unchanged price.
    x = np.clip(np.nan_to_num(x, nan=0.0), -CLIP_SIGMA, CLIP_SIGMA)
    has_past = ~np.isnan(now.returns)
    state["open"] = now.present & has_past & (state["cluster"] >= 0)
    state["x"], state["sigma"] = x, sigma
    state["raw"] = regression.predict(state["model"], x, state["cluster"]) * sigma
    scale = np.append(state["guard"]["scale"], 0.0)
    state["forecast"] = state["raw"] * scale[state["cluster"]]
    state["counts"]["predicted"] += int(state["open"].sum())


# ---- the result


def _numbers(state: State, now: _Now, params: ClusterRegressionParams) -> dict[str, Any]:
    header = now.header
    events, state["events"] = state["events"], []
    return {
        "run": header.run,
        "index": header.index,
        "time": header.time,
        "target_time": header.time + header.interval_ms,
        "session": header.session,
        "trading": header.trading,
        "feature_set": params.features,
        "silhouette": state["silhouette"],
        "k": params.k,
        "stocks": len(now.rows),
        "expected": header.expected,
        "real": int(now.real.sum()),
        "clusters": _clusters(state, now),
        "scores": scores.report(state["score"], 0),
        "counts": dict(state["counts"]),
        "events": events,
    }


def _clusters(state: State, now: _Now) -> list[dict[str, Any]]:
    count = len(state["ids"])
    member = now.present & (state["cluster"] >= 0)
    cluster = state["cluster"][member]
    size = np.bincount(cluster, minlength=count)
    price = now.price[member]
    open_ = state["open"][member] & now.header.trading
    forecast = np.where(open_, state["forecast"][member], 0.0)
    forecasts = np.bincount(cluster, weights=open_, minlength=count)
    mean_price = np.bincount(cluster, weights=price, minlength=count) / np.maximum(size, 1)
    ahead = np.bincount(cluster, weights=price * np.exp(forecast / memory.BP), minlength=count) / np.maximum(size, 1)
    mean_bp = np.bincount(cluster, weights=forecast, minlength=count) / np.maximum(forecasts, 1)
    found = []
    for k in sorted(range(count), key=lambda place: state["ids"][place]):
        predicted = forecasts[k] > 0
        found.append(
            {
                "id": state["ids"][k],
                "size": int(size[k]),
                "price": _round(mean_price[k]) if size[k] else None,
                "index": _round(state["index"][k]),
                "predicted_price": _round(ahead[k]) if predicted else None,
                "predicted_index": _round(state["index"][k] * np.exp(mean_bp[k] / memory.BP)) if predicted else None,
                "predicted_bp": _round(mean_bp[k]) if predicted else None,
                "fallback": bool(state["guard"]["scale"][k] == 0.0),
                "score": scores.ratios(state["cluster_score"]["total"][k]),
            }
        )
    return found


def _stock_columns(state: State, now: _Now, codes: list[pa.StringArray]) -> dict[str, Any]:
    rows = now.rows
    open_ = state["open"][rows] & now.header.trading
    cluster = state["cluster"][rows]
    ids = np.array([*state["ids"], 0])
    scale = np.append(state["guard"]["scale"], 0.0)
    price = now.price[rows]
    return {
        "code": pa.concat_arrays(codes),
        "cluster": ids[cluster],
        "price": price,
        "forecast": np.where(open_, price * np.exp(state["forecast"][rows] / memory.BP), np.nan),
        "return_bp": now.returns[rows],
        "age_s": now.age_s[rows],
        "fallback": scale[cluster] == 0.0,
    }


def _round(value: float) -> float:
    return round(float(value), 8)
