"""The made-up market: reproducible, on the price grid, always open, on the clock."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import date
from itertools import islice, pairwise

import numpy as np
import pytest
from feed_support import Running, Valkey, held, published, until

from processors.bus import Bus, connect
from processors.feeds.days import DayClock
from processors.feeds.market import TICK_SIZE, Market, MarketShape
from processors.feeds.sessions import Sessions
from processors.feeds.simulate import GridClock, SimulatedRows, Simulator, SimulatorParams, simulated_spec
from processors.feeds.watermark import NEVER

SHAPE = MarketShape(codes=500, every_s=1.0, seed=7, halted_share=0.05)


def steps(shape: MarketShape, count: int, start: int = 0) -> list[tuple[np.ndarray, dict[str, np.ndarray]]]:
    market = Market(shape, start)
    return [market.step() for _ in range(count)]


def test_the_same_seed_is_the_same_market() -> None:
    for (one_live, one), (other_live, other) in zip(steps(SHAPE, 5), steps(SHAPE, 5), strict=True):
        assert one_live.tolist() == other_live.tolist()
        assert all(one[name].tobytes() == other[name].tobytes() for name in one)
    assert not np.array_equal(steps(SHAPE, 1)[0][1]["volume"], steps(SHAPE, 1, start=1)[0][1]["volume"])


def test_prices_and_quotes_are_on_the_grid_and_a_trade_is_at_the_bid_or_the_ask() -> None:
    for _, columns in steps(SHAPE, 50):
        price, bid, ask = (columns[name] for name in ("price", "bid", "ask"))
        for values in (price, bid, ask):
            np.testing.assert_array_equal(values, np.round(np.round(values / TICK_SIZE) * TICK_SIZE, 2))
            assert (values > 0).all()
        assert (bid < ask).all()
        assert ((price == bid) | (price == ask)).all()
        assert (columns["type"][price == bid] <= 0).all()
        assert (columns["volume"] >= 0).all() and (columns["bid_size"] > 0).all()
        np.testing.assert_allclose(columns["amount"], price * columns["volume"], atol=0.01)


def test_stocks_halt_and_come_back() -> None:
    live = [set(live.tolist()) for live, _ in steps(SHAPE, 300)]
    counts = np.array([len(stocks) for stocks in live])
    assert 0.85 * 500 < counts.mean() < 0.99 * 500
    assert live[0] != live[-1]
    assert set.union(*live) == set(range(500))


def test_stocks_of_a_sector_move_together() -> None:
    market = Market(MarketShape(codes=400, every_s=60, seed=3, sectors=4, halted_share=0))
    logs = np.array([(market.step(), market.log_price.copy())[1] for _ in range(400)])
    moves = np.corrcoef(np.diff(logs, axis=0).T)
    same = market.sector[:, None] == market.sector[None, :]
    np.fill_diagonal(moves, np.nan)
    assert np.nanmean(moves[same]) > np.nanmean(moves[~same]) + 0.05 > 0.1


def test_the_last_price_bounces_between_bid_and_ask() -> None:
    market = Market(MarketShape(codes=300, every_s=1, seed=3, halted_share=0))
    prices = np.array([market.step()[1]["price"] for _ in range(200)])
    returns = np.diff(np.log(prices), axis=0)
    assert np.mean([np.corrcoef(r[1:], r[:-1])[0, 1] for r in returns.T if r.std() > 0]) < -0.1


def test_a_batch_shares_its_codes() -> None:
    rows = SimulatedRows(Market(SHAPE))
    one, other = rows.take(1000), rows.take(2000)
    assert one.column("code").dictionary.buffers()[2].address == other.column("code").dictionary.buffers()[2].address
    assert set(other.column("time").to_pylist()) == {2000}


def test_the_feed_runs_on_the_clock_and_resumes_with_the_next_index(valkey: Valkey) -> None:
    spec = simulated_spec("sim", 0.05, max_bytes=10**7)
    params = SimulatorParams(codes=200, every_s=0.05, halted_share=0.1)
    for _ in range(2):
        run = Running(Simulator(), params, spec, valkey.url)
        run.until_snapshots(9)
        assert run.stop() < 0.5
        assert run.error is None
        assert run.began == 1
        headers = [header for header, _ in published(valkey.url, spec)]
        assert [header.index for header in headers] == list(range(len(headers)))
        assert all(a.time < b.time for a, b in pairwise(headers))
    assert all(header.trading and header.session == "24/7" for header in headers)
    assert all(0 < header.received <= header.expected <= 200 for header in headers)
    assert any(not header.complete for header in headers)
    assert all(header.published_ms >= header.time for header in headers)
    assert run.facts["rejected"] == {}
    found = Bus(connect(valkey.url), "sim").spec()
    assert found is not None and found.simulated


def test_prices_go_on_from_the_last_snapshot() -> None:
    shape = MarketShape(codes=50, every_s=1, seed=5, halted_share=0)
    market = Market(shape, 3, {"SIM000007": 321.5})
    assert abs(market.step()[1]["price"][7] - 321.5) < 2
    assert np.exp(market.home[7]) * TICK_SIZE < 300


def test_an_interval_that_is_not_the_feeds_is_an_error(valkey: Valkey) -> None:
    run = Running(Simulator(), SimulatorParams(every_s=1), simulated_spec("sim", 2), valkey.url).wait()
    assert "interval of 2000 ms" in str(run.error)


def test_behind_the_clock_every_snapshot_is_made_but_not_after_a_long_sleep() -> None:
    now = [10_000.0]
    clock = GridClock(1_000, 0, threading.Event(), lambda: now[0])
    ends = clock.ends()
    now[0] = 15_500
    assert [next(ends) for _ in range(5)] == [11_000, 12_000, 13_000, 14_000, 15_000]
    assert clock.behind_s == 0.5
    now[0] = 500_000
    assert next(ends) == 500_000
    assert clock.skipped == 484


def test_after_a_restart_the_clock_goes_on_after_the_last_snapshot() -> None:
    now = [13_500.0]
    stopping = threading.Event()
    clock = GridClock(1_000, 20_000, stopping, lambda: now[0])
    now[0] = 22_100
    assert next(clock.ends()) == 21_000
    stopping.set()
    now[0] = 0
    assert list(clock.ends()) == []


@pytest.mark.parametrize(("codes", "budget_s"), [(1_000, 0.02), (100_000, 0.4)])
def test_a_step_is_cheap(codes: int, budget_s: float) -> None:
    rows = SimulatedRows(Market(MarketShape(codes, 1.0, 1)))
    rows.take(0)
    begin = time.process_time()
    for _ in range(5):
        rows.take(1000)
    assert (time.process_time() - begin) / 5 < budget_s


# ---- trading days


def local(end: int) -> str:
    return str(np.datetime64(end, "ms") + np.timedelta64(8, "h"))[:19]


def test_a_day_has_an_auction_a_lunch_and_an_end_and_what_is_closed_is_skipped() -> None:
    clock = DayClock(Sessions("XSHG", "Asia/Shanghai"), 60_000, date(2021, 12, 3), 1.0, threading.Event())
    found = list(islice(clock.ends(), 252))
    steps = [(local(end)[5:16], session[11:], trading) for end, session, trading in found]
    assert steps[0] == ("12-03T09:16", "pre", False)
    assert steps[9:11] == [("12-03T09:25", "pre", False), ("12-03T09:31", "am", True)]
    assert steps[129:131] == [("12-03T11:30", "am", True), ("12-03T13:01", "pm", True)]
    assert steps[249:251] == [("12-03T15:00", "pm", True), ("12-06T09:16", "pre", False)]  # a Friday, then a Monday


def test_days_are_numbered_also_for_who_begins_in_the_middle() -> None:
    def clock() -> DayClock:
        return DayClock(Sessions("XSHG", "Asia/Shanghai"), 3_600_000, date(2021, 12, 1), 1e9, threading.Event())

    whole = list(islice(clock().steps(NEVER), 20))
    assert [day for step in whole for day in step.new_days] == list(range(len({local(s.end)[:10] for s in whole})))
    later = next(clock().steps(whole[-2].end))
    assert later.end == whole[-1].end
    assert list(later.new_days) == [day for step in whole for day in step.new_days]


def test_stocks_are_listed_delisted_and_split_as_seed_and_day_say() -> None:
    shape = MarketShape(codes=50, every_s=1.0, seed=7, halted_share=0, listed_per_day=3, delisted_per_day=2,
                        splits_per_day=4)  # fmt: skip
    market, again = Market(shape), Market(shape)
    before = market.log_price.copy()
    market.new_days([0, 1])
    again.new_days([0])
    again.new_days([1])
    np.testing.assert_array_equal(market.log_price, again.log_price)
    live, _ = market.step()
    assert (len(live), len(market.names), int(market.gone.sum())) == (50 + 6 - 4, 56, 4)
    fallen = before - again.log_price[:50]
    splits = np.round(fallen / np.log(2))
    np.testing.assert_allclose(fallen, splits * np.log(2), atol=1e-12)
    assert 1 <= splits.sum() <= 8  # of eight splits some may be of stocks that were listed later


def test_trading_days_reach_the_bus_with_their_sessions_and_go_on_after_a_stop(valkey: Valkey) -> None:
    spec = replace(simulated_spec("days", 60, max_bytes=10**8), calendar="XSHG", zone="Asia/Shanghai")
    params = SimulatorParams(codes=20, every_s=60, days=True, pace=20_000, listed_per_day=2, halted_share=0)
    for count in (300, 600):
        run = Running(Simulator(), params, spec, valkey.url)
        until(lambda count=count: held(valkey.url, spec) >= count, 30)
        run.stop()
        assert run.error is None
    shown = [header for header, _ in published(valkey.url, spec)]
    assert [header.index for header in shown] == list(range(len(shown)))
    headers = [header for header in shown if header.received]  # the others carry what was, into lunch and night
    assert all(one.time < other.time for one, other in pairwise(headers))
    assert {header.session for header in headers[:265]} == {
        "2021-12-01/pre", "2021-12-01/am", "2021-12-01/pm", "2021-12-02/pre", "2021-12-02/am",
    }  # fmt: skip
    assert all(header.trading == (not header.session.endswith("pre")) for header in headers)
    assert [headers[5].received, headers[252].received] == [22, 24]
