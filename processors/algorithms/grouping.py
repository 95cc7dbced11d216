"""A clustering carried on from snapshot to snapshot: memberships, centres, and identities that stay put.

Cluster ids rise and are never used again. A refit matches new clusters to old ones by their members, so that each goes
on as the one it shares most stocks with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from processors.algorithms import clustering
from processors.algorithms.clustering import NONE

Array = np.ndarray
State = dict[str, Any]

REFITS = frozenset({2, 4, 8, 16, 32, 128})  # snapshots after which clusters made of little are fitted anew
SMALLEST = 4  # stocks per cluster, on average


@dataclass(frozen=True)
class Settings:
    """``decay`` None: a Lloyd step per snapshot; else MLlib's decayed averages with that factor."""

    decay: float | None = None
    seed: int = 1


def new() -> State:
    """Return a clustering without clusters."""
    return {
        "label": np.zeros(0, dtype=int),  # per stock: place of its cluster, NONE
        "ids": [],
        "next_id": 1,
        "centres": np.zeros((0, 0)),
        "weights": np.zeros(0),
    }


def grow(state: State, stocks: int) -> None:
    """Make room for ``stocks`` stocks."""
    more = stocks - len(state["label"])
    state["label"] = np.concatenate([state["label"], np.full(more, NONE)])


def refits(state: State, k: int, stocks: int, snapshot: int) -> bool:
    """Say whether the next ``advance`` with as many stocks fits the clusters anew, for which it wants all stocks."""
    return _bounded(k, stocks) != len(state["ids"]) or snapshot in REFITS


def _bounded(k: int, stocks: int) -> int:
    return min(k, stocks // SMALLEST) or 1


def advance(state: State, points: Array, rows: Array, k: int, snapshot: int, settings: Settings) -> list[int] | None:
    """Assign the stocks at ``rows`` anew, from the centres so far, and move the centres.

    ``points`` holds their features; other stocks keep their cluster. ``k`` is bounded by a quarter of the stocks.
    After a refit returns, for each cluster now, the place of the one it goes on from (NONE: a new one); None without.
    """
    origin = None
    if refits(state, k, len(rows), snapshot):
        random = np.random.default_rng([settings.seed, snapshot])
        origin = _refit(state, points, rows, _bounded(k, len(rows)), random)
    labels = clustering.assign(points, state["centres"], state["label"][rows])
    if settings.decay is None:
        state["centres"] = clustering.means(points, labels, state["centres"])
    else:
        state["centres"], state["weights"] = clustering.decayed_update(
            state["centres"], state["weights"], points, labels, settings.decay
        )
    state["label"][rows] = labels
    return origin


def _refit(state: State, points: Array, rows: Array, k: int, random: np.random.Generator) -> list[int]:
    centres, labels = clustering.fit(points, k, random, state["centres"])
    origin = clustering.match(state["label"][rows], labels, len(state["ids"]), k)
    ids = []
    for old in origin:
        ids.append(state["ids"][old] if old != NONE else state["next_id"])
        state["next_id"] += old == NONE
    state["ids"], state["centres"] = ids, centres
    state["weights"] = np.bincount(labels, minlength=k).astype(float)
    state["label"][:] = NONE
    state["label"][rows] = labels
    return origin


def leave(state: State, present: Array) -> None:
    """Take stocks that are gone out of their clusters."""
    state["label"][~present] = NONE
