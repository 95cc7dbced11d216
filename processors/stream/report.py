"""What stream processors say of a snapshot: ``numbers`` (docs/protocol.md) and columns per stock."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from processors.algorithms import scores
from processors.algorithms.clustering import NONE
from processors.algorithms.memory import BP
from processors.contract import Header
from processors.stream.snapshot_view import SnapshotView

Array = np.ndarray
State = dict[str, Any]


# ---- numbers


def numbers(header: Header, **said: Any) -> dict[str, Any]:
    """Return a result's numbers: what the header tells, what is ``said``, and without it no clusters, no scores, no
    events."""
    found = {
        "run": header.run,
        "index": header.index,
        "time": header.time,
        "target_time": header.time + header.interval_ms,
        "session": header.session,
        "trading": header.trading,
        **said,
    }
    for name, nothing in (("clusters", []), ("scores", None), ("events", [])):
        found.setdefault(name, nothing)
    return found


def seen(now: SnapshotView) -> dict[str, int]:
    """Return how many stocks were there, how many had been expected, and how many had news."""
    return {"stocks": len(now.rows), "expected": now.header.expected, "real": int(now.real.sum())}


def scored(state: State) -> dict[str, Any]:
    """Return how good forecasts have been, and how many there were."""
    return {"scores": scores.report(state["predictor"]["score"]), "counts": dict(state["counts"])}


def taken_events(state: State) -> list[dict[str, Any]]:
    """Return what happened since the last result, and forget it."""
    events, state["events"] = state["events"], []
    return events


# ---- clusters


def clusters(state: State, now: SnapshotView) -> list[dict[str, Any]]:
    """Return the clusters in the order of their ids: size, mean price and index, without a prediction."""
    ids, index = state["groups"]["ids"], state["clusters"]["index"]
    place, price = _members(state, now)
    size, mean = np.bincount(place, minlength=len(ids)), _means(place, price, len(ids))
    return [
        {
            "id": ids[k],
            "size": int(size[k]),
            "price": _round(mean[k]) if size[k] else None,
            "index": _round(index[k]),
            "predicted_price": None,
        }
        for k in _by_id(state)
    ]


def predicted_clusters(state: State, now: SnapshotView) -> list[dict[str, Any]]:
    """Return the clusters, with the forecast of each and its bands."""
    held = state["clusters"]
    open_ = (held["open"] > 0) & now.header.trading
    place, price = _members(state, now)
    ahead = price * np.exp(np.where(open_, held["point"], 0.0)[place] / BP)
    mean_ahead = _means(place, ahead, len(open_))
    return [
        {**told, **_predicted(held, k, mean_ahead[k] if open_[k] else None)}
        for told, k in zip(clusters(state, now), _by_id(state), strict=True)
    ]


def _predicted(held: State, k: int, price: float | None) -> dict[str, Any]:
    """Return the forecast of a cluster: all of it None where its price has none."""
    told = price is not None
    point, (half80, half95) = float(held["point"][k]), held["half"][:, k].tolist()
    return {
        "predicted_price": None if price is None else _round(price),
        "predicted_index": _round(held["index"][k] * np.exp(point / BP)) if told else None,
        "predicted_bp": _round(point) if told else None,
        "predicted_median_bp": _round(held["median"][k]) if told else None,
        "band80_bp": [_round(point - half80), _round(point + half80)] if told else None,
        "band95_bp": [_round(point - half95), _round(point + half95)] if told else None,
        "fallback": bool(point == 0.0),
        "score": scores.ratios(held["total"][k]),
    }


def _by_id(state: State) -> list[int]:
    ids = state["groups"]["ids"]
    return sorted(range(len(ids)), key=lambda place: ids[place])


def _members(state: State, now: SnapshotView) -> tuple[Array, Array]:
    """Return the place of the cluster of each stock in one, and its price, shape (n,)."""
    label = state["groups"]["label"]
    member = now.present & (label != NONE)
    return label[member], now["price"][member]


def _means(place: Array, values: Array, count: int) -> Array:
    """Return the mean over each cluster's members, shape (K,); 0 where there is none."""
    return np.bincount(place, weights=values, minlength=count) / np.maximum(np.bincount(place, minlength=count), 1)


# ---- stocks


def stocks(state: State, now: SnapshotView, codes: list[pa.StringArray]) -> dict[str, Any]:
    """Return a row per stock of the snapshot: the id of its cluster (0: none), last price, last return, age."""
    pick = now.pick
    ids = np.array([*state["groups"]["ids"], 0])
    return {
        "code": pa.concat_arrays(codes),
        "cluster": ids[pick(state["groups"]["label"])],
        "price": pick(now["price"]),
        "return_bp": np.where(now.follows, pick(now["r0"]), np.nan),
        "age_s": pick(now["age_s"]),
    }


def predicted_stocks(state: State, now: SnapshotView, codes: list[pa.StringArray]) -> dict[str, Any]:
    """Return the row of each stock with its forecasts, NaN where there is none, and the bands' half-widths around
    ``forecast`` in bp."""
    held, pick, found = state["predictor"], now.pick, stocks(state, now, codes)
    open_ = pick(held["open"]) & now.header.trading
    ahead = np.where(open_, found["price"], np.nan)
    return {
        **found,
        "forecast": _moved(ahead, pick(held["point"])),
        "median": _moved(ahead, pick(held["median"])),
        "band80_bp": pick(held["half"][0]),
        "band95_bp": pick(held["half"][1]),
        "fallback": pick(held["point"]) == 0.0,
    }


def _moved(price: Array, bp: Array) -> Array:
    return price * np.exp(bp / BP)


def _round(value: float) -> float:
    return round(float(value), 8)
