"""The predictor's parts, each against what it promises: model, gate, median rule, bands, cluster prices, features."""

from __future__ import annotations

import numpy as np
import pytest

from processors.algorithms import band, cluster_price, features, gate, hierarchical, median, memory, scores

Array = np.ndarray


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(9)


# ---- the model


def learned(rng: np.random.Generator, truth: Array, market: float, steps: int = 400, stocks: int = 40) -> tuple:
    """Return a model after some intervals in which cluster k's coefficient is truth[k], and its forecasts' ratio."""
    state, cluster = hierarchical.new(2, 1, 1), np.repeat([0, 1], stocks // 2)
    squared, last = 0.0, 0.0
    for step in range(steps):
        x, z = rng.normal(size=(1, stocks)), rng.normal(size=1)
        raw = hierarchical.components(state, x, x.mean(axis=1), cluster, z)
        y = truth[cluster] * (x[0] - x.mean()) + market * z[0] + rng.normal(size=stocks)
        if step >= steps // 2:
            squared += ((y - hierarchical.combine(state, raw, cluster)) ** 2).sum()
            last += (y**2).sum()
        hierarchical.learn_guards(state, y, raw)
        hierarchical.learn_coefficients(state, x, y, np.ones(stocks), cluster, 0.999)
        hierarchical.learn_market(state, y.mean(), z)
    return state, (squared / last) ** 0.5


def test_what_clusters_share_is_learned_from_all_and_what_differs_from_each(rng: np.random.Generator) -> None:
    state, ratio = learned(rng, np.array([1.0, 0.4]), market=0.0)
    assert state["w"][0] == pytest.approx(0.7, abs=0.05)
    np.testing.assert_allclose(state["w_cluster"][:, 0], [1.0, 0.4], atol=0.07)
    assert ratio < (1 / 1.58) ** 0.5 * 1.01
    assert state["guard"]["scale"][2] == 0.0, "there is no market to know of"


def test_the_market_is_learned_from_means(rng: np.random.Generator) -> None:
    state, ratio = learned(rng, np.zeros(2), market=0.5)
    assert state["w_market"][0] == pytest.approx(0.5, abs=0.06)
    assert state["guard"]["scale"][2] > 0.9
    assert ratio < (1 / 1.25) ** 0.5 * 1.02


def test_where_there_is_nothing_to_know_the_last_price_is_forecast(rng: np.random.Generator) -> None:
    _, ratio = learned(rng, np.zeros(2), market=0.0)
    assert ratio < 1.0005


def test_a_refit_moves_coefficients_with_their_clusters(rng: np.random.Generator) -> None:
    state, _ = learned(rng, np.array([1.0, 0.4]), market=0.0)
    moved = hierarchical.rearrange(state, [1, -1, 0])
    np.testing.assert_allclose(moved["w_cluster"][[2, 0]], state["w_cluster"], atol=0.02)
    np.testing.assert_allclose(moved["w_cluster"][1], moved["w"], atol=1e-9, err_msg="a new cluster begins as all")


# ---- the gate


def test_a_stock_whose_forecasts_cost_it_is_shut_out_and_let_in_again(rng: np.random.Generator) -> None:
    state, rows = gate.gate(2), np.arange(2)
    for _ in range(60):
        y = rng.normal(size=2)
        gate.learn(state, rows, y, np.array([0.5, -0.8]) * y)
    assert gate.is_open(state).tolist() == [True, False]
    for _ in range(400):
        y = rng.normal(size=2)
        gate.learn(state, rows, y, 0.8 * y)
    assert gate.is_open(state).tolist() == [True, True]


# ---- the median rule


def test_the_rules_are_those_of_the_formulas() -> None:
    size, tick = np.array([0.4, 1.0, 2.6]), np.array([1.0, 1.0, 1.0])
    assert median.SHRUNK[4] == (0.7, 0.5)
    np.testing.assert_allclose(median.size_of(4, size, tick), [0.0, 0.35, 1.47])
    assert median.ROUNDED[1] == 0.5
    np.testing.assert_allclose(median.size_of(10, size, tick), [0.0, 1.0, 3.0], err_msg="whole ticks, half rounds up")
    np.testing.assert_allclose(median.size_of(10, size, np.zeros(3)), 0.0, err_msg="no grid is known")


def test_whole_ticks_play_where_prices_move_by_whole_ticks(rng: np.random.Generator) -> None:
    state, tick = median.experts(), np.full(50, 3.0)
    still = np.full(50, 0.4)
    played = np.zeros(50)
    for step in range(200):
        point = rng.normal(size=50) * 2
        y = tick * np.round(np.where(rng.random(50) < 0.9, point / tick, rng.normal(size=50)))
        played = median.forecast(state, point, tick, still) if step == 199 else played
        median.learn(state, y, point, tick, still)
    assert state["playing"][0] != median.NOBODY
    np.testing.assert_allclose(played % 3.0, 0.0)
    assert (played != 0).any()


def test_nobody_plays_where_nobody_gains(rng: np.random.Generator) -> None:
    state = median.experts()
    for _ in range(300):
        point = rng.normal(size=30)
        assert not median.forecast(state, point, np.ones(30), np.full(30, 0.3)).any()
        median.learn(state, rng.integers(-1, 2, 30).astype(float), point, np.ones(30), np.full(30, 0.3))


def test_an_expert_for_lively_stocks_leaves_the_others_alone() -> None:
    state = median.experts()
    state["playing"][0] = 8 * len(median.STILL_BELOW) + 1  # κ 1, h 1, stocks that stand still in less than 35 %
    found = median.forecast(state, np.array([5.0, 5.0]), np.ones(2), np.array([0.34, 0.35]))
    assert found.tolist() == [4.0, 0.0]


# ---- bands


@pytest.mark.parametrize("shape", ["normal", "heavy"])
def test_bands_keep_their_coverage(rng: np.random.Generator, shape: str) -> None:
    state, rows, inside = band.band(30), np.arange(30), []
    scale = np.linspace(0.5, 3.0, 30)  # σ is wrong by a factor of its own for each stock
    for _ in range(3_000):
        y = scale * (rng.normal(size=30) if shape == "normal" else rng.standard_t(3, 30))
        miss = band.missed(y, band.half_widths(state, np.ones(30)))
        inside.append(~miss)
        band.learn(state, rows, miss)
    late = np.array(inside)[1_500:]
    np.testing.assert_allclose(late.mean(axis=(0, 2)), [0.8, 0.95], atol=0.01)
    assert late[:, 0].mean(axis=0).min() > 0.72, "each stock's own width follows it"
    np.testing.assert_allclose(state["log_k"].mean(axis=1), 0.0, atol=1e-9)


# ---- clusters' prices


def test_a_clusters_index_is_chained_from_its_members_mean_returns() -> None:
    state = cluster_price.new()
    cluster_price.rearrange(state, [-1, -1])
    cluster_price.learn(state, np.array([10.0, 30.0, 5.0]), np.array([0, 0, 1]))
    cluster_price.learn(state, np.array([-20.0, 0.0]), np.array([0, 1]))
    np.testing.assert_allclose(state["index"], [100.0, 100 * np.exp(5e-4)])
    cluster_price.rearrange(state, [1, -1])
    np.testing.assert_allclose(state["index"], [100 * np.exp(5e-4), 100.0])


def test_a_clusters_forecast_is_its_members_mean_and_is_scored_as_issued() -> None:
    state = cluster_price.new()
    cluster_price.rearrange(state, [-1, -1])
    cluster_price.forecast(state, np.array([2.0, 4.0, -1.0]), np.array([0, 0, 1]))
    np.testing.assert_allclose(state["point"], [3.0, -1.0])
    np.testing.assert_allclose(state["median"], [0.0, 0.0])
    cluster_price.learn(state, np.array([3.0, 3.0]), np.array([0, 0]))  # the other cluster has no real row
    assert state["total"][:, 0].tolist() == [1, 0]
    assert state["total"][0, 1] == 0.0, "the squared error of a forecast that came true"


@pytest.mark.parametrize(("tells", "ratio"), [(1.0, 0.9), (0.0, 1.002)])
def test_a_clusters_median_follows_its_point_where_that_pays_and_the_last_price_where_not(
    tells: float, ratio: float
) -> None:
    state, random = cluster_price.new(), np.random.default_rng(3)
    cluster_price.rearrange(state, [-1, -1])
    cluster = np.repeat([0, 1], 40)
    for _ in range(400):
        point = np.repeat(random.normal(size=2), 40)
        cluster_price.forecast(state, point, cluster)
        own = random.choice([-10.0, 0.0, 0.0, 0.0, 10.0], 80)  # of a stock on a grid: mostly it stands still
        cluster_price.learn(state, tells * point + own, cluster)
    total = state["total"].sum(axis=0)
    absolute, last = (total[scores.SUMS.index(name)] for name in ("absolute", "absolute_last"))
    assert absolute / last < ratio


# ---- features


def test_features_are_those_of_the_recipe() -> None:
    stocks = memory.empty()
    memory.grow(stocks, 1)
    row = np.ones(1)
    for price, change in ((10.0, np.nan), (10.02, 19.98)):
        memory.advance(stocks, np.array([True]), price * row, change * row, 300 * row, row)
    memory.learn_grid(stocks, np.array([True]), memory.decimals_of(10.02 * row))
    said = features.quotes(*(np.array([value]) for value in (10.02, 10.01, 10.03, 300.0, 100.0)))
    assert said.imbalance[0] == 0.5 and said.mid[0] == pytest.approx(0.0, abs=1e-9)
    assert said.micro[0] == pytest.approx(np.log(10.025 / 10.02) * 1e4)
    by, lags = features.scales(stocks), np.array([[19.98], [np.nan]])
    x = features.build(stocks, by, lags, row, 1200 * row, said, trade_sign=True)
    of = dict(zip(features.names(True), x[:, 0], strict=True))
    sigma = memory.sigma_bp(stocks)[0]
    tau = (0.01 / 10.02 * 1e4) / sigma
    assert of["r0"] == pytest.approx(19.98, rel=1e-5) and of["r1"] == 0.0
    assert of["d3"] == pytest.approx(0.6 * np.log(10.02 / 10) * 1e4, rel=1e-5)
    assert of["tau_r0"] == pytest.approx(tau * 19.98, rel=1e-5)
    assert of["still_r0"] == pytest.approx(-0.5 * 19.98, rel=1e-5)
    assert of["sign_volume"] == pytest.approx(2.0 * sigma, rel=1e-5), "the root of four times the usual volume"
    assert of["imbalance"] == pytest.approx(0.5 * sigma, rel=1e-5)


@pytest.mark.parametrize(
    ("bid", "ask", "bid_size", "ask_size"),
    [(np.nan, 10.0, 1.0, 1.0), (10.1, 10.0, 1.0, 1.0), (0.0, 10.0, 0.0, 5.0)],
    ids=["missing", "crossed", "one-sided"],
)
def test_a_quote_that_is_none_says_nothing(bid: float, ask: float, bid_size: float, ask_size: float) -> None:
    said = features.quotes(*(np.array([value]) for value in (10.0, bid, ask, bid_size, ask_size)))
    assert (said.mid[0], said.micro[0], said.imbalance[0], said.spread[0]) == (0.0, 0.0, 0.0, 0.0)


def test_features_are_clipped_at_eight_sigma() -> None:
    stocks = memory.empty()
    memory.grow(stocks, 1)
    row = np.ones(1)
    memory.advance(stocks, np.array([True]), 10 * row, row, row, row)
    said = features.Quotes(*np.zeros((4, 1)))
    by, lags = features.scales(stocks), np.array([[-3_000.0], [3_000.0]])
    x = features.build(stocks, by, lags, row, row, said, trade_sign=False)
    limit = 8 * memory.sigma_bp(stocks)[0]
    assert (x[0, 0], x[1, 0]) == (pytest.approx(-limit), pytest.approx(limit))
