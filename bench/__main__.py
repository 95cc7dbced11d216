"""``bin/bench WHAT [options]``: a module per benchmark, each with ``main(argv)``, all telling through ``figures``."""

from __future__ import annotations

import importlib
import os
import signal
import sys

from processors.environment import COMPUTING

BENCHMARKS = {
    "live": "bench.live",
    "catchup": "bench.catchup",
    "feeds": "bench.feeds",
    "quality": "bench.quality",
    "floor": "bench.floor",
    "history": "bench.history",
    "dstream-mllib": "bench.dstream_mllib",
}


ALONE = ("quality", "floor", "history")  # these fold in this process


def main(argv: list[str]) -> int:
    if not argv or argv[0] not in BENCHMARKS:
        sys.stderr.write(f"bin/bench {' '.join(argv[:1])}: expected one of {', '.join(BENCHMARKS)}, then its options\n")
        return 2
    if argv[0] in ALONE and not COMPUTING.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, "-m", "bench", *argv], {**os.environ, **COMPUTING})
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # in order: what was started is stopped
    importlib.import_module(BENCHMARKS[argv[0]]).main(argv[1:])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
