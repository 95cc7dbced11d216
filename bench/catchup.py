"""``bin/bench catchup``: snapshots wait on the bus; how fast does a task take them?"""

from __future__ import annotations

import argparse

from platform_process import Platform, wait_for

from bench.figures import Figure
from bench.market import FEED, measure, parser, simulate
from processors.bus import Bus, connect


def main(argv: list[str]) -> None:
    options = parser("catchup", __doc__)
    options.add_argument("--snapshots", type=int, default=120, help="how many wait on the bus")
    measure(options.parse_args(argv), catchup)


def catchup(platform: Platform, args: argparse.Namespace) -> list[Figure]:
    """Let snapshots pile up on the bus, then time a task from its first result to its last of them."""
    feed = simulate(platform, args.codes, args.every, args.slices)
    bus = Bus(connect(platform.redis_url), FEED)
    wait_for("snapshots on the bus", lambda: len(bus.headers(0)) >= args.snapshots, 600)
    platform.ask(feed, "stop")
    platform.reaches(feed, "Stopped", 20)
    waiting = bus.headers(0)
    task = platform.create("cluster_regression", FEED)
    wait_for("the last result", lambda: _at(platform, task) == waiting[-1].index, 600)
    items = platform.items(task)
    platform.ask(task, "stop")
    seconds = (items[-1].meta["result_ms"] - items[0].meta["result_ms"]) / 1000
    return [Figure("catchup_rows_per_s", (len(items) - 1) * args.codes / seconds, "rows/s", ">= 500000")]


def _at(platform: Platform, task: int) -> int:
    item = platform.results.latest(task)
    return item.numbers["index"] if item else -1
