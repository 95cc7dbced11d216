"""One snapshot as a fold sees it: on the rows of a state that remembers every stock it ever saw."""

from __future__ import annotations

from itertools import islice, pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from processors.algorithms.memory import BP
from processors.alignment import places
from processors.contract import Columns, Header, Window

Array = np.ndarray


def mark(header: Header) -> dict[str, Any]:
    """Return what is remembered of a snapshot to tell whether another follows it."""
    return {"run": header.run, "session": header.session, "time": header.time}


def follows(last: dict[str, Any] | None, newer: Header) -> bool:
    """Say whether a return from one snapshot to the other is one interval of one trading session."""
    if last is None or (last["run"], last["session"]) != (newer.run, newer.session):
        return False
    return newer.trading and newer.time - last["time"] == newer.interval_ms


def lagged_returns_bp(window: Window) -> Array:
    """Return log returns in bp, newest first, shape (W' − 1, n); NaN where one would cross a session's end, a hole in
    the grid or a stock's absence."""
    price = window.columns["price"]
    returns = np.log(price[1:] / price[:-1])[::-1] * BP
    newest_first = window.headers[::-1]
    joined = [follows(mark(older), newer) for newer, older in pairwise(newest_first)]
    returns[~np.logical_and.accumulate(np.array(joined, dtype=bool))] = np.nan
    return returns


class SnapshotView:
    """One snapshot's columns on the rows of the state, shape (N,), NaN for stocks that are not in it."""

    def __init__(self, header: Header, columns: Columns, rows: Array, count: int, last: dict[str, Any] | None):
        self.header, self.rows, self.count = header, rows, count
        self.follows = follows(last, header)
        self._columns = columns
        self._spread: Columns = {}
        self._whole = len(rows) == count and bool((rows == np.arange(count)).all())
        self.present = np.zeros(count, dtype=bool)
        self.present[rows] = True
        self.real = self.present & (self["age_s"] == 0)

    def __contains__(self, name: str) -> bool:
        return name in self._columns

    def __getitem__(self, name: str) -> Array:
        """Return a column; not to be changed."""
        values = self._columns[name]
        if not (self._whole or name in self._spread):
            out = np.full(self.count, np.nan)
            out[self.rows] = values
            self._spread[name] = out
        return values if self._whole else self._spread[name]

    def pick(self, values: Array) -> Array:
        """Return what an array over all stocks of the state says of the snapshot's, in its order; not to be changed."""
        return values if self._whole else values[self.rows]

    def get(self, name: str) -> Array:
        """Return a column, zeros where the feed or the window has none."""
        return self[name] if name in self else np.zeros(self.count)


class Places:
    """Where the stocks of a snapshot stand in the state. A slice's codes are nearly always those of the snapshot
    before, but for a few: what is kept here spares looking 100,000 of them up, and says nothing that the state does
    not say."""

    def __init__(self) -> None:
        self._known: pa.StringArray | None = None
        self._numbers: dict[str, int] = {}
        self._slices: list[tuple[pa.StringArray, Array]] = []
        self._rows = np.zeros(0, dtype=np.int64)

    def of(self, known: pa.StringArray, codes: list[pa.StringArray]) -> tuple[pa.StringArray, Array]:
        """Return the state's codes, with new ones at their end, and the place of each of the snapshot's codes."""
        if known is not self._known:
            self._numbers = {code: number for number, code in enumerate(known.to_pylist())}
            self._slices = []
        before = [*self._slices, *[(known[:0], self._rows[:0])] * len(codes)]
        slices = [(part, self._look_up(part, *held)) for part, held in zip(codes, before, strict=False)]
        if len(self._numbers) > len(known):
            known = pa.concat_arrays([known, pa.array(islice(self._numbers, len(known), None), pa.string())])
        self._rows = np.concatenate([rows for _, rows in slices]) if slices else self._rows[:0]
        self._known, self._slices = known, slices
        return known, self._rows

    def _look_up(self, codes: pa.StringArray, before: pa.StringArray, rows: Array) -> Array:
        """Return the places of a slice's codes, by those that it had before; give new codes their place."""
        at = places(codes, before)
        if at is None:
            return rows
        found = rows[at] if len(rows) else np.zeros(len(codes), dtype=np.int64)
        others = np.flatnonzero(at < 0)
        for place, code in zip(others, codes.take(pa.array(others)).to_pylist(), strict=True):
            found[place] = self._numbers.setdefault(code, len(self._numbers))
        return found
