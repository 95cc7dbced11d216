"""The gate of each stock: closed while forecasts have cost that stock more than chance would.

With G an interval's gain in squared error over the last price, S and Q forgetting sums of G and G²: closed while
S < −√Q. It looks at the forecast as it was before the gate, or it would never open again.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray

FORGETTING = 0.997


def gate(stocks: int) -> dict[str, Array]:
    """Return open gates."""
    return {"S": np.zeros(stocks), "Q": np.zeros(stocks)}


def is_open(state: dict[str, Array]) -> Array:
    """Say of each stock whether its forecast stands, shape (N,)."""
    return state["S"] >= -np.sqrt(state["Q"])


def learn(state: dict[str, Array], rows: Array, y: Array, forecast: Array) -> None:
    """Take in an interval: returns and ungated forecasts, in bp, of the stocks at ``rows``."""
    gain = y * y - (y - forecast) ** 2
    for name, value in (("S", gain), ("Q", gain * gain)):
        state[name][rows] = FORGETTING * state[name][rows] + value
