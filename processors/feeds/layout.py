"""The last known row of every stock, and how a snapshot's slices are laid out from it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from processors.contract import QUOTE_FIELDS, QUOTE_SCHEMA, SNAPSHOT_SCHEMA, Columns, FeedSpec
from processors.feeds.codebook import Codebook

_UNSEEN = np.iinfo(np.int64).min // 2
_KEPT = ("price", *QUOTE_FIELDS)


class Layout:
    """State per code number, arrays that grow with the codebook. ``quotes`` is settled by the first snapshot.

    Within a slice stocks stand in the order of their codes: whatever was seen of them before, the same stocks give the
    same slice, so that a history of the snapshots gives the same bytes again.
    """

    def __init__(self, spec: FeedSpec, codebook: Codebook) -> None:
        self.spec, self.codebook = spec, codebook
        self.quotes: bool | None = None
        self._time = np.empty(0, dtype=np.int64)
        self._kept = {name: np.empty(0) for name in _KEPT}
        self._latest = _UNSEEN
        # a real row is shown, however long the interval is
        self._carry_ms = max(spec.carry_limit_s * 1000, spec.interval_ms - 1)
        self._shown = np.empty(0, dtype=bool)
        self._members: list[tuple[np.ndarray, pa.StringArray]] = []
        self._order = np.empty(0, dtype=np.int64)  # code numbers in the order of their texts

    def any_fresh(self, end: int) -> bool:
        """True if any stock's last row is young enough to be shown at ``end``."""
        return end - self._latest <= self._carry_ms

    def restore(self, rows: Columns) -> None:
        """Begin with these rows as the last known ones: those of a snapshot, carried ones with their own time."""
        self.quotes = "bid" in rows
        self._grow()
        self._remember(rows)

    def snapshot(self, end: int, rows: Columns, change: np.ndarray | None = None) -> tuple[list[pa.RecordBatch], int]:
        """Return the slices after one real row per code of ``rows``, and the number of stocks in them.

        ``change`` against the snapshot before, per row, is worked out unless it is known.
        """
        self._grow()
        code = rows["code"]
        news = {name: np.zeros(len(self._time)) for name in ("change", "volume", "amount")}
        kind = np.zeros(len(self._time), dtype=np.int8)
        before = self._kept["price"][code]
        if change is None:
            change = np.round(np.where(np.isnan(before), 0.0, rows["price"] - before), 8)
        news["change"][code] = change
        news["volume"][code], news["amount"][code], kind[code] = rows["volume"], rows["amount"], rows["type"]
        self._remember(rows)
        age_ms = end - self._time
        age_s = (age_ms / 1000).astype(np.float32)
        age_s[code] = 0.0
        self._show(age_ms <= self._carry_ms)
        columns: Columns = {
            "time": self._time,
            "age_s": age_s,
            "price": self._kept["price"],
            **news,
            "type": kind,
            **self._kept,
        }
        return [self._batch(columns, *member) for member in self._members], int(self._shown.sum())

    def _remember(self, rows: Columns) -> None:
        code = rows["code"]
        self._time[code] = rows["time"]
        for name in _KEPT if self.quotes else _KEPT[:1]:
            self._kept[name][code] = rows[name]
        if len(code):
            self._latest = max(self._latest, int(rows["time"].max()))

    def _grow(self) -> None:
        more = len(self.codebook) - len(self._time)
        if more > 0:
            self._time = np.append(self._time, np.full(more, _UNSEEN))
            self._kept = {name: np.append(values, np.full(more, np.nan)) for name, values in self._kept.items()}
            self._order = np.array(sorted(range(len(self.codebook)), key=self.codebook.codes.__getitem__))

    def _show(self, shown: np.ndarray) -> None:
        """Lay out the slices anew when other stocks are to be shown than before."""
        if len(shown) == len(self._shown) and np.array_equal(shown, self._shown) and self._members:
            return
        self._shown, self._members = shown, []
        ordered = self._order[shown[self._order]]
        for number in range(self.spec.slices):
            members = ordered[self.codebook.slices[ordered] == number]
            self._members.append((members, self.codebook.texts(members)))

    def _batch(self, columns: Columns, members: np.ndarray, codes: pa.StringArray) -> pa.RecordBatch:
        schema = QUOTE_SCHEMA if self.quotes else SNAPSHOT_SCHEMA
        return pa.RecordBatch.from_arrays(
            [codes, *(pa.array(columns[name][members]) for name in schema.names[1:])], schema=schema
        )
