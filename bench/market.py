"""What benchmarks share: the whole platform in processes of its own, and a simulated market on it."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from platform_process import Platform, running

from bench.figures import Figure, tell
from processors.contract import slices_for

FEED = "bench"


def parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that every benchmark on a simulated market has."""
    made = argparse.ArgumentParser(prog=f"bin/bench {name}", description=description)
    made.add_argument("--codes", type=int, default=1000, help="stocks")
    made.add_argument("--every", type=float, default=1.0, help="seconds between snapshots")
    made.add_argument("--slices", type=int, help="partitions of a snapshot, as the feed's setting")
    made.add_argument("--json", action="store_true", help="a line of JSON per figure")
    return made


def measure(args: argparse.Namespace, figures: Callable[[Platform, argparse.Namespace], Sequence[Figure]]) -> None:
    """Tell the figures measured on a platform of its own, which is gone afterwards."""
    with tempfile.TemporaryDirectory() as state, running(Path(state)) as platform:
        tell(figures(platform, args), as_json=args.json)


def simulate(platform: Platform, codes: int, every_s: float, slices: int | None) -> int:
    """Start a simulated market, in so many slices or as many as serve it best; return its task."""
    params = {"codes": codes, "every_s": every_s}
    spec = {"calendar": "24/7", "zone": "UTC", "interval_ms": round(every_s * 1000), "simulated": True}
    slices = slices_for(codes) if slices is None else slices
    platform.make_feed(FEED, "simulator", params, max_bytes=max(256, codes // 100) * 2**20, slices=slices, **spec)
    return platform.create("simulator", FEED, **params)
