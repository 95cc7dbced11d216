"""``kmeans`` and ``linear_regression`` without Spark: what cluster_regression does, each half on its own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.cluster import KMeans as SklearnKMeans
from sklearn.linear_model import Ridge
from sklearn.metrics import silhouette_score
from test_fold import Snapshot, market, new_fold, run, slice_batch, text

from processors import checkpoint, checks
from processors.algorithms import clustering, memory, per_cluster
from processors.contract import Result, StreamProcessor
from processors.loading import code_hash
from processors.stream import forecasts
from processors.stream.cluster_regression import ClusterRegression
from processors.stream.kmeans import KMeans
from processors.stream.linear_regression import LinearRegression

test_kmeans = checks.suite(KMeans)
test_linear_regression = checks.suite(LinearRegression)

BOTH = pytest.mark.parametrize("processor", [KMeans(), LinearRegression()], ids=["kmeans", "linear_regression"])


def halted(snapshot: Snapshot) -> Snapshot:
    """Return the snapshot with every row carried: no stock had news."""
    header, slices = snapshot
    carried = [
        slice_batch(part.column("code").to_pylist(), part.column("price").to_numpy(), slice(None), age_s=1.0)
        for part in slices
    ]
    return header, carried


def afternoon(snapshots: list[Snapshot], after: int) -> list[Snapshot]:
    """Return snapshots as those of a later session of the same day."""
    return [
        (replace(h, session="pm", seq=h.seq + 500, index=h.index + after, time=h.time + 7_200_000), slices)
        for h, slices in snapshots
    ]


def clusters(result: Result, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(cluster[name] for name in names) for cluster in result.numbers["clusters"]]


# ---- both


@BOTH
def test_a_replay_gives_the_same_bytes(processor: StreamProcessor) -> None:
    assert text(run(new_fold(processor), market(60))) == text(run(new_fold(type(processor)()), market(60)))


@BOTH
def test_resumed_over_a_sessions_end_the_numbers_are_those_of_an_undisturbed_run(
    tmp_path: Path, processor: StreamProcessor
) -> None:
    snapshots = market(40) + afternoon(market(30, seed=4), after=40)
    undisturbed = run(new_fold(processor), snapshots)
    first, second = new_fold(processor), new_fold(processor)
    before = run(first, snapshots[:52])
    checkpoint.save(tmp_path / "state.npz", first.state, first.meta())
    second.restore(*checkpoint.load(tmp_path / "state.npz"))  # type: ignore[misc]
    assert text(before + run(second, snapshots, begin=52)) == text(undisturbed)


@BOTH
def test_a_market_of_one_stock_is_one_group(processor: StreamProcessor) -> None:
    one = [(header, [slices[0].slice(0, 1), slices[0].slice(0, 0)]) for header, slices in market(30)]
    result = run(new_fold(processor), one)[-1]
    price = one[-1][1][0].column("price")[0].as_py()
    assert clusters(result, "id", "size") == [(1, 1)]
    assert result.numbers["clusters"][0]["price"] == pytest.approx(price)


@BOTH
def test_while_all_are_halted_nothing_moves_and_nothing_is_learned(processor: StreamProcessor) -> None:
    snapshots = market(34)
    still = [(header, snapshots[29][1]) for header, _ in snapshots[30:33]]
    snapshots[30:33] = [halted(snapshot) for snapshot in still]
    results = run(new_fold(processor), snapshots)
    shown = [clusters(result, "id", "size", "price", "index") for result in results[29:33]]
    assert shown == [shown[0]] * 4 and shown[0]
    assert [result.numbers["real"] for result in results[29:33]] == [40, 0, 0, 0]
    if "counts" in results[29].numbers:
        assert len({result.numbers["counts"]["scored"] for result in results[29:33]}) == 1
    assert clusters(results[33], "price") != clusters(results[32], "price")


def test_what_the_processors_share_counts_as_their_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint must not be gone on with after a change of the shared parts."""
    import inspect

    before = {each: code_hash(each) for each in (KMeans, LinearRegression, ClusterRegression)}
    original = inspect.getsource
    monkeypatch.setattr(inspect, "getsource", lambda module: original(module) + "# changed" * (module is forecasts))
    changed = {each.__name__ for each, known in before.items() if code_hash(each) != known}
    assert changed == {"LinearRegression", "ClusterRegression"}


