"""Running (prequential) scores of forecasts against the last price: since the start, over the last intervals, with
intervals of confidence.

Per interval and group sums are kept, not ratios, so that they can be added up. The last price forecasts a return of 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from processors.algorithms import band

Array = np.ndarray
Sums = dict[str, Array]

RECENT = 500  # intervals
BLOCKS = 64
FEWEST_BLOCKS = 8
NORMAL_95 = 1.96
SUMS = (
    "n", "squared", "squared_last", "absolute", "absolute_last",
    "calls", "hits",  # forecasts of a move that was followed by one; those with its sign
    "silent",  # forecasts that are the last price
    "moved", "in80", "in95", "in80_moved", "in95_moved",
    "interval", "interval_last",  # interval scores of the 80 % band; of ± 1.28 σ around the last price
)  # fmt: skip


@dataclass(frozen=True)
class Issued:
    """n forecasts as they were issued, in bp: the point, the median, the bands' half-widths (2, n) around the point,
    and σ."""

    point: Array
    median: Array
    half: Array
    sigma: Array


def interval_rows(truth: Array, issued: Issued) -> list[Array]:
    """Return what each forecast adds to SUMS, an array of shape (n,) for each. ``truth`` holds returns in bp."""
    error = truth - issued.point
    moved = truth != 0
    called = moved & (issued.point != 0)
    inside80, inside95 = ~band.missed(error, issued.half)
    columns = {
        "n": np.ones(len(truth)),
        "squared": error**2,
        "squared_last": truth**2,
        "absolute": np.abs(truth - issued.median),
        "absolute_last": np.abs(truth),
        "calls": called,
        "hits": called & (np.sign(issued.point) == np.sign(truth)),
        "silent": issued.point == 0,
        "moved": moved,
        "in80": inside80,
        "in95": inside95,
        "in80_moved": inside80 & moved,
        "in95_moved": inside95 & moved,
        "interval": interval_score(error, issued.half[0]),
        "interval_last": interval_score(truth, band.START[0] * issued.sigma),
    }
    return [columns[name] for name in SUMS]


def interval_sums(truth: Array, issued: Issued) -> Array:
    """Return the sums of one interval, shape (len(SUMS),)."""
    return np.array([_sum(values) for values in interval_rows(truth, issued)])


def _sum(values: Array) -> float:
    return float(np.count_nonzero(values) if values.dtype == bool else values.sum())


def interval_score(error: Array, half: Array, miss: float = band.MISSES[0]) -> Array:
    """Return width plus 2/α per bp outside, the proper score of a central band (Gneiting and Raftery 2007)."""
    return 2 * half + 2 / miss * np.maximum(np.abs(error) - half, 0.0)


def scores() -> dict[str, Array]:
    """Return the scores of forecasts none of which has met its truth."""
    return {
        "total": np.zeros(len(SUMS)),
        "ring": np.zeros((RECENT, len(SUMS))),
        "seen": np.zeros(1, dtype=int),
        "blocks": np.zeros((BLOCKS, len(SUMS))),
        "filled": np.zeros(1, dtype=int),
        "length": np.ones(1, dtype=int),  # intervals in a block
    }


def learn(state: dict[str, Array], sums: Array) -> None:
    """Add one interval's sums, shape (len(SUMS),)."""
    state["total"] = state["total"] + sums
    state["ring"][state["seen"][0] % RECENT] = sums
    block, state["seen"] = int(state["filled"][0]), state["seen"] + 1
    state["blocks"][block] += sums
    if state["seen"][0] % state["length"][0] == 0:
        state["filled"] = state["filled"] + 1
    if state["filled"][0] == BLOCKS:  # two neighbours become one, and blocks are twice as long from now on
        state["blocks"][: BLOCKS // 2] = state["blocks"][0::2] + state["blocks"][1::2]
        state["blocks"][BLOCKS // 2 :] = 0.0
        state["filled"], state["length"] = state["filled"] // 2, state["length"] * 2


def ratios(sums: Array) -> dict[str, Any]:
    """Return what sums say: errors as ratio to the last price's, None where nothing moved, and the forecasts scored."""
    of = dict(zip(SUMS, map(float, sums), strict=True))
    return {
        "rmse_ratio": _ratio(of["squared"], of["squared_last"], 0.5),
        "mae_ratio": _ratio(of["absolute"], of["absolute_last"]),
        "n": int(of["n"]),
    }


def report(state: dict[str, Array]) -> dict[str, Any]:
    """Return the scores since the start, with 95 % intervals, and over the last 500 intervals."""
    whole = _details(state["total"])
    blocks = state["blocks"][: state["filled"][0]]
    whole["rmse_interval"] = _confidence(blocks, "squared", "squared_last", 0.5)
    whole["mae_interval"] = _confidence(blocks, "absolute", "absolute_last")
    return {"since_start": whole, "recent": _details(state["ring"].sum(axis=0))}


def _details(sums: Array) -> dict[str, Any]:
    of = dict(zip(SUMS, map(float, sums), strict=True))
    return {
        **ratios(sums),
        "hit_rate": _ratio(of["hits"], of["calls"]),
        "silent_share": _ratio(of["silent"], of["n"]),
        "band80": {"coverage": _ratio(of["in80"], of["n"]), "coverage_moved": _ratio(of["in80_moved"], of["moved"])},
        "band95": {"coverage": _ratio(of["in95"], of["n"]), "coverage_moved": _ratio(of["in95_moved"], of["moved"])},
        "interval_score_ratio": _ratio(of["interval"], of["interval_last"]),
    }


def _ratio(value: float, reference: float, power: float = 1.0) -> float | None:
    return round((value / reference) ** power, 6) if reference > 0 else None


def _confidence(blocks: Array, value: str, reference: str, power: float = 1.0) -> list[float] | None:
    """Return a 95 % interval of a ratio by leaving out one block of intervals at a time (block jackknife; Künsch
    1989), None while there are too few blocks to tell."""
    above, below = blocks[:, SUMS.index(value)], blocks[:, SUMS.index(reference)]
    if len(blocks) < FEWEST_BLOCKS or not (below.sum() - below > 0).all():
        return None
    estimate = (above.sum() / below.sum()) ** power
    without = ((above.sum() - above) / (below.sum() - below)) ** power
    count = len(blocks)
    error = ((count - 1) / count * ((without - without.mean()) ** 2).sum()) ** 0.5
    return [round(float(estimate + side * NORMAL_95 * error), 6) for side in (-1, 1)]
