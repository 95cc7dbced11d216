"""Stream processors without Spark: the fold over snapshots, and what a checkpoint brings back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from processors import checkpoint
from processors.contract import SNAPSHOT_SCHEMA, FeedSpec, Header, Result, StreamProcessor
from processors.slices import Delivery, align, pack, unpack
from processors.stream.cluster_regression import ClusterRegression
from processors.stream.stock_avg import StockAvg
from processors.streaming import Fold

SPEC = FeedSpec("test", interval_ms=1000, calendar="24/7")
Snapshot = tuple[Header, list[pa.RecordBatch]]


def market(snapshots: int, stocks: int = 40, seed: int = 3, session: str = "day") -> list[Snapshot]:
    """Prices that bounce around a wandering level, so that the last return tells something of the next."""
    rng = np.random.default_rng(seed)
    level, found = np.log(rng.uniform(5, 50, stocks)), []
    codes = [f"{number:06d}" for number in range(stocks)]
    spread = np.where(np.arange(stocks) % 2, 2e-4, 2e-3)
    for index in range(snapshots):
        level = level + rng.normal(size=stocks) * spread / 4
        price = np.exp(level + rng.normal(size=stocks) * spread)
        header = Header(
            "test", 1, 1000 + index, index, index * 1000, session, True, stocks, stocks, True, 2, 1000, 1.0, 0
        )
        found.append((header, [slice_batch(codes, price, rows) for rows in (slice(0, 25), slice(25, None))]))
    return found


def slice_batch(codes: list[str], price: np.ndarray, rows: slice, age_s: float = 0.0) -> pa.RecordBatch:
    codes, price = codes[rows], price[rows]
    n = len(codes)
    columns = [codes, [0] * n, [age_s] * n, price, [0.0] * n, [100.0] * n, 100 * price, [0] * n]
    return pa.RecordBatch.from_arrays(
        [pa.array(values, type=field.type) for values, field in zip(columns, SNAPSHOT_SCHEMA, strict=True)],
        schema=SNAPSHOT_SCHEMA,
    )


def deliveries(fold: Fold, history: list[Snapshot]) -> list[Delivery]:
    """Map the newest snapshot's slices as the executors would, wire format included."""
    window = fold.processor.window(fold.params)
    headers = [header for header, _ in history[-window:]]
    parts = []
    for number in range(2):
        view = align(headers, [slices[number] for _, slices in history[-window:]])
        parts.append(unpack(pack(headers[-1], number, view.codes, fold.processor.map_slice(view, fold.params))))
    return parts


def run(fold: Fold, snapshots: list[Snapshot], begin: int = 0) -> list[Result]:
    return [fold.step(snapshots[at][0], deliveries(fold, snapshots[: at + 1])) for at in range(begin, len(snapshots))]


def new_fold(processor: StreamProcessor | None = None, **params: Any) -> Fold:
    processor = processor or ClusterRegression()
    return Fold(processor, processor.Params(**params), SPEC)


def text(results: list[Result]) -> list[str]:
    return [json.dumps(result.numbers, allow_nan=False) for result in results]


def test_the_first_prediction_comes_with_the_second_snapshot_and_falls_back() -> None:
    first, second = run(new_fold(), market(2))
    assert first.numbers["clusters"] == []
    for cluster in second.numbers["clusters"]:
        assert cluster["predicted_price"] == pytest.approx(cluster["price"])
        assert cluster["fallback"] is True


def test_what_can_be_known_is_learned() -> None:
    for regression in ("rls", "sgd"):
        results = run(new_fold(regression=regression, learning_rate=0.05), market(300))
        scores = results[-1].numbers["scores"]["recent"]
        assert scores["rmse_ratio"] < 0.95, regression
        assert not all(cluster["fallback"] for cluster in results[-1].numbers["clusters"])


def test_every_prediction_is_counted_once() -> None:
    counts = run(new_fold(), market(30))[-1].numbers["counts"]
    assert counts["predicted"] == 40 * 29
    assert counts["scored"] == 40 * 28 and counts["no_truth"] == 0


def test_clusters_partition_the_stocks_and_keep_their_ids() -> None:
    results = run(new_fold(), market(200))
    ids = [tuple(cluster["id"] for cluster in result.numbers["clusters"]) for result in results[130:]]
    assert set(ids) == {ids[0]}
    assert sum(cluster["size"] for cluster in results[-1].numbers["clusters"]) == 40
    assert set(np.unique(results[-1].stocks["cluster"])) == set(ids[0])


def test_k_can_be_changed_between_two_snapshots() -> None:
    fold, snapshots = new_fold(), market(60)
    run(fold, snapshots[:50])
    fold.change({"k": 6})
    result = run(fold, snapshots, begin=50)[0]
    assert len(result.numbers["clusters"]) == 6
    assert {"kind": "k_changed", "from": 4, "to": 6} in result.numbers["events"]
    began = [event["cluster"] for event in result.numbers["events"] if event["kind"] == "cluster_began"]
    assert len(began) >= 2 and min(began) > 4


