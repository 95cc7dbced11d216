"""Markets in which there is nothing to know: a model must be no worse than the last price on them.

Walks whose steps lie on the price grid, and a recording with the changes of each interval given a random sign.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa

from processors.contract import QUOTE_SCHEMA, Header
from processors.evaluation import Snapshot

TICK = 0.01


def walks(seed: int, intervals: int, stocks: int = 60, interval_ms: int = 3_000) -> Iterator[Snapshot]:
    """Yield independent symmetric walks in whole ticks, with quotes whose sizes mean nothing. Half of the intervals
    leave a price as it is; steps are up to three ticks."""
    random = np.random.default_rng([7, seed])
    price = random.integers(300, 5_000, stocks) * TICK
    codes = pa.array([f"{number:06d}" for number in range(stocks)])
    for index in range(intervals):
        steps = random.choice([-3, -2, -1, 0, 1, 2, 3], stocks, p=[0.02, 0.06, 0.17, 0.5, 0.17, 0.06, 0.02])
        steps = np.where(price + steps * TICK < 1.0, 0, steps)
        change = np.round(steps * TICK, 2)
        price = np.round(price + change, 2)
        volume = random.integers(0, 50, stocks) * 100.0
        columns = {
            "code": codes,
            "time": np.full(stocks, index * interval_ms),
            "age_s": np.zeros(stocks),
            "price": price,
            "change": change,
            "volume": volume,
            "amount": volume * price,
            "type": random.integers(-1, 2, stocks),
            "bid": np.round(price - TICK, 2),
            "ask": price,
            "bid_size": random.integers(1, 50, stocks) * 100.0,
            "ask_size": random.integers(1, 50, stocks) * 100.0,
        }
        arrays = [pa.array(columns[each.name]).cast(each.type) for each in QUOTE_SCHEMA]
        yield _header(index, stocks, interval_ms), [pa.RecordBatch.from_arrays(arrays, schema=QUOTE_SCHEMA)]


def _header(index: int, stocks: int, interval_ms: int) -> Header:
    return Header(
        feed="walks",
        run=1,
        seq=index + 1,
        index=index,
        time=index * interval_ms,
        session="walk",
        trading=True,
        expected=stocks,
        received=stocks,
        complete=True,
        slices=1,
        interval_ms=interval_ms,
        pace=0.0,
        published_ms=0,
    )


def flipped(snapshots: Iterable[Snapshot], seed: int) -> Iterator[Snapshot]:
    """Yield snapshots with each interval's price changes given one random sign; quotes keep their distance to the
    price. A price that would fall below a tenth of its true one keeps its true change."""
    random = np.random.default_rng([11, seed])
    shift: dict[str, tuple[float, float]] = {}  # code → (true price, price here)
    for header, slices in snapshots:
        sign = random.choice([-1.0, 1.0])
        yield replace(header), [_flip(batch, sign, shift) for batch in slices]


def _flip(batch: pa.RecordBatch, sign: float, known: dict[str, tuple[float, float]]) -> pa.RecordBatch:
    codes, true = batch.column("code").to_pylist(), batch.column("price").to_numpy()
    here = np.empty(len(true))
    for row, (code, price) in enumerate(zip(codes, true, strict=True)):
        before, told = known.get(code, (price, price))
        moved = told + sign * (price - before)
        here[row] = round(moved if moved > price / 10 else told + price - before, 6)
        known[code] = (price, here[row])
    names = batch.schema.names
    columns = {name: batch.column(name) for name in names} | {"price": pa.array(here)}
    for name in ("bid", "ask"):
        if name in names:
            columns[name] = pa.array(batch.column(name).to_numpy() + here - true)
    return pa.RecordBatch.from_arrays([columns[name] for name in names], schema=batch.schema)
