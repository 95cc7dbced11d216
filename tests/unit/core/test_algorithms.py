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


def test_least_squares_agree_with_weighted_ridge(rng: np.random.Generator) -> None:
    """Forgetting is a weight of λ per snapshot of age; the ridge is in units of an observation's mean square."""
    model, forgetting, prior = regression.least_squares(1, 2), 0.97, 30.0
    xs, ys, weights = [], [], np.zeros(0)
    for _ in range(40):
        x = rng.normal(size=(25, 2)) * [1, 3]
        y = x @ [0.4, -0.1] + rng.normal(size=25)
        own = rng.uniform(0.5, 2.0, 25)
        regression.add(model, regression.moments(x.T, y, own, np.array([0, 25])), forgetting)
        xs, ys, weights = [*xs, x], [*ys, y], np.append(weights * forgetting, own)
    x, y = np.concatenate(xs), np.concatenate(ys)
    count = float(model["n"][0])
    scale = np.sqrt((weights[:, None] * x**2).sum(axis=0) / count)
    oracle = Ridge(alpha=prior, fit_intercept=False).fit(x / scale, y, sample_weight=weights)
    np.testing.assert_allclose(regression.ridge(model, prior)[0], oracle.coef_ / scale, rtol=1e-7)


def test_coefficients_pulled_to_a_centre_are_ridge_on_what_the_centre_leaves(rng: np.random.Generator) -> None:
    """w_k = w + (A_k + m·ΣA/n)⁻¹(b_k − A_k·w): ridge regression of the residual in the metric of all rows."""
    x, y = rng.normal(size=(120, 3)) * [1, 2, 0.5], rng.normal(size=120)
    bounds = np.array([0, 40, 120])
    model = regression.moments(x.T, y, np.ones(120), bounds)
    centre, prior = np.array([0.3, -0.2, 0.1]), 25.0
    found = regression.towards(model, centre, prior)
    root = np.linalg.cholesky(x.T @ x / 120)  # rows in this metric have unit mean square
    for k in range(2):
        rows = slice(bounds[k], bounds[k + 1])
        whitened = np.linalg.solve(root, x[rows].T).T
        oracle = Ridge(alpha=prior, fit_intercept=False).fit(whitened, y[rows] - x[rows] @ centre)
        np.testing.assert_allclose(found[k], centre + np.linalg.solve(root.T, oracle.coef_), rtol=1e-6)


def test_a_feature_that_never_varied_has_the_coefficient_zero() -> None:
    x = np.stack([np.ones(50), np.zeros(50)])
    model = regression.moments(x, np.ones(50), np.ones(50), np.array([0, 50]))
    np.testing.assert_allclose(regression.ridge(model, 0.0), [[1.0, 0.0]], atol=1e-8)
    np.testing.assert_allclose(regression.towards(model, np.zeros(2), 10.0)[0, 1], 0.0)


def test_features_that_say_the_same_share_their_coefficient() -> None:
    x = np.stack([np.ones(50), np.ones(50)])
    model = regression.moments(x, np.ones(50), np.ones(50), np.array([0, 50]))
    assert regression.towards(model, np.zeros(2), 1.0)[0].sum() == pytest.approx(50 / 51, rel=1e-3)


def test_models_learn_their_own_cluster_only(rng: np.random.Generator) -> None:
    x, bounds = rng.normal(size=(1, 200)), np.array([0, 100, 200])
    cluster = np.repeat([0, 1], 100)
    y = x[0] * np.where(cluster == 0, 1.0, -1.0)
    sums = regression.moments(x, y, np.ones(200), bounds)
    np.testing.assert_allclose(regression.ridge(sums, 0.0)[:, 0], [1.0, -1.0], rtol=1e-6)
    model = regression.sgd(2, 1)
    for _ in range(100):
        regression.sgd_learn(model, x, y, cluster, 0.1)
    np.testing.assert_allclose(model["w"][:, 0], [1.0, -1.0], atol=1e-3)


def test_prediction_of_a_row_without_a_cluster_is_zero() -> None:
    assert regression.predict(np.array([[2.0]]), np.ones((1, 2)), np.array([0, -1])).tolist() == [2.0, 0.0]
    assert regression.predict(np.zeros((0, 1)), np.ones((1, 1)), np.array([-1])).tolist() == [0.0]


def test_sorted_places_have_bounds() -> None:
    assert regression.bounds_of(np.array([-1, 0, 0, 2]), 3).tolist() == [1, 3, 3, 4]


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


def issued(point: list[float], half: float = 1.0) -> scores.Issued:
    n = len(point)
    return scores.Issued(np.array(point), np.array(point), np.full((2, n), half), np.ones(n))


