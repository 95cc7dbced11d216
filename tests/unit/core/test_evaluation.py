"""Forecasts scored from outside, on markets with and without something to know."""

from __future__ import annotations

from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest

from bench import nulls, quality
from processors.contract import FeedSpec
from processors.evaluation import Offline, Scorer, Snapshot
from processors.feeds.offline import snapshots
from processors.feeds.sample import DEMO_SPEC
from processors.feeds.tally import Tally
from processors.stream.cluster_regression import ClusterRegression
from processors.streaming import Fold

SAMPLE = Path(__file__).resolve().parents[3] / "sample" / "ashare_3s_30_20211201.parquet"
SPEC = FeedSpec("walks", interval_ms=3000, calendar="24/7", slices=1)


def recorded(count: int) -> list[Snapshot]:
    return list(islice(snapshots(SAMPLE, DEMO_SPEC, Tally()), count))


def test_scores_from_outside_are_those_that_the_processor_tells() -> None:
    processor = ClusterRegression()
    offline, scorer = Offline(Fold(processor, processor.Params(), DEMO_SPEC)), Scorer()
    for header, slices in recorded(250):
        result = offline.take(header, slices)
        scorer.take(header, result)
    told = result.numbers["scores"]["since_start"]
    table = scorer.table()
    assert quality.column(table, "n").sum() == told["n"] > 5_000
    assert quality.rmse_ratio(table) == pytest.approx(told["rmse_ratio"], abs=1e-5)
    assert quality.mae_ratio(table) == pytest.approx(told["mae_ratio"], abs=1e-5)
    assert quality.ratio(table, "in80", "n") == pytest.approx(told["band80"]["coverage"], abs=1e-5)


def test_a_recording_read_offline_is_cut_into_the_snapshots_of_its_replay() -> None:
    found = recorded(20)
    assert [header.index for header, _ in found] == list(range(20))
    assert {newer.time - older.time for (older, _), (newer, _) in pairwise(found)} == {3000}
    assert all(header.session == "2021-12-01/am" and header.trading for header, _ in found[1:])


@pytest.mark.parametrize("seed", [0, 1])
def test_on_a_walk_the_last_price_is_not_beaten_and_hardly_lost_to(seed: int) -> None:
    run = quality.Run("hierarchical", SPEC)
    for snapshot in nulls.walks(seed, 250):
        run.take(snapshot)
    assert 0.998 < quality.rmse_ratio(run.table) < 1.001
    assert quality.mae_ratio(run.table) < 1.002


def test_a_flipped_recording_keeps_the_sizes_of_its_moves_and_the_distance_of_its_quotes() -> None:
    true = recorded(60)
    flipped = list(nulls.flipped(true, seed=3))
    for (_, before), (_, now), (_, flipped_before), (_, flipped_now) in zip(
        true, true[1:], flipped, flipped[1:], strict=False
    ):
        for number in range(DEMO_SPEC.slices):
            if not before[number].column("code").equals(now[number].column("code")):
                continue
            moves = [
                np.diff([one[number].column("price").to_numpy(), other[number].column("price").to_numpy()], axis=0)
                for one, other in ((before, now), (flipped_before, flipped_now))
            ]
            np.testing.assert_allclose(np.abs(moves[0]), np.abs(moves[1]), atol=1e-5)
            spread = [
                each[number].column("ask").to_numpy() - each[number].column("price").to_numpy()
                for each in (now, flipped_now)
            ]
            np.testing.assert_allclose(spread[0], spread[1], atol=1e-5)


def test_a_block_bootstrap_holds_the_ratio() -> None:
    rng = np.random.default_rng(4)
    table = np.zeros((400, len(quality.scores.SUMS)))
    table[:, quality.scores.SUMS.index("squared_last")] = rng.chisquare(30, 400)
    table[:, quality.scores.SUMS.index("squared")] = 0.81 * rng.chisquare(30, 400)
    low, high = quality.interval(table, quality.rmse_ratio)
    assert low < 0.9 < high and high - low < 0.05


def test_a_file_without_two_snapshots_in_a_row_says_so(tmp_path: Path) -> None:
    path = tmp_path / "one.csv"
    path.write_text("time,stock_code,price,change,volume,amount,type\n2021-12-01 10:00:00,000001,10.0,0,0,0,0\n")
    with pytest.raises(quality.SourceError, match=r"one\.csv: no forecast met its truth"):
        quality.measure(path, ["hierarchical"], {"interval_ms": 3000})
