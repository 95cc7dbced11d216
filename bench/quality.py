"""``bin/bench quality FILE …``: how good predictions are on recordings, scored prequentially against the last price.

Every choice of regression runs by the same functions as live, without Spark; heavy models trained offline on the first
60 % of a recording stand beside them on the rest. Intervals come from a block bootstrap over time. The null tests ask
what a model costs where there is nothing to know.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow.compute as pc
from sklearn.metrics import adjusted_rand_score

from bench import nulls
from bench.figures import Figure, tell
from bench.offline import TRAIN_SHARE, Rows
from processors.algorithms import predictor, scores
from processors.contract import FeedSpec, Result
from processors.evaluation import Offline, Scorer, Snapshot
from processors.feeds.infer import infer
from processors.feeds.offline import snapshots
from processors.feeds.tally import SourceError, Tally
from processors.stream.cluster_regression import ClusterRegression
from processors.streaming import Fold

DEFAULT = "hierarchical"
CHOICES = get_args(predictor.Kind)
SAMPLE = "ashare_3s_30_20211201.parquet"
TO_REACH = {  # on the sample, by interval in ms
    3_000: {"rmse_ratio": "<= 0.885", "median_mae_ratio": "<= 0.996"},
    5_000: {"rmse_ratio": "<= 0.900", "median_mae_ratio": "<= 0.995"},
}
ROLLING = 100  # intervals
BLOCK = 20
RESAMPLES = 1_000
APART = 5  # snapshots between two clusterings that are compared
NULL_INTERVALS = 600
FIRST = 50


def new_fold(choice: str, spec: FeedSpec) -> Fold:
    processor = ClusterRegression()
    return Fold(processor, processor.Params(regression=choice), spec)


class Run:
    """One choice of regression over a recording: its scores, its seconds, and how steady its clusters are."""

    def __init__(self, choice: str, spec: FeedSpec):
        self.offline, self.scorer, self.stability = Offline(new_fold(choice, spec)), Scorer(), Stability()
        self.seconds, self.snapshots = 0.0, 0

    def take(self, snapshot: Snapshot) -> Result:
        began = time.perf_counter()
        result = self.offline.take(*snapshot)
        self.seconds += time.perf_counter() - began
        self.snapshots += 1
        self.scorer.take(snapshot[0], result)
        self.stability.take(result)
        return result

    @property
    def table(self) -> np.ndarray:
        return self.scorer.table()


class Stability:
    """Adjusted Rand index (Hubert and Arabie 1985) of memberships a few snapshots apart."""

    def __init__(self) -> None:
        self.found: list[float] = []
        self._held: deque[dict[str, int]] = deque(maxlen=APART + 1)

    def take(self, result: Result) -> None:
        codes, clusters = result.stocks["code"].to_pylist(), result.stocks["cluster"].tolist()
        members = {code: cluster for code, cluster in zip(codes, clusters, strict=True) if cluster}
        self._held.append(members)
        both = self._held[0].keys() & members.keys()
        if len(self._held) > APART and both:
            old, new = self._held[0], members
            self.found.append(adjusted_rand_score([old[c] for c in both], [new[c] for c in both]))


class Training:
    """Rows for the offline models: the features that the default had, with the returns that came."""

    def __init__(self) -> None:
        self.rows = Rows()
        self._open: dict[str, np.ndarray] | None = None

    def take(self, run: Run, result: Result) -> None:
        """Pair what was known before with the truth of this snapshot, then keep what is known now."""
        state = run.offline.fold.state
        if self._open is not None and len(run.scorer.indices) and run.scorer.indices[-1] == result.numbers["index"]:
            self._pair(state, result)
        held = state["predictor"]
        self._open = {name: held[name].copy() for name in ("open", "x", "sigma")}

    def _pair(self, state: dict[str, Any], result: Result) -> None:
        rows = state_rows(state, result)
        real = (result.stocks["age_s"] == 0) & (rows < len(self._open["open"]))
        returns = result.stocks["return_bp"]
        kept = real & ~np.isnan(returns)
        kept[kept] = self._open["open"][rows[kept]]
        at = rows[kept]
        self.rows.add(self._open["x"][:, at].T, returns[kept], self._open["sigma"][at], result.numbers["index"])


def state_rows(state: dict[str, Any], result: Result) -> np.ndarray:
    return pc.index_in(result.stocks["code"], value_set=state["codes"]).to_numpy(zero_copy_only=False)


# ---- figures


def column(table: np.ndarray, name: str) -> np.ndarray:
    return table[:, scores.SUMS.index(name)]


def ratio(table: np.ndarray, above: str, below: str, power: float = 1.0) -> float:
    """Return a ratio of sums over intervals, NaN where there is nothing to divide by."""
    total = column(table, below).sum()
    return float((column(table, above).sum() / total) ** power) if total > 0 else float("nan")


def rmse_ratio(table: np.ndarray) -> float:
    return ratio(table, "squared", "squared_last", 0.5)


def mae_ratio(table: np.ndarray) -> float:
    return ratio(table, "absolute", "absolute_last")


def interval(table: np.ndarray, of: Callable[[np.ndarray], float]) -> tuple[float, float]:
    """Return a 95 % interval by resampling blocks of 20 intervals (moving-block bootstrap; Künsch 1989)."""
    random = np.random.default_rng(1)
    length = min(BLOCK, len(table))
    count = -(-len(table) // length)
    starts = random.integers(0, len(table) - length + 1, (RESAMPLES, count))
    rows = (starts[:, :, None] + np.arange(length)).reshape(RESAMPLES, -1)
    low, high = np.nanpercentile([of(table[each]) for each in rows], [2.5, 97.5])
    return float(low), float(high)


def rolling_coverage_min(table: np.ndarray) -> float:
    """Return the lowest coverage of the 80 % band over 100 intervals, after the first 100."""
    inside, count = (np.cumsum(column(table, name)[ROLLING:]) for name in ("in80", "n"))
    if len(count) <= ROLLING:
        return float("nan")
    return float(((inside[ROLLING:] - inside[:-ROLLING]) / (count[ROLLING:] - count[:-ROLLING])).min())


def figures_of(path: Path, spec: FeedSpec, runs: dict[str, Run], training: Training) -> list[Figure]:
    mine = runs[DEFAULT]
    table = mine.table
    if not len(table):
        raise SourceError(
            f"{path}: no forecast met its truth in {mine.snapshots} snapshots; expected at least two "
            f"snapshots in a row with prices (interval {spec.interval_ms} ms)"
        )
    wanted = TO_REACH.get(spec.interval_ms, {}) if path.name == SAMPLE else {}
    found = []

    def add(name: str, value: float, unit: str = "ratio", to_reach: str | None = None) -> None:
        found.append(Figure(name, value, unit, wanted.get(name, to_reach), of=path.name))

    for name, of in (("rmse_ratio", rmse_ratio), ("median_mae_ratio", mae_ratio)):
        low, high = interval(table, of)
        add(name, of(table))
        add(f"{name}_low", low)
        add(f"{name}_high", high)
    add("band80_coverage", ratio(table, "in80", "n"), "share", "0.79 to 0.81")
    add("band80_coverage_rolling_min", rolling_coverage_min(table), "share", ">= 0.75")
    add("band80_coverage_given_a_move", ratio(table, "in80_moved", "moved"), "share")
    add("band95_coverage", ratio(table, "in95", "n"), "share")
    add("direction_hit_rate", ratio(table, "hits", "calls"), "share")
    add("silent_share", ratio(table, "silent", "n"), "share")
    clusters = mine.offline.fold.state["clusters"]["total"]  # all clusters together, as the processor tells it
    add("cluster_rmse_ratio", rmse_ratio(clusters))
    add("cluster_mae_ratio", mae_ratio(clusters))
    if mine.stability.found:
        add("cluster_stability_ari", float(np.mean(mine.stability.found)), "index", ">= 0.95")
    for choice, run in runs.items():
        if choice != DEFAULT:
            add(f"{choice}_rmse_ratio", rmse_ratio(run.table))
            add(f"{choice}_median_mae_ratio", mae_ratio(run.table))
    found += offline_figures(path, mine, training)
    add("forecasts", column(table, "n").sum(), "")
    add("intervals", len(table), "")
    add("ms_per_snapshot", 1000 * mine.seconds / mine.snapshots, "ms")
    return found


def offline_figures(path: Path, mine: Run, training: Training) -> list[Figure]:
    """Return the RMSE ratios on the last 40 % of the recording: ours, and those of models trained on the rest."""
    rest = mine.table[np.array(mine.scorer.indices) >= TRAIN_SHARE * mine.snapshots]
    found = [Figure("rmse_ratio_last40", rmse_ratio(rest), "ratio", of=path.name)] if len(rest) else []
    for name, value in training.rows.ratios(mine.snapshots).items():
        if value is None:
            sys.stderr.write(f"{name} can't be loaded here: its system library is missing\n")
        else:
            found.append(Figure(f"{name}_rmse_ratio_last40", value, "ratio", of=path.name))
    return found


# ---- runs


def measure(path: Path, choices: list[str], given: dict[str, Any]) -> list[Figure]:
    fields, said = infer(path, **{name: value for name, value in given.items() if value is not None})
    for sentence in said:
        sys.stderr.write(f"{path.name}: {sentence}\n")
    spec = FeedSpec(**{**fields, "slices": 1})
    runs, training, tally = {choice: Run(choice, spec) for choice in choices}, Training(), Tally()
    for snapshot in snapshots(path, spec, tally):
        for choice, run in runs.items():
            result = run.take(snapshot)
            if choice == DEFAULT:
                training.take(run, result)
        if runs[DEFAULT].snapshots % 500 == 0:
            sys.stderr.write(f"{path.name}: {runs[DEFAULT].snapshots} snapshots\n")
    if tally.rejected:
        sys.stderr.write(f"{path.name}: rejected {dict(tally.rejected)}\n")
    return figures_of(path, spec, runs, training)


def null_figures(path: Path, given: dict[str, Any], seeds: int) -> list[Figure]:
    """Return the worst ratios over walks and over sign flips of the recording, ``seeds`` of each."""
    fields, _ = infer(path, **{name: value for name, value in given.items() if value is not None})
    spec = FeedSpec(**{**fields, "slices": 1})
    held = list(islice(snapshots(path, spec, Tally()), NULL_INTERVALS))
    whole, first = [], []
    for seed in range(seeds):
        for market in (nulls.walks(seed, NULL_INTERVALS), nulls.flipped(held, seed)):
            run = Run(DEFAULT, spec)
            for snapshot in market:
                run.take(snapshot)
            whole.append(rmse_ratio(run.table))
            first.append(rmse_ratio(run.table[:FIRST]))
        sys.stderr.write(f"null tests: {seed + 1} of {seeds} seeds, worst so far {max(whole):.5f}\n")
    return [
        Figure("null_rmse_ratio", float(np.nanmax(whole)), "ratio", "<= 1.001"),
        Figure("null_rmse_ratio_first50", float(np.nanmax(first)), "ratio", "<= 1.002"),
    ]


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bin/bench quality", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="CSV or Parquet with a row per tick")
    parser.add_argument("--interval", type=float, help="seconds between snapshots; else inferred")
    parser.add_argument("--zone", help="IANA time zone of the file's times; else inferred")
    parser.add_argument("--calendar", help="exchange calendar, or 24/7; else inferred")
    parser.add_argument("--volume-unit", choices=["shares", "lots"], help="else inferred")
    parser.add_argument("--volume-mode", choices=["interval", "cumulative"], help="else inferred")
    parser.add_argument("--choices", nargs="+", choices=CHOICES, default=list(CHOICES), help="regressions to run")
    parser.add_argument("--seeds", type=int, default=20, help="of the null tests; 0 leaves them out")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    given = {
        "interval_ms": round(args.interval * 1000) if args.interval else None,
        "zone": args.zone,
        "calendar": args.calendar,
        "volume_unit": args.volume_unit,
        "volume_mode": args.volume_mode,
    }
    try:
        for path in args.files:
            tell(measure(path, sorted({DEFAULT, *args.choices}), given), as_json=args.json)
        if args.seeds:
            tell(null_figures(args.files[0], given, args.seeds), as_json=args.json)
    except SourceError as error:
        sys.exit(f"bin/bench quality: {error}")
