"""Vendors on their good and bad days, played by a real HTTP server: 429, empty, truncated, slow, HTML …"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from feed_support import ALWAYS, Running, Valkey, published, until

from processors.bus import Bus, connect
from processors.feeds.vendor import VendorFeed, VendorParams
from processors.feeds.vendors.limits import Breaker, Budget

SPEC = replace(ALWAYS, interval_ms=500, volume_mode="cumulative")
STOCKS = 60


class Day:
    """How a vendor answers now; ``calls`` counts how often it was asked."""

    def __init__(self) -> None:
        self.mood, self.calls, self.moved = "good", 0, 0


class Handler(BaseHTTPRequestHandler):
    tushare, akshare = Day(), Day()

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert (asked["api_name"], asked["token"]) == ("rt_k", "of-a-test")
        exchange = asked["params"]["ts_code"][-2:]
        fields = ["ts_code", "name", "close", "vol", "amount"]
        rows = [[f"{code}.{exchange}", "x", price, volume, volume * price]
                for code, price, volume in stocks(self.tushare) if exchange_of(code) == exchange]  # fmt: skip
        self.answer(self.tushare, {"code": 0, "msg": "", "data": {"fields": fields, "items": rows}}, items)

    def do_GET(self) -> None:
        assert self.path == "/api/public/stock_zh_a_spot_em"
        rows = [{"代码": code, "名称": "x", "最新价": price, "成交量": volume / 100, "成交额": volume * price}
                for code, price, volume in stocks(self.akshare)]  # fmt: skip
        self.answer(self.akshare, rows, lambda answer: answer)

    def answer(self, day: Day, good: Any, rows: Callable[[Any], list[Any]]) -> None:
        day.calls += 1
        status, headers, mood = 200, {}, day.mood
        if mood == "empty":
            rows(good).clear()
        elif mood == "truncated":
            del rows(good)[5:]
        elif mood == "slow":
            time.sleep(2)
        elif mood == "columns":
            good = json.loads(json.dumps(good, ensure_ascii=False).replace("close", "last").replace("最新价", "现价"))
        body = json.dumps(good).encode()
        if mood == "html":
            body = b"<html>maintenance</html>"
        elif mood == "429":
            status, headers = 429, {"Retry-After": "2"}
        elif mood == "500":
            status = 500
        elif mood == "cut":
            body = body[: len(body) // 2]
        elif mood == "refused":
            body = json.dumps({"code": 40203, "msg": "抱歉，您每分钟最多访问该接口50次", "data": None}).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


def exchange_of(code: str) -> str:
    return {"6": "SH", "0": "SZ", "8": "BJ"}[code[0]]


def items(answer: dict[str, Any]) -> list[Any]:
    return answer["data"]["items"]


def stocks(day: Day) -> list[tuple[str, float, float]]:
    """All stocks trade in each step of ``moved``; the first is suspended, the last never moves."""
    day.moved += 1
    codes = [f"{'608'[number % 3]}{number:05}" for number in range(STOCKS)]
    found = [(code, 10.0 + number, 100.0 * (number + 1) * day.moved) for number, code in enumerate(codes)]
    return [(codes[0], 0.0, 0.0), *found[1:-1], (codes[-1], 5.0, 1000.0)]


@pytest.fixture
def vendors(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Handler]]:
    class Own(Handler):
        tushare, akshare = Day(), Day()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Own)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in ("TUSHARE_URL", "AKSHARE_URL"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("TUSHARE_TOKEN", "of-a-test")
    yield Own
    server.shutdown()
    server.server_close()


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


@pytest.mark.parametrize("source", ["tushare", "akshare"])
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
    step = 1 if source == "akshare" else 1 * 3  # three calls make a market of the one vendor
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
