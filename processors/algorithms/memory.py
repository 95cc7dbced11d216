"""What is remembered per stock between snapshots: volatility, moving averages, volume, behaviour. Arrays of shape (N,).

Exponentially weighted means are kept as sums beside the sum of their weights, so that they are unbiased from the first
observation on: mean = s / w with s ← (1 − α)s + α·x and w ← (1 − α)w + α. Only real rows advance any of it.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray
Stocks = dict[str, Array]

RETURN_ALPHA = 0.03  # of volatility, share of unchanged intervals and volume
FAST_ALPHA, SLOW_ALPHA = 0.4, 0.15  # of the price's moving averages
BEHAVIOUR_ALPHA = 0.003  # of what stocks are clustered by
SHRINK_OBSERVATIONS = 3.0
BP = 1e4
DECIMALS = 5  # a price grid is one of 1, 0.1, … 0.0001
GRID_SHARE = 0.95

_FROM_PRICE = ("price", "log_price", "fast", "slow")
_SUMS = (
    "square_s", "flat_s", "volume_s", "return_w", "move_s", "still_s", "turnover_s", "behaviour_w", "last_move",
)  # fmt: skip


def empty() -> Stocks:
    """Return the memory of a market without stocks."""
    held = {name: np.zeros(0) for name in (*_FROM_PRICE, *_SUMS, "tick_size")}
    return {**held, "decimals": np.zeros((DECIMALS, 0))}


def grow(stocks: Stocks, count: int) -> None:
    """Make room for ``count`` stocks; new ones have no price (NaN) and zero weights."""
    for name, held in stocks.items():
        fill = np.nan if name in _FROM_PRICE else np.median(held) if name == "tick_size" and len(held) else 0.0
        more = np.full((*held.shape[:-1], count - held.shape[-1]), fill)
        stocks[name] = np.concatenate([held, more], axis=-1)


def start_session(stocks: Stocks) -> None:
    """Forget what must not cross a session's end: the moving averages of the price, and its last move."""
    stocks["fast"][:] = stocks["slow"][:] = np.nan
    stocks["last_move"][:] = 0.0


def advance(stocks: Stocks, real: Array, price: Array, returns_bp: Array, volume: Array, amount: Array) -> None:
    """Take in the real rows of a snapshot. ``real`` is a mask; ``returns_bp`` NaN where there is no return."""
    log_price = np.log(price, where=real, out=np.zeros(len(price)))
    np.copyto(stocks["price"], price, where=real)
    np.copyto(stocks["log_price"], log_price, where=real)
    for name, alpha in (("fast", FAST_ALPHA), ("slow", SLOW_ALPHA)):
        np.copyto(stocks[name], log_price, where=real & np.isnan(stocks[name]))
        _move(stocks[name], log_price, alpha * real)
    moved = real & ~np.isnan(returns_bp)
    r = np.where(moved, returns_bp, 0.0)
    volume, amount = np.where(moved, volume, 0.0), np.where(moved, amount, 0.0)
    flat = r == 0.0
    np.copyto(stocks["last_move"], r, where=~flat)
    for alpha, values in (
        (RETURN_ALPHA * moved, {"square_s": r * r, "flat_s": flat, "volume_s": volume, "return_w": 1.0}),
        (BEHAVIOUR_ALPHA * moved, {"move_s": np.abs(r), "still_s": flat, "turnover_s": amount, "behaviour_w": 1.0}),
    ):
        for name, value in values.items():
            _move(stocks[name], value, alpha)


def _move(held: Array, value: Array | float, alpha: Array) -> None:
    """Let an average go to a value by α, in place; α is 0 where there is nothing new."""
    step = value - held
    step *= alpha
    held += step


def _mean(total: Array, weight: Array) -> Array:
    return np.divide(total, weight, out=np.zeros(len(total)), where=weight > 0)


def sigma_bp(stocks: Stocks) -> Array:
    """Return each stock's volatility per interval in bp, shrunk towards the mean of all; 1 before any return."""
    return shrunk_sigma(stocks["square_s"], stocks["return_w"])


def shrunk_sigma(squares: Array, weight: Array) -> Array:
    """Return √σ² with σ² = (n·s/w + 3·mean) / (n + 3) and n = w/α, the effective number of observations; 1 where
    nothing is known of any. ``squares`` and ``weight`` are an exponentially weighted sum (α 0.03) and its weights."""
    known = weight > 0
    if not known.any():
        return np.ones(len(weight))
    variance = _mean(squares, weight)
    seen = weight / RETURN_ALPHA
    pooled = max(float(variance[known].mean()), 1e-4)
    return np.sqrt((seen * variance + SHRINK_OBSERVATIONS * pooled) / (seen + SHRINK_OBSERVATIONS))


def unchanged_share(stocks: Stocks) -> Array:
    """Return each stock's exponentially weighted share of intervals without a price change; 0 before any."""
    return _mean(stocks["flat_s"], stocks["return_w"])


def mean_volume(stocks: Stocks) -> Array:
    """Return each stock's exponentially weighted volume per interval in shares; 0 before any."""
    return _mean(stocks["volume_s"], stocks["return_w"])


def learn_grid(stocks: Stocks, real: Array, decimals: Array) -> None:
    """Take in how many decimals the real rows' prices need, and set each stock's price step in currency: the coarsest
    power of ten that 95 % of its prices lie on, no coarser than that of the median stock (a price of 2.70 does not
    tell 0.1 from 0.01)."""
    rows = np.flatnonzero(real)
    stocks["decimals"][decimals[rows].astype(int), rows] += 1
    counts = np.cumsum(stocks["decimals"], axis=0)
    seen = counts[-1] > 0
    if seen.any():
        own = np.argmax(counts >= GRID_SHARE * counts[-1], axis=0)
        stocks["tick_size"] = 10.0 ** -np.maximum(own, int(np.median(own[seen])))


def decimals_of(price: Array) -> Array:
    """Return how many decimals each price needs, at most 4, as int8."""
    found = np.full(price.shape, DECIMALS - 1, dtype=np.int8)
    for places in range(DECIMALS - 2, -1, -1):
        scaled = price * 10.0**places
        found[np.abs(scaled - np.rint(scaled)) < 1e-6 * np.maximum(np.abs(scaled), 1.0)] = places
    return found


def behaviour(stocks: Stocks, rows: Array) -> Array:
    """Return how some stocks, each with a return at least, behave, shape (n, 3): log mean |return| in bp, share of
    unchanged intervals, log mean turnover."""
    move, still, turnover, weight = (
        stocks[name][rows] for name in ("move_s", "still_s", "turnover_s", "behaviour_w")
    )  # fmt: skip
    return np.column_stack([np.log(move / weight + 0.01), still / weight, np.log1p(turnover / weight)])
