"""Clusters on the screen: memberships carried on from snapshot to snapshot, and each cluster's price and index."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple, Protocol

import numpy as np
from pydantic import Field

from processors.algorithms import cluster_price, clustering, features, grouping, memory
from processors.stream.snapshot_view import SnapshotView

Array = np.ndarray
State = dict[str, Any]

SILHOUETTE_EVERY = 10  # snapshots
GROUP_AT_MOST = 1_000  # stocks per snapshot

K = Annotated[int, Field(ge=1, le=32, title="Clusters (K)", json_schema_extra={"live": True})]
Model = Annotated[
    Literal["kmeans", "streaming_kmeans"],
    Field(
        title="Clustering model",
        description="kmeans: one Lloyd step per snapshot; streaming_kmeans: decayed averages as in Spark MLlib",
    ),
]
Features = Annotated[
    Literal["behaviour", "returns", "price"],
    Field(title="Clustering features", description="What makes two stocks alike"),
]
Decay = Annotated[float, Field(ge=0, le=1, title="Decay", description="Weight kept per snapshot (streaming_kmeans)")]
Seed = Annotated[int, Field(ge=0, title="Seed", description="Of the first cluster centres")]


class Chosen(Protocol):
    """The parameters that a clustering reads."""

    k: K
    clustering: Model
    features: Features
    decay: Decay
    seed: Seed


class Wanted(NamedTuple):
    """A clustering to be carried on, its K, and the number of the snapshot by which it counts its refits."""

    group: State
    k: int
    number: int


class Grouped(NamedTuple):
    """The stocks that were looked at, shape (n,), their robust z-scores (n, d), and after a refit the place of the
    cluster that each goes on from."""

    rows: Array
    points: Array
    origin: list[int] | None


def begin(params: Chosen) -> State:
    return {"k": params.k, "groups": grouping.new(), "clusters": cluster_price.new(), "silhouette": None}


def change(state: State, params: Chosen) -> State:
    """Take over a changed K; the clusters are fitted anew with the next snapshot."""
    if params.k != state["k"]:
        state["events"].append({"kind": "k_changed", "from": state["k"], "to": params.k})
        state["k"] = params.k
    return state


def advance(state: State, now: SnapshotView, params: Chosen, beside: tuple[Wanted, ...] = ()) -> Grouped | None:
    """Carry on the clusters on the screen; ``beside`` are clusterings that are carried on with the same stocks. None
    where no stock can be grouped yet."""
    screen, before = state["groups"], list(state["groups"]["ids"])
    wanted = Wanted(screen, params.k, state["snapshots"])
    rows, points = look(state, now, params.features, (wanted, *beside))
    if not len(rows):
        return None
    decay = params.decay if params.clustering == "streaming_kmeans" else None
    origin = grouping.advance(screen, points, rows, *wanted[1:], grouping.Settings(decay, params.seed))
    if origin is not None:
        state["events"] += _events(before, screen["ids"])
        cluster_price.rearrange(state["clusters"], origin)
    if state["silhouette"] is None or wanted.number % SILHOUETTE_EVERY == 0:
        score = clustering.silhouette(points, screen["label"][rows])
        state["silhouette"] = None if score is None else round(score, 4)
    return Grouped(rows, points, origin)


def look(state: State, now: SnapshotView, which: str, wanted: tuple[Wanted, ...]) -> tuple[Array, Array]:
    """Return the stocks whose cluster is looked at now, and their robust z-scores.

    These are all of them, or in a market of thousands, where behaviour changes over hundreds of snapshots, every n-th
    in turn and those without a cluster; all again when clusters are fitted anew.
    """
    stocks = state["stocks"]
    for group, *_ in wanted:
        grouping.leave(group, now.present)
    rows = np.flatnonzero(now.present & _can_be_grouped(stocks, which))
    turns = -(-len(rows) // GROUP_AT_MOST)
    if turns > 1 and not any(grouping.refits(group, k, len(rows), number) for group, k, number in wanted):
        chosen = np.any([group["label"][rows] == clustering.NONE for group, *_ in wanted], axis=0)
        chosen[state["snapshots"] % turns :: turns] = True
        rows = rows[chosen]
    return rows, clustering.robust_z(_clustered_by(stocks, which, rows)) if len(rows) else np.zeros((0, 1))


def move_indices(state: State, now: SnapshotView) -> None:
    """Move each cluster's index by the returns of the members it had."""
    if now.follows:
        label = state["groups"]["label"]
        rows = np.flatnonzero(now.real & ~np.isnan(now["r0"]) & (label != clustering.NONE))
        cluster_price.learn(state["clusters"], now["r0"][rows], label[rows])


def _can_be_grouped(stocks: memory.Stocks, which: str) -> Array:
    return stocks["behaviour_w"] > 0 if which == "behaviour" else ~np.isnan(stocks["log_price"])


def _clustered_by(stocks: memory.Stocks, which: str, rows: Array) -> Array:
    if which == "behaviour":
        return memory.behaviour(stocks, rows)
    if which == "price":
        return stocks["log_price"][rows, None]
    return np.column_stack([trend[rows] for trend in features.trends(stocks)])


def _events(before: list[int], after: list[int]) -> list[dict[str, Any]]:
    ended = [{"kind": "cluster_ended", "cluster": identity} for identity in before if identity not in after]
    return ended + [{"kind": "cluster_began", "cluster": identity} for identity in after if identity not in before]
