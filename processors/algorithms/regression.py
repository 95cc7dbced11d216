"""Online linear regressions for next returns, one per cluster or one for all, with forgetting.

Features are rows: x has shape (F, n), targets y (n,), coefficients (K, F). Least squares keep second moments
A (K, F, F), b (K, F) and the number of observations n (K,); forgetting applies once per interval.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray
Model = dict[str, Any]

JITTER = 1e-9

# ---- sums over the rows of each cluster


def moments(x: Array, y: Array, weight: Array, bounds: Array) -> Model:
    """Return Σ w·x·x', Σ w·x·y and the count of each cluster.

    Columns lie in order of their cluster; ``bounds``, shape (K + 1,), says where each cluster begins and ends.
    """
    found = least_squares(len(bounds) - 1, len(x))
    weighted, y = x * weight.astype(x.dtype), y.astype(x.dtype)
    for k in range(len(bounds) - 1):
        rows = slice(bounds[k], bounds[k + 1])
        found["A"][k] = weighted[:, rows] @ x[:, rows].T
        found["b"][k] = weighted[:, rows] @ y[rows]
    found["n"][:] = np.diff(bounds)
    return found


def bounds_of(cluster: Array, clusters: int) -> Array:
    """Return where each cluster begins and ends among sorted places, shape (K + 1,); those of none (−1) come first."""
    return np.searchsorted(cluster, np.arange(clusters + 1))


def least_squares(clusters: int, features: int) -> Model:
    """Return K sums that know nothing."""
    return {
        "A": np.zeros((clusters, features, features)),
        "b": np.zeros((clusters, features)),
        "n": np.zeros(clusters),
    }


def add(model: Model, more: Model, forgetting: float) -> None:
    """Fold one interval in: A ← λA + ΔA, b ← λb + Δb, n ← λn + Δn. An interval without any row forgets nothing."""
    if more["n"].any():
        for name in ("A", "b", "n"):
            model[name] = forgetting * model[name] + more[name]


# ---- coefficients


def ridge(model: Model, observations: float) -> Array:
    """Return each model's own coefficients, shape (K, F): w = (A + ridge·diag(A)/n)⁻¹ b.

    The ridge is in observations of a feature's mean square (generalised ridge; Hoerl and Kennard 1970).
    """
    a, n = model["A"], np.maximum(model["n"], 1e-12)
    features = np.arange(a.shape[1])
    pulled = a.copy()
    pulled[:, features, features] *= 1 + observations / n[:, None]
    return _solve(pulled, model["b"])


def pooled(model: Model, observations: float) -> Array:
    """Return the coefficients of all clusters' rows together, shape (F,)."""
    total = {name: values.sum(axis=0, keepdims=True) for name, values in model.items()}
    return ridge(total, observations)[0]


def towards(model: Model, centre: Array, observations: float) -> Array:
    """Return each cluster's coefficients, pulled to those of all, shape (K, F):

    w_k = w + (A_k + m·ΣA/n)⁻¹ (b_k − A_k·w), with m the prior's observations (partial pooling; a g-prior as in
    Zellner 1986, centred on w).
    """
    a, n = model["A"].sum(axis=0), model["n"].sum()
    if n < 1:
        return np.tile(centre, (len(model["n"]), 1))
    return centre + _solve(model["A"] + observations * a / n, model["b"] - model["A"] @ centre)


def _solve(a: Array, b: Array) -> Array:
    """Return A⁻¹b for each of K systems. A feature that never varied gets a unit pivot: its coefficient is 0, not
    undefined; a jitter keeps features that so far say the same (a trend that is one return) from being singular."""
    features = np.arange(a.shape[1])
    diagonal = a[:, features, features]
    a = a.copy()
    a[:, features, features] = np.where(diagonal > 0, (1 + JITTER) * diagonal, 1.0)
    return np.linalg.solve(a, b[:, :, None])[:, :, 0]


# ---- stochastic gradient descent


def sgd(clusters: int, features: int) -> Model:
    """Return K linear models for stochastic gradient descent."""
    return {"w": np.zeros((clusters, features)), "n": np.zeros(clusters)}


def sgd_learn(model: Model, x: Array, y: Array, cluster: Array, rate: float) -> None:
    """Take one step of mini-batch gradient descent per cluster: w ← w − rate·mean((w'x − y)·x), as MLlib's
    StreamingLinearRegressionWithSGD does with one iteration per batch."""
    for k in range(len(model["n"])):
        rows = cluster == k
        xk = x[:, rows]
        if xk.shape[1]:
            model["w"][k] -= rate * (xk @ (model["w"][k] @ xk - y[rows])) / xk.shape[1]
            model["n"][k] += xk.shape[1]


def predict(w: Array, x: Array, cluster: Array) -> Array:
    """Return w'x with the coefficients of each column's cluster, 0 for a column of none (−1)."""
    every = np.vstack([w.astype(x.dtype) @ x, np.zeros(x.shape[1], x.dtype)])
    return every[cluster, np.arange(x.shape[1])]


def rearrange(model: Model, origin: list[int]) -> Model:
    """Return the models in a new order; ``origin`` names the old model each new one goes on from, −1 for none."""
    taken = np.array([max(k, 0) for k in origin], dtype=int)
    fresh = np.array([k < 0 for k in origin])
    out = {}
    for name, values in model.items():
        out[name] = values[taken].copy() if len(values) else np.zeros((len(origin), *values.shape[1:]))
        out[name][fresh] = 0.0
    return out
