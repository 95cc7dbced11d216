"""``bin/bench floor``: the mathematics of the default processor in bare NumPy, one process, no Spark, no Redis.

The same functions as live, on a made-up market: what the engine's own time can be held against.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections import deque

from bench.figures import Figure, percentile, tell
from processors.bus import decode, encode
from processors.contract import FeedSpec
from processors.evaluation import Snapshot
from processors.feeds.assemble import Assembler
from processors.feeds.codebook import Codebook
from processors.feeds.market import Market, MarketShape
from processors.feeds.offline import header_of
from processors.feeds.sessions import Sessions
from processors.feeds.simulate import SimulatedRows, simulated_spec
from processors.feeds.tally import Tally
from processors.feeds.validate import Validator
from processors.slices import Delivery, align
from processors.stream.cluster_regression import ClusterRegression
from processors.streaming import Fold


class MadeUp:
    """Snapshots of a simulated market, one after the other."""

    def __init__(self, codes: int, spec: FeedSpec):
        self.spec, codebook, tally = spec, Codebook(spec.slices), Tally()
        self.validate = Validator(spec, codebook, tally, "the simulator")
        self.assembler = Assembler(spec, codebook, tally, Sessions(spec.calendar, spec.zone))
        self.rows = SimulatedRows(Market(MarketShape(codes, spec.interval_ms / 1000, 1)))
        self.made = 0

    def next(self) -> Snapshot:
        self.made += 1
        end = self.made * self.spec.interval_ms
        self.assembler.add(self.validate(self.rows.take(end)), final=True)
        [snapshot] = self.assembler.close(end)
        return header_of(snapshot, self.spec, self.made - 1), snapshot.slices


def measure(codes: int, snapshots: int, warm_up: int) -> list[Figure]:
    spec = simulated_spec("floor", 1.0, slices=1)
    market, processor = MadeUp(codes, spec), ClusterRegression()
    # All of it first, as if it waited on the bus: who makes the market leaves the caches full of something else.
    waiting = [(header, encode(slices[0])) for header, slices in (market.next() for _ in range(warm_up + snapshots))]
    gc.freeze()
    fold = Fold(processor, processor.Params(), spec)
    window: deque = deque(maxlen=processor.window(fold.params))
    decoding, mathematics = [], []
    for number, (header, blob) in enumerate(waiting):
        began = time.perf_counter()
        window.append((header, decode(blob)))
        view = align([header for header, _ in window], [batch for _, batch in window])
        decoded = time.perf_counter()
        columns = processor.map_slice(view, fold.params)
        fold.step(header, [Delivery(header, 0, False, 0, view.codes, columns)])
        done = time.perf_counter()
        if number >= warm_up:
            decoding.append(1000 * (decoded - began))
            mathematics.append(1000 * (done - decoded))
    return [
        Figure("mathematics_ms", percentile(mathematics, 0.5), "ms", "<= 8" if codes == 6_000 else None),
        Figure("mathematics_p90_ms", percentile(mathematics, 0.9), "ms"),
        Figure("decoding_ms", percentile(decoding, 0.5), "ms"),
        Figure("floor_ms", percentile([a + b for a, b in zip(decoding, mathematics, strict=True)], 0.5), "ms"),
    ]


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bin/bench floor", description=__doc__)
    parser.add_argument("--codes", type=int, default=6_000)
    parser.add_argument("--snapshots", type=int, default=300)
    parser.add_argument("--warmup", type=int, default=150, help="snapshots")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    tell(measure(args.codes, args.snapshots, args.warmup), as_json=args.json)
