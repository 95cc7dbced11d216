"""A made-up market, a whole snapshot at a time: sectors, a common factor, a price grid, quotes, bounce and halts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
    listed_per_day: int = 0
    delisted_per_day: int = 0
    splits_per_day: int = 0


class Market:
    """Prices in whole ticks. The fair price walks on the log scale with a market and a sector part and is pulled back
    to its start, so that a market left running for weeks stays a market; the last trade is at bid or ask.

    The same shape, ``start`` and ``prices`` (by name, where to go on from) give the same steps, byte for byte. What a
    ``new_days`` bring (listings, delistings, splits) hangs on seed and day alone.
    """

    def __init__(self, shape: MarketShape, start: int = 0, prices: Mapping[str, float] | None = None) -> None:
        self.shape = shape
        fixed = np.random.default_rng([shape.seed, 0])
        self.random = np.random.default_rng([shape.seed, 1, start])
        self.names: list[str] = []
        self.sector = np.empty(0, dtype=np.int64)
        self.home = self.log_price = np.empty(0)
        self.beta = self.sigma = self.activity = np.empty(0, dtype=np.float32)
        self.halted = self.gone = np.empty(0, dtype=bool)
        self._list(fixed, shape.codes)
        self.halted = self.random.random(shape.codes) < shape.halted_share
        self.go_on_from(prices or {})

    def go_on_from(self, prices: Mapping[str, float]) -> None:
        """Put the stocks that are named at their prices."""
        known = np.array([prices.get(name, np.nan) for name in self.names])
        self.log_price = np.where(np.isnan(known), self.log_price, np.log(known / TICK_SIZE))

    def _list(self, random: np.random.Generator, count: int) -> None:
        """Let new stocks begin to trade, under names that were never used."""
        self.names += [f"SIM{number:06d}" for number in range(len(self.names), len(self.names) + count)]
        self.sector = np.append(self.sector, random.integers(0, self.shape.sectors, count))
        home = np.log(np.exp(random.normal(2.7, 0.9, count)).clip(1.5, 500.0) / TICK_SIZE)
        self.home, self.log_price = np.append(self.home, home), np.append(self.log_price, home)
        self.beta = np.append(self.beta, random.normal(1.0, 0.3, count).astype(np.float32))
        steps_per_day = 4 * 3600 / self.shape.every_s
        own = self.shape.daily_volatility / np.sqrt(steps_per_day) * np.exp(random.normal(0, 0.4, count))
        self.sigma = np.append(self.sigma, own.astype(np.float32))
        self.activity = np.append(self.activity, np.exp(random.normal(0.0, 1.0, count)).astype(np.float32))
        self.halted = np.append(self.halted, np.zeros(count, dtype=bool))
        self.gone = np.append(self.gone, np.zeros(count, dtype=bool))

    def new_days(self, days: Iterable[int]) -> None:
        """Let stocks leave and come and some be split (two for one) before each of the days of these numbers begins."""
        for day in days:
            self._new_day(day)

    def _new_day(self, day: int) -> None:
        random = np.random.default_rng([self.shape.seed, 2, day])
        there = np.flatnonzero(~self.gone)
        leaving = random.permutation(there)[: min(self.shape.delisted_per_day, max(len(there) - 2, 0))]
        self.gone[leaving] = True
        splitting = random.permutation(np.flatnonzero(~self.gone))[: self.shape.splits_per_day]
        self.home[splitting] -= np.log(2)
        self.log_price[splitting] -= np.log(2)
        self._list(random, self.shape.listed_per_day)

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
        own = self.sigma * self.random.standard_normal(len(self.names), dtype=np.float32)
        self.log_price += self.beta * np.float32(common) + sectors[self.sector] + own
        self.log_price += (self.home - self.log_price) * (1e-5 * self.shape.every_s)

    def _live(self) -> np.ndarray:
        """Let halts begin and end, and return who is trading."""
        share = self.shape.halted_share
        dice = self._uniform(len(self.names))
        begins = dice < share / max(1 - share, 1e-9) / _HALT_STEPS
        self.halted = np.where(self.halted, dice >= 1 / _HALT_STEPS, begins)
        return np.flatnonzero(~(self.halted | self.gone))

    def _uniform(self, count: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        return low + (high - low) * self.random.random(count, dtype=np.float32)

    def _exponential(self, count: int) -> np.ndarray:
        return self.random.standard_exponential(count, dtype=np.float32).astype(np.float64)
