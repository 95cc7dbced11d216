"""A made-up market, a whole snapshot at a time: sectors, a common factor, a price grid, quotes, bounce and halts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from processors.contract import Columns

TICK_SIZE = 0.01
_HALT_STEPS = 60  # mean length of a halt, in steps


@dataclass(frozen=True)
class MarketShape:
    """``every_s`` is the time a step stands for; ``halted_share`` the share of stocks that stand still, on average."""

    codes: int
    every_s: float
    seed: int
    sectors: int = 12
    halted_share: float = 0.005
    daily_volatility: float = 0.02


class Market:
    """Prices in whole ticks. The fair price walks on the log scale with a market and a sector part and is pulled back
    to its start, so that a market left running for weeks stays a market; the last trade is at bid or ask.

    The same shape, ``start`` and ``prices`` (by name, where to go on from) give the same steps, byte for byte.
    """

    def __init__(self, shape: MarketShape, start: int = 0, prices: Mapping[str, float] | None = None) -> None:
        self.shape = shape
        fixed = np.random.default_rng([shape.seed, 0])
        self.random = np.random.default_rng([shape.seed, 1, start])
        count = shape.codes
        self.names = [f"SIM{number:06d}" for number in range(count)]
        self.sector = fixed.integers(0, shape.sectors, count)
        self.home = np.log(np.exp(fixed.normal(2.7, 0.9, count)).clip(1.5, 500.0) / TICK_SIZE)
        self.beta = fixed.normal(1.0, 0.3, count).astype(np.float32)
        self.sigma = self._sigma(fixed)
        self.activity = np.exp(fixed.normal(0.0, 1.0, count)).astype(np.float32)
        known = np.array([(prices or {}).get(name, np.nan) for name in self.names])
        self.log_price = np.where(np.isnan(known), self.home, np.log(known / TICK_SIZE))
        self.halted = self.random.random(count) < shape.halted_share

    def _sigma(self, fixed: np.random.Generator) -> np.ndarray:
        """Return each stock's own standard deviation of the log price per step."""
        steps_per_day = 4 * 3600 / self.shape.every_s
        return (
            self.shape.daily_volatility / np.sqrt(steps_per_day) * np.exp(fixed.normal(0, 0.4, self.shape.codes))
        ).astype(np.float32)

    def step(self) -> tuple[np.ndarray, Columns]:
        """Return (numbers of the stocks that are not halted, their columns: price, volume, amount, type, quotes)."""
        self._walk()
        live = self._live()
        fair = np.exp(self.log_price[live])
        bid = np.maximum(np.floor(fair - 0.25), 1.0)
        width = 1.0 + (fair > 5_000) * self._uniform(len(live), 0, 4).astype(np.int64)
        ask = bid + width
        side = np.where(self._uniform(len(live)) < 0.5 + 0.6 * np.clip(fair - bid - 0.5, -0.5, 0.5), 1, -1)
        traded = self._uniform(len(live)) < 1 - np.exp(-self.activity[live] * self.shape.every_s)
        lots = np.ceil(self.activity[live] * self._exponential(len(live)) * 10 * self.shape.every_s)
        volume = np.where(traded, lots * 100, 0.0)
        price = np.round(np.where(side > 0, ask, bid) * TICK_SIZE, 2)
        return live, {
            "price": price,
            "volume": volume,
            "amount": np.round(price * volume, 2),
            "type": np.where(traded, side, 0).astype(np.int8),
            "bid": np.round(bid * TICK_SIZE, 2),
            "ask": np.round(ask * TICK_SIZE, 2),
            "bid_size": np.ceil(self._exponential(len(live)) * 30) * 100,
            "ask_size": np.ceil(self._exponential(len(live)) * 30) * 100,
        }

    def _walk(self) -> None:
        scale = self.shape.daily_volatility / np.sqrt(4 * 3600 / self.shape.every_s)
        common = self.random.normal(0, 0.5 * scale)
        sectors = self.random.normal(0, 0.4 * scale, self.shape.sectors).astype(np.float32)
        own = self.sigma * self.random.standard_normal(self.shape.codes, dtype=np.float32)
        self.log_price += self.beta * np.float32(common) + sectors[self.sector] + own
        self.log_price += (self.home - self.log_price) * (1e-5 * self.shape.every_s)

    def _live(self) -> np.ndarray:
        """Let halts begin and end, and return who is trading."""
        share = self.shape.halted_share
        dice = self._uniform(self.shape.codes)
        begins = dice < share / max(1 - share, 1e-9) / _HALT_STEPS
        self.halted = np.where(self.halted, dice >= 1 / _HALT_STEPS, begins)
        return np.flatnonzero(~self.halted)

    def _uniform(self, count: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        return low + (high - low) * self.random.random(count, dtype=np.float32)

    def _exponential(self, count: int) -> np.ndarray:
        return self.random.standard_exponential(count, dtype=np.float32).astype(np.float64)
