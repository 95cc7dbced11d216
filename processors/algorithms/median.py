"""The median rule: the forecast that wins on absolute error.

Most short intervals leave a price unchanged, so the mean return is a bad guess of the median one. 48 small experts turn
the point forecast f into a median: shrunk and thresholded, κ·sign(f)·max(|f| − h·tick, 0), or rounded to whole ticks,
sign(f)·tick·⌊|f|/tick + 1 − θ⌋, each only for stocks that stand still in less than a share of the intervals, elsewhere
0. The one whose gain over the last price is surest plays, if any is sure; else the last price does.
"""

from __future__ import annotations

from itertools import product

import numpy as np

Array = np.ndarray

SHRUNK = tuple(product((0.35, 0.7, 1.0), (0.0, 0.5, 1.0)))  # (κ, h)
ROUNDED = (0.35, 0.5, 0.75)  # θ
STILL_BELOW = np.array([0.15, 0.35, 0.5, 1.0])
RULES = len(SHRUNK) + len(ROUNDED)
EXPERTS = RULES * len(STILL_BELOW)

FORGETTING = 0.999
BLOCK = 5  # intervals whose gains are summed before they count
WARM_UP = 10
CAUTION = 2.0
NOBODY = -1


def experts() -> dict[str, Array]:
    """Return experts that have shown nothing, and nobody playing."""
    return {
        "S": np.zeros(EXPERTS),
        "Q": np.zeros(EXPERTS),
        "block": np.zeros(EXPERTS),
        "seen": np.zeros(1, dtype=int),
        "playing": np.full(1, NOBODY),
    }


def size_of(rule: int, size: Array, tick: Array) -> Array:
    """Return how far one of the 12 rules lets forecasts of a size go, all in bp; the tick may be 0 (no grid known)."""
    if rule < len(SHRUNK):
        shrink, threshold = SHRUNK[rule]
        return shrink * np.maximum(size - threshold * tick, 0.0)
    ticks = np.divide(size, tick, out=np.zeros(len(size)), where=tick > 0)
    return tick * np.floor(ticks + 1 - ROUNDED[rule - len(SHRUNK)])


def forecast(state: dict[str, Array], point: Array, tick: Array, still: Array) -> Array:
    """Return the median forecast in bp, shape (n,), of the expert that plays; 0 where nobody does.

    ``still`` is each stock's share of unchanged intervals.
    """
    playing = int(state["playing"][0])
    if playing == NOBODY:
        return np.zeros(len(point))
    rule, level = divmod(playing, len(STILL_BELOW))
    return np.where(_level(still) <= level, np.sign(point) * size_of(rule, np.abs(point), tick), 0.0)


def _level(still: Array) -> Array:
    """Return the first of STILL_BELOW that a stock is below; the last holds every stock."""
    return sum((still >= share).astype(np.int8) for share in STILL_BELOW[:-1])


def learn(state: dict[str, Array], y: Array, point: Array, tick: Array, still: Array) -> None:
    """Take in an interval's returns and the point forecasts that were made, and choose who plays next."""
    size, along = np.abs(point), y * np.sign(point)
    below = (_level(still)[:, None] <= np.arange(len(STILL_BELOW))).astype(float)
    errors = np.abs(along - np.stack([size_of(rule, size, tick) for rule in range(RULES)]))
    state["block"] += ((np.abs(along) - errors) @ below).ravel()
    state["seen"] += 1
    if state["seen"][0] % BLOCK == 0:
        _close_block(state)


def _close_block(state: dict[str, Array]) -> None:
    for name, value in (("S", state["block"]), ("Q", state["block"] ** 2)):
        state[name] = FORGETTING**BLOCK * state[name] + value
    state["block"] = np.zeros(EXPERTS)
    sure = state["S"] - CAUTION * np.sqrt(state["Q"])
    best = int(np.argmax(sure))
    plays = sure[best] > 0 and state["seen"][0] >= WARM_UP
    state["playing"][0] = best if plays else NOBODY
