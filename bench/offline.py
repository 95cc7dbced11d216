"""Heavy models trained offline on the first part of a recording and compared on the rest: what a live model could know
at best, with the same features."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.linear_model import Ridge

Array = np.ndarray

TRAIN_SHARE = 0.6
MOST_ROWS = 2_000_000
CLIP_SIGMA = 8.0


class Rows:
    """Features and truths of the forecasts of one processor, with the interval that each belongs to."""

    def __init__(self) -> None:
        self._x: list[Array] = []
        self._y: list[Array] = []
        self._sigma: list[Array] = []
        self._interval: list[Array] = []
        self._count = 0

    def add(self, x: Array, y: Array, sigma: Array, interval: int) -> None:
        """Add n rows: x (n, F) in bp, y and σ (n,) in bp. What no longer fits into memory is left out."""
        if self._count < MOST_ROWS:
            self._x.append(x.astype(np.float32))
            self._y.append(y)
            self._sigma.append(sigma)
            self._interval.append(np.full(len(y), interval))
            self._count += len(y)

    def ratios(self, intervals: int) -> dict[str, float | None]:
        """Return the RMSE ratio to the last price of each model on the intervals after the first 60 %; None where a
        model's package can't be loaded."""
        if not self._count:
            return {}
        x, y, sigma, interval = (np.concatenate(part) for part in (self._x, self._y, self._sigma, self._interval))
        training = interval < TRAIN_SHARE * intervals
        if not training.any() or training.all():
            return {}
        scaled = x / sigma[:, None]
        target = np.clip(y / sigma, -CLIP_SIGMA, CLIP_SIGMA)
        found: dict[str, float | None] = {}
        for name, fit in (("linear", _linear), ("lightgbm", _lightgbm)):
            model = fit(scaled[training], target[training], sigma[training])
            if model is None:
                found[name] = None
                continue
            forecast = model.predict(scaled[~training]) * sigma[~training]
            rest = y[~training]
            found[name] = float(np.sqrt(((rest - forecast) ** 2).sum() / (rest**2).sum()))
        return found


def _linear(x: Array, y: Array, sigma: Array) -> Any:
    return Ridge(alpha=300.0).fit(x, y, sample_weight=sigma)


def _lightgbm(x: Array, y: Array, sigma: Array) -> Any:
    try:
        from lightgbm import LGBMRegressor
    except OSError:  # its wheel needs the system's OpenMP
        return None
    settings = {"n_estimators": 300, "learning_rate": 0.03, "num_leaves": 31, "min_child_samples": 200, "verbose": -1}
    model = LGBMRegressor(**settings, subsample=0.8, subsample_freq=1, reg_lambda=10.0, n_jobs=2, random_state=1)
    return model.fit(x, y, sample_weight=sigma)
