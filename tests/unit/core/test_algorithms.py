"""The mathematics against trusted libraries, and against what it promises."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.linear_model import Ridge
from sklearn.metrics import silhouette_score
from sklearn.preprocessing import RobustScaler

from processors.algorithms import clustering, guard, memory, regression, scores


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def blobs(rng: np.random.Generator, n: int = 200, k: int = 4) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(n) % k
    return rng.normal(size=(n, 3)) * 0.2 + rng.normal(size=(k, 3))[labels] * 2, labels


def test_lloyd_agrees_with_scikit_learn(rng: np.random.Generator) -> None:
    points, _ = blobs(rng)
    start = clustering.plus_plus(points, 4, rng)
    centres, labels = clustering.lloyd(points, start)
    oracle = KMeans(4, init=start, n_init=1, tol=0, algorithm="lloyd").fit(points)
    assert np.array_equal(labels, oracle.labels_)
    np.testing.assert_allclose(centres, oracle.cluster_centers_)


def test_silhouette_agrees_with_scikit_learn(rng: np.random.Generator) -> None:
    points, labels = blobs(rng)
    assert clustering.silhouette(points, labels) == pytest.approx(silhouette_score(points, labels))
    assert clustering.silhouette(points, np.zeros(len(points), dtype=int)) is None


def test_robust_z_agrees_with_scikit_learn_within_the_clip(rng: np.random.Generator) -> None:
    points = rng.normal(size=(300, 2)) * [1, 50]
    expected = RobustScaler(unit_variance=True).fit_transform(points)
    # scikit-learn divides by the exact normal quantile, here 1.349
    np.testing.assert_allclose(clustering.robust_z(points), np.clip(expected, -3, 3), rtol=1e-3)


def test_robust_z_of_a_constant_column_is_zero() -> None:
    assert np.array_equal(clustering.robust_z(np.full((5, 1), 7.0)), np.zeros((5, 1)))


def test_a_stock_stays_until_another_centre_is_nearer_by_30_percent() -> None:
    centres = np.array([[0.0], [1.0]])
    labels = np.zeros(3, dtype=int)
    points = np.array([[0.52], [0.6], [0.4]])  # squared distances 0.27/0.23, 0.36/0.16, 0.16/0.36
    assert clustering.assign(points, centres, labels).tolist() == [0, 1, 0]


def test_matching_keeps_identities_when_labels_are_permuted(rng: np.random.Generator) -> None:
    old = rng.integers(0, 4, 100)
    permutation = np.array([2, 0, 3, 1])
    matched = clustering.match(old, permutation[old], 4, 4)
    assert [matched[new] for new in permutation] == [0, 1, 2, 3]


def test_matching_to_more_clusters_begins_new_ones(rng: np.random.Generator) -> None:
    old = np.arange(90) % 3
    new = np.where(np.arange(90) < 15, 3, old)
    assert clustering.match(old, new, 3, 4) == [0, 1, 2, clustering.NONE]


def test_rls_agrees_with_weighted_ridge(rng: np.random.Generator) -> None:
    """Forgetting is a weight of λ per snapshot of age; the ridge is in units of an observation's mean square."""
    model, forgetting, ridge = regression.rls(1, 2), 0.97, 30.0
    xs, ys, weights = [], [], np.zeros(0)
    for _ in range(40):
        x = rng.normal(size=(25, 2)) * [1, 3]
        y = x @ [0.4, -0.1] + rng.normal(size=25)
        regression.rls_learn(model, x, y, np.zeros(25, dtype=int), forgetting, ridge)
        xs, ys, weights = [*xs, x], [*ys, y], np.append(weights * forgetting, np.ones(25))
    x, y = np.concatenate(xs), np.concatenate(ys)
    scale = np.sqrt((weights[:, None] * x**2).sum(axis=0) / weights.sum())
    oracle = Ridge(alpha=ridge, fit_intercept=False).fit(x / scale, y, sample_weight=weights)
    np.testing.assert_allclose(model["w"][0], oracle.coef_ / scale, rtol=1e-9)


def test_rls_with_a_feature_that_never_varies_is_defined() -> None:
    model = regression.rls(1, 2)
    x = np.column_stack([np.ones(50), np.zeros(50)])
    regression.rls_learn(model, x, np.ones(50), np.zeros(50, dtype=int), 1.0, 0.0)
    np.testing.assert_allclose(model["w"][0], [1.0, 0.0])


def test_models_learn_their_own_cluster_only(rng: np.random.Generator) -> None:
    for model, learn in (
        (regression.rls(2, 1), lambda m, x, y, c: regression.rls_learn(m, x, y, c, 1.0, 0.0)),
        (regression.sgd(2, 1), lambda m, x, y, c: regression.sgd_learn(m, x, y, c, 0.1)),
    ):
        x = rng.normal(size=(200, 1))
        cluster = np.arange(200) % 2
        for _ in range(100):
            learn(model, x, x[:, 0] * np.where(cluster == 0, 1.0, -1.0), cluster)
        np.testing.assert_allclose(model["w"][:, 0], [1.0, -1.0], atol=1e-4)


