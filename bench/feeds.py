"""``bin/bench feeds``: how fast rows get onto the bus from a socket and from Kafka, and what memory a feed needs."""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
from feed_support import Valkey
from kafka_broker import Broker

from bench.figures import Figure, tell
from processors.bus import Bus, connect
from processors.contract import FeedSpec
from processors.environment import COMPUTING
from processors.feeds.produce import LineServer
from processors.feeds.uniform import Lines

BEGIN = 1_700_000_000_000
INTERVAL_MS = 3_000
_RUN = """
import json, sys
from pathlib import Path
from processors.contract import Context, FeedSpec
from processors.loading import load
order = json.loads(sys.stdin.readline())
feed = load(order["class"])()
context = Context(1, 1, "bench", order["redis"], Path("."))
feed.run(feed.Params(**order["params"]), FeedSpec(**order["spec"]), context)
"""


def main(argv: list[str]) -> None:
    options = argparse.ArgumentParser(prog="bin/bench feeds", description=__doc__)
    options.add_argument("--codes", type=int, default=5_000, help="stocks in a snapshot")
    options.add_argument("--snapshots", type=int, default=300, help="of the snapshot formats and the socket")
    options.add_argument("--json", action="store_true", help="a line of JSON per figure")
    args = options.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="feeds-") as folder:
        figures = list(measured(Path(folder), args))
    tell(figures, as_json=args.json)


def measured(folder: Path, args: argparse.Namespace) -> Iterator[Figure]:
    snapshots = [snapshot(number, args.codes) for number in range(args.snapshots)]
    valkey = Valkey(folder)
    try:
        yield Figure("socket_rows_per_s", socket_speed(valkey, snapshots), "rows/s", ">= 300000")
        (folder / "kafka").mkdir()
        broker = Broker(folder / "kafka")
        try:
            yield from kafka_speed(valkey, broker, snapshots)
        finally:
            broker.kill()
        yield from memory(valkey)
    finally:
        valkey.kill()


def snapshot(number: int, codes: int) -> pa.Table:
    random = np.random.default_rng(number)
    volume = random.integers(1, 100, codes) * 100.0
    price = np.round(10 + random.random(codes), 2)
    return pa.table(
        {
            "time": np.full(codes, BEGIN + number * INTERVAL_MS - 500),
            "code": [f"{code:06}" for code in range(codes)],
            "price": price,
            "change": np.zeros(codes),
            "volume": volume,
            "amount": np.round(price * volume, 2),
            "type": random.integers(-1, 2, codes).astype(np.int8),
        }
    )


