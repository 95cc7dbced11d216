"""Rows of several partitions, let through in the order of event time where some of them are behind."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
import pyarrow as pa

from processors.feeds.watermark import LATEST, NEVER

T = TypeVar("T")
_LAST = 5  # rows of a batch that agree on how far it reaches
_FAR_MS = 24 * 3_600_000  # a row further ahead has a wrong clock: it is let through, to be judged


@dataclass(frozen=True)
class Batch(Generic[T]):
    """Rows with their event times in ms, and what each came from (or nothing, where that is not asked for).

    ``next_offset`` is where its partition goes on, None as long as other rows of the batch wait."""

    partition: int
    rows: pa.Table | None
    times: np.ndarray
    origins: list[T]
    next_offset: int | None
    complete_ms: int | None = None

    def split(self, until: int) -> tuple[Batch[T], Batch[T] | None]:
        """Return the rows that may go and those that wait."""
        go = self.times <= until
        if until not in (NEVER, LATEST):
            go |= self.times > until + _FAR_MS
        if self.rows is None or go.all():
            return self, None
        first = replace(self._some(go), next_offset=None, complete_ms=None)
        return first, self._some(~go)

    def _some(self, mask: np.ndarray) -> Batch[T]:
        assert self.rows is not None
        origins = [self.origins[row] for row in np.flatnonzero(mask)] if self.origins else []
        return replace(self, rows=self.rows.filter(pa.array(mask)), times=self.times[mask], origins=origins)


class Merge(Generic[T]):
    """What of a partition runs ahead is held back until each other one is as far, or at its end.

    Without it a backlog would be read one partition after the other, and what the second holds would be late.
    """

    def __init__(self, partitions: list[int]) -> None:
        self._held: dict[int, deque[Batch[T]]] = {each: deque() for each in partitions}
        self._reaches = dict.fromkeys(partitions, NEVER)
        self._at_end = dict.fromkeys(partitions, False)

    def add(self, batch: Batch[T]) -> None:
        times = batch.times
        if len(times):  # one wrong clock has no say in how far a batch reaches
            reaches = int(np.median(times[-_LAST:]))
            self._reaches[batch.partition] = max(self._reaches[batch.partition], reaches)
        self._at_end[batch.partition] = False
        self._held[batch.partition].append(batch)

    def ends(self, partition: int) -> None:
        """Take note that for now there is nothing behind what was added."""
        self._at_end[partition] = True

    @property
    def partitions(self) -> list[int]:
        return list(self._held)

    @property
    def at_end(self) -> bool:
        return all(self._at_end.values())

    def held(self, partition: int) -> int:
        """Return how many batches of a partition wait."""
        return len(self._held[partition])

    def released(self) -> list[Batch[T]]:
        """Return the rows up to the time that every partition which is not at its end has reached."""
        floor = min((self._reaches[each] for each, end in self._at_end.items() if not end), default=LATEST)
        out: list[Batch[T]] = []
        for waiting in self._held.values():
            while waiting:
                go, rest = waiting.popleft().split(floor)
                if go.rows is None or go.rows.num_rows:
                    out.append(go)
                if rest is not None:
                    waiting.appendleft(rest)
                    break
        return out
