"""What the next return is predicted from. Features are rows of an array (F, N), in bp; a missing one says nothing: 0.

With σ the stock's volatility in bp, τ = min(price step / σ, 3) without unit, Z its share of unchanged intervals, v the
interval's volume and v̄ its mean; r0, r1 are the last returns, d3 and d10 the log price minus its moving averages.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from processors.algorithms import memory
from processors.algorithms.memory import BP, Stocks

Array = np.ndarray

CLIP_SIGMA = 8.0
LARGEST_TAU = 3.0
LARGEST_VOLUME_ROOT = 5.0
WIDEST_SPREAD = 4.0

BASE = ("r0", "r1", "d3", "d10", "tau_r0", "tau_d10", "still_r0", "last_move")
TRADE_SIGN = ("sign", "sign_volume", "sign_tau")
CHANGE_SIGN = ("r0_volume",)
QUOTES = ("mid", "micro", "imbalance", "still_mid", "spread_mid", "tau_imbalance")
MARKET = ("r0", "d3", "mid")  # whose means predict the mean return


@dataclass(frozen=True)
class Quotes:
    """Best bid and ask against the last price, each of shape (N,), 0 where a side is missing: log(mid/last) and
    log(microprice/last) in bp, the sizes' imbalance (bid − ask) / (bid + ask), the spread in bp."""

    mid: Array
    micro: Array
    imbalance: Array
    spread: Array


def names(trade_sign: bool) -> list[str]:
    """Return the names of the features, by what a feed's ``type`` means."""
    return [*BASE, *(TRADE_SIGN if trade_sign else CHANGE_SIGN), *QUOTES]


def quotes(price: Array, bid: Array, ask: Array, bid_size: Array, ask_size: Array) -> Quotes:
    """Return what the quotes say. A crossed, one-sided or missing quote says nothing.

    The microprice weighs each side by the other's size: (ask·bid size + bid·ask size) / (bid size + ask size).
    """
    there = (bid > 0) & (ask >= bid) & (price > 0)
    size = bid_size + ask_size
    sized = there & (bid_size >= 0) & (ask_size >= 0) & (size > 0)
    bid, ask = np.where(there, bid, 1.0), np.where(there, ask, 1.0)
    last = np.where(there, price, 1.0)
    total = np.where(sized, size, 1.0)
    micro = np.where(sized, (ask * bid_size + bid * ask_size) / total, (bid + ask) / 2)
    return Quotes(
        mid=np.log((bid + ask) / 2 / last) * BP,
        micro=np.log(micro / last) * BP,
        imbalance=np.where(sized, (bid_size - ask_size) / total, 0.0),
        spread=np.log(ask / bid) * BP,
    )


@dataclass(frozen=True)
class Scales:
    """What features are measured by, each of shape (N,): σ and the price step in bp, the share Z of unchanged
    intervals, the mean volume in shares."""

    sigma: Array
    tick: Array
    still: Array
    volume: Array


def scales(stocks: Stocks) -> Scales:
    """Return the scales of every stock as of now."""
    price = stocks["price"]
    tick = np.divide(stocks["tick_size"] * BP, price, out=np.zeros(len(price)), where=price > 0)
    return Scales(memory.sigma_bp(stocks), tick, memory.unchanged_share(stocks), memory.mean_volume(stocks))


def build(
    stocks: Stocks, by: Scales, lags: Array, kind: Array, volume: Array, quoted: Quotes, *, trade_sign: bool
) -> Array:
    """Return the features, float32 of shape (F, N), clipped to ± 8 σ, not yet demeaned.

    ``lags`` holds r0 and r1 in bp, shape (2, N); ``kind`` the tick type (1, −1, 0), ``volume`` shares.
    """
    sigma, still = by.sigma.astype(np.float32), (by.still - 0.5).astype(np.float32)
    tau = np.minimum((by.tick / by.sigma).astype(np.float32), LARGEST_TAU)
    root = np.sqrt(np.divide(volume, by.volume, out=np.ones(len(sigma)), where=by.volume > 0)).astype(np.float32)
    root = np.minimum(root, LARGEST_VOLUME_ROOT)
    r0, r1, d3, d10, last_move, kind, mid, micro, imbalance, spread = (
        values.astype(np.float32)
        for values in (
            *lags, *trends(stocks), stocks["last_move"], kind,
            quoted.mid, quoted.micro, quoted.imbalance, quoted.spread,
        )
    )  # fmt: skip
    leaning = sigma * imbalance
    spread = np.minimum(spread / sigma, WIDEST_SPREAD)
    rows = [r0, r1, d3, d10, tau * r0, tau * d10, still * r0, last_move]
    if trade_sign:
        sign = sigma * kind
        rows += [sign, sign * root, sign * tau]
    else:
        rows += [r0 * (root - 1.0)]
    rows += [mid, micro, leaning, still * mid, spread * mid, tau * leaning]
    x, limit = np.empty((len(rows), len(sigma)), dtype=np.float32), CLIP_SIGMA * sigma
    for held, row in zip(x, rows, strict=True):  # one after the other, while it is in the cache
        np.clip(row, -limit, limit, out=held)
        np.copyto(held, 0.0, where=np.isnan(held))
    return x


def trends(stocks: Stocks) -> tuple[Array, Array]:
    """Return d3 and d10 in bp, 0 where a session has just begun."""
    fast, slow = ((stocks["log_price"] - stocks[name]) * BP for name in ("fast", "slow"))
    return np.where(np.isnan(fast), 0.0, fast), np.where(np.isnan(slow), 0.0, slow)
