"""One forecaster of next returns, from features to scored forecasts: model, guard, gate, median rule and bands.

All in bp, arrays over all N stocks ever seen. ``forecast`` opens a forecast per stock at t; ``learn`` closes them with
the returns to t + 1: scores them as they were issued, then learns from them. Nothing else is remembered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from processors.algorithms import band, gate, hierarchical, median, per_cluster, scores

Array = np.ndarray
State = dict[str, Any]
Kind = Literal["hierarchical", "rls", "sgd"]

# Rows of one interval that teach the coefficients, and those on which the experts of the median rule are compared:
# thousands a second say as much as all of them.
LEARN_AT_MOST, PLAY_AT_MOST = 4_000, 2_000


@dataclass(frozen=True)
class Settings:
    """``features`` and ``market_features`` count what ``Inputs`` brings; ``rate`` is the step of ``sgd``."""

    kind: Kind
    features: int
    market_features: int
    forgetting: float = 0.999
    rate: float = 0.02


@dataclass(frozen=True)
class Inputs:
    """What a forecast is made from. ``x``, shape (F, N): features, in bp for ``hierarchical``, in σ for the plain
    models; ``cluster`` the place of each stock's cluster of coefficients (−1: none), ``market`` (M,) the mean of
    the market's features; ``sigma``, ``tick`` in bp, ``still`` a share; ``where`` the stocks to forecast."""

    x: Array
    cluster: Array
    market: Array
    sigma: Array
    tick: Array
    still: Array
    where: Array


def new(settings: Settings) -> State:
    """Return a forecaster of no stocks and no clusters."""
    kept = np.float32 if settings.kind == "hierarchical" else np.float64
    return {
        "model": _new_model(settings, 0),
        "gate": gate.gate(0),
        "experts": median.experts(),
        "band": band.band(0),
        "score": scores.scores(),
        "open": np.zeros(0, dtype=bool),
        "x": np.zeros((settings.features, 0), dtype=kept),
        "raw": np.zeros((hierarchical.COMPONENTS if settings.kind == "hierarchical" else 1, 0), dtype=kept),
        "half": np.zeros((band.LEVELS, 0)),
        "market": np.zeros(settings.market_features),
        "cluster": np.zeros(0, dtype=int),
        **{name: np.zeros(0) for name in ("ungated", "point", "median", "sigma", "tick", "still")},
    }


def _new_model(settings: Settings, clusters: int) -> State:
    if settings.kind == "hierarchical":
        return hierarchical.new(clusters, settings.features, settings.market_features)
    return per_cluster.new(clusters, settings.features, settings.kind)


def grow(state: State, stocks: int) -> None:
    """Make room for ``stocks`` stocks. Open forecasts stay; new stocks have none."""
    more = stocks - len(state["open"])
    for name in ("open", "x", "raw", "half", "cluster", "ungated", "point", "median", "sigma", "tick", "still"):
        held = state[name]
        state[name] = np.concatenate([held, np.zeros((*held.shape[:-1], more), dtype=held.dtype)], axis=-1)
    for name, values in state["gate"].items():
        state["gate"][name] = np.concatenate([values, np.zeros(more)])
    band.grow(state["band"], stocks)


def rearrange(state: State, settings: Settings, origin: list[int]) -> None:
    """Let the models follow a refit of their clusters; ``origin`` names the old place of each, −1 for none."""
    kind = hierarchical if settings.kind == "hierarchical" else per_cluster
    state["model"] = kind.rearrange(state["model"], origin)


# ---- the next forecast


def forecast(state: State, settings: Settings, given: Inputs) -> None:
    """Open a forecast for each stock of ``given.where``."""
    if settings.kind == "hierarchical":
        centre = means(given.x, given.where)
        raw = hierarchical.components(state["model"], given.x, centre, given.cluster, given.market)
        ungated = hierarchical.combine(state["model"], raw, given.cluster)
    else:
        raw = per_cluster.components(state["model"], given.x, given.sigma, given.cluster)
        ungated = per_cluster.combine(state["model"], raw, given.cluster)
    point = np.where(gate.is_open(state["gate"]), ungated, 0.0)
    state.update(
        open=given.where.copy(),
        x=given.x,
        raw=raw,
        ungated=ungated,
        point=point,
        median=median.forecast(state["experts"], point, given.tick, given.still),
        half=band.half_widths(state["band"], given.sigma),
        market=given.market,
        cluster=given.cluster.copy(),
        sigma=given.sigma,
        tick=given.tick,
        still=given.still,
    )


def means(x: Array, where: Array) -> Array:
    """Return the mean of each row over the columns of a mask, shape (F,); 0 where it is empty."""
    return x @ where.astype(x.dtype) / max(np.count_nonzero(where), 1)


# ---- the truth has come


def drop(state: State) -> int:
    """Drop open forecasts to which no truth comes; return how many."""
    dropped = int(state["open"].sum())
    state["open"] = np.zeros_like(state["open"])
    return dropped


def learn(state: State, settings: Settings, returns: Array, real: Array) -> Array:
    """Close the open forecasts of stocks with a real row now: score, guards, sums, gate, experts, bands.

    ``returns`` in bp and ``real``, shape (N,). Returns the rows that met their truth, shape (n,), in order of cluster.
    """
    rows = np.flatnonzero(state["open"] & real & ~np.isnan(returns))
    rows = rows[np.argsort(state["cluster"][rows].astype(np.int16), kind="stable")]  # a radix sort
    state["open"] = np.zeros_like(state["open"])
    if not len(rows):
        return rows
    y, issued = returns[rows], issued_at(state, rows)
    gate.learn(state["gate"], rows, y, state["ungated"][rows])
    _learn_model(state, settings, rows, y)
    _learn_experts(state, rows[_turn(state, len(rows), PLAY_AT_MOST)], returns)
    scores.learn(state["score"], scores.interval_sums(y, issued))
    band.learn(state["band"], rows, band.missed(y - issued.point, issued.half))
    return rows


def issued_at(state: State, rows: Array) -> scores.Issued:
    """Return the open forecasts of some stocks, as they were issued."""
    half = np.take(state["half"], rows, axis=1)
    return scores.Issued(state["point"][rows], state["median"][rows], half, state["sigma"][rows])


def _turn(state: State, count: int, at_most: int) -> slice:
    """Return which of so many rows teach what all stocks share: all, or in a big market every n-th in turn."""
    turns = -(-count // at_most)
    return slice(int(state["score"]["seen"][0]) % turns, None, turns)


def _learn_experts(state: State, rows: Array, returns: Array) -> None:
    median.learn(state["experts"], returns[rows], state["point"][rows], state["tick"][rows], state["still"][rows])


def _learn_model(state: State, settings: Settings, rows: Array, y: Array) -> None:
    model, raw = state["model"], np.take(state["raw"], rows, axis=1)
    taught = _turn(state, len(rows), LEARN_AT_MOST)
    teachers = rows[taught]
    x, sigma, cluster = np.take(state["x"], teachers, axis=1), state["sigma"][teachers], state["cluster"][teachers]
    if settings.kind == "hierarchical":
        hierarchical.learn_guards(model, y, raw)
        hierarchical.learn_coefficients(model, x, y[taught], sigma, cluster, settings.forgetting)
        hierarchical.learn_market(model, y.mean(), state["market"])
    else:
        rate = settings.rate if settings.kind == "sgd" else None
        per_cluster.learn(model, x, y[taught], sigma, cluster, raw[:, taught], settings.forgetting, rate)
