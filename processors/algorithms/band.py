"""Bands that keep their coverage: half-widths σ·q·k that grow with each miss and shrink otherwise.

q belongs to all stocks, k to each: q ← q·exp(0.05·(m − α)/max(α, 0.1)) with m the share of misses of an interval and α
the wanted one; k ← k·exp(0.005·(miss − m)/max(α, 0.1)), clipped to 0.2 … 5 and kept at a geometric mean of 1 (adaptive
conformal inference in multiplicative form; Gibbs and Candès 2021).
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray

MISSES = np.array([0.20, 0.05])  # wanted shares of the 80 % and the 95 % band
START = np.array([1.2816, 1.9600])  # normal quantiles
STEP_ALL, STEP_OWN = 0.05, 0.005
LOG_RANGE = (np.log(0.2), np.log(5.0))
LEVELS = len(MISSES)
EDGE = 1e-9  # bp: a return on a band's edge is inside


def band(stocks: int) -> dict[str, Array]:
    """Return bands of normal width."""
    return {"q": START.copy(), "log_k": np.zeros((LEVELS, stocks))}


def grow(state: dict[str, Array], stocks: int) -> None:
    """Make room for ``stocks`` stocks."""
    more = np.zeros((LEVELS, stocks - state["log_k"].shape[1]))
    state["log_k"] = np.concatenate([state["log_k"], more], axis=1)


def half_widths(state: dict[str, Array], sigma: Array) -> Array:
    """Return the half-widths in bp, shape (2, N)."""
    own = np.exp(state["log_k"].astype(np.float32))  # several times as fast; a width needs no more digits
    return own * (state["q"][:, None] * sigma)


def missed(error: Array, half: Array) -> Array:
    """Say of each band and row whether the return lies outside the closed interval, shape (2, n)."""
    return np.abs(error) > half + EDGE


def learn(state: dict[str, Array], rows: Array, miss: Array) -> None:
    """Take in an interval's misses, shape (2, n), of the stocks at ``rows``."""
    share = miss.mean(axis=1)
    pace = np.maximum(MISSES, 0.1)
    state["q"] = state["q"] * np.exp(STEP_ALL * (share - MISSES) / pace)
    for level, log_k in enumerate(state["log_k"]):
        step = STEP_OWN * (miss[level] - share[level]) / pace[level]
        log_k[rows] = np.clip(log_k[rows] + step, *LOG_RANGE)
        log_k -= log_k.mean()
