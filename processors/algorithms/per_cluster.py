"""The plain models: one regression per cluster on features in units of σ, each behind a guard of its own.

Recursive least squares in its information form, exact and in one order, or stochastic gradient descent.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from processors.algorithms import guard, regression

Array = np.ndarray
State = dict[str, Any]

PRIOR = 300.0  # observations that pull coefficients to 0
CLIP_SIGMA = 8.0


def new(clusters: int, features: int, kind: str) -> State:
    """Return K models that know nothing; ``kind`` is ``rls`` or ``sgd``."""
    model = regression.sgd(clusters, features) if kind == "sgd" else _rls(clusters, features)
    return {"model": model, "guard": guard.guard(clusters)}


def _rls(clusters: int, features: int) -> dict[str, Any]:
    return {**regression.least_squares(clusters, features), "w": np.zeros((clusters, features))}


def components(state: State, x: Array, sigma: Array, cluster: Array) -> Array:
    """Return the raw forecasts in bp, shape (1, n); ``x``, shape (F, n), in units of σ."""
    return regression.predict(state["model"]["w"], x, cluster)[None, :] * sigma


def combine(state: State, raw: Array, cluster: Array) -> Array:
    """Return the guarded forecast, shape (n,)."""
    return np.append(state["guard"]["scale"], 0.0)[cluster] * raw[0]


def learn(
    state: State, x: Array, y: Array, sigma: Array, cluster: Array, raw: Array, forgetting: float, rate: float | None
) -> None:
    """Take in one interval's n rows, in order of their cluster; with a ``rate`` by gradient descent, else by least
    squares."""
    clusters = len(state["guard"]["scale"])
    u = np.bincount(cluster, weights=y * raw[0], minlength=clusters)
    guard.learn(state["guard"], u, np.bincount(cluster, weights=raw[0] ** 2, minlength=clusters))
    scaled = np.clip(y / sigma, -CLIP_SIGMA, CLIP_SIGMA)
    if rate is None:
        _rls_learn(state["model"], x, scaled, cluster, forgetting)
    else:
        regression.sgd_learn(state["model"], x, scaled, cluster, rate)


def _rls_learn(model: dict[str, Any], x: Array, y: Array, cluster: Array, forgetting: float) -> None:
    bounds = regression.bounds_of(cluster, len(model["n"]))
    sums = {name: model[name] for name in ("A", "b", "n")}
    regression.add(sums, regression.moments(x, y, np.ones(len(y)), bounds), forgetting)
    model.update(sums, w=regression.ridge(sums, PRIOR))


def rearrange(state: State, origin: list[int]) -> State:
    """Return the models after a refit of the clusters; −1 in ``origin`` begins a new one."""
    return {name: regression.rearrange(values, origin) for name, values in state.items()}
