"""Online linear regressions, one per cluster, on rows in units of each stock's σ.

Coefficients have shape (K, F), rows X (n, F), targets y (n,); ``cluster``, shape (n,), gives the model of each row.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray
Model = dict[str, Any]


def rls(clusters: int, features: int) -> Model:
    """Return K recursive least squares models that know nothing: second moments A, b, observations n."""
    return {
        "A": np.zeros((clusters, features, features)),
        "b": np.zeros((clusters, features)),
        "n": np.zeros(clusters),
        "w": np.zeros((clusters, features)),
    }


def rls_learn(model: Model, x: Array, y: Array, cluster: Array, forgetting: float, ridge: float) -> None:
    """Fold one snapshot's rows in: A ← λA + ΣXX', b ← λb + ΣXy, w = (A + ridge·diag(A)/n)⁻¹ b.

    This is recursive least squares in its information form: exact, in one order, with the ridge in units of an
    observation's mean square. λ applies once per snapshot.
    """
    for k in range(len(model["n"])):
        rows = cluster == k
        xk = x[rows]
        model["A"][k] = forgetting * model["A"][k] + xk.T @ xk
        model["b"][k] = forgetting * model["b"][k] + xk.T @ y[rows]
        model["n"][k] = forgetting * model["n"][k] + len(xk)
        model["w"][k] = _solve(model["A"][k], model["b"][k], model["n"][k], ridge)


def _solve(a: Array, b: Array, n: float, ridge: float) -> Array:
    diagonal = np.diag(a)
    if n < 1 or not (diagonal > 0).any():
        return np.zeros(len(b))
    # A feature that never varied gets a unit pivot: its coefficient is 0, not undefined.
    pull = np.where(diagonal > 0, ridge * diagonal / n, 1.0)
    return np.linalg.solve(a + np.diag(pull), b)


def sgd(clusters: int, features: int) -> Model:
    """Return K linear models for stochastic gradient descent."""
    return {"w": np.zeros((clusters, features)), "n": np.zeros(clusters)}


def sgd_learn(model: Model, x: Array, y: Array, cluster: Array, rate: float) -> None:
    """Take one step of mini-batch gradient descent per cluster: w ← w − rate·mean((Xw − y)X), as MLlib's
    StreamingLinearRegressionWithSGD does with one iteration per batch."""
    for k in range(len(model["n"])):
        rows = cluster == k
        xk = x[rows]
        if len(xk):
            model["w"][k] -= rate * (xk.T @ (xk @ model["w"][k] - y[rows])) / len(xk)
            model["n"][k] += len(xk)


def predict(model: Model, x: Array, cluster: Array) -> Array:
    """Return X·w of each row's model, 0 for a row of no cluster (−1)."""
    padded = np.vstack([model["w"], np.zeros(x.shape[1])])
    return np.einsum("ij,ij->i", x, padded[cluster])


def rearrange(model: Model, origin: list[int]) -> Model:
    """Return the models in a new order; ``origin`` names the old model each new one goes on from, −1 for none."""
    taken = np.array([max(k, 0) for k in origin], dtype=int)
    fresh = np.array([k < 0 for k in origin])
    out = {}
    for name, values in model.items():
        out[name] = values[taken].copy() if len(values) else np.zeros((len(origin), *values.shape[1:]))
        out[name][fresh] = 0.0
    return out
