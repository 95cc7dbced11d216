"""Running (prequential) scores against the last price, since the start and over the last intervals."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray

RECENT = 500
# Per interval: squared error, squared error of the last price, absolute error, the same of the last price, forecasts.
_SUMS = 5


def scores(models: int) -> dict[str, Array]:
    """Return empty scores of ``models`` forecasts side by side."""
    return {"total": np.zeros((models, _SUMS)), "ring": np.zeros((RECENT, models, _SUMS)), "at": np.zeros(1, dtype=int)}


def learn(state: dict[str, Array], sums: Array) -> None:
    """Add one interval's sums, shape (models, 5)."""
    state["total"] = state["total"] + sums
    state["ring"][state["at"][0] % RECENT] = sums
    state["at"][0] += 1


def interval_sums(truth: Array, forecast: Array, group: Array, groups: int) -> Array:
    """Return the sums of one interval per group, shape (groups, 5). The last price forecasts a return of 0."""
    error = truth - forecast
    columns = (error**2, truth**2, np.abs(error), np.abs(truth), np.ones(len(truth)))
    return np.column_stack([np.bincount(group, weights=column, minlength=groups) for column in columns])


def ratios(sums: Array) -> dict[str, Any]:
    """Return RMSE and MAE as ratio to those of the last price, None where nothing moved, and the forecasts scored."""
    squared, squared_last, absolute, absolute_last, count = (float(value) for value in sums)
    return {
        "rmse_ratio": round((squared / squared_last) ** 0.5, 6) if squared_last > 0 else None,
        "mae_ratio": round(absolute / absolute_last, 6) if absolute_last > 0 else None,
        "n": int(count),
    }


def report(state: dict[str, Array], model: int) -> dict[str, Any]:
    """Return the scores of one model since the start and over the last 500 intervals."""
    return {
        "since_start": ratios(state["total"][model]),
        "recent": ratios(state["ring"][:, model].sum(axis=0)),
    }


def rearrange(state: dict[str, Array], origin: list[int]) -> dict[str, Array]:
    """Return the scores in a new order; −1 in ``origin`` starts anew."""
    out = scores(len(origin))
    out["at"] = state["at"].copy()
    for new, old in enumerate(origin):
        if old >= 0:
            out["total"][new], out["ring"][:, new] = state["total"][old], state["ring"][:, old]
    return out
