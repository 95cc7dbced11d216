"""A market followed stock by stock: what the processors that remember each stock have in common.

The executors compute what needs the window only: lagged returns, and what quotes say. The driver remembers what lasts.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import pyarrow as pa

from processors.algorithms import memory
from processors.contract import Columns, FeedSpec, Header, Result, StreamProcessor, Window
from processors.stream.snapshot_view import Places, SnapshotView, lagged_returns_bp, mark

State = dict[str, Any]


class MarketProcessor(StreamProcessor[State]):
    """Base of a processor that says what it remembers beside the stocks (``begin``, ``grow``), what it does with each
    snapshot (``look_back``, then, while there is trading, ``look_ahead``), and what is shown of it (``tell``)."""

    def __init__(self) -> None:
        self._places = Places()

    @abstractmethod
    def begin(self, params: Any, trade_sign: bool) -> State:
        """Return what is remembered before the first snapshot. ``trade_sign``: what the feed's ``type`` means."""

    @abstractmethod
    def grow(self, state: State, count: int) -> None:
        """Make room for ``count`` stocks."""

    @abstractmethod
    def look_back(self, state: State, now: SnapshotView, params: Any) -> None:
        """Let what was said of the stocks before meet its truth; their memory is still that of the last snapshot."""

    @abstractmethod
    def look_ahead(self, state: State, now: SnapshotView, params: Any) -> None:
        """Learn from the memory of the stocks, in which the snapshot is, and say what comes next."""

    @abstractmethod
    def tell(self, state: State, now: SnapshotView, codes: list[pa.StringArray], params: Any) -> Result:
        """Return the result of the snapshot."""

    def map_slice(self, window: Window, params: Any) -> Columns:
        columns = {name: window.newest[name] for name in ("price", "volume", "amount", "age_s")}
        lags = lagged_returns_bp(window)
        missing = np.full(len(window.codes), np.nan)
        for lag in range(self.window(params) - 1):
            columns[f"r{lag}"] = lags[lag] if lag < len(lags) else missing
        return columns

    def init(self, params: Any, spec: FeedSpec) -> State:
        return self._begin(params, spec.type_meaning == "trade_sign")

    def step(
        self, state: State, header: Header, codes: list[pa.StringArray], columns: Columns, params: Any
    ) -> tuple[State, Result]:
        if state["last"] and state["last"]["run"] != header.run:
            # What was learned of a recording would be knowledge of the future in its next run.
            state = self._begin(params, state["trade_sign"])
            state["events"].append({"kind": "run_began", "run": header.run})
        state["snapshots"] += 1
        state["codes"], rows = self._places.of(state["codes"], codes)
        count = len(state["codes"])
        if count > len(state["stocks"]["price"]):
            memory.grow(state["stocks"], count)
            self.grow(state, count)
        now = SnapshotView(header, columns, rows, count, state["last"])
        self.look_back(state, now, params)
        if not now.follows:
            memory.start_session(state["stocks"])
        if header.trading:
            returns = now["r0"] if now.follows else np.full(now.count, np.nan)
            memory.advance(state["stocks"], now.real, now["price"], returns, now["volume"], now["amount"])
            self.look_ahead(state, now, params)
        state["last"] = mark(header)
        return state, self.tell(state, now, codes, params)

    def _begin(self, params: Any, trade_sign: bool) -> State:
        return {
            "trade_sign": trade_sign,
            "codes": pa.array([], pa.string()),
            "stocks": memory.empty(),
            "snapshots": 0,
            "last": None,
            "events": [],
            **self.begin(params, trade_sign),
        }
