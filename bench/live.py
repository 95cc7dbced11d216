"""``bin/bench live``: a paced simulated market through the whole platform, every process real.

A tick is timed from handing the last row of its snapshot to the feed until its result can be read in Redis, or until
the update has arrived at a websocket client. Both clocks are this machine's.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import threading
import time
from functools import lru_cache
from typing import Any

import psutil
import redis
import websockets
from platform_process import Platform, wait_for

from bench.figures import Figure, percentile
from bench.market import FEED, measure, parser, simulate
from processors.bus import Bus, connect

# Where a snapshot's time goes: (stage, from, to), in the wall times that a result carries; `seen` is the reader's.
STAGES = (
    ("feed", "handed_ms", "published_ms"),
    ("wait", "published_ms", "begun_ms"),
    ("map", "begun_ms", "mapped_ms"),
    ("fold", "mapped_ms", "result_ms"),
    ("publish", "result_ms", "seen_ms"),
)


class Reader(threading.Thread):
    """Follows a task's results as they can be read, and times each from its snapshot's last row."""

    def __init__(self, platform: Platform, task: int):
        super().__init__(daemon=True)
        self.client, self.key = connect(platform.redis_url), f"result:{task}"
        self.times_ms: list[float] = []
        self.last_ms = float("inf")  # of the newest result
        self.stages_ms: dict[str, list[float]] = {stage: [] for stage, _, _ in STAGES}
        self.handed_ms: dict[str, float] = {}  # of each counted result, by id
        self.missed = 0
        self.first_at: float | None = None
        self.counting = False

    def run(self) -> None:
        last = "0-0"
        while True:
            try:
                answer = self.client.xread({self.key: last}, block=1000)
            except redis.ConnectionError:
                return  # the platform is closed
            for _, entries in answer:
                now_ms = time.time() * 1000
                for key, fields in entries:
                    last = key.decode()
                    self._take(last, json.loads(fields[b"meta"]), json.loads(fields[b"numbers"]), now_ms)

    def _take(self, item: str, meta: dict[str, Any], numbers: dict[str, Any], now_ms: float) -> None:
        if self.first_at is None and any(each["predicted_price"] is not None for each in numbers["clusters"]):
            self.first_at = time.monotonic()
        self.missed, self.last_ms = meta["missed"], now_ms - meta["handed_ms"]
        if self.counting:
            self.times_ms.append(self.last_ms)
            self.handed_ms[item] = meta["handed_ms"]
            times = {**meta, "seen_ms": now_ms}
            for stage, begins, ends in STAGES:
                self.stages_ms[stage].append(times[ends] - times[begins])


class StockReader(threading.Thread):
    """Follows the columns per stock, which become readable after their result."""

    def __init__(self, platform: Platform, task: int, results: Reader):
        super().__init__(daemon=True)
        self.client, self.key, self.results = connect(platform.redis_url), f"stocks:{task}", results
        self.times_ms: list[float] = []

    def run(self) -> None:
        last = "$"
        while True:
            try:
                answer = self.client.xread({self.key: last}, block=1000)
            except redis.ConnectionError:
                return  # the platform is closed
            for _, entries in answer:
                now_ms, last = time.time() * 1000, entries[-1][0].decode()
                handed_ms = self.results.handed_ms.get(last)
                if handed_ms:
                    self.times_ms.append(now_ms - handed_ms)


async def follow(platform: Platform, task: int, cookies: str, times_ms: list[float], counting: threading.Event) -> None:
    """Be one browser: follow a task's results and time each update."""
    async with websockets.connect(
        f"ws://127.0.0.1:{platform.port}/ws/live",
        origin=platform.url,  # type: ignore[arg-type]
        additional_headers={"Cookie": cookies},
        max_size=2**26,
    ) as connection:
        await connection.send(json.dumps({"type": "subscribe", "topic": "results", "task": task, "after": None}))
        async for text in connection:
            now_ms = time.time() * 1000
            if counting.is_set() and '"type":"update"' in text[:40]:
                times_ms.append(now_ms - _handed_ms(text))


@lru_cache(8)
def _handed_ms(update: str) -> float:
    """All clients get the same text: one of them reads it, lest the others wait for a hundred readings."""
    return float(json.loads(update)["item"]["meta"]["handed_ms"])


