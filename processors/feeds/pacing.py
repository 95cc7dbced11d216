"""When a snapshot of a recording may go out: at N times real time, or as fast as the readers follow."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from threading import Event

import redis

from processors.bus import Bus
from processors.contract import FeedSpec, Header
from processors.feeds.assemble import Snapshot

_POLL_S = 0.01
LONGEST_WAIT_S = 60.0  # of event time between two snapshots; a longer gap (lunch, night) is skipped


class Pacer:
    """Waits, and is told what was published. The base class never waits: a live source has its own pace."""

    pace: float = 1.0

    def wait(self, snapshot: Snapshot, stopping: Event, flush: Callable[[], None]) -> None:
        """Return when ``snapshot`` may be published, or soon after ``stopping`` is set. Calls ``flush`` meanwhile."""

    def published(self, header: Header) -> None:
        """Take note of a snapshot that is on the bus."""


class ClockPacer(Pacer):
    """``pace`` event seconds per second, on a clock anchored at the first snapshot, so that delays do not add up.

    Gaps in the recording, and carried snapshots outside trading hours, are not waited for: the clock is anchored anew.
    """

    def __init__(self, pace: float, interval_ms: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.pace, self._clock = pace, clock
        self._longest_s = max(LONGEST_WAIT_S, 3 * interval_ms / 1000)
        self._anchor: tuple[int, float] | None = None
        self._last_time = 0

    def wait(self, snapshot: Snapshot, stopping: Event, flush: Callable[[], None]) -> None:
        gap_s = (snapshot.time - self._last_time) / 1000
        idle = snapshot.received == 0 and not snapshot.trading
        if self._anchor is None or idle or gap_s < 0 or gap_s > self._longest_s:
            self._anchor = (snapshot.time, self._clock())
        self._last_time = snapshot.time
        due = self._anchor[1] + (snapshot.time - self._anchor[0]) / 1000 / self.pace
        while (left := due - self._clock()) > 0 and not stopping.wait(min(left, 0.1)):
            flush()


class ReaderPacer(Pacer):
    """As fast as the readers follow: waits for a first reader, then while the slowest one has more than half of the
    bus unread. Nothing is trimmed that a live reader has not read."""

    pace = 0.0

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self._unread: deque[tuple[int, int]] | None = None  # (seq, bytes) above what the slowest reader has read
        self._bytes = 0

    def wait(self, snapshot: Snapshot, stopping: Event, flush: Callable[[], None]) -> None:
        while not self._may_go(flush) and not stopping.wait(_POLL_S):
            pass

    def _may_go(self, flush: Callable[[], None]) -> bool:
        flush()
        try:
            if self._unread is None:
                self._unread = deque((header.seq, header.size_bytes) for header in self.bus.headers(0))
                self._bytes = sum(size for _, size in self._unread)
                return self._read_on()
            return self._bytes <= self.bus.max_bytes // 4 or self._read_on()
        except (redis.RedisError, OSError):
            return False

    def _read_on(self) -> bool:
        """Ask how far the readers are. Returns False without a reader, and counts all of the bus as unread again."""
        slowest = self.bus.slowest_reader()
        if slowest is None:
            self._unread = None
            return False
        assert self._unread is not None
        while self._unread and self._unread[0][0] <= slowest:
            self._bytes -= self._unread.popleft()[1]
        return self._bytes <= self.bus.max_bytes // 2

    def published(self, header: Header) -> None:
        if self._unread is not None:
            self._unread.append((header.seq, header.size_bytes))
            self._bytes += header.size_bytes


def pacer_for(pace: float, spec: FeedSpec, bus: Bus) -> Pacer:
    """Return what waits for ``pace`` (0: as fast as the readers follow)."""
    return ClockPacer(pace, spec.interval_ms) if pace > 0 else ReaderPacer(bus)