# ---- kmeans


def test_kmeans_clusters_as_cluster_regression_does_and_predicts_nothing() -> None:
    alone, together = run(new_fold(KMeans()), market(80)), run(new_fold(), market(80))
    for mine, theirs in zip(alone, together, strict=True):
        for name in ("feature_set", "silhouette", "k", "stocks", "real", "events"):
            assert mine.numbers[name] == theirs.numbers[name], name
        assert clusters(mine, "id", "size", "price") == clusters(theirs, "id", "size", "price")
        np.testing.assert_array_equal(mine.stocks["cluster"], theirs.stocks["cluster"])
    assert mine.numbers["scores"] is None and "counts" not in mine.numbers
    assert {cluster["predicted_price"] for cluster in mine.numbers["clusters"]} == {None}
    assert set(mine.stocks) == {"code", "cluster", "price", "return_bp", "age_s"}


@pytest.mark.parametrize("which", ["behaviour", "price"])
def test_fitted_anew_the_clusters_are_scikit_learns(which: str) -> None:
    """The fourth snapshot brings a refit: Lloyd's iterations have come to rest, and the memory is what they ran on."""
    fold = new_fold(KMeans(), features=which)
    result = run(fold, market(4))[-1]
    stocks, group = fold.state["stocks"], fold.state["groups"]
    held = memory.behaviour(stocks, np.arange(40)) if which == "behaviour" else stocks["log_price"][:, None]
    points = clustering.robust_z(held)
    oracle = SklearnKMeans(4, init=group["centres"], n_init=1, tol=0, algorithm="lloyd").fit(points)
    np.testing.assert_allclose(group["centres"], oracle.cluster_centers_)
    ids = np.array(group["ids"])
    np.testing.assert_array_equal(result.stocks["cluster"], ids[oracle.labels_])
    for identity, size, price in clusters(result, "id", "size", "price"):
        members = result.stocks["cluster"] == identity
        assert (size, price) == (members.sum(), pytest.approx(result.stocks["price"][members].mean()))


def test_the_silhouette_told_is_scikit_learns() -> None:
    fold = new_fold(KMeans())
    result = run(fold, market(30))[-1]  # it is looked at anew with every tenth snapshot
    points = clustering.robust_z(memory.behaviour(fold.state["stocks"], np.arange(40)))
    assert result.numbers["silhouette"] == pytest.approx(silhouette_score(points, result.stocks["cluster"]), abs=1e-4)


def test_k_changes_live_and_clusters_that_stay_keep_their_ids_and_index() -> None:
    fold, snapshots = new_fold(KMeans()), market(60)
    before = run(fold, snapshots[:50])[-1]
    fold.change({"k": 6})
    now = run(fold, snapshots, begin=50)[0]
    assert now.numbers["k"] == len(now.numbers["clusters"]) == 6
    assert {"kind": "k_changed", "from": 4, "to": 6} in now.numbers["events"]
    old, new = dict(clusters(before, "id", "index")), dict(clusters(now, "id", "index"))
    kept = old.keys() & new.keys()
    assert kept and all(abs(new[identity] / old[identity] - 1) < 0.01 for identity in kept)
    assert {new[identity] for identity in new.keys() - kept} == {100.0}


def test_a_clusters_index_moves_by_its_members_mean_return() -> None:
    before, now = run(new_fold(KMeans()), market(41))[-2:]
    for identity, index in clusters(before, "id", "index"):
        members = before.stocks["cluster"] == identity
        expected = index * np.exp(now.stocks["return_bp"][members].mean() / 1e4)
        assert dict(clusters(now, "id", "index"))[identity] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("which", ["price", "returns"])
def test_prices_and_returns_are_clustered_from_the_first_snapshot_on(which: str) -> None:
    for processor in (KMeans(), ClusterRegression()):
        first, *_, last = run(new_fold(processor, features=which), market(5))
        assert first.numbers["clusters"] and sum(cluster["size"] for cluster in last.numbers["clusters"]) == 40


# ---- linear regression