def test_scores_are_ratios_to_the_last_price() -> None:
    state = scores.scores()
    scores.learn(state, scores.interval_sums(np.array([2.0, -1.0, 0.0]), issued([1.0, -1.0, 0.0])))
    found = scores.report(state)["since_start"]
    assert (found["rmse_ratio"], found["mae_ratio"]) == (round((1 / 5) ** 0.5, 6), round(1 / 3, 6))
    assert (found["n"], found["hit_rate"], found["silent_share"]) == (3, 1.0, round(1 / 3, 6))
    assert found["band80"] == {"coverage": 1.0, "coverage_moved": 1.0}, "a return on the band's edge is inside"


def test_a_missed_band_is_counted_and_costs() -> None:
    sums = dict(zip(scores.SUMS, scores.interval_sums(np.array([3.0, 0.5]), issued([0.0, 0.0])), strict=True))
    assert (sums["in80"], sums["in80_moved"], sums["moved"]) == (1, 1, 2)
    assert sums["interval"] == pytest.approx(2 + 2 + 2 / 0.2 * (3 - 1))


def test_scores_say_nothing_where_nothing_moved() -> None:
    state = scores.scores()
    scores.learn(state, scores.interval_sums(np.zeros(2), issued([0.0, 0.0])))
    found = scores.report(state)["recent"]
    assert (found["rmse_ratio"], found["mae_ratio"], found["hit_rate"], found["n"]) == (None, None, None, 2)


def test_recent_scores_forget_after_500_intervals() -> None:
    state = scores.scores()
    scores.learn(state, scores.interval_sums(np.array([1.0]), issued([9.0])))
    for _ in range(scores.RECENT):
        scores.learn(state, scores.interval_sums(np.array([1.0]), issued([1.0])))
    assert scores.report(state)["recent"]["rmse_ratio"] == 0.0
    assert scores.report(state)["since_start"]["rmse_ratio"] > 0.3


def test_a_score_has_an_interval_once_there_are_blocks_and_it_covers(rng: np.random.Generator) -> None:
    """Of many runs of the same model about 95 % have the true ratio, √0.75, inside; blocks merge on the way."""
    inside = 0
    for seed in range(60):
        random, state = np.random.default_rng(seed), scores.scores()
        for index in range(300):
            signal = random.normal(size=20)
            truth = signal + random.normal(size=20) * 3**0.5
            scores.learn(state, scores.interval_sums(truth, issued(signal)))
            found = scores.report(state)["since_start"]["rmse_interval"] if index in (0, 299) else None
            assert (found is None) == (index != 299)
        inside += found[0] < 0.75**0.5 < found[1]
    assert 52 <= inside <= 60


def advance(stocks: memory.Stocks, real: np.ndarray, price: np.ndarray, returns: np.ndarray) -> None:
    ones = np.ones(len(price))
    memory.advance(stocks, real, price, returns, ones, ones)
    memory.learn_grid(stocks, real, memory.decimals_of(price))


def test_only_real_rows_advance_the_memory() -> None:
    stocks = memory.empty()
    memory.grow(stocks, 2)
    first = {name: values.copy() for name, values in stocks.items()}
    advance(stocks, np.array([True, False]), np.array([10.0, 20.0]), np.array([5.0, 5.0]))
    for name, values in stocks.items():
        assert (values[..., 0] != first[name][..., 0]).any() or name in ("flat_s", "still_s")
        if name != "tick_size":  # which a stock without prices has from the others
            np.testing.assert_array_equal(values[..., 1], first[name][..., 1])


def test_sigma_is_the_weighted_deviation_shrunk_to_the_mean(rng: np.random.Generator) -> None:
    stocks = memory.empty()
    memory.grow(stocks, 2)
    returns = rng.normal(size=(300, 2)) * [2.0, 8.0]
    for row in returns:
        advance(stocks, np.ones(2, dtype=bool), np.ones(2), row)
    weights = (1 - memory.RETURN_ALPHA) ** np.arange(300)[::-1]
    variance = (weights[:, None] * returns**2).sum(axis=0) / weights.sum()
    n = 1 / memory.RETURN_ALPHA
    expected = np.sqrt((n * variance + 3 * variance.mean()) / (n + 3))
    np.testing.assert_allclose(memory.sigma_bp(stocks), expected, rtol=1e-3)


def test_a_price_step_is_inferred_from_decimals() -> None:
    prices = np.array([[2.70, 3.12, 1234.0], [2.80, 3.13, 1240.0], [2.90, 3.1, 1239.0]])
    stocks = memory.empty()
    memory.grow(stocks, 3)
    for row in prices:
        advance(stocks, np.ones(3, dtype=bool), row, np.full(3, np.nan))
    np.testing.assert_allclose(stocks["tick_size"], [0.1, 0.01, 0.1], err_msg="no coarser than the median stock's")
    assert memory.decimals_of(np.array([1.0, 0.1, 12.34, 0.0001, 1 / 3])).tolist() == [0, 1, 2, 4, 4]
