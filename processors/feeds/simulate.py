"""A feed that needs no source: a seeded, made-up market, always open or with trading days of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import date
from threading import Event

import numpy as np
import pyarrow as pa
import redis
import structlog
from pydantic import Field

from processors.bus import Bus
from processors.contract import Context, FeedProcessor, FeedSpec
from processors.contract import Params as BaseParams
from processors.feeds.codebook import text_column
from processors.feeds.days import DayClock
from processors.feeds.engine import Engine, Handed, Resume, run_feed
from processors.feeds.market import Market, MarketShape
from processors.feeds.pacing import Pacer
from processors.feeds.sessions import Sessions

log = structlog.get_logger()
CATCH_UP_S = 60.0  # further behind than this (the machine slept), the market jumps to now, and says so


class SimulatorParams(BaseParams):
    """The market to make up."""

    codes: int = Field(1_000, ge=2, le=200_000, title="Stocks")
    every_s: float = Field(5.0, ge=0.01, le=3600, title="Interval", description="Seconds between snapshots.")
    seed: int = Field(1, ge=0, title="Seed", description="The same seed makes the same market.")
    sectors: int = Field(12, ge=1, le=200, title="Sectors")
    halted_share: float = Field(0.005, ge=0, le=0.5, title="Halted", description="Share of stocks that stand still.")
    days: bool = Field(
        False, title="Trading days", description="Follow the feed's calendar from a day on: auction, lunch, close."
    )
    begins: date = Field(date(2021, 12, 1), title="First day", description="Of the trading days.")
    pace: float = Field(1.0, gt=0, title="Pace", description="Of the trading days: times real time.")
    listed_per_day: int = Field(0, ge=0, le=1_000, title="Listed", description="Stocks that are new on each day.")
    delisted_per_day: int = Field(0, ge=0, le=1_000, title="Delisted", description="Stocks that leave before each day.")
    splits_per_day: int = Field(0, ge=0, le=1_000, title="Splits", description="Two for one, before each day.")


class Simulator(FeedProcessor):
    """Makes up a market, one snapshot per interval on the wall clock's grid, always open.

    It is no market: its spec says ``simulated``. Behind the clock it makes up every snapshot it owes, but after a
    minute without running (a laptop that slept) it goes on from now and counts what it left out (``skipped``). After a
    restart prices go on from the last snapshot on the bus, with the random numbers of (seed, index).

    With ``days`` event time is made up as well: it follows the feed's calendar from ``begins`` on, at ``pace``; each
    day has an opening auction (rows without volume, outside the session), a lunch where the exchange has one, and its
    listings, delistings and splits. What is closed is skipped.
    """

    title = "Simulated market"
    description = "Made-up prices from a seed: sectors, a common factor, quotes, halts. For trials and load tests."
    Params = SimulatorParams

    def run(self, params: SimulatorParams, spec: FeedSpec, context: Context) -> None:
        """Publish until stopped. Raises ``ValueError`` if ``spec`` has another interval than the parameters."""
        if spec.interval_ms != round(params.every_s * 1000):
            raise ValueError(
                f"feed {spec.name} has an interval of {spec.interval_ms} ms, its simulator {params.every_s} s"
            )
        engine = Engine(spec, context, name="the simulator")
        shape = MarketShape(
            params.codes,
            params.every_s,
            params.seed,
            params.sectors,
            params.halted_share,
            listed_per_day=params.listed_per_day,
            delisted_per_day=params.delisted_per_day,
            splits_per_day=params.splits_per_day,
        )

        def days(resume: Resume) -> Iterator[Handed]:
            clock = DayClock(engine.sessions, spec.interval_ms, params.begins, params.pace, context.stopping)
            known = last_prices(engine.bus)
            for step in clock.steps(resume.after):
                new = list(step.new_days)
                if known:  # prices from before a split are not to be split again, those of yesterday are
                    before = new if _same_day(engine.sessions, resume.after, step.end) else new[:-1]
                    rows.market.new_days(before)
                    rows.market.go_on_from(known)
                    new, known = new[len(before) :], {}
                rows.market.new_days(new)
                yield Handed(rows.take(step.end, traded=step.trading), step.end)

        def source(resume: Resume) -> Iterator[Handed]:
            clock = GridClock(spec.interval_ms, resume.after, context.stopping)
            for end in clock.ends():
                if clock.skipped:
                    engine.facts["skipped"] = clock.skipped
                engine.facts["behind_s"] = round(clock.behind_s, 2)
                yield Handed(rows.take(end), end)

        resume = engine.begin()
        if resume is not None:
            rows = SimulatedRows(Market(shape, resume.index, {} if params.days else last_prices(engine.bus)))
            pacer = Pacer()
            pacer.pace = params.pace if params.days else 1.0
            run_feed(engine, days if params.days else source, pacer, resume=resume)


def simulated_spec(name: str, every_s: float, **more: object) -> FeedSpec:
    """Return the spec of a simulated feed."""
    fixed = {"zone": "UTC", "calendar": "24/7", "simulated": True, "interval_ms": round(every_s * 1000)}
    return FeedSpec(**{"name": name, "title": "Simulated market", **fixed, **more})  # type: ignore[arg-type]


def last_prices(bus: Bus) -> dict[str, float]:
    """Return the prices of the newest snapshot on the bus by code, none if there is none or Redis does not answer."""
    try:
        last = bus.last()
        parts = [bus.read(number, [last.seq])[0] for number in range(last.slices)] if last else []
    except redis.RedisError as error:
        log.warning("last prices cannot be read, beginning anew", feed=bus.feed, error=str(error))
        return {}
    return {
        code: price
        for part in parts
        if part is not None
        for code, price in zip(part.column("code").to_pylist(), part.column("price").to_pylist(), strict=True)
    }


def _same_day(sessions: Sessions, one_ms: int, other_ms: int) -> bool:
    return sessions.at(one_ms)[0][:10] == sessions.at(other_ms)[0][:10]


class SimulatedRows:
    """The market's steps as Arrow batches that share one dictionary of codes."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self._codes = text_column(market.names)

    def take(self, end: int, *, traded: bool = True) -> pa.RecordBatch:
        """Step the market and return its rows, all at event time ``end`` (ms UTC); in an auction nothing is traded."""
        live, columns = self.market.step()
        if len(self._codes) < len(self.market.names):
            self._codes = text_column(self.market.names)
        if not traded:
            columns |= {name: np.zeros_like(columns[name]) for name in ("volume", "amount", "type")}
        code = pa.DictionaryArray.from_arrays(pa.array(live.astype(np.int32)), self._codes)
        when = pa.array(np.full(len(live), end))
        return pa.RecordBatch.from_pydict(
            {"time": when, "code": code, **{name: pa.array(values) for name, values in columns.items()}}
        )


