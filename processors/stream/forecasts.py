"""The next return of each stock and each group of stocks: opened at a snapshot, scored and learned from at the next."""

from __future__ import annotations

from typing import Annotated, Any, Protocol

import numpy as np
from pydantic import Field

from processors.algorithms import cluster_price, features, memory, predictor
from processors.algorithms.clustering import NONE
from processors.contract import QUOTE_FIELDS, Columns, Window
from processors.stream.snapshot_view import SnapshotView

Array = np.ndarray
State = dict[str, Any]

QUOTED = ("mid", "micro", "imbalance", "spread")
GRID_EVERY = 10  # snapshots between two looks at the decimals of prices

Lags = Annotated[int, Field(ge=2, le=50, title="Window", description="Snapshots that the lags look back over")]
Forgetting = Annotated[
    float, Field(gt=0.5, le=1, title="Forgetting", description="Weight kept per snapshot (hierarchical, rls)")
]
LearningRate = Annotated[float, Field(gt=0, le=1, title="Learning rate", description="Step size (sgd)")]


class Chosen(Protocol):
    """The parameters that a regression reads."""

    regression: predictor.Kind
    window: Lags
    forgetting: Forgetting
    learning_rate: LearningRate


def hints(window: Window) -> Columns:
    """Return what a slice tells of its stocks beside price and returns: trade sign, decimals of prices, quotes."""
    price = window.newest["price"]
    columns = {"type": window.newest["type"]}
    if window.headers[-1].index % GRID_EVERY == 0:
        columns["decimals"] = memory.decimals_of(price)
    if "bid" in window.newest:
        said = features.quotes(price, *(window.newest[name] for name in QUOTE_FIELDS))
        columns |= {name: getattr(said, name) for name in QUOTED}
    return columns


def begin(params: Chosen, trade_sign: bool, models: int = 0) -> State:
    """Return what is remembered before the first forecast, with as many models as there are groups already."""
    settings = _settings(params, trade_sign)
    held = predictor.new(settings)
    if models:
        predictor.rearrange(held, settings, [NONE] * models)
    return {"predictor": held, "counts": {"predicted": 0, "scored": 0, "no_truth": 0}}


def _settings(params: Chosen, trade_sign: bool) -> predictor.Settings:
    hierarchical = params.regression == "hierarchical"
    return predictor.Settings(
        kind=params.regression,
        features=len(features.names(trade_sign)) if hierarchical else params.window - 1 + 2,
        market_features=len(features.MARKET),
        forgetting=params.forgetting,
        rate=params.learning_rate,
    )


def rearrange(state: State, params: Chosen, origin: list[int]) -> None:
    """Let the coefficients follow a refit of their clusters; −1 in ``origin`` begins a new one."""
    predictor.rearrange(state["predictor"], _settings(params, state["trade_sign"]), origin)


# ---- the truth has come


def meet_truth(state: State, now: SnapshotView, params: Chosen) -> None:
    """Score the open forecasts as they were issued, and learn from them."""
    opened = int(state["predictor"]["open"].sum())
    if now.follows:
        rows = predictor.learn(state["predictor"], _settings(params, state["trade_sign"]), now["r0"], now.real)
        cluster_price.learn(state["clusters"], now["r0"][rows], state["groups"]["label"][rows])
        state["counts"]["scored"] += len(rows)
        state["counts"]["no_truth"] += opened - len(rows)
    else:  # no truth comes across a session's end or a hole
        state["counts"]["no_truth"] += predictor.drop(state["predictor"])
        cluster_price.drop(state["clusters"])


# ---- the next forecast


def forecast(state: State, now: SnapshotView, params: Chosen, coefficients: Array) -> None:
    """Forecast every grouped stock's return to the next snapshot; what is missing is missing, not 0. ``coefficients``
    holds the place of each stock's own, shape (N,)."""
    stocks, group = state["stocks"], state["groups"]["label"]
    if "decimals" in now:
        memory.learn_grid(stocks, now.real, now["decimals"])
    where = now.present & now.follows & ~np.isnan(now["r0"]) & (group != NONE)
    by = features.scales(stocks)
    hierarchical = params.regression == "hierarchical"
    x = _features(state, now, by) if hierarchical else _plain_features(stocks, now, by.sigma, params)
    given = predictor.Inputs(
        x=x,
        cluster=coefficients,
        market=predictor.means(x[_market_rows(state)], where) if hierarchical else np.zeros(len(features.MARKET)),
        sigma=by.sigma,
        tick=by.tick,
        still=by.still,
        where=where,
    )
    predictor.forecast(state["predictor"], _settings(params, state["trade_sign"]), given)
    state["counts"]["predicted"] += int(where.sum())
    cluster_price.forecast(state["clusters"], state["predictor"]["point"][where], group[where])


def _features(state: State, now: SnapshotView, by: features.Scales) -> Array:
    said = features.Quotes(*(now.get(name) for name in QUOTED))
    lags = np.stack([now["r0"], now.get("r1")])
    trade_sign = state["trade_sign"]
    return features.build(state["stocks"], by, lags, now["type"], now["volume"], said, trade_sign=trade_sign)


def _market_rows(state: State) -> list[int]:
    names = features.names(state["trade_sign"])
    return [names.index(name) for name in features.MARKET]


def _plain_features(stocks: memory.Stocks, now: SnapshotView, sigma: Array, params: Chosen) -> Array:
    """Return lags, d3 and d10 in units of σ; a lag that does not exist yet says nothing: 0."""
    lags = [now[f"r{lag}"] for lag in range(params.window - 1)]
    x = np.stack([*lags, *features.trends(stocks)]) / sigma
    return np.clip(np.nan_to_num(x), -features.CLIP_SIGMA, features.CLIP_SIGMA)
