"""The guard: how much of a forecast to trust, from how much it would have gained over the last price so far.

One number per interval and model, so that correlated stocks do not fake confidence. With residual e and forecast g of
an interval: u = Σ e·g, v = Σ g²; U, V, Q are forgetting sums of u, v, u²; T = U/√Q. The scale is
clip(U/V, 0, 1) · max(0, 1 − c(1 + n0/n)/T²) if T > 0, else 0 (a James-Stein shrinkage of the gain).
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray

FORGETTING = 0.997
CAUTION = 2.0
PRIOR_INTERVALS = 10.0
WARM_UP = 3


def guard(models: int) -> dict[str, Array]:
    """Return guards that trust nothing yet, one per model."""
    return {name: np.zeros(models) for name in ("U", "V", "Q", "n", "seen", "scale")}


def learn(state: dict[str, Array], u: Array, v: Array) -> None:
    """Take in one interval's sums, shape (K,); a model without rows this interval (v = 0) is left as it is."""
    active = v > 0
    for name, value in (("U", u), ("V", v), ("Q", u * u), ("n", np.ones(len(u)))):
        state[name] = np.where(active, FORGETTING * state[name] + value, state[name])
    state["seen"] = state["seen"] + active
    state["scale"] = _scale(state)


def _scale(state: dict[str, Array]) -> Array:
    u, v, q, n = state["U"], state["V"], state["Q"], state["n"]
    sure = (u > 0) & (v > 0) & (q > 0) & (state["seen"] > WARM_UP)
    t_squared = np.divide(u * u, q, out=np.ones(len(u)), where=sure)
    gain = np.clip(np.divide(u, v, out=np.zeros(len(u)), where=sure), 0.0, 1.0)
    shrink = 1.0 - CAUTION * (1.0 + PRIOR_INTERVALS / np.maximum(n, 1.0)) / t_squared
    return np.where(sure, gain * np.maximum(shrink, 0.0), 0.0)