@pytest.mark.parametrize("regression", ["hierarchical", "rls", "sgd"])
def test_linear_regression_forecasts_as_cluster_regression_with_a_single_cluster(regression: str) -> None:
    alone = run(new_fold(LinearRegression(), regression=regression), market(80))
    together = run(new_fold(regression=regression, k=1, coefficient_clusters=1), market(80))
    for mine, theirs in zip(alone[1:], together[1:], strict=True):
        assert mine.numbers["scores"] == theirs.numbers["scores"]
        assert json.dumps(mine.numbers["clusters"]) == json.dumps(theirs.numbers["clusters"])
        for name, values in theirs.stocks.items():
            np.testing.assert_array_equal(np.asarray(mine.stocks[name]), np.asarray(values), err_msg=name)
    assert not {"k", "feature_set", "silhouette"} & alone[-1].numbers.keys()


@pytest.mark.parametrize("regression", ["hierarchical", "rls", "sgd"])
def test_what_can_be_known_of_a_market_is_learned_without_clusters(regression: str) -> None:
    result = run(new_fold(LinearRegression(), regression=regression, learning_rate=0.05), market(200))[-1]
    assert result.numbers["scores"]["recent"]["rmse_ratio"] < 0.95
    (told,) = result.numbers["clusters"]
    assert (told["id"], told["size"]) == (1, 40) and told["score"]["n"] == 198
    moves = np.log(result.stocks["forecast"] / result.stocks["price"]) * 1e4
    assert told["predicted_bp"] == pytest.approx(moves.mean(), abs=1e-6) and moves.any()


def test_rls_agrees_with_a_weighted_ridge_solve() -> None:
    """All that the fold was shown, solved at once: weights are the forgetting, the ridge is in mean squares."""
    forgetting, snapshots = 0.97, market(60)
    fold = new_fold(LinearRegression(), regression="rls", forgetting=forgetting)
    xs, ys, weights, result = [], [], np.zeros(0), None
    for at in range(len(snapshots)):
        held = fold.state["predictor"]
        x, sigma, asked = held["x"].copy(), held["sigma"].copy(), held["open"].any()
        result = run(fold, snapshots[: at + 1], begin=at)[0]
        if asked:
            y = np.clip(result.stocks["return_bp"] / sigma, -per_cluster.CLIP_SIGMA, per_cluster.CLIP_SIGMA)
            xs, ys, weights = [*xs, x.T], [*ys, y], np.append(weights * forgetting, np.ones(40))
    x, y = np.concatenate(xs), np.concatenate(ys)
    scale = np.sqrt((weights[:, None] * x**2).sum(axis=0) / weights.sum())
    oracle = Ridge(alpha=per_cluster.PRIOR, fit_intercept=False).fit(x / scale, y, sample_weight=weights)
    held = fold.state["predictor"]
    expected = (oracle.coef_ / scale) @ held["x"] * held["sigma"]  # in bp, before the guard
    np.testing.assert_allclose(held["raw"][0], expected, rtol=1e-6, atol=1e-9)
    guarded = expected * held["model"]["guard"]["scale"][0]
    assert guarded.any()
    np.testing.assert_allclose(held["ungated"], guarded, rtol=1e-6, atol=1e-9)


def test_no_prediction_of_the_market_crosses_a_sessions_end() -> None:
    results = run(new_fold(LinearRegression()), market(20) + afternoon(market(20, seed=4), after=20))
    counts = results[20].numbers["counts"]
    assert (counts["no_truth"], counts["scored"]) == (40, 40 * 18)
    assert results[20].numbers["clusters"][0]["predicted_price"] is None
    assert np.isnan(results[20].stocks["forecast"]).all()
    assert results[21].numbers["clusters"][0]["predicted_price"] is not None


def test_the_market_is_those_that_are_there() -> None:
    snapshots = [(h, [s[0].slice(0, 25 - 5 * (h.index > 10)), s[1]]) for h, s in market(14)]
    results = run(new_fold(LinearRegression()), snapshots)
    assert [clusters(result, "size") for result in results[9:13]] == [[(40,)], [(40,)], [(35,)], [(35,)]]
    assert results[11].numbers["counts"]["no_truth"] == 5
