"""The check suite: what the platform's own processors pass, and that each check fails for what it is there for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from processors import checks
from processors.contract import Header, Result
from processors.stream.cluster_regression import ClusterRegression
from processors.stream.stock_avg import StockAvg

test_cluster_regression = checks.suite(ClusterRegression)
test_stock_avg = checks.suite(StockAvg, window=5)


class Base(StockAvg):
    def step(self, state: Any, header: Header, codes: Any, columns: Any, params: Any) -> tuple[Any, Result]:
        state, result = super().step(state, header, codes, columns, params)
        return self.spoil(state, header, result)

    def spoil(self, state: Any, header: Header, result: Result) -> tuple[Any, Result]:
        return state, result


class NoJson(Base):
    def spoil(self, state: Any, header: Header, result: Result) -> tuple[Any, Result]:
        return state, Result({**result.numbers, "mean": float("nan")})


class TouchesInput(StockAvg):
    def map_slice(self, window: Any, params: Any) -> Any:
        found = super().map_slice(window, params)
        prices = window.columns["price"]
        prices.flags.writeable = True
        prices[:] = 0.0
        return found


class Remembers(Base):
    calls = 0

    def spoil(self, state: Any, header: Header, result: Result) -> tuple[Any, Result]:
        Remembers.calls += 1
        return state, Result({**result.numbers, "calls": Remembers.calls})


class KeepsStateAside(Base):
    def __init__(self) -> None:
        self.seen = 0

    def spoil(self, state: Any, header: Header, result: Result) -> tuple[Any, Result]:
        self.seen += 1
        return state, Result({**result.numbers, "seen": self.seen})


class NeedsAStock(Base):
    def map_slice(self, window: Any, params: Any) -> Any:
        window.columns["price"][-1].max()
        return super().map_slice(window, params)


class OnlyDigits(Base):
    def step(self, state: Any, header: Header, codes: Any, columns: Any, params: Any) -> tuple[Any, Result]:
        [int(code) for part in codes for code in part.to_pylist()]
        return super().step(state, header, codes, columns, params)


class NoGap(Base):
    def spoil(self, state: Any, header: Header, result: Result) -> tuple[Any, Result]:
        if header.index > state.get("index", 0) + 1:
            raise IndexError("a snapshot is missing")
        return {**state, "index": header.index}, result


class NoWayBack(Base):
    def spoil(self, state: Any, header: Header, result: Result) -> tuple[Any, Result]:
        if header.time < state.get("time", 0):
            raise ValueError("time goes back")
        return {**state, "time": header.time}, result


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (NoJson, "result_is_json_and_input_untouched"),
        (TouchesInput, "result_is_json_and_input_untouched"),
        (Remembers, "replay_gives_the_same_numbers"),
        (KeepsStateAside, "stopped_in_mid_batch_it_goes_on_with_the_same_numbers"),
        (NeedsAStock, "empty_batch"),
        (OnlyDigits, "malformed_row"),
        (NoGap, "late_row"),
        (NoWayBack, "duplicate_batch"),
    ],
)
def test_each_check_finds_what_it_is_there_for(broken: type[StockAvg], check: str) -> None:
    with pytest.raises(checks.CheckFailed, match=check):
        checks.check(broken)


def test_a_failed_check_names_file_and_line() -> None:
    with pytest.raises(checks.CheckFailed, match=r"test_checks\.py, line \d+"):
        checks.check(NoGap)


def test_the_market_of_the_checks_is_always_the_same() -> None:
    one, other = checks.market(), checks.market()
    assert all(a.slices == b.slices for a, b in zip(one, other, strict=True))
    assert np.isfinite(one[-1].slices[0].column("price").to_numpy()).all()
