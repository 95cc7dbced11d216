"""A stream processor over recorded snapshots, without Spark and without Redis, and its forecasts scored from outside.

The fold is the one that runs live. The scores are not those that the processor tells of itself: they are made here
from the forecasts in its results and the prices that came after.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from processors.algorithms import scores
from processors.algorithms.memory import BP
from processors.alignment import places
from processors.contract import Header, Result
from processors.slices import Delivery, align
from processors.stream.snapshot_view import follows, mark
from processors.streaming import Fold

Array = np.ndarray
Snapshot = tuple[Header, list[pa.RecordBatch]]


class Offline:
    """A fold fed with snapshots one after the other; slices are mapped here as the executors would."""

    def __init__(self, fold: Fold):
        self.fold = fold
        self._window: deque[Snapshot] = deque(maxlen=fold.processor.window(fold.params))

    def take(self, header: Header, slices: list[pa.RecordBatch]) -> Result:
        self._window.append((header, slices))
        return self.fold.step(header, [self._deliver(number) for number in range(header.slices)])

    def _deliver(self, number: int) -> Delivery:
        view = align([header for header, _ in self._window], [slices[number] for _, slices in self._window])
        columns = self.fold.processor.map_slice(view, self.fold.params)
        return Delivery(view.headers[-1], number, False, 0, view.codes, columns)


@dataclass
class Scorer:
    """Scores the forecasts per stock of one processor, interval by interval: test, then learn.

    ``sums`` holds a row of scores.SUMS per scored interval; only stocks with a real row at the truth's time count, and
    none across a session's end or a hole. σ is unknown here: ``interval_last`` stays 0.
    """

    sums: list[Array] = field(default_factory=list)
    indices: list[int] = field(default_factory=list)  # of the snapshot that brought the truth
    _open: tuple[Header, Result] | None = None

    def take(self, header: Header, result: Result) -> None:
        """Score what was forecast of this snapshot, then keep what it forecasts."""
        if self._open is not None and follows(mark(self._open[0]), header):
            self._score(self._open[1].stocks, result.stocks, header.index)
        self._open = (header, result) if result.stocks else None

    def _score(self, before: dict, now: dict, index: int) -> None:
        rows = places(now["code"], before["code"])
        rows = np.arange(len(now["code"])) if rows is None else rows
        there = (rows >= 0) & (now["age_s"] == 0)
        at = rows[there]
        forecast = before["forecast"][at]
        told = ~np.isnan(forecast)
        at, last = at[told], before["price"][at[told]]
        if not len(at):
            return
        truth = np.log(now["price"][there][told] / last) * BP
        truth[np.abs(truth) < 1e-9] = 0.0
        point, median = (np.log(before[name][at] / last) * BP for name in ("forecast", "median"))
        point[np.abs(point) < 1e-9] = 0.0
        half = np.stack([before["band80_bp"][at], before["band95_bp"][at]])
        self.sums.append(scores.interval_sums(truth, scores.Issued(point, median, half, np.zeros(len(at)))))
        self.indices.append(index)

    def table(self) -> Array:
        """Return the sums per interval, shape (T, len(SUMS))."""
        return np.array(self.sums).reshape(-1, len(scores.SUMS))