@pytest.mark.parametrize("processor", [ClusterRegression(), StockAvg()], ids=["cluster_regression", "stock_avg"])
def test_resumed_from_a_checkpoint_the_numbers_are_those_of_an_undisturbed_run(
    tmp_path: Path, processor: StreamProcessor
) -> None:
    snapshots = market(80)
    undisturbed = run(new_fold(processor), snapshots)
    first = new_fold(processor)
    before = run(first, snapshots[:37])
    checkpoint.save(tmp_path / "state.npz", first.state, first.meta())
    second = new_fold(processor)
    second.restore(*checkpoint.load(tmp_path / "state.npz"))  # type: ignore[misc]
    after = run(second, snapshots, begin=37)
    assert text(before + after) == text(undisturbed)
    for mine, theirs in zip(before + after, undisturbed, strict=True):
        for name, values in mine.stocks.items():
            np.testing.assert_array_equal(np.asarray(values), np.asarray(theirs.stocks[name]), err_msg=name)


def test_a_checkpoint_of_other_parameters_does_not_fit(tmp_path: Path) -> None:
    fold = new_fold(window=3)
    run(fold, market(3))
    checkpoint.save(tmp_path / "state.npz", fold.state, fold.meta())
    with pytest.raises(checkpoint.CheckpointError, match="changed"):
        new_fold(window=4).restore(*checkpoint.load(tmp_path / "state.npz"))  # type: ignore[misc]


def test_a_live_parameter_changed_while_away_is_applied(tmp_path: Path) -> None:
    fold, snapshots = new_fold(k=4), market(40)
    run(fold, snapshots[:30])
    checkpoint.save(tmp_path / "state.npz", fold.state, fold.meta())
    other = new_fold(k=2)
    other.restore(*checkpoint.load(tmp_path / "state.npz"))  # type: ignore[misc]
    assert len(run(other, snapshots, begin=30)[0].numbers["clusters"]) == 2


def test_a_damaged_checkpoint_says_so(tmp_path: Path) -> None:
    fold = new_fold()
    run(fold, market(5))
    path = tmp_path / "state.npz"
    checkpoint.save(path, fold.state, fold.meta())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(checkpoint.CheckpointError, match="damaged"):
        checkpoint.load(path)
    assert checkpoint.load(tmp_path / "none.npz") is None


def test_no_prediction_crosses_a_sessions_end() -> None:
    morning = market(20)
    afternoon = [
        (
            replace(header, session="pm", seq=header.seq + 500, index=header.index + 20, time=header.time + 7_200_000),
            slices,
        )
        for header, slices in market(20, seed=4)
    ]
    results = run(new_fold(), morning + afternoon)
    counts = results[20].numbers["counts"]
    assert counts["no_truth"] == 40
    assert counts["scored"] == 40 * 18
    assert np.isnan(results[20].stocks["return_bp"]).all()
    assert np.isnan(results[20].stocks["forecast"]).all()


def test_a_carried_row_is_shown_but_is_no_truth() -> None:
    snapshots = market(10)
    header, slices = snapshots[-1]
    codes, price = slices[0].column("code").to_pylist(), slices[0].column("price").to_numpy()
    snapshots[-1] = (header, [slice_batch(codes, price, slice(None), age_s=1.0), slices[1]])
    result = run(new_fold(), snapshots)[-1]
    assert result.numbers["real"] == 15
    assert result.numbers["counts"]["no_truth"] == 25
    assert len(result.stocks["code"]) == 40


def test_a_new_run_of_a_recording_begins_anew_and_gives_the_same_numbers() -> None:
    first = market(30)
    again = [(replace(h, run=2, seq=h.seq + 100, index=h.index + 30), slices) for h, slices in first]
    results = run(new_fold(), first + again)
    assert {"kind": "run_began", "run": 2} in results[30].numbers["events"]
    for mine, theirs in zip(results[31:], results[1:30], strict=True):
        same = {name: value for name, value in mine.numbers.items() if name not in ("run", "index")}
        assert same == {name: theirs.numbers[name] for name in same}


def test_missed_snapshots_are_counted() -> None:
    fold, snapshots = new_fold(), market(10)
    run(fold, snapshots[:5])
    fold.step(snapshots[8][0], deliveries(fold, snapshots[:9]))
    assert fold.missed == 3


def test_the_input_is_left_as_it_was() -> None:
    snapshots = market(6)
    before = [part.to_pydict() for _, slices in snapshots for part in slices]
    run(new_fold(), snapshots)
    assert [part.to_pydict() for _, slices in snapshots for part in slices] == before


def test_stocks_that_come_and_go_are_aligned() -> None:
    """A window over snapshots with other codes gives NaN where a stock was absent, never another stock's value."""
    early = slice_batch(["b", "a"], np.array([2.0, 1.0]), slice(None))
    late = slice_batch(["a", "c", "b"], np.array([1.1, 3.0, 2.2]), slice(None))
    header = market(1)[0][0]
    window = align([header, header], [early, late])
    np.testing.assert_array_equal(window.columns["price"], [[1.0, np.nan, 2.0], [1.1, 3.0, 2.2]])
