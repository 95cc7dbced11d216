"""The default model: what all stocks have in common, what each cluster does differently, and where the market goes.

Three components, each on the residual of those before and each behind its own guard:

- all stocks: f = w'(x − x̄), least squares with forgetting, rows weighted by 1/σ;
- per cluster: (w_k − w)'(x − x̄), coefficients pulled to those of all;
- the market: the mean return, from the mean of some features, each interval weighted by 1 over the variance of the
  mean return.

A state is a dict of arrays; ``K`` counts clusters, ``F`` features, ``M`` the market's features.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from processors.algorithms import guard, regression

Array = np.ndarray
State = dict[str, Any]

PRIOR = 300.0  # observations that pull coefficients to 0 (all stocks) or to those of all (a cluster)
MARKET_PRIOR = 20.0  # intervals
MARKET_FORGETTING = 0.997
MARKET_ALPHA = 0.03
MARKET_CLIP = 5.0
COMPONENTS = 3


def new(clusters: int, features: int, market_features: int) -> State:
    """Return a model that knows nothing."""
    return {
        "sums": regression.least_squares(clusters, features),
        "w": np.zeros(features),
        "w_cluster": np.zeros((clusters, features)),
        "market": regression.least_squares(1, market_features),
        "w_market": np.zeros(market_features),
        "market_square": np.zeros(2),  # EW sum of squared mean returns, and of its weights
        "guard": guard.guard(COMPONENTS),
    }


def components(state: State, x: Array, centre: Array, cluster: Array, market: Array) -> Array:
    """Return the components' raw forecasts in bp, shape (3, n). ``x`` has shape (F, n), ``centre``, its mean over the
    stocks, (F,); ``market`` (M,)."""
    every = np.vstack([state["w"], state["w_cluster"] - state["w"], np.zeros(len(x))]).astype(x.dtype)
    said, of_mean = every @ x, every @ centre
    raw = np.empty((COMPONENTS, x.shape[1]), dtype=x.dtype)
    raw[0] = said[0] - of_mean[0]
    own = np.where(cluster < 0, -1, cluster + 1)  # the last row is nobody's: 0
    raw[1] = said[own, np.arange(x.shape[1])] - of_mean[own]
    raw[2] = state["w_market"] @ market
    return raw


def combine(state: State, raw: Array, cluster: Array) -> Array:
    """Return the guarded forecast, shape (n,)."""
    return (state["guard"]["scale"].astype(raw.dtype) @ raw).astype(float)


def learn_coefficients(state: State, x: Array, y: Array, sigma: Array, cluster: Array, forgetting: float) -> None:
    """Take in n rows of one interval, in order of their cluster: ``x`` as it was when the forecast was made, the
    returns ``y`` and ``sigma`` in bp."""
    deviations = x - x.mean(axis=1, keepdims=True)
    bounds = regression.bounds_of(cluster, len(state["w_cluster"]))
    regression.add(state["sums"], regression.moments(deviations, y - y.mean(), 1.0 / sigma, bounds), forgetting)
    state["w"] = regression.pooled(state["sums"], PRIOR)
    state["w_cluster"] = regression.towards(state["sums"], state["w"], PRIOR)


def learn_guards(state: State, y: Array, raw: Array) -> None:
    """Take in one interval's returns in bp and the raw forecasts of them as they were made, shape (3, n)."""
    mean = y.mean()
    scale, residual, u = state["guard"]["scale"], y - mean, np.zeros(COMPONENTS)
    for component in range(COMPONENTS):
        if component == COMPONENTS - 1:  # the market explains the mean, which the others do not see
            residual = residual + mean
        u[component] = residual @ raw[component]
        residual = residual - scale[component] * raw[component]
    guard.learn(state["guard"], u, (raw**2).sum(axis=1))


def learn_market(state: State, mean: float, market: Array) -> None:
    """Take in one interval's mean return in bp and what was known of the market before it, shape (M,)."""
    square = state["market_square"]
    variance = square[0] / square[1] if square[1] > 0 else mean * mean
    if variance > 0:
        limit = MARKET_CLIP * variance**0.5
        row, target = market[:, None], np.array([np.clip(mean, -limit, limit)])
        one = regression.moments(row, target, np.array([1.0 / variance]), np.array([0, 1]))
        regression.add(state["market"], one, MARKET_FORGETTING)
        state["w_market"] = regression.ridge(state["market"], MARKET_PRIOR)[0]
    state["market_square"] = (1 - MARKET_ALPHA) * square + MARKET_ALPHA * np.array([mean * mean, 1.0])


def rearrange(state: State, origin: list[int]) -> State:
    """Return the model after a refit of the clusters; ``origin`` names the old one each goes on from, −1 for none.

    A new cluster begins with the coefficients of all; what an ended one knew stays with those of all by forgetting.
    """
    sums = regression.rearrange(state["sums"], origin)
    return {**state, "sums": sums, "w_cluster": regression.towards(sums, state["w"], PRIOR)}