class GridClock:
    """Ends of intervals as they pass on the wall clock, each once, none left out but after a long sleep."""

    def __init__(
        self, interval_ms: int, after: int, stopping: Event, wall_ms: Callable[[], float] = lambda: time.time() * 1000
    ) -> None:
        self.interval_ms, self.stopping, self._wall_ms = interval_ms, stopping, wall_ms
        self._next = max(self._passed() + interval_ms, after // interval_ms * interval_ms + interval_ms)
        self.skipped = 0
        self.behind_s = 0.0

    def ends(self) -> Iterator[int]:
        while self._reached():
            yield self._next
            self._next += self.interval_ms

    def _reached(self) -> bool:
        """Wait for the next end; False when stopping."""
        while (left_ms := self._next - self._wall_ms()) > 0:
            if self.stopping.wait(min(left_ms / 1000, 0.1)):
                return False
        self.behind_s = -left_ms / 1000
        if self.behind_s > max(CATCH_UP_S, 3 * self.interval_ms / 1000):
            left_out = (self._passed() - self._next) // self.interval_ms
            log.warning("clock jumped, intervals left out", intervals=left_out, behind_s=self.behind_s)
            self.skipped += left_out
            self._next += left_out * self.interval_ms
        return not self.stopping.is_set()

    def _passed(self) -> int:
        return int(self._wall_ms()) // self.interval_ms * self.interval_ms
