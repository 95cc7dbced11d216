"""What is remembered per stock between snapshots: volatility, moving averages, behaviour. Plain arrays of shape (N,).

Exponentially weighted means are kept as sums beside the sum of their weights, so that they are unbiased from the first
observation on: mean = s / w with s ← (1 − α)s + α·x and w ← (1 − α)w + α.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray
Stocks = dict[str, Array]

SIGMA_ALPHA = 0.03
FAST_ALPHA, SLOW_ALPHA = 0.4, 0.15
BEHAVIOUR_ALPHA = 0.003
SHRINK_OBSERVATIONS = 3.0
BP = 1e4

_FLOATS = ("price", "log_price", "fast", "slow", "sigma_s", "sigma_w", "move_s", "flat_s", "turnover_s", "behaviour_w")


def empty() -> Stocks:
    """Return the memory of a market without stocks."""
    return {name: np.zeros(0) for name in _FLOATS}


def grow(stocks: Stocks, count: int) -> None:
    """Make room for ``count`` stocks; new ones have no price (NaN) and zero weights."""
    for name in _FLOATS:
        fill = np.nan if name in ("price", "log_price", "fast", "slow") else 0.0
        stocks[name] = np.concatenate([stocks[name], np.full(count - len(stocks[name]), fill)])


def start_session(stocks: Stocks) -> None:
    """Forget what must not cross a session's end: the moving averages of the price."""
    stocks["fast"][:] = stocks["slow"][:] = np.nan


def advance(stocks: Stocks, real: Array, price: Array, returns_bp: Array, amount: Array) -> None:
    """Take in the real rows of a snapshot. ``real`` is a mask; ``returns_bp`` NaN where there is no return."""
    log_price = np.log(price, where=real, out=np.full(len(price), np.nan))
    stocks["price"][real], stocks["log_price"][real] = price[real], log_price[real]
    for name, alpha in (("fast", FAST_ALPHA), ("slow", SLOW_ALPHA)):
        held = stocks[name]
        begun = ~np.isnan(held)
        held[real & begun] += alpha * (log_price - held)[real & begun]
        held[real & ~begun] = log_price[real & ~begun]
    moved = real & ~np.isnan(returns_bp)
    r = returns_bp[moved]
    _weigh(stocks, moved, SIGMA_ALPHA, sigma_s=r * r, sigma_w=1.0)
    _weigh(stocks, moved, BEHAVIOUR_ALPHA, move_s=np.abs(r), flat_s=r == 0.0, behaviour_w=1.0)
    _weigh(stocks, moved, BEHAVIOUR_ALPHA, turnover_s=amount[moved])


def _weigh(stocks: Stocks, rows: Array, alpha: float, **values: Any) -> None:
    for name, value in values.items():
        stocks[name][rows] = (1 - alpha) * stocks[name][rows] + alpha * value


def sigma_bp(stocks: Stocks) -> Array:
    """Return each stock's volatility per interval in bp, shrunk towards the mean of all; 1 before any return.

    σ² = (n·s/w + 3·mean) / (n + 3) with n = w/α, the effective number of observations.
    """
    weight = stocks["sigma_w"]
    known = weight > 0
    if not known.any():
        return np.ones(len(weight))
    variance = np.divide(stocks["sigma_s"], weight, out=np.zeros(len(weight)), where=known)
    observations = weight / SIGMA_ALPHA
    pooled = max(float(variance[known].mean()), 1e-4)
    return np.sqrt((observations * variance + SHRINK_OBSERVATIONS * pooled) / (observations + SHRINK_OBSERVATIONS))


def behaviour(stocks: Stocks) -> Array:
    """Return how each stock behaves, shape (N, 3): log mean |return| in bp, share of unchanged intervals, log mean
    turnover. NaN rows for stocks without a return so far."""
    weight = np.where(stocks["behaviour_w"] > 0, stocks["behaviour_w"], np.nan)
    return np.column_stack(
        [
            np.log(stocks["move_s"] / weight + 0.01),
            stocks["flat_s"] / weight,
            np.log1p(stocks["turnover_s"] / weight),
        ]
    )