@contextmanager
def feed(valkey: Valkey, path: str, name: str, **params: Any) -> Iterator[psutil.Process]:
    """A feed in a process of its own, as the platform would run it."""
    spec = FeedSpec(name, zone="UTC", calendar="24/7", interval_ms=INTERVAL_MS, max_bytes=2**28, grace_ms=300)
    order = {"class": path, "redis": valkey.url, "params": params, "spec": asdict(spec)}
    process = subprocess.Popen(
        [sys.executable, "-c", _RUN],
        env={**os.environ, **COMPUTING},
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin
    process.stdin.write(json.dumps(order) + "\n")
    process.stdin.flush()
    try:
        yield psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait()


def until_time(valkey: Valkey, name: str, snapshots: int, *, limit_s: float = 300.0) -> float:
    """Wait until all but the last snapshot, whose end nothing marks, is on the bus; return when, on the clock."""
    bus, end = Bus(connect(valkey.url), name), time.monotonic() + limit_s
    while (last := bus.last()) is None or last.index < snapshots - 2:
        if time.monotonic() > end:
            raise TimeoutError(
                f"feed {name}: {last.index if last else 'no'} of {snapshots} snapshots after {limit_s} s"
            )
        time.sleep(0.01)
    return time.monotonic()


def socket_speed(valkey: Valkey, snapshots: list[pa.Table]) -> float:
    lines = Lines("UTC")
    chunks = [lines(each) for each in snapshots]
    server, stopping, begun = LineServer("127.0.0.1", 0), threading.Event(), [0.0]

    def timed() -> Iterator[bytes]:
        for number, chunk in enumerate(chunks):
            if number == 1:  # somebody is there
                begun[0] = time.monotonic()
            yield chunk
        stopping.wait(60)

    threading.Thread(target=server.serve, args=(timed(), stopping), daemon=True).start()
    with feed(valkey, "processors.feeds.tcp:Tcp", "socket", port=server.address[1]):
        done = until_time(valkey, "socket", len(snapshots))
    stopping.set()
    return sum(each.num_rows for each in snapshots[1:]) / (done - begun[0])


# ---- Kafka: the messages wait on the topic, so that the producer takes nothing from the cores


def kafka_speed(valkey: Valkey, broker: Broker, snapshots: list[pa.Table]) -> Iterator[Figure]:
    os.environ["KAFKA_SERVERS"] = broker.servers
    few = snapshots[: max(len(snapshots) // 5, 20)]
    for name, kind, tables, to_reach in (
        ("kafka_snapshot_ticks_per_s", "snapshot_arrow", snapshots, ">= 200000"),
        ("kafka_snapshot_csv_ticks_per_s", "snapshot_csv", snapshots, None),
        ("kafka_single_ticks_per_s", "json", few, ">= 60000"),
        ("kafka_single_csv_ticks_per_s", "csv", few, None),
    ):
        topic = broker.topic(kind)
        fill(broker, topic, tables, ENCODE[kind])
        with feed(valkey, "processors.feeds.kafka:KafkaFeed", kind, topic=topic, format=kind, start="earliest"):
            begun = first(valkey, kind)
            done = until_time(valkey, kind, len(tables))
        header = Bus(connect(valkey.url), kind).first()
        counted = sum(each.num_rows for each in tables) - (header.received if header else 0)
        yield Figure(name, counted / (done - begun), "ticks/s", to_reach)


def first(valkey: Valkey, name: str) -> float:
    """Return when the feed had connected: its description is on the bus before it reads."""
    bus = Bus(connect(valkey.url), name)
    while bus.spec() is None:
        time.sleep(0.005)
    return time.monotonic()


def fill(broker: Broker, topic: str, tables: list[pa.Table], encode: Callable[[pa.Table], list[bytes]]) -> None:
    producer = broker.producer()
    for table in tables:
        for value in encode(table):
            while True:
                try:
                    producer.produce(topic, value)
                    break
                except BufferError:
                    producer.poll(0.1)
    assert producer.flush(120) == 0


def arrow(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


LINES = Lines("UTC")
ENCODE: dict[str, Callable[[pa.Table], list[bytes]]] = {
    "snapshot_arrow": lambda table: [arrow(table)],
    "snapshot_csv": lambda table: [LINES.header + LINES(table)],
    "json": lambda table: [json.dumps(row).encode() for row in table.to_pylist()],
    "csv": lambda table: LINES(table).splitlines(),
}


# ---- memory: a day of 6,000 codes


def memory(valkey: Valkey, codes: int = 6_000, minutes: int = 240) -> Iterator[Figure]:
    """Push a trading day at full speed; tell the most that the feed held, and how much of it came after the first
    quarter."""
    lines = Lines("UTC")
    base = [lines(snapshot(0, codes))]
    count = minutes * 60_000 // INTERVAL_MS
    stamp = str(np.datetime64(BEGIN - 500, "ms")).replace("T", " ").encode()

    def day() -> Iterator[bytes]:
        for number in range(count):
            now = str(np.datetime64(BEGIN + number * INTERVAL_MS - 500, "ms")).replace("T", " ").encode()
            yield base[0].replace(stamp, now)

    server, stopping = LineServer("127.0.0.1", 0), threading.Event()
    threading.Thread(target=server.serve, args=(day(), stopping), daemon=True).start()
    held: list[int] = []
    with feed(valkey, "processors.feeds.tcp:Tcp", "memory", port=server.address[1]) as process:
        bus = Bus(connect(valkey.url), "memory")
        while (last := bus.last()) is None or last.index < count - 2:
            if last is not None:
                held.append(process.memory_info().rss)
            time.sleep(0.2)
    stopping.set()
    quarter = max(held[: max(len(held) // 4, 1)])
    yield Figure("feed_memory_mb", max(held) / 2**20, "MB", "<= 200")
    yield Figure("feed_memory_growth_mb", (max(held) - quarter) / 2**20, "MB", "<= 20")
