"""Vendors on their good and bad days, played by a real HTTP server: 429, empty, truncated, slow, HTML …"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from feed_support import ALWAYS, Running, Valkey, published, until
from vendor_server import STOCKS, Handler, vendors_at_hand

from processors.bus import Bus, connect
from processors.feeds.vendor import VendorFeed, VendorParams
from processors.feeds.vendors.base import VendorError
from processors.feeds.vendors.limits import Breaker, Budget
from processors.feeds.vendors.registry import VENDORS

SPEC = replace(ALWAYS, interval_ms=500, volume_mode="cumulative")


@pytest.fixture
def vendors(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Handler]]:
    with vendors_at_hand(monkeypatch) as found:
        yield found


def ask(valkey: Valkey, state: Path, *sources: str, **more: Any) -> Running:
    params = VendorParams(sources=list(sources), **{"calls_per_min": 10_000, "timeout_s": 1.0, **more})  # type: ignore[arg-type]
    return Running(VendorFeed(), params, SPEC, valkey.url, state_dir=state)


def told(run: Running, name: str) -> dict[str, Any]:
    unknown = [{"name": name, "active": False, "state": "", "error": ""}]
    return next(each for each in run.facts.get("sources", unknown) if each["name"] == name)


def prices(valkey: Valkey) -> dict[str, tuple[float, float]]:
    bus = Bus(connect(valkey.url), SPEC.name)
    last = bus.last()
    assert last
    parts = [bus.read(number, [last.seq])[0] for number in range(last.slices)]
    return {row["code"]: (row["price"], row["volume"]) for part in parts if part for row in part.to_pylist()}


@pytest.mark.parametrize("source", list(VENDORS))
def test_a_market_comes_in_shares_per_interval(
    valkey: Valkey, vendors: type[Handler], tmp_path: Path, source: str
) -> None:
    run = ask(valkey, tmp_path, source)
    until(lambda: run.facts.get("snapshots", 0) >= 3)
    assert told(run, source)["active"] and run.facts["rejected"] == {}
    assert run.facts["without_price"] == 1
    run.stop()
    found = prices(valkey)
    assert len(found) == STOCKS - 1 and found["000001"][0] == 11.0
    step = 3 if source == "tushare" else 1  # three calls make a market of the one vendor, and it moves with each
    assert found["000001"][1] == pytest.approx(200.0 * step) and found["800059"][1] == 0
    assert [header.time % 500 for header, _ in published(valkey.url, SPEC)] == [0] * len(published(valkey.url, SPEC))


@pytest.mark.parametrize(
    ("mood", "said"),
    [
        ("html", "expected JSON, got '<html>"),
        ("cut", "expected JSON"),
        ("empty", "an empty answer"),
        ("truncated", "truncated, "),
        ("slow", "no answer in time (1 s)"),
        ("columns", "columns changed, no close"),
        ("500", "status 500"),
        ("429", "too many calls, says the vendor (429)"),
        ("refused", "code 40203"),
    ],
)
def test_on_a_bad_day_the_next_source_is_taken_and_both_are_told(
    valkey: Valkey, vendors: type[Handler], tmp_path: Path, mood: str, said: str
) -> None:
    run = ask(valkey, tmp_path, "tushare", "akshare", expected=STOCKS)
    until(lambda: told(run, "tushare")["active"])
    vendors.tushare.mood = mood
    until(lambda: told(run, "akshare")["active"], 15)
    assert said in told(run, "tushare")["error"]
    vendors.tushare.mood = "good"
    if mood == "429":
        until(lambda: told(run, "tushare")["active"], 15)
        assert told(run, "akshare")["state"] == "in reserve"
    run.stop()
    assert all(header.received <= header.expected == STOCKS - 1 for header, _ in published(valkey.url, SPEC))


@pytest.mark.parametrize("source", ["tushare_dc", "tushare_sina"])
@pytest.mark.parametrize(
    ("mood", "said"),
    [
        ("page missing", "page 2 of 3 has 0 rows, expected 25"),
        ("page short", "page 2 of 3 has 20 rows, expected 25"),
        ("page twice", "60 rows with 1 stocks twice"),
        ("html", "expected JSON, got '<html>"),
        ("empty", "an empty answer"),
        ("columns", "columns changed, no "),
        ("slow", "no answer in time (1 s)"),
        ("429", "too many calls, says the vendor (429)"),
    ],
)
def test_a_market_in_pages_is_whole_or_an_error(
    vendors: type[Handler], tmp_path: Path, source: str, mood: str, said: str
) -> None:
    vendor = VENDORS[source](tmp_path, timeout_s=1.0)
    assert vendor.snapshot().num_rows == STOCKS
    getattr(vendors, source).mood = mood
    with pytest.raises(VendorError) as error:
        vendor.snapshot()
    assert said in str(error.value)


def test_a_list_of_another_shape_is_an_error(vendors: type[Handler], tmp_path: Path) -> None:
    vendors.tushare_dc.mood = "renamed"
    with pytest.raises(VendorError, match="expected data with diff and total"):
        VENDORS["tushare_dc"](tmp_path, timeout_s=1.0).snapshot()


def test_a_market_in_pages_is_not_begun_without_the_budget_for_all_of_it(
    vendors: type[Handler], tmp_path: Path
) -> None:
    vendor = VENDORS["tushare_dc"](tmp_path, timeout_s=1.0, calls_per_min=5)
    vendor.snapshot()
    with pytest.raises(VendorError, match="2 more calls make a market, 1 of 5 are left this minute") as error:
        vendor.snapshot()
    assert vendors.tushare_dc.calls == 4 and error.value.pause_s


def test_without_any_source_there_is_a_gap_and_no_invented_market(
    valkey: Valkey, vendors: type[Handler], tmp_path: Path
) -> None:
    vendors.tushare.mood = vendors.akshare.mood = "500"
    run = ask(valkey, tmp_path, "tushare", "akshare")
    until(lambda: run.facts.get("rounds_failed", 0) >= 5, 15)
    assert told(run, "tushare")["state"].startswith("rests")
    assert vendors.tushare.calls == 3, "after three failures it is left alone"
    assert run.stop() < 1
    assert published(valkey.url, SPEC) == []


def test_no_more_calls_are_made_than_the_plan_allows_also_after_a_restart(
    valkey: Valkey, vendors: type[Handler], tmp_path: Path
) -> None:
    for _ in range(2):
        run = ask(valkey, tmp_path, "akshare", calls_per_min=4)
        until(lambda run=run: "calls of this minute are made" in told(run, "akshare")["error"], 15)
        assert run.facts["budget"] == {"akshare": "0 of 4 calls a minute"}
        run.stop()
    assert vendors.akshare.calls == 4


def test_a_missing_token_or_other_units_are_errors(
    valkey: Valkey, vendors: type[Handler], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lots = Running(
        VendorFeed(), VendorParams(), replace(SPEC, volume_unit="lots"), valkey.url, state_dir=tmp_path
    ).wait()
    assert "expected shares, cumulative" in str(lots.error)
    monkeypatch.delenv("TUSHARE_TOKEN")
    assert "TUSHARE_TOKEN is not set" in str(ask(valkey, tmp_path, "tushare").wait().error)


def test_a_budget_is_a_sliding_minute(tmp_path: Path) -> None:
    now = [1000.0]
    budget = Budget(2, tmp_path / "calls.json", lambda: now[0])
    assert [budget.take(), budget.take(), budget.take()] == [True, True, False]
    now[0] += 30
    assert Budget(2, tmp_path / "calls.json", lambda: now[0]).left == 0
    now[0] += 31
    assert budget.left == 2


def test_a_breaker_rests_longer_each_time_and_is_well_after_a_success() -> None:
    now = [0.0]
    breaker = Breaker(lambda: now[0])
    for _ in range(3):
        assert breaker.rests_s == 0
        breaker.failed()
    assert breaker.rests_s == 30
    now[0] += 30
    breaker.failed()
    assert breaker.rests_s == 60
    now[0] += 60
    breaker.succeeded()
    breaker.failed()
    assert breaker.rests_s == 0
    breaker.failed(5.0)
    assert breaker.rests_s == 5
