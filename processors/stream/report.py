"""What the cluster regression says of a snapshot: ``numbers`` (docs/protocol.md) and columns per stock."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from processors.algorithms import scores
from processors.algorithms.clustering import NONE
from processors.algorithms.memory import BP
from processors.contract import Header, Params
from processors.stream.snapshot_view import SnapshotView

Array = np.ndarray
State = dict[str, Any]


def head(header: Header) -> dict[str, Any]:
    """Return what every stream processor's numbers begin with."""
    return {
        "run": header.run,
        "index": header.index,
        "time": header.time,
        "target_time": header.time + header.interval_ms,
        "session": header.session,
        "trading": header.trading,
    }


def numbers(state: State, now: SnapshotView, params: Params) -> dict[str, Any]:
    events, state["events"] = state["events"], []
    return {
        **head(now.header),
        "feature_set": params.features,  # type: ignore[attr-defined]
        "regression": params.regression,  # type: ignore[attr-defined]
        "silhouette": state["silhouette"],
        "k": state["k"],
        "stocks": len(now.rows),
        "expected": now.header.expected,
        "real": int(now.real.sum()),
        "clusters": clusters(state, now),
        "scores": scores.report(state["predictor"]["score"]),
        "counts": dict(state["counts"]),
        "events": events,
    }


def clusters(state: State, now: SnapshotView) -> list[dict[str, Any]]:
    """Return the clusters in the order of their ids: mean price and index, with the forecast of each and its bands."""
    label, ids, held = state["groups"]["label"], state["groups"]["ids"], state["clusters"]
    count = len(ids)
    member = now.present & (label != NONE)
    place, price = label[member], now["price"][member]
    open_ = (held["open"] > 0) & now.header.trading
    ahead = price * np.exp(np.where(open_, held["point"], 0.0)[place] / BP)
    size = np.bincount(place, minlength=count)
    mean = np.bincount(place, weights=price, minlength=count) / np.maximum(size, 1)
    mean_ahead = np.bincount(place, weights=ahead, minlength=count) / np.maximum(size, 1)
    found = []
    for k in sorted(range(count), key=lambda place: ids[place]):
        told = bool(open_[k])
        point, (half80, half95) = float(held["point"][k]), held["half"][:, k].tolist()
        found.append(
            {
                "id": ids[k],
                "size": int(size[k]),
                "price": _round(mean[k]) if size[k] else None,
                "index": _round(held["index"][k]),
                "predicted_price": _round(mean_ahead[k]) if told else None,
                "predicted_index": _round(held["index"][k] * np.exp(point / BP)) if told else None,
                "predicted_bp": _round(point) if told else None,
                "predicted_median_bp": _round(held["median"][k]) if told else None,
                "band80_bp": [_round(point - half80), _round(point + half80)] if told else None,
                "band95_bp": [_round(point - half95), _round(point + half95)] if told else None,
                "fallback": bool(point == 0.0),
                "score": scores.ratios(held["total"][k]),
            }
        )
    return found


def stock_columns(state: State, now: SnapshotView, codes: list[pa.StringArray]) -> dict[str, Any]:
    """Return a row per stock of the snapshot: last price, its forecasts, NaN where there is none, and the bands'
    half-widths around ``forecast`` in bp."""
    held, pick = state["predictor"], now.pick
    open_ = pick(held["open"]) & now.header.trading
    ids = np.array([*state["groups"]["ids"], 0])
    price = pick(now["price"])
    ahead = np.where(open_, price, np.nan)
    return {
        "code": pa.concat_arrays(codes),
        "cluster": ids[pick(state["groups"]["label"])],
        "price": price,
        "forecast": _moved(ahead, pick(held["point"])),
        "median": _moved(ahead, pick(held["median"])),
        "band80_bp": pick(held["half"][0]),
        "band95_bp": pick(held["half"][1]),
        "return_bp": np.where(now.follows, pick(now["r0"]), np.nan),
        "age_s": pick(now["age_s"]),
        "fallback": pick(held["point"]) == 0.0,
    }


def _moved(price: Array, bp: Array) -> Array:
    return price * np.exp(bp / BP)


def _round(value: float) -> float:
    return round(float(value), 8)
