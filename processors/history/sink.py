"""What stands between a stream task and the history: snapshots are gathered and written together."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from processors.contract import Columns, Header, NotTaken, Result
from processors.history.results import KeptResult, ResultArchive
from processors.history.rows import kept
from processors.history.store import History, Kept, Unavailable
from processors.snapshot import FeedSpec

GATHER_S = 60.0
GATHER_BYTES = 32 * 2**20
GATHER_STOCKS = 300_000


class HistorySink:
    """Writes to the history once a minute, or when enough has been gathered (a ``processors.contract.Sink``).

    ``progress`` is told ``stored`` (snapshots new to the history), ``already`` (there already, by their time)
    and ``gathered`` (not written yet).
    """

    def __init__(
        self,
        history: History,
        spec: FeedSpec,
        progress: Callable[..., None],
        gather_s: float = GATHER_S,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.history, self.spec, self.gather_s = history, spec, gather_s
        self._progress, self._clock = progress, clock
        self._gathered: list[Kept] = []
        self._bytes = 0
        self._since = clock()
        self._described = False
        self.told = {"stored": 0, "already": 0, "gathered": 0}

    def take(self, header: Header, codes: list[pa.StringArray], columns: Columns, result: Result | None = None) -> None:
        if not self._gathered:
            self._since = self._clock()
        part: dict[str, Any] = {"code": pa.concat_arrays(codes) if codes else pa.array([], pa.string()), **columns}
        snapshot = kept(header, [part])
        self._gathered.append(snapshot)
        self._bytes += snapshot.rows.nbytes + 500
        self.told["gathered"] = len(self._gathered)
        self._progress(**self.told)

    def due(self) -> bool:
        if not self._gathered:
            return False
        # Well below half of the bus, or a feed that waits for its readers would wait for the clock.
        enough = min(GATHER_BYTES, self.spec.max_bytes // 4)
        return self._clock() - self._since >= self.gather_s or self._bytes >= enough

    def flush(self) -> None:
        if not self._gathered:
            return
        try:
            if not self._described:
                self.history.describe(self.spec)
                self._described = True
            new = self.history.append(self.spec.name, self._gathered)
        except Unavailable as error:
            raise NotTaken(str(error)) from error
        self.told["stored"] += new
        self.told["already"] += len(self._gathered) - new
        self._gathered, self._bytes = [], 0
        self.told["gathered"] = 0
        self._progress(**self.told)


class ResultSink:
    """Writes the results of a task that keeps them to the archive, as ``HistorySink`` does with snapshots."""

    def __init__(
        self,
        archive: ResultArchive,
        task: int,
        progress: Callable[..., None],
        gather_s: float = GATHER_S,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.archive, self.task, self.gather_s = archive, task, gather_s
        self._progress, self._clock = progress, clock
        self._gathered: list[KeptResult] = []
        self._stocks = 0
        self._since = clock()
        self.kept = 0

    def take(self, header: Header, codes: list[pa.StringArray], columns: Columns, result: Result) -> None:
        if not self._gathered:
            self._since = self._clock()
        stocks = {name: _copied(values) for name, values in result.stocks.items()}
        self._gathered.append(KeptResult(header.time, header.seq, result.numbers, stocks))
        self._stocks += len(next(iter(stocks.values()), ()))

    def due(self) -> bool:
        enough = self._stocks >= GATHER_STOCKS
        return bool(self._gathered) and (enough or self._clock() - self._since >= self.gather_s)

    def flush(self) -> None:
        if not self._gathered:
            return
        try:
            self.kept += self.archive.append(self.task, self._gathered)
        except Unavailable as error:
            raise NotTaken(str(error)) from error
        self._gathered, self._stocks = [], 0
        self._progress(kept=self.kept)


def _copied(values: Any) -> Any:
    """Return what the processor's next step can't change."""
    return values.copy() if isinstance(values, np.ndarray) else values