def clients(platform: Platform, task: int, count: int) -> tuple[list[float], threading.Event]:
    """Start websocket clients on a thread of their own."""
    times_ms: list[float] = []
    counting = threading.Event()
    cookies = "; ".join(f"{name}={value}" for name, value in platform.http.cookies.items())

    async def all_of_them() -> None:
        with contextlib.suppress(websockets.ConnectionClosed):  # the platform is closed
            await asyncio.gather(*(follow(platform, task, cookies, times_ms, counting) for _ in range(count)))

    threading.Thread(target=lambda: asyncio.run(all_of_them()), daemon=True).start()
    return times_ms, counting


def memory_mb(platform: Platform) -> float:
    """Return the proportional set size of all the platform's processes."""
    total = 0
    for process in platform.members():
        with contextlib.suppress(psutil.NoSuchProcess):  # a helper of Spark's that has just ended
            total += process.memory_full_info().pss
    return total / 2**20


def stop_to_gone_s(platform: Platform, task: int) -> float:
    """Stop a task and return the seconds until its state is told and no process of it lives."""
    began = time.monotonic()
    platform.ask(task, "stop")
    wait_for("stopped", lambda: platform.task(task)["status"] == "Stopped", 20)
    wait_for("gone", lambda: not [p for p in platform.members(f"{task}.") if psutil.pid_exists(p.pid)], 20)
    return time.monotonic() - began


def live(platform: Platform, args: argparse.Namespace) -> list[Figure]:
    feed = simulate(platform, args.codes, args.every, args.slices)
    wait_for("the feed", lambda: Bus(platform.results.client, FEED).last())
    began = time.monotonic()
    task = platform.create("cluster_regression", FEED)
    reader = Reader(platform, task)
    reader.start()
    wait_for("a prediction", lambda: reader.first_at, 180)
    start_s = (reader.first_at or 0) - began
    to_client_ms, counting = clients(platform, task, args.clients) if args.clients else ([], threading.Event())
    wait_for("it keeps up", lambda: reader.last_ms < 1000 * args.every, 300)
    time.sleep(args.warmup)
    stocks = StockReader(platform, task, reader)
    stocks.start()
    reader.counting = True
    counting.set()
    time.sleep(args.seconds)
    reader.counting = False
    small = args.codes <= 1000
    figures = [
        Figure("tick_to_result_p50_ms", percentile(reader.times_ms, 0.5), "ms", "<= 50" if small else None),
        Figure("tick_to_result_p99_ms", percentile(reader.times_ms, 0.99), "ms", "<= 100" if small else "<= 300"),
        Figure("tick_to_stocks_p99_ms", percentile(stocks.times_ms, 0.99), "ms"),
        Figure("missed", reader.missed, "", "0"),
        Figure("results", len(reader.times_ms), ""),
        Figure("start_to_first_prediction_s", start_s, "s", "<= 12"),
        Figure("memory_mb", memory_mb(platform), "MB", "<= 2500"),
    ]
    for stage, values in reader.stages_ms.items():
        figures.append(Figure(f"of_it_{stage}_p50_ms", percentile(values, 0.5), "ms"))
        figures.append(Figure(f"of_it_{stage}_p99_ms", percentile(values, 0.99), "ms"))
    if to_client_ms:
        figures.append(Figure("tick_to_client_p99_ms", percentile(to_client_ms, 0.99), "ms", "<= 150"))
    figures.append(_worst_stop(platform, task, args.stops))
    platform.ask(feed, "stop")
    return figures


def _worst_stop(platform: Platform, task: int, stops: int) -> Figure:
    worst = 0.0
    for number in range(stops):
        worst = max(worst, stop_to_gone_s(platform, task))
        if number + 1 < stops:
            seen = platform.results.latest(task)
            platform.ask(task, "retry")
            platform.predicts(task, above=seen.numbers["index"] if seen else 0)
    return Figure("stop_to_gone_s", worst, "s", "<= 2")


def main(argv: list[str]) -> None:
    options = parser("live", __doc__)
    options.add_argument("--seconds", type=float, default=60.0, help="measured time, after the warm-up")
    options.add_argument("--warmup", type=float, default=20.0, help="seconds after the run first keeps up")
    options.add_argument("--clients", type=int, default=0, help="websocket clients")
    options.add_argument("--stops", type=int, default=1, help="how often to stop and retry")
    measure(options.parse_args(argv), live)
