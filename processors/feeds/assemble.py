"""Snapshots on a fixed grid out of ticks, by event time: the shared middle of every feed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from processors.contract import QUOTE_FIELDS, Columns, FeedSpec
from processors.feeds import intervals
from processors.feeds.codebook import Codebook
from processors.feeds.layout import Layout
from processors.feeds.sessions import Sessions
from processors.feeds.tally import Tally
from processors.feeds.watermark import NEVER, Watermark


@dataclass(frozen=True)
class Snapshot:
    """A closed interval (time − interval, time]. ``received`` of the ``expected`` stocks have a real row in it; ``raw``
    are its ticks in order of (code, time), of a feed that keeps them."""

    time: int
    session: str
    trading: bool
    expected: int
    received: int
    slices: list[pa.RecordBatch]
    raw: pa.RecordBatch | None = None


class Assembler:
    """Collects ticks and closes intervals. ``event_grace_ms`` is how far the rows' own time must have passed an
    interval's end before it closes (a recording); None leaves that to whoever calls ``close`` (a live feed).

    A row is late when its interval is closed, ahead when it is more than a minute (or 20 intervals) beyond the time
    the rows agree on; both are counted and dropped. Intervals end at whole multiples of their length since 1970 UTC,
    and ``phase_ms`` later: bars of a day end at the close.
    """

    def __init__(
        self,
        spec: FeedSpec,
        codebook: Codebook,
        tally: Tally,
        sessions: Sessions,
        event_grace_ms: int | None = None,
        phase_ms: int = 0,
    ) -> None:
        self.spec, self.codebook, self.tally, self.sessions = spec, codebook, tally, sessions
        self.event_grace_ms, self.phase_ms = event_grace_ms, phase_ms
        self.ahead_ms = max(60_000, 20 * spec.interval_ms)
        self.closed: int = NEVER
        self.watermark = Watermark(self.ahead_ms)
        self._listening = True
        self._undecided: Columns | None = None
        self._waiting: deque[Columns] = deque()
        self._layout = Layout(spec, codebook)
        days = sessions.trading_days if spec.calendar != "24/7" else None
        self._counters = intervals.Counters(days) if spec.volume_mode == "cumulative" else None

    def go_on_from(self, slices: list[pa.RecordBatch], end: int) -> None:
        """Go on behind a snapshot that is out: changes are those against it, and what it shows is carried on from the
        first new row on. Before that nobody listened, and nothing is made up."""
        self.closed, self._listening = end, False
        for part in slices:
            names = [name for name in ("time", "price", *QUOTE_FIELDS) if name in part.schema.names]
            rows = {name: part.column(name).to_numpy() for name in names}
            self._layout.restore({"code": self.codebook.numbers(part.column("code")), **rows})

    # ---- rows in

    def add(self, ticks: Columns, *, final: bool = False) -> None:
        """Take ticks in the order they came. ``final``: nothing is to be waited for to judge the last of them."""
        if self._undecided is not None:
            ticks = _joined([self._undecided, ticks])
        now = self.watermark.advance(ticks["code"], ticks["time"], final=final)
        decided = len(now)
        self._undecided = intervals.take(ticks, slice(decided, None)) if decided < len(ticks["code"]) else None
        self._keep(ticks if self._undecided is None else intervals.take(ticks, slice(0, decided)), now)

    @property
    def undecided(self) -> bool:
        """Whether rows wait for their neighbours to be judged."""
        return self._undecided is not None

    def settle(self) -> None:
        """Judge the rows that waited for their neighbours."""
        if self._undecided is not None:
            rows, self._undecided = self._undecided, None
            self.add(rows, final=True)

    def _keep(self, ticks: Columns, now: np.ndarray) -> None:
        time = ticks["time"]
        passed = self.closed if self.event_grace_ms is None else np.maximum(self.closed, self._passed(now))
        late, ahead = time <= passed, time > now + self.ahead_ms
        for reason, mask in (("late", late), ("ahead", ahead)):
            self.tally.reject(reason, np.flatnonzero(mask), lambda row: self._describe(ticks["code"][row], time[row]))
        kept = intervals.take(ticks, ~(late | ahead)) if (late | ahead).any() else ticks
        if len(kept["code"]):
            self._waiting.append(kept)

    def _passed(self, now: np.ndarray | int) -> np.ndarray | int:
        return self._grid(np.maximum(now, NEVER // 2) - (self.event_grace_ms or 0) - 1)

    def _grid(self, time: np.ndarray | int) -> np.ndarray | int:
        """Return the last interval's end up to a time."""
        return (time - self.phase_ms) // self.spec.interval_ms * self.spec.interval_ms + self.phase_ms

    def _end(self, time: int) -> int:
        """Return the end of the interval that a time lies in."""
        return int(self._grid(time - 1)) + self.spec.interval_ms

    # ---- snapshots out

    def due(self) -> int:
        """Return the time up to which intervals may close by the rows' own time, ``NEVER`` before the first row."""
        return NEVER if self.watermark.now == NEVER else int(self._passed(self.watermark.now))

    def last_end(self) -> int:
        """Return the end of the last interval that has a row, ``NEVER`` without one."""
        latest = max((int(ticks["time"].max()) for ticks in self._waiting), default=NEVER)
        return latest if latest == NEVER else self._end(latest)

    def close(self, until: int) -> Iterator[Snapshot]:
        """Yield the snapshots of the intervals that end by ``until``; those with nothing to show are left out."""
        if until <= self.closed:
            return  # most calls of a fast live feed: the waiting rows need not be put in order yet
        if self._waiting:
            self._waiting = deque([_in_time(_joined(list(self._waiting)))])
        while (end := self._next_end(until)) is not None:
            self.closed, self._listening = end, True
            yield self._snapshot(end)
        self.closed = max(self.closed, int(self._grid(until)) if until > NEVER else NEVER)

    def _next_end(self, until: int) -> int | None:
        end = self.closed + self.spec.interval_ms
        if self.closed == NEVER or not self._listening or not self._layout.any_fresh(end):
            if not self._waiting:
                return None
            end = max(end, self._end(int(self._waiting[0]["time"][0])))
        return end if end <= until else None

    def _snapshot(self, end: int) -> Snapshot:
        ticks = self._until(end)
        if self._layout.quotes is None:
            self._layout.quotes = "bid" in ticks
        different = intervals.without_duplicates(intervals.by_code(ticks), self.tally, self._describe)
        rows = intervals.newest(different, self.tally, self._describe)
        if self._counters is not None:
            rows = self._counters.differences(rows, len(self.codebook), self.tally, self._describe)
        slices, expected = self._layout.snapshot(end, intervals.fold(rows))
        session, trading = self.sessions.at(end)
        received = len(intervals.group_starts(rows["code"]))
        raw = _raw(different, self.codebook) if self.spec.keep_raw else None
        return Snapshot(end, session, trading, expected, received, slices, raw)

    def _until(self, end: int) -> Columns:
        """Take the waiting ticks up to ``end``, ordered by (time, arrival)."""
        if not self._waiting:
            return intervals.no_ticks(bool(self._layout.quotes))
        ticks = self._waiting.popleft()
        count = int(np.searchsorted(ticks["time"], end, side="right"))
        if count == len(ticks["time"]):
            return ticks
        self._waiting.append(intervals.take(ticks, slice(count, None)))
        return intervals.take(ticks, slice(0, count))

    def _describe(self, code: int, time: int) -> str:
        return f"{self.codebook.codes[code]} at {np.datetime64(int(time), 'ms')}Z"


def _raw(ticks: Columns, codebook: Codebook) -> pa.RecordBatch:
    """Return ticks as they go to the bus: their code in words, everything else as it came."""
    columns = {name: pa.array(values) for name, values in ticks.items() if name != "code"}
    return pa.RecordBatch.from_pydict({"code": codebook.texts(ticks["code"]), **columns})


def _joined(parts: list[Columns]) -> Columns:
    parts = [part for part in parts if len(part["code"])] or parts[-1:]
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _in_time(ticks: Columns) -> Columns:
    time = ticks["time"]
    return ticks if np.all(time[1:] >= time[:-1]) else intervals.take(ticks, np.argsort(time, kind="stable"))
