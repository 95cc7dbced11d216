"""Writes snapshots to the bus through Redis outages: in order, none dropped, none twice."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

import pyarrow as pa
import redis
import structlog

from processors.bus import Bus
from processors.contract import Header

log = structlog.get_logger()
RETRY_S = 0.2
HELD_BYTES = 256 * 2**20


class Outbox:
    """A bounded queue in front of ``Bus.append``. After an error it looks at the bus before it writes again: the
    snapshot may have arrived though the answer did not."""

    def __init__(self, bus: Bus, held_bytes: int = HELD_BYTES) -> None:
        self.bus, self.held_bytes = bus, held_bytes
        self.published: deque[Header] = deque()  # since the caller last emptied it
        self._queue: deque[tuple[Header, Sequence[pa.RecordBatch], pa.RecordBatch | None]] = deque()
        self._bytes = 0
        self._failing = False
        self._next_try = 0.0

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def full(self) -> bool:
        return self._bytes >= self.held_bytes

    def put(self, header: Header, slices: Sequence[pa.RecordBatch], raw: pa.RecordBatch | None = None) -> None:
        self._queue.append((header, slices, raw))
        self._bytes += _size(slices, raw)
        self.flush()

    def flush(self) -> None:
        """Write what can be written now. Never raises for Redis; tries again ``RETRY_S`` after a failure."""
        if self._failing and time.monotonic() < self._next_try:
            return
        try:
            if self._failing:
                self._recover()
            while self._queue:
                self._sent(self.bus.append(*self._queue[0]))
        except (redis.RedisError, OSError) as error:
            if not self._failing:
                log.warning("bus does not answer, keeping snapshots", feed=self.bus.feed, error=str(error))
            self._failing, self._next_try = True, time.monotonic() + RETRY_S

    def _recover(self) -> None:
        self.bus.forget()
        last = self.bus.last()
        if last and self._queue and _same(last, self._queue[0][0]):
            self._sent(last)
        log.info("bus answers again", feed=self.bus.feed, held=len(self._queue))
        self._failing = False

    def _sent(self, header: Header) -> None:
        _, slices, raw = self._queue.popleft()
        self._bytes -= _size(slices, raw)
        self.published.append(header)


def _size(slices: Sequence[pa.RecordBatch], raw: pa.RecordBatch | None) -> int:
    return sum(part.nbytes for part in slices) + (raw.nbytes if raw is not None else 0)


def _same(one: Header, other: Header) -> bool:
    return (one.run, one.index, one.time) == (other.run, other.index, other.time)
