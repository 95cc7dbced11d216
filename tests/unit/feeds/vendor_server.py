"""A real HTTP server that behaves as the vendors do, on their good and bad days."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import exchange_calendars
import pandas as pd
import pytest

STOCKS = 60
SUSPENDED, STILL = "600000", "800059"
SUFFIX = {"6": "SH", "0": "SZ", "8": "BJ"}
INSTRUMENTS = [
    {"code": "600000", "name": "浦发银行", "sector": "银行", "listed": "19991110", "delisted": None},
    {"code": "000001", "name": "平安银行", "sector": "银行", "listed": "19910403", "delisted": None},
    {"code": "600001", "name": "邯郸钢铁", "sector": None, "listed": "19980122", "delisted": "20091229"},
    {"code": "688001", "name": "华兴源创", "sector": "专用机械", "listed": "20190722", "delisted": None},
    {"code": "830799", "name": "艾融软件", "sector": "软件服务", "listed": "20210104", "delisted": None},
]
_XSHG = exchange_calendars.get_calendar("XSHG", start="2021-01-01", end="2022-12-31")


class Day:
    """How a vendor answers now; ``calls`` counts how often it was asked, ``asked`` what for."""

    def __init__(self) -> None:
        self.mood, self.calls, self.moved = "good", 0, 0
        self.asked: list[Any] = []
        self.bad_calls = 10**9  # how many calls the mood lasts


def stocks(day: Day, step: int = 1) -> list[tuple[str, float, float]]:
    """All stocks trade in each step of ``moved``; the first is suspended, the last never moves."""
    day.moved += step
    codes = [f"{'608'[number % 3]}{number:05}" for number in range(STOCKS)]
    found = [(code, 10.0 + number, 100.0 * (number + 1) * day.moved) for number, code in enumerate(codes)]
    return [(codes[0], 0.0, 0.0), *found[1:-1], (codes[-1], 5.0, 1000.0)]


def bars(code: str, begin: str, end: str, every: str) -> list[tuple[str, float, float, float]]:
    """Return the bars of a code: local time, close, shares, currency. 600099 has none; a close is the code's number and
    how many bars of it were before in the year."""
    if code == "600099":
        return []
    found = []
    for session in _XSHG.sessions_in_range(begin[:10], end[:10]):
        if every == "day":
            times = [session + pd.Timedelta(hours=15)]
        else:
            width = pd.Timedelta(minutes=int(every.removesuffix("min")))
            halves = [(9.5, 11.5), (13, 15)]
            times = [
                moment
                for low, high in halves
                for moment in pd.date_range(
                    session + pd.Timedelta(hours=low) + width, session + pd.Timedelta(hours=high), freq=width
                )
            ]
        found += [(f"{moment:%Y-%m-%d %H:%M:%S}", close(code, moment), 300.0, 3_000.0) for moment in times]
    return found


def close(code: str, moment: pd.Timestamp) -> float:
    return round(int(code) % 1000 + 10 + moment.dayofyear / 100 + moment.hour / 1000, 3)


def _tushare(day: Day, body: dict[str, Any]) -> tuple[Any, Callable[[Any], list[Any]]]:
    api, params = body["api_name"], body["params"]
    assert body["token"] == "of-a-test"
    if api == "rt_k":
        exchange = params["ts_code"][-2:]
        fields = ["ts_code", "name", "close", "vol", "amount"]
        rows = [[f"{code}.{exchange}", "x", price, volume, volume * price]
                for code, price, volume in stocks(day) if SUFFIX[code[0]] == exchange]  # fmt: skip
    elif api == "stock_basic":
        fields = ["ts_code", "name", "industry", "list_date", "delist_date"]
        assert body["fields"].split(",") == fields
        exchange = {"SSE": "SH", "SZSE": "SZ", "BSE": "BJ"}[params["exchange"]]
        rows = [[f"{each['code']}.{exchange}", each["name"], each["sector"], each["listed"], each["delisted"]]
                for each in INSTRUMENTS if SUFFIX[each["code"][0]] == exchange
                and params["list_status"] == ("D" if each["delisted"] else "L")]  # fmt: skip
    else:
        daily = api == "daily"
        every = "day" if daily else params["freq"]
        begin, end = (params[name] for name in ("start_date", "end_date"))
        end = "20211231" if day.mood == "other days" else end
        assert len(begin) == (8 if daily else 19) and (daily or "," not in params["ts_code"])
        fields = ["ts_code", "trade_date" if daily else "trade_time", "close", "vol", "amount"]
        rows = [[ts_code, moment[:10].replace("-", "") if daily else moment, price,
                 volume / 100 if daily else volume, amount / 1000 if daily else amount]
                for ts_code in params["ts_code"].split(",")
                for moment, price, volume, amount in reversed(bars(ts_code[:6], begin, end, every))]  # fmt: skip
    return {"code": 0, "msg": "", "data": {"fields": fields, "items": rows}}, lambda answer: answer["data"]["items"]


def _akshare(day: Day, call: str, asked: dict[str, str]) -> tuple[Any, Callable[[Any], list[Any]]]:
    if call == "stock_zh_a_spot_em":
        rows = [{"代码": code, "名称": "x", "最新价": price, "成交量": volume / 100, "成交额": volume * price}
                for code, price, volume in stocks(day)]  # fmt: skip
    elif call in ("stock_zh_a_hist", "stock_zh_a_hist_min_em"):
        daily = call == "stock_zh_a_hist"
        every = "day" if daily else f"{asked['period']}min"
        time = "日期" if daily else "时间"
        found = bars(asked["symbol"], asked["start_date"], asked["end_date"], every)
        rows = [
            {
                time: f"{moment[:10]}T00:00:00.000" if daily else moment,
                "收盘": price,
                "成交量": volume / 100,
                "成交额": amount,
            }
            for moment, price, volume, amount in found
        ]
    elif call == "stock_info_a_code_name":
        rows = [{"code": each["code"], "name": each["name"]} for each in INSTRUMENTS if not each["delisted"]]
    else:
        first = {"stock_info_sh_name_code": "60", "stock_info_sz_name_code": "0", "stock_info_bj_name_code": "8"}[call]
        a = "A股" if first == "0" else ""
        rows = [{a + "代码" if a else "证券代码": each["code"],
                 a + "上市日期": f"{each['listed'][:4]}-{each['listed'][4:6]}-{each['listed'][6:]}T00:00:00.000",
                 **({} if first == "60" else {"所属行业": each["sector"]})}
                for each in INSTRUMENTS if each["code"].startswith(first) and not each["delisted"]]  # fmt: skip
    return rows, lambda answer: answer


def _east_money(day: Day, asked: dict[str, str]) -> tuple[Any, Callable[[Any], list[Any]]]:
    """Pages of 25 rows, whatever is asked for, of one market: it moves when the first page is asked for."""
    page = int(asked["pn"])
    assert asked["fid"] == "f12" and asked["po"] == "0", "in the order of codes"
    market = sorted(stocks(day, 1 if page == 1 else 0))
    rows = [{"f12": code, "f2": price or "-", "f5": volume / 100 if price else "-", "f6": volume * price}
            for code, price, volume in market[(page - 1) * 25 : page * 25]]  # fmt: skip
    return {"rc": 0, "data": {"total": STOCKS, "diff": rows} if rows else None}, lambda answer: answer["data"]["diff"]


def _sina(day: Day, what: str, asked: dict[str, str]) -> tuple[Any, Callable[[Any], list[Any]]]:
    if what == "StockCount":
        return str(STOCKS), lambda answer: []
    assert what == "Data"
    page = int(asked["page"])
    market = sorted(stocks(day, 1 if page == 1 else 0))
    rows = [{"symbol": "x", "code": code, "trade": f"{price:.3f}", "volume": volume, "amount": volume * price}
            for code, price, volume in market[(page - 1) * 25 : page * 25]]  # fmt: skip
    return rows, lambda answer: answer


class Handler(BaseHTTPRequestHandler):
    tushare, akshare, tushare_dc, tushare_sina = Day(), Day(), Day(), Day()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.tushare.asked.append((body["api_name"], body["params"]))
        self.answer(self.tushare, *_tushare(self.tushare, body))

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        call = parts.path.rpartition("/")[2]
        if parts.path.startswith("/api/public/"):
            self.akshare.asked.append((call, asked))
            self.answer(self.akshare, *_akshare(self.akshare, call, asked))
        elif parts.path == "/api/qt/clist/get":
            self.answer(self.tushare_dc, *_east_money(self.tushare_dc, asked), page=int(asked["pn"]))
        else:
            day, page = self.tushare_sina, int(asked.get("page", 0))
            assert asked["node"] == "hs_a"
            self.answer(day, *_sina(day, call.removeprefix("Market_Center.getHQNode"), asked), page=page)

    def answer(self, day: Day, good: Any, rows: Callable[[Any], list[Any]], page: int = 0) -> None:
        day.calls += 1
        day.bad_calls -= day.mood != "good"
        if day.bad_calls < 0:
            day.mood = "good"
        status, headers, mood = 200, {}, day.mood
        if mood == "empty":
            rows(good).clear()
        elif mood == "truncated":
            del rows(good)[5:]
        elif mood == "page missing" and page == 2:
            rows(good).clear()
        elif mood == "page short" and page == 2:
            del rows(good)[20:]
        elif mood == "page twice" and page == 2:
            rows(good)[0] = rows(good)[1]
        elif mood == "renamed":
            good = json.loads(json.dumps(good).replace('"diff"', '"list"'))
        elif mood == "slow":
            time.sleep(2)
        elif mood == "columns":
            text = json.dumps(good, ensure_ascii=False)
            for old, new in (
                ("close", "last"),
                ("最新价", "现价"),
                ("收盘", "收"),
                ('"f2"', '"f43"'),
                ('trade"', 'px"'),
            ):
                text = text.replace(old, new)
            good = json.loads(text)
        body = json.dumps(good).encode()
        if mood == "html":
            body = b"<html>maintenance</html>"
        elif mood == "429":
            status, headers = 429, {"Retry-After": "2"}
        elif mood == "500":
            status = 500
        elif mood == "nothing":
            status, body = (
                404,
                json.dumps({"error": "该接口返回数据为空，请确认参数是否正确"}, ensure_ascii=False).encode(),
            )
        elif mood == "unknown":
            status, body = 404, json.dumps({"error": "未找到该接口"}, ensure_ascii=False).encode()
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


@contextmanager
def vendors_at_hand(patch: pytest.MonkeyPatch) -> Iterator[type[Handler]]:
    """Serve all vendors at an address of their own, which the environment names."""

    class Own(Handler):
        tushare, akshare, tushare_dc, tushare_sina = Day(), Day(), Day(), Day()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Own)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in ("TUSHARE", "AKSHARE", "TUSHARE_DC", "TUSHARE_SINA"):
        patch.setenv(f"{name}_URL", f"http://127.0.0.1:{server.server_port}")
    patch.setenv("TUSHARE_TOKEN", "of-a-test")
    yield Own
    server.shutdown()
    server.server_close()
