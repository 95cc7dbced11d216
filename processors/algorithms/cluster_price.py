"""Each cluster's chain-linked index and the forecast of its next return.

A cluster's return is the equal-weight mean log return of the members it had, so that a stock that changes cluster moves
no index. Its forecast is the mean of its members' forecasts plus a small regression on the cluster's last return, its
trend and the market's last return: one for all clusters, rows weighted by 1 over the variance of the cluster's return,
behind a guard. Arrays of shape (K,), returns in bp.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from processors.algorithms import band, guard, regression, scores
from processors.algorithms.memory import BP, FAST_ALPHA, RETURN_ALPHA, shrunk_sigma

Array = np.ndarray
State = dict[str, Any]

FEATURES = 3
FORGETTING = 0.997
PRIOR_INTERVALS = 20.0
BEGIN = 100.0
_PER_CLUSTER = ("index", "last", "trend", "square_s", "square_w", "open", "base", "raw", "point")


def new() -> State:
    """Return the state of a market without clusters."""
    return {
        **{name: np.zeros(0) for name in _PER_CLUSTER},
        "half": np.zeros((band.LEVELS, 0)),
        "z": np.zeros((FEATURES, 0)),
        "band": band.band(0),
        "total": np.zeros((0, len(scores.SUMS))),
        "sums": regression.least_squares(1, FEATURES),
        "w": np.zeros(FEATURES),
        "guard": guard.guard(1),
    }


def rearrange(state: State, origin: list[int]) -> None:
    """Follow a refit of the clusters; ``origin`` names the old place of each, −1 for one that begins."""
    taken = np.array([max(old, 0) for old in origin], dtype=int)
    begins = np.array([old < 0 for old in origin])

    def move(values: Array, fill: float) -> Array:
        held = values[..., taken] if values.shape[-1] else np.zeros((*values.shape[:-1], len(origin)))
        return np.where(begins, fill, held)

    for name in _PER_CLUSTER:
        state[name] = move(state[name], BEGIN if name == "index" else 0.0)
    state["half"], state["z"] = move(state["half"], 0.0), move(state["z"], 0.0)
    state["band"]["log_k"] = move(state["band"]["log_k"], 0.0)
    state["total"] = move(state["total"].T, 0.0).T


def start_session(state: State) -> None:
    """Forget what must not cross a session's end, open forecasts included."""
    for name in ("last", "trend", "open"):
        state[name] = np.zeros_like(state[name])


def sigma_bp(state: State) -> Array:
    """Return each cluster's volatility per interval in bp, shrunk towards the mean of all; 1 before any return."""
    return shrunk_sigma(state["square_s"], state["square_w"])


def learn(state: State, y: Array, cluster: Array) -> None:
    """Take in the returns of stocks that had a forecast, and the cluster that each had: score, learn, go on."""
    clusters = len(state["index"])
    members = np.bincount(cluster, minlength=clusters)
    seen = np.flatnonzero(members)
    truth = np.bincount(cluster, weights=y, minlength=clusters)[seen] / members[seen]
    _close(state, seen, truth)
    state["index"][seen] *= np.exp(truth / BP)
    state["last"][seen] = truth
    # The trend is log index − EMA: it grows by the return, and keeps 1 − α of what it was.
    state["trend"][seen] = (1 - FAST_ALPHA) * (state["trend"][seen] + truth)
    for name, value in (("square_s", truth**2), ("square_w", 1.0)):
        state[name][seen] = (1 - RETURN_ALPHA) * state[name][seen] + RETURN_ALPHA * value


def _close(state: State, seen: Array, truth: Array) -> None:
    """Score the open forecasts of the clusters that have a return, then learn from them."""
    told = state["open"][seen] > 0
    rows, y = seen[told], truth[told]
    state["open"] = np.zeros_like(state["open"])
    if not len(rows):
        return
    sigma = sigma_bp(state)[rows]
    issued = scores.Issued(state["point"][rows], state["point"][rows], state["half"][:, rows], sigma)
    state["total"][rows] += np.column_stack(scores.interval_rows(y, issued))
    residual, raw, weight = y - state["base"][rows], state["raw"][rows], 1.0 / sigma**2
    guard.learn(state["guard"], *(np.array([(weight * raw) @ each]) for each in (residual, raw)))
    more = regression.moments(state["z"][:, rows], residual, weight, np.array([0, len(rows)]))
    regression.add(state["sums"], more, FORGETTING)
    state["w"] = regression.ridge(state["sums"], PRIOR_INTERVALS * len(rows))[0]
    band.learn(state["band"], rows, band.missed(y - issued.point, issued.half))


def forecast(state: State, point: Array, cluster: Array, market_return: float) -> None:
    """Open a forecast per cluster from its members' point forecasts; ``cluster`` is each member's."""
    clusters = len(state["index"])
    members = np.bincount(cluster, minlength=clusters)
    base = np.bincount(cluster, weights=point, minlength=clusters) / np.maximum(members, 1)
    z = np.stack([state["last"], state["trend"], np.full(clusters, market_return)])
    raw = state["w"] @ z
    state.update(
        open=(members > 0).astype(float),
        base=base,
        z=z,
        raw=raw,
        point=base + state["guard"]["scale"][0] * raw,
        half=band.half_widths(state["band"], sigma_bp(state)),
    )
