"""Each cluster's chain-linked index, and the forecasts of its next return.

A cluster's return is the equal-weight mean log return of the members it had, so that a stock that changes cluster moves
no index. Its point forecast is the mean of its members'; its median forecast comes of the point by the rule that the
stocks' do (``median``, without a price grid: a mean of many lies on none), for the mean of medians is no median. Arrays
of shape (K,), returns in bp.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from processors.algorithms import band, median, scores
from processors.algorithms.memory import BP, RETURN_ALPHA, shrunk_sigma

Array = np.ndarray
State = dict[str, Any]

BEGIN = 100.0


def new() -> State:
    """Return the state of a market without clusters."""
    return {
        **{name: np.zeros(0) for name in ("index", "square_s", "square_w", "open", "point", "median")},
        "half": np.zeros((band.LEVELS, 0)),
        "band": band.band(0),
        "experts": median.experts(),
        "total": np.zeros((0, len(scores.SUMS))),
    }


def rearrange(state: State, origin: list[int]) -> None:
    """Follow a refit of the clusters; ``origin`` names the old place of each, −1 for one that begins."""
    taken = np.array([max(old, 0) for old in origin], dtype=int)
    begins = np.array([old < 0 for old in origin])

    def move(values: Array, fill: float = 0.0) -> Array:
        held = values[..., taken] if values.shape[-1] else np.zeros((*values.shape[:-1], len(origin)))
        return np.where(begins, fill, held)

    for name in ("square_s", "square_w", "open", "point", "median", "half"):
        state[name] = move(state[name])
    state["index"] = move(state["index"], BEGIN)
    state["band"]["log_k"] = move(state["band"]["log_k"])
    state["total"] = move(state["total"].T).T


def drop(state: State) -> None:
    """Drop open forecasts to which no truth comes."""
    state["open"] = np.zeros_like(state["open"])


def sigma_bp(state: State) -> Array:
    """Return each cluster's volatility per interval in bp, shrunk towards the mean of all; 1 before any return."""
    return shrunk_sigma(state["square_s"], state["square_w"])


def learn(state: State, y: Array, cluster: Array) -> None:
    """Take in the returns of stocks that had a forecast, and the cluster that each had: score as issued, go on."""
    clusters = len(state["index"])
    members = np.bincount(cluster, minlength=clusters)
    seen = np.flatnonzero(members)
    truth = np.bincount(cluster, weights=y, minlength=clusters)[seen] / members[seen]
    _close(state, seen, truth)
    state["index"][seen] *= np.exp(truth / BP)
    for name, value in (("square_s", truth**2), ("square_w", 1.0)):
        state[name][seen] = (1 - RETURN_ALPHA) * state[name][seen] + RETURN_ALPHA * value


def _close(state: State, seen: Array, truth: Array) -> None:
    told = state["open"][seen] > 0
    rows, y = seen[told], truth[told]
    drop(state)
    if len(rows):
        point, half = state["point"][rows], state["half"][:, rows]
        issued = scores.Issued(point, state["median"][rows], half, sigma_bp(state)[rows])
        state["total"][rows] += np.column_stack(scores.interval_rows(y, issued))
        median.learn(state["experts"], y, point, *_no_grid(len(rows)))
        band.learn(state["band"], rows, band.missed(y - point, half))


def forecast(state: State, point: Array, cluster: Array) -> None:
    """Open a forecast per cluster from its members' point forecasts; ``cluster`` is each member's."""
    clusters = len(state["index"])
    members = np.bincount(cluster, minlength=clusters)
    state["open"] = (members > 0).astype(float)
    state["point"] = np.bincount(cluster, weights=point, minlength=clusters) / np.maximum(members, 1)
    state["median"] = median.forecast(state["experts"], state["point"], *_no_grid(clusters))
    state["half"] = band.half_widths(state["band"], sigma_bp(state))


def _no_grid(count: int) -> tuple[Array, Array]:
    """Return ticks and shares of unchanged intervals of what has no price grid."""
    return np.zeros(count), np.zeros(count)
