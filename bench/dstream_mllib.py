"""``bin/bench dstream-mllib``: the pipeline that this idea started from, beside ours, on the same market in one run.

Spark's DStreams with a window of three snapshots, MLlib's StreamingKMeans on the window's prices, a join, and one
StreamingLinearRegressionWithSGD per cluster, written as Spark's own guides do it; against our engine on the whole
platform, which replays the same intervals, five a second. Time per batch is Spark's processing delay there, and from
handing the last row to the feed until the result can be read here.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from platform_process import running, wait_for

from bench.figures import Figure, percentile, tell
from bench.live import Reader
from bench.market import FEED
from processors.feeds.market import Market, MarketShape
from processors.feeds.simulate import SimulatedRows

CODES = 997
CLUSTERS = 4
WINDOW = 3
INTERVAL_S = 5.0  # of the market
OURS_PER_S = 5  # intervals that our engine is given in a second
STEP_SIZE = 0.001
EVERY_S = 1.0  # of the rival's batches: behind it, they wait in line
PARTITIONS = 2
LIMIT_S = 1_200


def intervals() -> Iterator[pa.RecordBatch]:
    """Yield the rows of one made-up market, interval by interval, without end."""
    rows = SimulatedRows(Market(MarketShape(CODES, INTERVAL_S, 1)))
    return (rows.take(round(number * INTERVAL_S * 1000)) for number in count(1))


def snapshots(wanted: int) -> list[list[tuple[str, float]]]:
    """Return (code, price) rows of the first intervals; halted stocks keep their last price."""
    last: dict[str, float] = {}
    found = []
    for batch in islice(intervals(), wanted):
        last.update(zip(batch.column("code").to_pylist(), batch.column("price").to_pylist(), strict=True))
        found.append(list(last.items()))
    return found


def recording(path: Path, wanted: int) -> str:
    """Write the first intervals as a file that can be replayed."""
    table = pa.Table.from_batches(islice(intervals(), wanted))
    times = table.column("time").cast(pa.timestamp("ms"))
    pq.write_table(table.set_column(table.column_names.index("time"), "time", times), path)
    return str(path)


class Rival:
    """The original's way. ``delays_ms`` are the batches' processing delays, ``told`` what each batch predicted."""

    def __init__(self, batches: int, warm_up: int):
        self.batches, self.warm_up = batches, warm_up
        self.delays_ms: list[float] = []
        self.told: list[tuple[int, list[tuple[int, float, float]]]] = []  # (batch, [(cluster, real, predicted)])
        self.done = threading.Event()

    def run(self) -> None:
        from pyspark import SparkConf, SparkContext
        from pyspark.streaming import StreamingContext

        settings = {
            "spark.ui.enabled": "false",
            "spark.driver.host": "127.0.0.1",
            "spark.log.level": "ERROR",
            "spark.ui.showConsoleProgress": "false",
        }
        conf = SparkConf().setMaster("local[2]").setAppName("dstream-mllib").setAll(list(settings.items()))
        context = SparkContext(conf=conf)
        streaming = StreamingContext(context, EVERY_S)
        streaming.addStreamingListener(_listener(self))
        self._build(context, streaming)
        streaming.start()
        finished = self.done.wait(LIMIT_S)
        streaming.stop(stopSparkContext=True, stopGraceFully=False)
        if not finished:
            raise TimeoutError(f"the rival finished {len(self.delays_ms)} of {self.batches} batches in {LIMIT_S} s")

    def _build(self, context: Any, streaming: Any) -> None:
        from pyspark.mllib.clustering import StreamingKMeans
        from pyspark.mllib.linalg import Vectors
        from pyspark.mllib.regression import LabeledPoint, StreamingLinearRegressionWithSGD

        queue = [context.parallelize(rows, PARTITIONS) for rows in snapshots(self.batches)]
        ticks = streaming.queueStream(queue, oneAtATime=True)
        numbered = ticks.transform(lambda when, rows: rows.mapValues(lambda price: (when.timestamp(), price)))
        history = numbered.window(WINDOW * EVERY_S, EVERY_S).groupByKey(PARTITIONS).mapValues(_newest_first)
        full = history.filter(lambda row: len(row[1]) == WINDOW)
        points = full.mapValues(Vectors.dense)
        kmeans = StreamingKMeans(k=CLUSTERS, decayFactor=1.0).setRandomCenters(WINDOW, 1.0, 1)
        kmeans.trainOn(points.map(lambda row: row[1]))
        joined = kmeans.predictOnValues(points).join(full, PARTITIONS)
        for cluster in range(CLUSTERS):
            mine = joined.filter(lambda row, cluster=cluster: row[1][0] == cluster).mapValues(lambda pair: pair[1])
            model = StreamingLinearRegressionWithSGD(stepSize=STEP_SIZE)
            model.setInitialWeights([0.0] * (WINDOW - 1))
            model.trainOn(mine.map(lambda row: LabeledPoint(row[1][0], row[1][1:])))
            ahead = model.predictOnValues(mine.mapValues(lambda prices: Vectors.dense(prices[:-1])))
            ahead.join(mine, PARTITIONS).foreachRDD(self._taker(cluster))

    def _taker(self, cluster: int) -> Any:
        def take(when: Any, rows: Any) -> None:
            pairs = rows.map(lambda row: (row[1][1][0], row[1][0])).collect()
            if pairs:
                real, predicted = np.mean(pairs, axis=0)
                self.told.append((round(when.timestamp() / EVERY_S), [(cluster, float(real), float(predicted))]))

        return take

    def completed(self, delay_ms: float) -> None:
        self.delays_ms.append(delay_ms)
        if len(self.delays_ms) >= self.batches:
            self.done.set()

    def figures(self) -> list[Figure]:
        by_cluster: dict[int, dict[int, tuple[float, float]]] = {}
        for batch, rows in self.told:
            for cluster, real, predicted in rows:
                by_cluster.setdefault(cluster, {})[batch] = (real, predicted)
        errors, last, missed, wanted = [], [], 0, 0
        for told in by_cluster.values():
            for batch, (real, predicted) in told.items():
                if batch + 1 not in told:
                    continue
                wanted += 1
                truth = told[batch + 1][0]
                if not np.isfinite(predicted):
                    missed += 1
                    continue
                errors.append(abs(truth - predicted))
                last.append(abs(truth - real))
        expected = CLUSTERS * (self.batches - WINDOW)
        return [
            Figure("dstream_batch_p50_ms", percentile(self.delays_ms[self.warm_up :], 0.5), "ms"),
            Figure("dstream_missed_predictions", 1 - (wanted - missed) / expected, "share"),
            Figure("dstream_mae_ratio", sum(errors) / sum(last) if sum(last) else float("nan"), "ratio"),
        ]


def _newest_first(rows: Any) -> list[float]:
    return [price for _, price in sorted(rows, reverse=True)]


def _listener(rival: Rival) -> Any:
    from pyspark.streaming import StreamingListener

    class Delays(StreamingListener):
        def onBatchCompleted(self, batchCompleted: Any) -> None:
            rival.completed(batchCompleted.batchInfo().processingDelay())

    return Delays()


def ours(seconds: float) -> list[Figure]:
    """Return our engine's time per batch, what it missed and its errors, on the same made-up market."""
    with tempfile.TemporaryDirectory() as state, running(Path(state)) as platform:
        path = recording(Path(state) / "market.parquet", round(OURS_PER_S * (seconds + 200)))
        params = {"path": path, "pace": INTERVAL_S * OURS_PER_S}
        interval_ms = round(INTERVAL_S * 1000)
        platform.make_feed(FEED, "replay", params, calendar="24/7", zone="UTC", interval_ms=interval_ms, simulated=True)
        platform.create("replay", FEED, **params)
        task = platform.create("cluster_regression", FEED)
        reader = Reader(platform, task)
        reader.start()
        wait_for("it keeps up", lambda: reader.last_ms < 1000 / OURS_PER_S, 150)
        time.sleep(20)
        reader.counting = True
        time.sleep(seconds)
        latest = platform.results.latest(task)
        scores = latest.numbers["scores"]["since_start"] if latest else {}
        return [
            Figure("batch_p50_ms", percentile(reader.times_ms, 0.5), "ms"),
            Figure("missed_predictions", float(reader.missed), "", "0"),
            Figure("mae_ratio", scores.get("mae_ratio") or float("nan"), "ratio"),
            Figure("rmse_ratio", scores.get("rmse_ratio") or float("nan"), "ratio"),
        ]


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bin/bench dstream-mllib", description=__doc__)
    parser.add_argument("--batches", type=int, default=30, help="of the rival, warm-up included")
    parser.add_argument("--warmup", type=int, default=8, help="of the rival, in batches")
    parser.add_argument("--seconds", type=float, default=40.0, help="of our engine, after 20 s of warm-up")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    mine = ours(args.seconds)
    rival = Rival(args.batches, args.warmup)
    rival.run()
    theirs = rival.figures()
    speedup = Figure("speedup_over_dstream_mllib", theirs[0].value / mine[0].value, "times", ">= 100")
    tell([speedup, *mine, *theirs], as_json=args.json)


if __name__ == "__main__":
    main(sys.argv[1:])