def test_prediction_of_a_row_without_a_cluster_is_zero() -> None:
    model = regression.sgd(1, 1)
    model["w"][:] = 2.0
    assert regression.predict(model, np.ones((2, 1)), np.array([0, -1])).tolist() == [2.0, 0.0]
    assert regression.predict(regression.rls(0, 1), np.ones((1, 1)), np.array([-1])).tolist() == [0.0]


def test_rearranged_models_go_on_with_what_they_learned() -> None:
    model = regression.sgd(2, 1)
    model["w"][:, 0] = [1.0, 2.0]
    assert regression.rearrange(model, [1, -1, 0])["w"][:, 0].tolist() == [2.0, 0.0, 1.0]


def test_the_guard_opens_for_a_forecast_that_gains(rng: np.random.Generator) -> None:
    state = guard.guard(2)
    for _ in range(400):
        signal, noise = rng.normal(size=50), rng.normal(size=50)
        truth = 0.5 * signal + rng.normal(size=50)
        forecasts = (signal, noise)  # the first twice too large, the second worthless
        guard.learn(state, np.array([truth @ g for g in forecasts]), np.array([g @ g for g in forecasts]))
    assert state["scale"][0] == pytest.approx(0.5, abs=0.05)
    assert state["scale"][1] < 0.02


def test_the_guard_trusts_nothing_in_its_warm_up() -> None:
    state = guard.guard(1)
    for _ in range(guard.WARM_UP):
        guard.learn(state, np.array([1.0]), np.array([1.0]))
        assert state["scale"][0] == 0.0


def test_behind_the_guard_noise_costs_next_to_nothing() -> None:
    """PREDICTION's promise: where there is nothing to know, the ratio to the last price stays at 1."""
    for seed in range(5):
        rng, state, lost, base = np.random.default_rng(seed), guard.guard(1), 0.0, 0.0
        for _ in range(1000):
            truth, forecast = rng.normal(size=30), rng.normal(size=30) * 0.3
            issued = forecast * state["scale"][0]
            lost, base = lost + ((truth - issued) ** 2).sum(), base + (truth**2).sum()
            guard.learn(state, np.array([truth @ forecast]), np.array([forecast @ forecast]))
        assert (lost / base) ** 0.5 < 1.001


def test_scores_are_ratios_to_the_last_price() -> None:
    state = scores.scores(1)
    truth, forecast = np.array([2.0, -1.0, 0.0]), np.array([1.0, -1.0, 0.0])
    scores.learn(state, scores.interval_sums(truth, forecast, np.zeros(3, dtype=int), 1))
    found = scores.report(state, 0)["since_start"]
    assert found == {"rmse_ratio": round((1 / 5) ** 0.5, 6), "mae_ratio": round(1 / 3, 6), "n": 3}


def test_scores_say_nothing_where_nothing_moved() -> None:
    state = scores.scores(1)
    scores.learn(state, scores.interval_sums(np.zeros(2), np.zeros(2), np.zeros(2, dtype=int), 1))
    assert scores.report(state, 0)["recent"] == {"rmse_ratio": None, "mae_ratio": None, "n": 2}


def test_recent_scores_forget_after_500_intervals() -> None:
    state, zero = scores.scores(1), np.zeros(1, dtype=int)
    scores.learn(state, scores.interval_sums(np.array([1.0]), np.array([9.0]), zero, 1))
    for _ in range(scores.RECENT):
        scores.learn(state, scores.interval_sums(np.array([1.0]), np.array([1.0]), zero, 1))
    assert scores.report(state, 0)["recent"]["rmse_ratio"] == 0.0
    assert scores.report(state, 0)["since_start"]["rmse_ratio"] > 0.3


def test_only_real_rows_advance_the_memory() -> None:
    stocks = memory.empty()
    memory.grow(stocks, 2)
    first = {name: values.copy() for name, values in stocks.items()}
    real = np.array([True, False])
    memory.advance(stocks, real, np.array([10.0, 20.0]), np.array([5.0, 5.0]), np.array([1.0, 1.0]))
    for name, values in stocks.items():
        assert values[0] != first[name][0] or name == "flat_s"
        np.testing.assert_array_equal(values[1], first[name][1])


def test_sigma_is_the_weighted_deviation_shrunk_to_the_mean(rng: np.random.Generator) -> None:
    stocks = memory.empty()
    memory.grow(stocks, 2)
    returns = rng.normal(size=(300, 2)) * [2.0, 8.0]
    for row in returns:
        memory.advance(stocks, np.ones(2, dtype=bool), np.ones(2), row, np.ones(2))
    weights = (1 - memory.SIGMA_ALPHA) ** np.arange(300)[::-1]
    variance = (weights[:, None] * returns**2).sum(axis=0) / weights.sum()
    n = 1 / memory.SIGMA_ALPHA
    expected = np.sqrt((n * variance + 3 * variance.mean()) / (n + 3))
    np.testing.assert_allclose(memory.sigma_bp(stocks), expected, rtol=1e-3)
